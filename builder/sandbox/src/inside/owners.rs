//! Which users of the machine the sandbox's users are.
//!
//! Root gives the sandbox users of its own that own nothing on the machine, and shows it the inputs through a map, so
//! that what root owns outside the sandbox's first user owns inside. Anybody else has one user to give: himself.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use rustix::{process::Pid, thread::CapabilitySet};

use super::{OfStep as _, Stop, namespaces::no_user_namespace};
use crate::{error::FailedStep, kernel::SingleThread, specification::Identity};

/// First of the machine's users that sandboxes get. Above what systemd gives to containers, below 2^31, which some
/// programs take for a negative number.
const FIRST: u32 = 0x7000_0000;
/// How many users a sandbox with its own root has, as Debian counts them.
const RANGE: u32 = 0x1_0000;

/// The users of one sandbox.
#[derive(Debug)]
pub(crate) enum Owners {
    /// Root's gift: users without any right on the machine.
    Delegated {
        identity: Identity,
        /// The sandbox's user namespace.
        users: OwnedFd,
        /// A user namespace that serves as the map for the owners of inputs.
        inputs: OwnedFd,
    },
    /// The caller himself, under another number.
    Caller {
        identity: Identity,
        /// The caller's user and group.
        ids: (u32, u32),
    },
}

impl Owners {
    /// Delegated users if this process may give some.
    pub(crate) fn choose(alone: &SingleThread, identity: Identity) -> Result<Self, Stop> {
        let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if !users_are_delegated().of_step("see which users it may give")? {
            return Ok(Self::Caller { identity, ids });
        }
        let (user, group) = identity.ids();
        let count = match identity {
            Identity::User => 1,
            Identity::Root => RANGE,
        };
        let users = user_namespace(alone, &map(user, count), &map(group, count))?;
        // Owners 0 and up of the inputs are the sandbox's first users, whatever numbers those have inside.
        let inputs = user_namespace(alone, &map(0, count), &map(0, count))?;
        Ok(Self::Delegated { identity, users, inputs })
    }

    /// Whether the sandbox's users are not the caller.
    pub(crate) const fn are_delegated(&self) -> bool {
        matches!(self, Self::Delegated { .. })
    }

    /// User and group inside.
    pub(crate) const fn ids(&self) -> (u32, u32) {
        match self {
            Self::Delegated { identity, .. } | Self::Caller { identity, .. } => identity.ids(),
        }
    }

    /// The map for the owners of inputs, if they need one.
    pub(crate) fn of_inputs(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Delegated { inputs, .. } => Some(inputs.as_fd()),
            Self::Caller { .. } => None,
        }
    }
}

/// Lines of `uid_map` are: first inside, first outside, how many (`user_namespaces(7)`).
pub(crate) fn map(inside: u32, count: u32) -> String {
    format!("{inside} {FIRST} {count}")
}

/// Whether sandboxes of this process have users of their own, so that files can be given to others than root. It takes
/// capabilities, among them that over files of `/proc` for who is not root, and a user namespace around this process that
/// has the users to be given.
pub fn users_are_delegated() -> io::Result<bool> {
    let mut needed = CapabilitySet::SYS_ADMIN | CapabilitySet::SETUID | CapabilitySet::SETGID;
    needed.set(CapabilitySet::DAC_OVERRIDE, !rustix::process::geteuid().is_root());
    let own = rustix::thread::capabilities(None)?;
    let last = u64::from(FIRST) + u64::from(RANGE);
    let has_users = |file: &str| -> io::Result<bool> {
        let text = fs::read_to_string(file)?;
        Ok(text.lines().any(|line| {
            let mut numbers = line.split_whitespace().map_while(|number| number.parse::<u64>().ok());
            match (numbers.next(), numbers.next(), numbers.next()) {
                (Some(first), Some(_), Some(count)) => first <= u64::from(FIRST) && last <= first + count,
                _ => false,
            }
        }))
    };
    Ok(own.effective.contains(needed) && has_users("/proc/self/uid_map")? && has_users("/proc/self/gid_map")?)
}

/// A user namespace with these maps. It lives as long as someone holds it.
fn user_namespace(alone: &SingleThread, users: &str, groups: &str) -> Result<OwnedFd, Stop> {
    let look = |process: Pid| {
        let folder = PathBuf::from(format!("/proc/{}", process.as_raw_nonzero()));
        for (name, text) in [("uid_map", users), ("gid_map", groups)] {
            let path = folder.join(name);
            fs::write(&path, text).of_step_on("write", &path)?;
        }
        let path = folder.join("ns/user");
        fs::File::open(&path).map(OwnedFd::from).of_step_on("open", &path)
    };
    alone.with_user_namespace(look).map_err(not_made)?
}

/// Why there is no user namespace: for now, or never on this machine.
fn not_made(error: io::Error) -> Stop {
    const LACKS: [i32; 5] = [libc::EPERM, libc::ENOSPC, libc::EUSERS, libc::EINVAL, libc::ENOSYS];
    if error.raw_os_error().is_some_and(|number| LACKS.contains(&number)) {
        return Stop::Unavailable(no_user_namespace(&error));
    }
    let action = "start a process for a user namespace".to_owned();
    Stop::Failed(FailedStep { action, path: None }, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_go_better_the_next_time_is_no_lack_of_namespaces() {
        for (number, is_lack) in [
            (libc::EPERM, true),
            (libc::ENOSPC, true),
            (libc::EUSERS, true),
            (libc::EINVAL, true),
            (libc::ENOSYS, true),
            (libc::EAGAIN, false),
            (libc::ENOMEM, false),
            (libc::ECHILD, false),
        ] {
            let stop = not_made(io::Error::from_raw_os_error(number));
            assert_eq!(matches!(stop, Stop::Unavailable(_)), is_lack, "{number}");
        }
    }
}
