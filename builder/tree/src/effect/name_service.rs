//! Where names are looked up (nsswitch.conf(5)).

use super::{EffectError, Image};
use crate::{Owner, TreePath};

impl Image<'_> {
    /// Puts a service last in the databases, unless one of them has it.
    pub(super) fn name_service(
        &mut self,
        by: &Owner,
        service: &str,
        databases: &[String],
    ) -> Result<(), EffectError> {
        let path = TreePath::known("etc/nsswitch.conf");
        if !self.is_file(&path) {
            return Ok(());
        }
        let text = self.text(&path)?;
        let is_wanted = |line: &str| {
            let name = line.split_once(':').map(|(name, _)| name);
            name.is_some_and(|name| databases.iter().any(|database| database == name))
        };
        if text
            .lines()
            .filter(|line| is_wanted(line))
            .any(|line| line.split_whitespace().any(|word| word == service))
        {
            return Ok(());
        }
        let text = text.lines().fold(String::new(), |mut text, line| {
            text.push_str(line);
            if is_wanted(line) {
                text.push(' ');
                text.push_str(service);
            }
            text.push('\n');
            text
        });
        self.write(by, &path, text.into_bytes(), 0o644)
    }
}
