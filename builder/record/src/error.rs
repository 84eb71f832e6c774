//! Why a script was not recorded.

use std::{io, net::SocketAddr, path::PathBuf};

use builder_sandbox::SandboxError;
use builder_tree::{AccountsError, PayloadError, ScriptRun, TreePath};

/// Why a script was not recorded. Nothing is kept of a run that failed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The tree lacks what runs it.
    #[error("the {run} needs {interpreter}, which the image does not hold")]
    Interpreter {
        /// What would run.
        run: Box<ScriptRun>,
        /// The program of its first line.
        interpreter: String,
    },
    /// There is no place to run it.
    #[error("{} cannot be made", path.display())]
    Place {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the tree cannot be laid down.
    #[error("{path} of the tree cannot be laid down")]
    Lay {
        /// The path.
        path: TreePath,
        /// What the system said.
        source: io::Error,
    },
    /// What is in a file of the tree cannot be read.
    #[error("{path} of the tree cannot be read")]
    Content {
        /// The path.
        path: TreePath,
        /// Why.
        source: PayloadError,
    },
    /// The sandbox.
    #[error("the {run} was not run")]
    Sandbox {
        /// What would run.
        run: Box<ScriptRun>,
        /// Why.
        source: Box<SandboxError>,
    },
    /// It failed.
    #[error("the {run} failed, {how}{}", last_lines(said))]
    Failed {
        /// What ran.
        run: Box<ScriptRun>,
        /// How it ended.
        how: String,
        /// The last lines that it wrote.
        said: Vec<String>,
    },
    /// It wanted the network.
    #[error(
        "the {run} wants the network, {address}; there is none where effects are recorded{}",
        last_lines(said)
    )]
    Network {
        /// What ran.
        run: Box<ScriptRun>,
        /// What it wanted to reach.
        address: SocketAddr,
        /// The last lines that it wrote.
        said: Vec<String>,
    },
    /// It asked somebody.
    #[error("the {run} reads what a person would type; nobody is there{}", last_lines(said))]
    Question {
        /// What ran.
        run: Box<ScriptRun>,
        /// The last lines that it wrote.
        said: Vec<String>,
    },
    /// It started something that goes on.
    #[error(
        "the {run} starts a service with {program}; none runs while an image is built{}",
        last_lines(said)
    )]
    Service {
        /// What ran.
        run: Box<ScriptRun>,
        /// What it started.
        program: String,
        /// The last lines that it wrote.
        said: Vec<String>,
    },
    /// It looked at more than a file of recorded effects can list.
    #[error("the {run} looked at {count} paths and more; that is more than can be listed")]
    TooManyReads {
        /// What ran.
        run: Box<ScriptRun>,
        /// How many were noted.
        count: usize,
    },
    /// It has to do with files of other users, and there is only one.
    #[error(
        "the {run} uses {path}, which is not root's; without root there is no other user where effects are recorded"
    )]
    Owners {
        /// What ran.
        run: Box<ScriptRun>,
        /// The path.
        path: TreePath,
    },
    /// It left processes that go on.
    #[error(
        "the {run} ended and left {count} processes running; none runs while an image is built{}",
        last_lines(said)
    )]
    LeftRunning {
        /// What ran.
        run: Box<ScriptRun>,
        /// How many.
        count: u32,
        /// The last lines that it wrote.
        said: Vec<String>,
    },
    /// What it left cannot be read.
    #[error("what the {run} left at {} cannot be read", path.display())]
    Look {
        /// What ran.
        run: Box<ScriptRun>,
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It left something that an image cannot hold.
    #[error("the {run} left {} at {path}, which an image cannot hold", what)]
    Special {
        /// What ran.
        run: Box<ScriptRun>,
        /// The path.
        path: TreePath,
        /// What is there.
        what: String,
    },
    /// A name is not a path of a tree.
    #[error("the {run} used the path {}, which is none of an image's", path.display())]
    Name {
        /// What ran.
        run: Box<ScriptRun>,
        /// The path.
        path: PathBuf,
    },
    /// It changed dpkg's own records.
    #[error("the {run} changed {path}, a record of dpkg's, which is made anew for each image")]
    DpkgRecord {
        /// What ran.
        run: Box<ScriptRun>,
        /// The path.
        path: TreePath,
    },
    /// It left something else where a list is.
    #[error("the {run} left /{path} as something else than a text of a few megabytes that no link leads to")]
    List {
        /// What ran.
        run: Box<ScriptRun>,
        /// Which list, without a leading slash.
        path: String,
    },
    /// It changed accounts in a way that cannot be recorded.
    #[error("what the {run} does to accounts cannot be recorded")]
    Accounts {
        /// What ran.
        run: Box<ScriptRun>,
        /// Why.
        source: AccountsError,
    },
    /// Two runs did not do the same.
    #[error("the {run} does not do the same twice: {path} differs, {first} and {second}")]
    Nondeterministic {
        /// What ran.
        run: Box<ScriptRun>,
        /// The first path that differs.
        path: TreePath,
        /// What the first run left.
        first: String,
        /// What the second run left.
        second: String,
    },
    /// Two runs did not do the same to accounts or triggers.
    #[error("the {run} does not do the same twice: its {what} differ")]
    NondeterministicList {
        /// What ran.
        run: Box<ScriptRun>,
        /// `accounts` or `triggers`.
        what: &'static str,
    },
}

impl RecordError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let declare = |run: &ScriptRun| {
            Some(format!(
                "leave {} out of the recipe, or read its {} and add it to the table of effects",
                run.package, run.name
            ))
        };
        match self {
            Self::Owners { run, .. } => Some(format!("bundle effects record {}; as root", run.package)),
            Self::Interpreter { .. } => Some(
                "set `essential = true` in the [image] of the recipe, or add the package that brings it"
                    .to_owned(),
            ),
            Self::Sandbox { source, .. } if matches!(**source, SandboxError::Weaker { .. }) => {
                Some("bundle doctor, which names what is missing".to_owned())
            }
            Self::Sandbox { source, .. } => source.remedy().map(str::to_owned),
            Self::Failed { run, .. }
            | Self::Network { run, .. }
            | Self::Question { run, .. }
            | Self::Service { run, .. }
            | Self::LeftRunning { run, .. }
            | Self::TooManyReads { run, .. }
            | Self::Special { run, .. }
            | Self::DpkgRecord { run, .. }
            | Self::List { run, .. }
            | Self::Name { run, .. }
            | Self::Accounts { run, .. }
            | Self::Nondeterministic { run, .. }
            | Self::NondeterministicList { run, .. } => declare(run),
            Self::Place { .. } => Some("set TMPDIR to a folder with enough room".to_owned()),
            Self::Lay { .. } | Self::Look { .. } => {
                Some("set TMPDIR to a folder of a file system such as ext4 or tmpfs".to_owned())
            }
            Self::Content { .. } => Some("the same command again, which unpacks what is missing".to_owned()),
        }
    }
}

/// Lines that a message shows, each on its own.
fn last_lines(said: &[String]) -> String {
    said.iter().fold(String::new(), |text, line| text + "\n    | " + line)
}
