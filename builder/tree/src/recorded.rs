//! What an unknown script did when it ran once, in a sandbox, and when that holds again.
//!
//! A recording is kept in a file that a person can read. It holds for a script only if its text, its arguments and
//! everything that it looked at are as they were: each path with what was there, that nothing was there included. Nothing
//! is run here; who runs scripts is `builder/record`.

mod accounts;
mod change;
mod document;
mod overrides;
mod replay;
mod state;

use std::{collections::BTreeMap, fmt, path::Path, str::FromStr};

use bundles_release::lock::{Architecture, PackageName};
use registry_wire::Digest;
use serde::{Deserialize, Serialize};

pub(crate) use replay::Left;

pub use accounts::{AccountEffects, AccountFiles, AccountType, AccountsError};
pub use change::{Change, Ids, Outcome};
pub use document::{RecordingError, Stored};
pub use overrides::{StatOverride, StatOverrideError};
pub use state::{Seen, State};

use crate::{Package, TreePath, effect::Verb};

/// A script of a package that dpkg, or debconf, runs on a first installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScriptName {
    /// Before the package is unpacked.
    Preinst,
    /// Asks what the postinst has to know.
    Config,
    /// After the package is unpacked, and for triggers.
    Postinst,
}

impl ScriptName {
    /// As dpkg calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preinst => "preinst",
            Self::Config => "config",
            Self::Postinst => "postinst",
        }
    }

    /// What dpkg starts it with on a first installation.
    pub(crate) fn arguments(self) -> Vec<String> {
        match self {
            Self::Preinst => vec!["install".to_owned()],
            Self::Config | Self::Postinst => vec!["configure".to_owned(), String::new()],
        }
    }
}

impl fmt::Display for ScriptName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A text that is the name of no script that runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is none of preinst, config and postinst")]
pub struct ScriptNameError {
    text: String,
}

impl FromStr for ScriptName {
    type Err = ScriptNameError;

    fn from_str(text: &str) -> Result<Self, ScriptNameError> {
        [Self::Preinst, Self::Config, Self::Postinst]
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| ScriptNameError { text: text.to_owned() })
    }
}

registry_wire::serde_as_text!(ScriptName);

/// One run of one script: what a recording is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScriptRun {
    /// The package.
    pub package: PackageName,
    /// Which of its scripts.
    pub name: ScriptName,
    /// As dpkg would give them: `configure` and an empty version, or `triggered` and what was.
    pub arguments: Vec<String>,
    /// SHA-256 of its text.
    pub script: Digest,
    /// That of the image; `all` where only a package is known that is for every one.
    pub architecture: Architecture,
}

impl fmt::Display for ScriptRun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of package {}, started with {}", self.name, self.package, told(&self.arguments))
    }
}

/// Arguments as a shell would be given them.
pub(crate) fn told(arguments: &[String]) -> String {
    let quoted = |text: &String| {
        let is_plain = !text.is_empty()
            && text.chars().all(|one| one.is_ascii_alphanumeric() || "-_./:+~".contains(one));
        if is_plain { text.clone() } else { format!("{text:?}") }
    };
    let words: Vec<String> = arguments.iter().map(quoted).collect();
    format!("`{}`", words.join(" "))
}

/// Whether a script asked for the names of hosts. Nobody answers where it is recorded, so what it wrote may be meant for a
/// machine that nobody knows by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostNames {
    /// It did not.
    #[default]
    NotAsked,
    /// It did, and went on without an answer.
    Unanswered,
}

/// What a script did, and on what that depended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// What ran.
    pub run: ScriptRun,
    /// How much the sandbox held back, as the sandbox calls it.
    pub sandbox: String,
    /// Every path that was looked at, and what was there before.
    pub reads: BTreeMap<TreePath, State>,
    /// The accounts that it made.
    pub accounts: AccountEffects,
    /// What was different afterwards, by path.
    pub changes: Vec<Change>,
    /// Triggers that it activated.
    pub triggers: Vec<String>,
    /// What it told dpkg about modes and owners, in the order in which it did.
    pub overrides: Vec<StatOverride>,
    /// Whether it asked for the names of hosts.
    pub host_names: HostNames,
}

