//! How much a sandbox holds back: walls that were seen to stand, and the level that they make together.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that keeps a command from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wall {
    /// Its own user namespace: capabilities mean nothing outside.
    Users,
    /// Its own mount namespace.
    Mounts,
    /// Its own process ids; when its first process ends, so do all.
    Processes,
    /// Its own System V and POSIX message queues and shared memory.
    Messages,
    /// Its own host name.
    HostName,
    /// Its own network, with a loopback device only; its own abstract sockets.
    Network,
    /// Its own view of control groups.
    ControlGroups,
    /// A root that holds the declared inputs and nothing else.
    Root,
    /// `/proc` tells of the sandbox's processes and nothing about the machine.
    Facts,
    /// Outside it is another user than root.
    Unprivileged,
    /// No capability over the machine, and inside only those that its identity needs.
    Capabilities,
    /// No program gives it more rights than it has.
    NoNewPrivileges,
    /// A list of system calls, all others refused.
    SystemCalls,
    /// Landlock: files are written only below writable folders.
    Files,
    /// Landlock: no abstract socket and no signal across the border (Linux 6.12).
    Scopes,
    /// Resource limits.
    Limits,
}

impl Wall {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Users,
        Self::Mounts,
        Self::Processes,
        Self::Messages,
        Self::HostName,
        Self::Network,
        Self::ControlGroups,
        Self::Root,
        Self::Facts,
        Self::Unprivileged,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::SystemCalls,
        Self::Files,
        Self::Scopes,
        Self::Limits,
    ];

    /// Its name, as it is written in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Mounts => "mounts",
            Self::Processes => "processes",
            Self::Messages => "messages",
            Self::HostName => "hostName",
            Self::Network => "network",
            Self::ControlGroups => "controlGroups",
            Self::Root => "root",
            Self::Facts => "facts",
            Self::Unprivileged => "unprivileged",
            Self::Capabilities => "capabilities",
            Self::NoNewPrivileges => "noNewPrivileges",
            Self::SystemCalls => "systemCalls",
            Self::Files => "files",
            Self::Scopes => "scopes",
            Self::Limits => "limits",
        }
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What a set of walls holds back. Each level has all that the lower ones have, except that `Isolated` and `Full` do
/// not need the scopes of Landlock: their namespaces do the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// Less than any level below promises.
    None,
    /// No namespaces: what a container without privileges allows. System calls are filtered (no socket, no System V
    /// object, no change of another process), files are held by Landlock, signals by its scopes. **Does not hold back**,
    /// beside what `Isolated` does not: names, sizes and times of the machine's files (`stat` works everywhere); the host
    /// name; a process that outlives the command, where the caller is killed.
    Confined,
    /// Namespaces, an own root, filtered system calls. **Does not hold back**, beside what `Full` does not: what `/proc`
    /// tells about the machine (processor, boot, addresses of the kernel, names of keys), if `facts` is missing; if
    /// `unprivileged` is missing, any number of processes, and the command is the machine's user 0, without
    /// capabilities.
    Isolated,
    /// All of it. **Does not hold back**: flaws of the kernel; the clock, the processor's instructions and the kernel's
    /// release; where inputs lie on the machine (`/proc/self/mountinfo`); a socket in a declared folder, whoever listens
    /// there; groups that the caller has and cannot leave; the load that it makes within its limits.
    Full,
}

impl Level {
    /// All of them, weakest first.
    pub const ALL: [Self; 4] = [Self::None, Self::Confined, Self::Isolated, Self::Full];

    /// Its name, as it is typed and written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Confined => "confined",
            Self::Isolated => "isolated",
            Self::Full => "full",
        }
    }

    /// The walls without which there is no such level.
    pub const fn walls(self) -> &'static [Wall] {
        match self {
            Self::None => &[],
            Self::Confined => &[
                Wall::Capabilities,
                Wall::NoNewPrivileges,
                Wall::SystemCalls,
                Wall::Files,
                Wall::Scopes,
                Wall::Limits,
            ],
            Self::Isolated => &[
                Wall::Users,
                Wall::Mounts,
                Wall::Processes,
                Wall::Messages,
                Wall::HostName,
                Wall::Network,
                Wall::ControlGroups,
                Wall::Root,
                Wall::Capabilities,
                Wall::NoNewPrivileges,
                Wall::SystemCalls,
                Wall::Limits,
            ],
            Self::Full => &[
                Wall::Users,
                Wall::Mounts,
                Wall::Processes,
                Wall::Messages,
                Wall::HostName,
                Wall::Network,
                Wall::ControlGroups,
                Wall::Root,
                Wall::Facts,
                Wall::Unprivileged,
                Wall::Capabilities,
                Wall::NoNewPrivileges,
                Wall::SystemCalls,
                Wall::Files,
                Wall::Limits,
            ],
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A wall that does not stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// Which.
    pub wall: Wall,
    /// What stood in the way.
    pub cause: String,
    /// What to type or to set, if anything helps.
    pub remedy: Option<String>,
}

/// What was measured, from inside, at the last moment before the command began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// The walls that stand.
    pub walls: Vec<Wall>,
    /// Those that do not.
    pub gaps: Vec<Gap>,
}

impl Reached {
    /// The highest level whose walls all stand.
    pub fn level(&self) -> Level {
        let reached = Level::ALL.into_iter().rev().find(|level| self.missing(*level).next().is_none());
        reached.unwrap_or(Level::None)
    }

    /// The gaps that keep it from `level`.
    pub fn missing(&self, level: Level) -> impl Iterator<Item = &Gap> {
        self.gaps.iter().filter(move |gap| level.walls().contains(&gap.wall))
    }
}
