//! Modules of nginx, which packages bring as files to link to.

use super::{EffectError, Image};
use crate::{Owner, TreePath};

impl Image<'_> {
    /// `pair` is `FILE:LINK`.
    pub(super) fn nginx_module(&mut self, by: &Owner, pair: &str) -> Result<(), EffectError> {
        let Some((file, link)) = pair.split_once(':') else { return Ok(()) };
        let link = TreePath::known(&format!("etc/nginx/modules-enabled/{link}"));
        self.symlink(by, &link, &format!("/usr/share/nginx/modules-available/{file}"))
    }
}
