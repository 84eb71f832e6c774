//! Init scripts and systemd units. Their links are made only if the image has the programs that read them.

use std::fmt::Write as _;

use bundles_release::lock::Version;
use serde::{Deserialize, Serialize};

use super::{EffectError, Image};
use crate::{Owner, Package, TreePath};

/// Where units of one kind are, where they are enabled, and where deb-systemd-helper takes notes.
struct Place {
    units: [&'static str; 2],
    enabled: &'static str,
    notes: &'static str,
}

/// The first version of systemd that looks for units below /usr only.
const WITH_REAL_PATHS: &str = "255";
const HELPER: &str = "usr/bin/deb-systemd-helper";
const SYSTEMCTL: &str = "usr/bin/systemctl";
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
        // The lines that are read are ASCII; names of authors in others may be of an older encoding.
        let text = String::from_utf8_lossy(&self.bytes(&script)?).into_owned();
        let levels = |key: &str| -> Vec<char> {
            let line = text.lines().find_map(|line| line.strip_prefix("# ")?.trim_start().strip_prefix(key));
            line.unwrap_or_default().chars().filter(|level| level.is_ascii_digit() || *level == 'S').collect()
        };
        let is_disabled = wanted == Levels::Disabled || self.disabled.contains(name);
        let start = if is_disabled { 'K' } else { 'S' };
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
    pub(super) fn unit(&mut self, package: &Package, name: &str, enabled: bool) -> Result<(), EffectError> {
        self.enable(package, name, &SYSTEM, enabled)
    }

    /// The same with `--user`.
    pub(super) fn user_unit(
        &mut self,
        package: &Package,
        name: &str,
        enabled: bool,
    ) -> Result<(), EffectError> {
        self.enable(package, name, &USER, enabled)
    }

    fn enable(
        &mut self,
        package: &Package,
        name: &str,
        place: &Place,
        enabled: bool,
    ) -> Result<(), EffectError> {
        let by = &Owner::Generated(package.name.as_str().into());
        let mark = format!("{}/{name}", place.enabled);
        if !self.has("init-system-helpers") || self.enabled_units.contains(&mark) {
            return Ok(());
        }
        let mut links = Vec::new();
        if !self.links_of(name, place, &mut Vec::new(), &mut links)? {
            return Ok(());
        }
        self.enabled_units.push(mark);
        let follows = self.asks_systemctl(package)?;
        let enabled =
            enabled && !name.strip_suffix(".service").is_some_and(|name| self.disabled.contains(name));
        let Place { enabled: directory, notes: folder, .. } = place;
        let mut notes = String::new();
        for (link, path) in &links {
            if enabled {
                let real = if follows { self.tree.follow(path) } else { None };
                let target = real.as_ref().unwrap_or(path).to_string();
                self.symlink(by, &TreePath::known(&format!("{directory}/{link}")), &target)?;
                self.write(by, &TreePath::known(&format!("{folder}/{link}")), Vec::new(), 0o644)?;
            }
            let _infallible = writeln!(notes, "/{directory}/{link}");
        }
        let state = TreePath::known(&format!("{folder}/{name}.dsh-also"));
        self.write(by, &state, notes.into_bytes(), 0o644)
    }

    /// Whether the helper has systemctl make the links, and that names real paths. Newer ones do, unless the package was there
    /// before systemd.
    fn asks_systemctl(&self, package: &Package) -> Result<bool, EffectError> {
        let helper = TreePath::known(HELPER);
        let is_newer = |systemd: &Package| {
            WITH_REAL_PATHS.parse::<Version>().is_ok_and(|version| systemd.version >= version)
        };
        if package.paragraph().get("Essential") == Some("yes")
            || !self.package("systemd").is_some_and(is_newer)
            || !self.is_file(&TreePath::known(SYSTEMCTL))
            || !self.is_file(&helper)
        {
            return Ok(false);
        }
        Ok(self.text(&helper)?.contains("systemctl preset"))
    }

    /// Adds the links of a unit and of those that are enabled with it, each with what it leads to. `false` if there is no
    /// such unit.
    fn links_of(
        &self,
        name: &str,
        place: &Place,
        seen: &mut Vec<String>,
        links: &mut Vec<(String, TreePath)>,
    ) -> Result<bool, EffectError> {
        let unit = place.units.map(|directory| TreePath::known(&format!("{directory}/{name}")));
        let Some(path) = unit.into_iter().find(|path| self.is_file(path)) else { return Ok(false) };
        seen.push(name.to_owned());
        let text = self.text(&path)?;
        let mut section = "";
        let mut own = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line;
            }
            let Some((key, values)) = line.split_once('=').filter(|_| section == "[Install]") else {
                continue;
            };
            for value in values.split_whitespace() {
                match key.trim() {
                    "WantedBy" => own.push((format!("{value}.wants/{name}"), path.clone())),
                    "RequiredBy" => own.push((format!("{value}.requires/{name}"), path.clone())),
                    "Alias" => own.insert(0, (value.to_owned(), path.clone())),
                    "Also" if !seen.iter().any(|unit| unit == value) => {
                        self.links_of(value, place, seen, &mut own)?;
                    }
                    _ => {}
                }
            }
        }
        links.extend(own);
        Ok(true)
    }
}
