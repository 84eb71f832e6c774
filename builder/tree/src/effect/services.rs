//! Init scripts and systemd units. Their links are made only if the image has the programs that read them.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{EffectError, Image};
use crate::{Owner, TreePath};

/// Where units of one kind are, where they are enabled, and where deb-systemd-helper takes notes.
struct Place {
    units: [&'static str; 2],
    enabled: &'static str,
    notes: &'static str,
}

const SYSTEM: Place = Place {
    units: ["lib/systemd/system", "usr/lib/systemd/system"],
    enabled: "etc/systemd/system",
    notes: "var/lib/systemd/deb-systemd-helper-enabled",
};
const USER: Place = Place {
    units: ["lib/systemd/user", "usr/lib/systemd/user"],
    enabled: "etc/systemd/user",
    notes: "var/lib/systemd/deb-systemd-user-helper-enabled",
};

/// What `update-rc.d` is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Levels {
    /// Start and stop where the script says so.
    #[default]
    Defaults,
    /// Stop everywhere.
    Disabled,
}

/// Other levels.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` are no levels of update-rc.d")]
pub(crate) struct LevelsError(String);

impl TryFrom<String> for Levels {
    type Error = LevelsError;

    /// The numbers of links, which old scripts give, mean nothing any more.
    fn try_from(text: String) -> Result<Self, LevelsError> {
        let mut words = text.split(' ');
        let levels = match words.next() {
            Some("defaults") => Self::Defaults,
            Some("defaults-disabled") => Self::Disabled,
            _ => return Err(LevelsError(text)),
        };
        if words.all(|word| word.bytes().all(|byte| byte.is_ascii_digit())) {
            Ok(levels)
        } else {
            Err(LevelsError(text))
        }
    }
}

impl From<Levels> for String {
    fn from(levels: Levels) -> Self {
        match levels {
            Levels::Defaults => "defaults".to_owned(),
            Levels::Disabled => "defaults-disabled".to_owned(),
        }
    }
}

impl Image<'_> {
    /// `update-rc.d NAME defaults`, without insserv: every link has the number 01.
    pub(super) fn init_script(&mut self, by: &Owner, name: &str, wanted: Levels) -> Result<(), EffectError> {
        let script = TreePath::known(&format!("etc/init.d/{name}"));
        if !self.has("init-system-helpers") || !self.is_file(&script) {
            return Ok(());
        }
        let text = self.text(&script)?;
        let levels = |key: &str| -> Vec<char> {
            let line = text.lines().find_map(|line| line.strip_prefix("# ")?.trim_start().strip_prefix(key));
            line.unwrap_or_default().chars().filter(|level| level.is_ascii_digit() || *level == 'S').collect()
        };
        let start = if wanted == Levels::Disabled { 'K' } else { 'S' };
        for (kind, key) in [(start, "Default-Start:"), ('K', "Default-Stop:")] {
            for level in levels(key) {
                let link = TreePath::known(&format!("etc/rc{level}.d/{kind}01{name}"));
                self.symlink(by, &link, &format!("../init.d/{name}"))?;
            }
        }
        Ok(())
    }

    /// What runit-helper leaves: the service is enabled, and a mark says that runit may supervise.
    pub(super) fn runit_service(&mut self, by: &Owner, name: &str) -> Result<(), EffectError> {
        if !self.has("runit-helper") {
            return Ok(());
        }
        self.directory(by, &TreePath::known("run/runit/supervise"), 0o755, None)?;
        let link = TreePath::known(&format!("etc/runit/runsvdir/default/{name}"));
        self.symlink(by, &link, &format!("/etc/sv/{name}"))
    }

    /// `deb-systemd-helper enable UNIT`: the links of the unit's `[Install]` section, and the helper's notes.
    ///
    /// A unit that is not to be enabled is only noted, as `deb-systemd-helper update-state` does.
    pub(super) fn unit(&mut self, by: &Owner, name: &str, enabled: bool) -> Result<(), EffectError> {
        self.enable(by, name, &SYSTEM, enabled)
    }

    /// The same with `--user`.
    pub(super) fn user_unit(&mut self, by: &Owner, name: &str, enabled: bool) -> Result<(), EffectError> {
        self.enable(by, name, &USER, enabled)
    }

    fn enable(&mut self, by: &Owner, name: &str, place: &Place, enabled: bool) -> Result<(), EffectError> {
        let mark = format!("{}/{name}", place.enabled);
        if !self.has("init-system-helpers") || self.enabled_units.contains(&mark) {
            return Ok(());
        }
        let unit = place.units.map(|directory| TreePath::known(&format!("{directory}/{name}")));
        let Some(path) = unit.into_iter().find(|path| self.is_file(path)) else { return Ok(()) };
        self.enabled_units.push(mark);
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
                    "Also" => self.enable(by, value, place, enabled)?,
                    _ => {}
                }
            }
        }
        let Place { enabled: directory, notes: folder, .. } = place;
        let mut notes = String::new();
        for link in &links {
            if enabled {
                self.symlink(by, &TreePath::known(&format!("{directory}/{link}")), &path.to_string())?;
                self.write(by, &TreePath::known(&format!("{folder}/{link}")), Vec::new(), 0o644)?;
            }
            let _infallible = writeln!(notes, "/{directory}/{link}");
        }
        let state = TreePath::known(&format!("{folder}/{name}.dsh-also"));
        self.write(by, &state, notes.into_bytes(), 0o644)
    }
}
