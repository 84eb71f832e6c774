//! What caller and helper say to each other, over the socket that is the helper's standard input.

use std::{
    collections::BTreeMap,
    fs, io,
    io::{IoSlice, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::MetadataExt as _, net::UnixStream},
    },
    path::Path,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::{Deserialize, Serialize};

use crate::{
    error::FailedStep,
    executor::End,
    level::{Gap, Level, Reached, Wall},
    observation::Watch,
    specification::Specification,
};

/// An order is read up to here.
const ORDER_LIMIT: u64 = 16 << 20;

/// How the message is sent that hands a descriptor over: as no program sends one to another machine, so it is told from those.
pub(crate) const HANDED_OVER: SendFlags =
    SendFlags::NOSIGNAL.union(SendFlags::EOR).union(SendFlags::DONTROUTE);

/// What the helper does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) specification: Specification,
    /// Below it the command does not begin.
    pub(crate) minimum: Level,
    /// The caller's process id, as the caller sees it.
    pub(crate) caller: u32,
    pub(crate) outside: Surroundings,
    pub(crate) stage: Stage,
    pub(crate) action: Action,
    /// How the command is watched, if it is.
    pub(crate) watch: Option<Watch>,
}

/// Where the helper begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// On the machine: it makes namespaces and a root.
    Machine,
    /// On the machine, where there are no namespaces for these reasons.
    WithoutNamespaces(Vec<Gap>),
    /// In namespaces and a root that another program made.
    Inside,
}

/// What is done when all walls stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    /// The command runs.
    Run,
    /// Nothing: the walls are what was asked for.
    Measure,
}

/// What the helper says, one per line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The descriptor that comes with this is where the command's calls wait.
    Watched,
    /// All walls stand, the command begins.
    Reached(Reached),
    /// The command does not begin: not enough walls stand.
    Weaker(Reached),
    /// The machine allows no namespaces.
    Unavailable(Vec<Gap>),
    /// A step failed, with the system's number for it.
    Failed(FailedStep, i32),
    /// The command is over, and left so many processes running.
    Ended(End, u32),
}

/// Namespaces, root and user of a process: what differs inside stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Surroundings {
    namespaces: BTreeMap<Wall, String>,
    root: (u64, u64),
    user: u32,
}

/// Namespaces by their names below `/proc/self/ns`.
const NAMESPACES: [(Wall, &str); 7] = [
    (Wall::Users, "user"),
    (Wall::Mounts, "mnt"),
    (Wall::Processes, "pid"),
    (Wall::Messages, "ipc"),
    (Wall::HostName, "uts"),
    (Wall::Network, "net"),
    (Wall::ControlGroups, "cgroup"),
];

impl Surroundings {
    /// Those of this process.
    pub(crate) fn observe() -> io::Result<Self> {
        let mut namespaces = BTreeMap::new();
        for (wall, name) in NAMESPACES {
            let link = fs::read_link(Path::new("/proc/self/ns").join(name))?;
            namespaces.insert(wall, link.to_string_lossy().into_owned());
        }
        let root = fs::metadata("/")?;
        let user = rustix::process::geteuid().as_raw();
        Ok(Self { namespaces, root: (root.dev(), root.ino()), user })
    }

    /// Whether root is who is there.
    pub(crate) const fn is_roots(&self) -> bool {
        self.user == 0
    }

    /// The walls between this and `other`.
    pub(crate) fn walls(&self, other: &Self) -> Vec<Wall> {
        let differs = |wall: &Wall| self.namespaces.get(wall) != other.namespaces.get(wall);
        let mut walls: Vec<_> = NAMESPACES.into_iter().map(|(wall, _)| wall).filter(differs).collect();
        if self.root != other.root {
            walls.push(Wall::Root);
        }
        walls
    }
}

/// The helper's end.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: UnixStream,
}

impl Channel {
    /// Takes the socket away from standard input, which becomes empty.
    pub(crate) fn take() -> io::Result<Self> {
        let socket: OwnedFd = rustix::stdio::stdin().try_clone_to_owned()?;
        let empty = fs::File::open("/dev/null")?;
        rustix::stdio::dup2_stdin(empty.as_fd())?;
        Ok(Self { socket: socket.into() })
    }

    /// Reads the order.
    pub(crate) fn order(&mut self) -> io::Result<Order> {
        let mut text = Vec::new();
        (&self.socket).take(ORDER_LIMIT).read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Hands a descriptor to the caller.
    pub(crate) fn hand_over(&self, report: &Report, descriptor: &OwnedFd) -> io::Result<()> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        let descriptors = [descriptor.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let sent = sendmsg(&self.socket, &[IoSlice::new(&line)], &mut control, HANDED_OVER)?;
        // The line is shorter than any buffer of a socket.
        if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Sends a report.
    pub(crate) fn report(&self, report: &Report) -> io::Result<()> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        (&self.socket).write_all(&line)
    }
}
