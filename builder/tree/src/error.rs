//! Why packages do not make a tree.

use std::{fmt, fmt::Write as _};

use bundles_release::lock::{Architecture, PackageName};
use registry_wire::Digest;

use builder_inputs::AccountError;

use crate::{EffectError, PackageError, PayloadError, ScriptRun, State, TreePath, UnknownPart};

/// Why packages do not make a tree.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A path leads through links that go round, or to no place.
    #[error("package {package}: {path} leads through links that never end or to no place")]
    Links {
        /// The package.
        package: PackageName,
        /// The path.
        path: TreePath,
    },
    /// Two owners want one path.
    #[error("{path} belongs to {first} ({first_kind}) and to package {second} ({second_kind}); {rule}")]
    Conflict {
        /// The path.
        path: TreePath,
        /// Who had it.
        first: String,
        /// What it is there.
        first_kind: &'static str,
        /// Who wants it too.
        second: PackageName,
        /// What it is there.
        second_kind: &'static str,
        /// The rule that refuses it.
        rule: &'static str,
    },
    /// A hard link to a path that is gone.
    #[error("package {package}: {path} is a hard link to {target}, which is not in the tree")]
    HardLink {
        /// The package.
        package: PackageName,
        /// The path.
        path: TreePath,
        /// What it should link to.
        target: TreePath,
    },
    /// A maintainer script that the table does not know.
    #[error(
        "package {package} ({architecture}): its {script} ({digest}) is not known, so what it does is not known either; not known of it: {}",
        shown(parts)
    )]
    UnknownScript {
        /// The package.
        package: PackageName,
        /// Its architecture: the script may be known as it is on another.
        architecture: Architecture,
        /// `preinst`, `postinst` or `config`.
        script: &'static str,
        /// SHA-256 of its text.
        digest: Digest,
        /// What of it is not known.
        parts: Vec<UnknownPart>,
    },
    /// A script that is neither known nor recorded, though others of its package are.
    #[error("the {run} is neither declared nor recorded")]
    NotRecorded {
        /// What would run.
        run: Box<ScriptRun>,
    },
    /// A recorded script where only declared ones may have a part in images.
    #[error(
        "package {}: its {} ({}) is only recorded, and `scripts = \"declared-only\"` refuses that",
        run.package, run.name, run.script
    )]
    OnlyRecorded {
        /// What would run.
        run: Box<ScriptRun>,
    },
    /// A script was recorded in images of other architectures.
    #[error("the {run} was recorded on {recorded}, and the image is for {}", run.architecture)]
    OtherArchitecture {
        /// What would run.
        run: Box<ScriptRun>,
        /// One of them.
        recorded: Architecture,
    },
    /// Two recordings hold, and say different things.
    #[error("the {run} has two recordings that hold, and they do not say the same")]
    Ambiguous {
        /// What would run.
        run: Box<ScriptRun>,
    },
    /// A recorded script has another text now.
    #[error("the {run} ({}) is not the one that was recorded ({recorded})", run.script)]
    ScriptChanged {
        /// What would run.
        run: Box<ScriptRun>,
        /// SHA-256 of the text that ran.
        recorded: Digest,
    },
    /// A recorded script would be started with other arguments.
    #[error("the {run} was recorded with other arguments: {recorded}")]
    ArgumentsChanged {
        /// What would run.
        run: Box<ScriptRun>,
        /// What it was started with, for people.
        recorded: String,
    },
    /// A path that a recorded script looked at is not what it was.
    #[error("the {run} looked at {change}")]
    ReadChanged {
        /// What would run.
        run: Box<ScriptRun>,
        /// What has changed.
        change: Box<ChangedRead>,
    },
    /// What a recorded script left was changed by what came later.
    #[error("what the {run} left at {path} was changed afterwards by {by}, so the recording does not hold")]
    Undone {
        /// What ran.
        run: Box<ScriptRun>,
        /// The path.
        path: TreePath,
        /// Who owns it now.
        by: Box<str>,
    },
    /// An account that a script made gets no id.
    #[error("an account that the {run} makes gets no id")]
    Allocate {
        /// What ran.
        run: Box<ScriptRun>,
        /// Why.
        source: AccountError,
    },
    /// Triggers start one another.
    #[error("the {run} is started by triggers again and again")]
    Triggers {
        /// What would run.
        run: Box<ScriptRun>,
    },
    /// A package cannot be read.
    #[error("a package cannot be read")]
    Package {
        /// Why.
        source: Box<PackageError>,
    },
    /// A file in which a package lists its accounts.
    #[error("package {package}: its accounts in {path} are not known: {reason}")]
    Accounts {
        /// The package.
        package: PackageName,
        /// The file.
        path: TreePath,
        /// Why.
        reason: String,
    },
    /// What a script does cannot be done.
    #[error("package {package}: what its {script} does cannot be done")]
    Effect {
        /// The package.
        package: PackageName,
        /// `preinst` or `postinst`.
        script: &'static str,
        /// Why.
        source: EffectError,
    },
    /// What runs once after all scripts cannot be done.
    #[error("{trigger} cannot be done")]
    Trigger {
        /// What should run.
        trigger: &'static str,
        /// Why.
        source: EffectError,
    },
    /// What is known of a package cannot be written down.
    #[error("package {package}: its record cannot be written")]
    Record {
        /// The package.
        package: PackageName,
        /// Why.
        source: EffectError,
    },
    /// A content could not be read.
    #[error("package {package}: a file cannot be read")]
    Payload {
        /// The package.
        package: PackageName,
        /// Why.
        source: PayloadError,
    },
    /// A file of the recipe has no place.
    #[error("{path} of the recipe cannot be placed: {reason}")]
    Source {
        /// Path in the image.
        path: TreePath,
        /// Why.
        reason: &'static str,
    },
}

