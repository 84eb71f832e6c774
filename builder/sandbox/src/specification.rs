//! What is run, against what, within which bounds.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Environment of every command, before what it declares itself: nothing in it tells one machine from another.
pub const FIXED_ENVIRONMENT: [(&str, &str); 6] = [
    ("HOME", "/homeless"),
    ("LC_ALL", "C.UTF-8"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("PYTHONHASHSEED", "0"),
    ("TMPDIR", "/tmp"),
    ("TZ", "UTC"),
];

/// The host name inside.
pub const HOST_NAME: &str = "sandbox";

/// The name of the variable that holds the time that files are to carry, in seconds since 1970.
pub const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// One command and everything that it may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Specification {
    /// The program, a path inside.
    pub program: PathBuf,
    /// Its arguments, without its name.
    pub arguments: Vec<String>,
    /// Its environment; a name of [`FIXED_ENVIRONMENT`] replaces what stands there.
    pub environment: BTreeMap<String, String>,
    /// Its working folder, a path inside.
    pub folder: PathBuf,
    /// Value of [`SOURCE_DATE_EPOCH`].
    pub source_date_epoch: u64,
    /// What `/` is.
    pub root: Root,
    /// What is put into `/`, in this order.
    pub mounts: Vec<Mount>,
    /// As whom it runs.
    pub identity: Identity,
    /// Within which bounds.
    pub limits: Limits,
}

/// What `/` is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Root {
    /// An empty, read-only folder with `/dev` and `/proc`.
    Empty,
    /// A tree that can be changed: what changes goes elsewhere.
    Overlay {
        /// The tree, which stays as it is.
        lower: PathBuf,
        /// A folder of the machine. The kernel keeps what was changed below `upper` in it, in the form of overlayfs (a
        /// device 0:0 is a removal), and works in `work`.
        changes: PathBuf,
    },
}

/// Something in the sandbox's `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Mount {
    /// A file or folder of the machine, only to be read.
    ReadOnly {
        /// Where it is on the machine.
        source: PathBuf,
        /// Where it is inside.
        target: PathBuf,
    },
    /// A folder of the machine that the command writes to.
    Writable {
        /// Where it is on the machine.
        source: PathBuf,
        /// Where it is inside.
        target: PathBuf,
    },
    /// An empty folder in memory.
    Temporary {
        /// Where it is inside.
        target: PathBuf,
        /// How much it holds at most.
        bytes: u64,
    },
    /// A symbolic link, as `/bin` is one.
    Link {
        /// Where it is inside.
        target: PathBuf,
        /// What it says.
        text: PathBuf,
    },
}

impl Mount {
    /// Where it is inside.
    pub fn target(&self) -> &Path {
        match self {
            Self::ReadOnly { target, .. }
            | Self::Writable { target, .. }
            | Self::Temporary { target, .. }
            | Self::Link { target, .. } => target,
        }
    }
}

/// As whom the command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Identity {
    /// User 1000, group 100, without any capability.
    User,
    /// User and group 0 of the sandbox, able to change owners and modes inside it and nothing outside. When the caller
    /// is root there are 65,536 users inside, each with its own limit of processes; else this one only, and to give a
    /// file to another fails.
    ///
    /// It may set set-user-id, and what it writes belongs to the caller outside: changes and writable folders have to
    /// lie below a folder that nobody else enters.
    Root,
}

impl Identity {
    /// User and group inside.
    pub(crate) const fn ids(self) -> (u32, u32) {
        match self {
            Self::User => (1000, 100),
            Self::Root => (0, 0),
        }
    }
}

/// Bounds. What is over them fails inside or ends the sandbox; nothing is slowed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Address space of each process in bytes.
    pub memory: u64,
    /// Processes and threads of each user inside.
    pub processes: u64,
    /// Open descriptors of each process.
    pub descriptors: u64,
    /// Bytes of each file that is written.
    pub file: u64,
    /// Bytes of everything that was changed in a tree together, measured from time to time; more ends the sandbox.
    pub changes: u64,
    /// Bytes of standard output and standard error together; one more ends the sandbox.
    pub output: u64,
    /// Processor time of each process, in whole seconds.
    pub processor: Duration,
    /// From start to end; afterwards everything is killed.
    pub time: Duration,
}

impl Default for Limits {
    /// Bounds of a large build step: 8 GiB per process, 4,096 processes, files of 16 GiB, 16 GiB of changes, 64 MiB of
    /// output, one hour.
    fn default() -> Self {
        Self {
            memory: 8 << 30,
            processes: 4096,
            descriptors: 4096,
            file: 16 << 30,
            changes: 16 << 30,
            output: 64 << 20,
            processor: Duration::from_hours(1),
            time: Duration::from_hours(1),
        }
    }
}

impl Specification {
    /// `program` alone in an empty root.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            folder: PathBuf::from("/"),
            source_date_epoch: 0,
            root: Root::Empty,
            mounts: Vec::new(),
            identity: Identity::User,
            limits: Limits::default(),
        }
    }

    /// The whole environment of the command.
    pub(crate) fn whole_environment(&self) -> BTreeMap<String, String> {
        let fixed = FIXED_ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut whole = BTreeMap::from(fixed);
        whole.insert(SOURCE_DATE_EPOCH.to_owned(), self.source_date_epoch.to_string());
        whole.extend(self.environment.clone());
        whole
    }
}
