//! What packages enable in Apache (a2enmod(8), a2enconf(8)).

use super::{EffectError, Image};
use crate::{Owner, TreePath};

/// One kind of what can be enabled.
pub(super) struct Kind {
    /// Its folders in /etc/apache2, without `-available` and `-enabled`.
    folder: &'static str,
    /// Its folder of notes in /var/lib/apache2.
    notes: &'static str,
    /// Endings of its files.
    endings: &'static [&'static str],
}

pub(super) const CONFIGURATION: Kind = Kind { folder: "conf", notes: "conf", endings: &["conf"] };
pub(super) const MODULE: Kind = Kind { folder: "mods", notes: "module", endings: &["load", "conf"] };

/// The functions that the scripts of other packages call; without them nothing is enabled.
const FUNCTIONS: &str = "usr/share/apache2/apache2-maintscript-helper";

impl Image<'_> {
    pub(super) fn apache(&mut self, by: &Owner, name: &str, kind: &Kind) -> Result<(), EffectError> {
        if !self.is_file(&TreePath::known(FUNCTIONS)) {
            return Ok(());
        }
        let Kind { folder, notes, endings } = kind;
        for ending in *endings {
            let available = TreePath::known(&format!("etc/apache2/{folder}-available/{name}.{ending}"));
            if self.is_file(&available) {
                let link = TreePath::known(&format!("etc/apache2/{folder}-enabled/{name}.{ending}"));
                self.symlink(by, &link, &format!("../{folder}-available/{name}.{ending}"))?;
            }
        }
        let note = TreePath::known(&format!("var/lib/apache2/{notes}/enabled_by_maint/{name}"));
        self.write(by, &note, Vec::new(), 0o644)
    }
}