/// A path that a recorded script looked at, and that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedRead {
    /// The path.
    pub path: TreePath,
    /// What was there.
    pub was: State,
    /// What is there.
    pub is: State,
    /// A link on the way, where there was none.
    pub link: Option<TreePath>,
    /// How many more paths have changed.
    pub more: usize,
}

impl fmt::Display for ChangedRead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, was, is, link, more } = self;
        match link {
            Some(link) => write!(formatter, "{path}, which has changed: {link} above it is a link now")?,
            None => write!(formatter, "{path}, which has changed: it is `{is}`, and was `{was}`")?,
        }
        if *more > 0 { write!(formatter, ", and {more} more have changed") } else { Ok(()) }
    }
}

/// Lines of an unknown script that a message shows.
const SHOWN_LINES: usize = 3;

/// The first lines that are not known, each cut to a readable length.
fn shown(parts: &[UnknownPart]) -> String {
    let lines: Vec<&str> =
        parts.iter().flat_map(|part| &part.lines).filter_map(|line| line.lines().next()).collect();
    let more = lines.len().saturating_sub(SHOWN_LINES);
    let first =
        lines.iter().take(SHOWN_LINES).map(|line| format!("`{}`", line.chars().take(80).collect::<String>()));
    let mut text = first.collect::<Vec<_>>().join(", ");
    if more > 0 {
        let _infallible = write!(text, " and {more} more");
    }
    text
}

/// What helps with a script that nobody declared where it may not be recorded either.
pub fn undeclared_hint(package: &impl std::fmt::Display) -> String {
    format!("leave {package} out of the recipe, or read its script and add it to the table of effects")
}

impl InstallError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownScript { package, .. } => {
                Some(format!("bundle effects record {package}; or {}", undeclared_hint(package)))
            }
            Self::NotRecorded { run }
            | Self::ScriptChanged { run, .. }
            | Self::ArgumentsChanged { run, .. }
            | Self::Ambiguous { run }
            | Self::ReadChanged { run, .. } => Some(format!("bundle effects record {}", run.package)),
            Self::OtherArchitecture { run, .. } => Some(format!(
                "bundle effects record {}; on a machine that is {}",
                run.package, run.architecture
            )),
            Self::OnlyRecorded { run } => Some(format!(
                "read the script and add it to the table of effects, or set `scripts = \"recorded\"` in [platform] of \
                 bundle.toml; without either, leave {} out of the recipe",
                run.package
            )),
            Self::Triggers { run } => Some(format!(
                "read the script of {} and add it to the table of effects, or leave it out of the recipe",
                run.package
            )),
            Self::Undone { run, .. } => Some(format!(
                "read the script of {} and add it to the table of effects, or leave one of the two packages out of the recipe",
                run.package
            )),
            Self::Effect { package, source: EffectError::Runs { .. }, .. } => {
                Some(format!("bundle effects record {package}; or leave one of the two out of the recipe"))
            }
            Self::Effect { source, .. } | Self::Trigger { source, .. } => source.hint().map(str::to_owned),
            Self::Conflict { .. } => Some("leave one of the two out of the recipe".to_owned()),
            _ => None,
        }
    }
}
