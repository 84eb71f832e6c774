//! PHP's modules: each is enabled in every interface (cli, fpm…) of its version that the image has (phpenmod(8)).

use super::{EffectError, Image};
use crate::{Owner, TreePath};

/// Where a module comes in the order of a configuration, unless its file says something else.
const PRIORITY: &str = "20";

/// Modules and interfaces, until all packages are configured.
#[derive(Default, Clone)]
pub(super) struct Php {
    /// Version and name.
    modules: Vec<(String, String)>,
    interfaces: Vec<(String, String)>,
}

impl Image<'_> {
    /// Copies the configurations of modules, as ucf does, registers them, and enables them in the end.
    pub(super) fn php_modules(
        &mut self,
        by: &Owner,
        version: &str,
        package: &str,
        folder: &str,
        modules: &str,
    ) -> Result<(), EffectError> {
        for module in modules.split(' ') {
            let from = TreePath::known(&format!("usr/share/{folder}/{module}.ini"));
            let to = TreePath::known(&format!("etc/php/{version}/mods-available/{module}.ini"));
            self.ucf(by, package, &from, &to)?;
            let registered = TreePath::known(&format!("var/lib/php/modules/{version}/registry/{module}"));
            self.write(by, &registered, Vec::new(), 0o644)?;
            self.pending.php.modules.push((version.to_owned(), module.to_owned()));
        }
        Ok(())
    }

    /// Copies the configuration of an interface and takes note of it.
    pub(super) fn php_interface(
        &mut self,
        by: &Owner,
        version: &str,
        package: &str,
        interface: &str,
    ) -> Result<(), EffectError> {
        let suffix = if interface == "cli" { ".cli" } else { "" };
        let from = TreePath::known(&format!("usr/lib/php/{version}/php.ini-production{suffix}"));
        let to = TreePath::known(&format!("etc/php/{version}/{interface}/php.ini"));
        self.ucf(by, package, &from, &to)?;
        self.pending.php.interfaces.push((version.to_owned(), interface.to_owned()));
        Ok(())
    }

    pub(super) fn enable_php_modules(&mut self) -> Result<(), EffectError> {
        let by = Owner::Generated("phpenmod".into());
        let Php { modules, interfaces } = std::mem::take(&mut self.pending.php);
        for (version, interface) in &interfaces {
            for (_, module) in modules.iter().filter(|(of, _)| of == version) {
                let available = TreePath::known(&format!("etc/php/{version}/mods-available/{module}.ini"));
                let text = self.text(&available)?;
                let priority =
                    text.lines().find_map(|line| line.strip_prefix("; priority=")).unwrap_or(PRIORITY);
                let link = format!("etc/php/{version}/{interface}/conf.d/{}-{module}.ini", priority.trim());
                self.symlink(&by, &TreePath::known(&link), &available.to_string())?;
                let note = format!("var/lib/php/modules/{version}/{interface}/enabled_by_maint/{module}");
                self.write(&by, &TreePath::known(&note), Vec::new(), 0o644)?;
            }
        }
        Ok(())
    }
}