impl Recording {
    /// Whether another one says that the same was done.
    pub(crate) fn is_same_outcome(&self, other: &Self) -> bool {
        (&self.accounts, &self.changes, &self.triggers, &self.overrides)
            == (&other.accounts, &other.changes, &other.triggers, &other.overrides)
    }
}

/// The recordings of a platform.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recordings {
    by_package: BTreeMap<PackageName, Vec<Recording>>,
    allowed: Allowed,
}

/// Whether recordings may have a part in an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Allowed {
    /// They may, as long as they hold.
    #[default]
    Recorded,
    /// A script whose effects are only recorded is refused.
    DeclaredOnly,
}

impl Recordings {
    /// None at all.
    pub const fn none() -> Self {
        Self { by_package: BTreeMap::new(), allowed: Allowed::Recorded }
    }

    /// The same, where only that is allowed.
    #[must_use]
    pub fn allowing(self, allowed: Allowed) -> Self {
        Self { allowed, ..self }
    }

    /// What is allowed.
    pub(crate) const fn allowed(&self) -> Allowed {
        self.allowed
    }

    /// Takes out those of a package.
    #[must_use]
    pub fn without(mut self, package: &PackageName) -> Self {
        self.by_package.remove(package);
        self
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Recording> {
        self.by_package.values().flatten()
    }

    /// Adds one.
    pub fn add(&mut self, recording: Recording) {
        self.by_package.entry(recording.run.package.clone()).or_default().push(recording);
    }

    /// Adds those of a file; contents that are not in it lie in `folder`.
    pub fn add_file(&mut self, text: &str, folder: &Path) -> Result<(), RecordingError> {
        for recording in document::parse(text, folder)? {
            self.add(recording);
        }
        Ok(())
    }

    /// Those of one package.
    pub fn of(&self, package: &PackageName) -> &[Recording] {
        self.by_package.get(package).map_or(&[], Vec::as_slice)
    }

    /// Whether a run was recorded, in whatever tree.
    pub fn has(&self, run: &ScriptRun) -> bool {
        self.of(&run.package).iter().any(|one| one.run == *run)
    }

    /// What a script did, in every tree in which it was recorded; for people.
    pub(crate) fn lines(&self, package: &PackageName, name: ScriptName, script: Digest) -> Vec<String> {
        let of_script = |one: &&Recording| one.run.name == name && one.run.script == script;
        let mut lines = Vec::new();
        for recording in self.of(package).iter().filter(of_script) {
            lines.push(format!(
                "recorded in a sandbox of level {} on {}, started with {}; looked at {} paths",
                recording.sandbox,
                recording.run.architecture,
                told(&recording.run.arguments),
                recording.reads.len()
            ));
            lines.extend(recording.accounts.lines());
            lines.extend(recording.changes.iter().map(ToString::to_string));
            lines.extend(recording.triggers.iter().map(|name| format!("trigger {name}")));
            lines.extend(recording.overrides.iter().map(|line| format!("statoverride {line}")));
            if recording.host_names == HostNames::Unanswered {
                lines.push("asked for the name of a host, and nobody answered".to_owned());
            }
        }
        lines
    }

    /// A text that differs where any recording of `packages` does.
    pub fn identity(&self, packages: impl Iterator<Item = PackageName>) -> Digest {
        let mut text = format!("{:?}\n", self.allowed);
        for package in packages {
            text.push_str(&document::write(&package, self.of(&package)).text);
        }
        Digest::of(text.as_bytes())
    }

    /// What a recorded script does to accounts, in every tree in which it was recorded.
    pub(crate) fn account_verbs(&self, package: &Package, name: ScriptName, script: Digest) -> Vec<&Verb> {
        let of_script = |one: &&Recording| one.run.name == name && one.run.script == script;
        self.of(&package.name).iter().filter(of_script).flat_map(|one| one.accounts.verbs()).collect()
    }

    /// The file of a package's recordings.
    pub fn store(package: &PackageName, recordings: &[Recording]) -> Stored {
        document::write(package, recordings)
    }
}
