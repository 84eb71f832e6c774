//! Init scripts and systemd units. Their links are made only if the image has the programs that read them.

use std::fmt::Write as _;

use super::{EffectError, Image};
use crate::{Owner, TreePath};

const SYSTEM: &str = "etc/systemd/system";
const STATE: &str = "var/lib/systemd/deb-systemd-helper-enabled";
const UNITS: [&str; 2] = ["lib/systemd/system", "usr/lib/systemd/system"];

impl Image<'_> {
    /// `update-rc.d NAME defaults`, without insserv: every link has the number 01.
    pub(super) fn init_script(&mut self, by: &Owner, name: &str) -> Result<(), EffectError> {
        let script = TreePath::known(&format!("etc/init.d/{name}"));
        if !self.has("init-system-helpers") || !self.is_file(&script) {
            return Ok(());
        }
        let text = self.text(&script)?;
        let levels = |key: &str| -> Vec<char> {
            let line = text.lines().find_map(|line| line.strip_prefix("# ")?.trim_start().strip_prefix(key));
            line.unwrap_or_default().chars().filter(|level| level.is_ascii_digit() || *level == 'S').collect()
        };
        for (kind, key) in [('S', "Default-Start:"), ('K', "Default-Stop:")] {
            for level in levels(key) {
                let link = TreePath::known(&format!("etc/rc{level}.d/{kind}01{name}"));
                self.symlink(by, &link, &format!("../init.d/{name}"))?;
            }
        }
        Ok(())
    }

    /// `deb-systemd-helper enable UNIT`: the links of the unit's `[Install]` section, and the helper's notes.
    pub(super) fn unit(&mut self, by: &Owner, name: &str) -> Result<(), EffectError> {
        if !self.has("init-system-helpers") || self.enabled_units.iter().any(|unit| unit == name) {
            return Ok(());
        }
        let unit = UNITS.map(|directory| TreePath::known(&format!("{directory}/{name}")));
        let Some(path) = unit.into_iter().find(|path| self.is_file(path)) else { return Ok(()) };
        self.enabled_units.push(name.to_owned());
        let text = self.text(&path)?;
        let mut links = Vec::new();
        let mut section = "";
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line;
            }
            let Some((key, values)) = line.split_once('=').filter(|_| section == "[Install]") else {
                continue;
            };
            for value in values.split_whitespace() {
                match key.trim() {
                    "WantedBy" => links.push(format!("{value}.wants/{name}")),
                    "RequiredBy" => links.push(format!("{value}.requires/{name}")),
                    "Alias" => links.insert(0, value.to_owned()),
                    "Also" => self.unit(by, value)?,
                    _ => {}
                }
            }
        }
        let mut notes = String::new();
        for link in &links {
            self.symlink(by, &TreePath::known(&format!("{SYSTEM}/{link}")), &path.to_string())?;
            self.write(by, &TreePath::known(&format!("{STATE}/{link}")), Vec::new(), 0o644)?;
            let _infallible = writeln!(notes, "/{SYSTEM}/{link}");
        }
        let state = TreePath::known(&format!("{STATE}/{name}.dsh-also"));
        self.write(by, &state, notes.into_bytes(), 0o644)
    }
}
