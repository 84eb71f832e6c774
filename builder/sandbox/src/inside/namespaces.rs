//! Leaving the machine's namespaces.

use std::{fs, io, os::fd::AsFd as _, path::Path};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType},
    thread::{CapabilitySets, Gid, LinkNameSpaceType, Uid, UnshareFlags},
};

use super::{OfStep as _, Stop, owners::Owners};
use crate::{
    kernel::{SingleThread, raise_loopback},
    level::{Gap, Wall},
    specification::HOST_NAME,
};

/// The namespaces beside that of users.
const NAMESPACES: UnshareFlags = UnshareFlags::NEWNS
    .union(UnshareFlags::NEWPID)
    .union(UnshareFlags::NEWIPC)
    .union(UnshareFlags::NEWUTS)
    .union(UnshareFlags::NEWNET)
    .union(UnshareFlags::NEWCGROUP);

/// Leaves all namespaces and takes on the sandbox's user. The next process that is started is the first of its own
/// process namespace.
pub(crate) fn leave(alone: &SingleThread, owners: &Owners) -> Result<(), Stop> {
    match owners {
        Owners::Delegated { users, .. } => {
            rustix::thread::set_thread_groups(&[]).of_step("leave supplementary groups")?;
            let kind = Some(LinkNameSpaceType::User);
            rustix::thread::move_into_link_name_space(users.as_fd(), kind)
                .of_step("enter the user namespace")?;
            become_user(owners.ids())?;
            alone.unshare(NAMESPACES).map_err(|error| Stop::Unavailable(no_namespaces(&error)))
        }
        Owners::Caller { ids: (user, group), .. } => {
            alone
                .unshare(NAMESPACES | UnshareFlags::NEWUSER)
                .map_err(|error| Stop::Unavailable(no_user_namespace(&error)))?;
            let (user_inside, group_inside) = owners.ids();
            let write = |path: &str, text: String| fs::write(path, text).of_step_on("write", path.as_ref());
            // Groups cannot be mapped as long as they could be left (user_namespaces(7)).
            write("/proc/self/setgroups", "deny".to_owned())?;
            write("/proc/self/uid_map", format!("{user_inside} {user} 1"))?;
            write("/proc/self/gid_map", format!("{group_inside} {group} 1"))
        }
    }
}

/// Takes on user and group with all capabilities that there are inside.
fn become_user((user, group): (u32, u32)) -> Result<(), Stop> {
    rustix::thread::set_keep_capabilities(true).of_step("keep capabilities")?;
    let group = Gid::from_raw(group);
    rustix::thread::set_thread_res_gid(group, group, group).of_step("take on the group")?;
    let user = Uid::from_raw(user);
    rustix::thread::set_thread_res_uid(user, user, user).of_step("take on the user")?;
    let sets = rustix::thread::capabilities(None).of_step("read capabilities")?;
    let all = CapabilitySets { effective: sets.permitted, ..sets };
    rustix::thread::set_capabilities(None, all).of_step("raise capabilities")?;
    rustix::thread::set_keep_capabilities(false).of_step("keep capabilities")?;
    // Files of /proc/self belong to the machine's root since the user changed.
    let dumpable = rustix::process::DumpableBehavior::Dumpable;
    rustix::process::set_dumpable_behavior(dumpable).of_step("own what is in /proc")?;
    Ok(())
}

/// Gives the new namespaces what a command expects of them. For the first process.
pub(crate) fn settle() -> Result<(), Stop> {
    rustix::system::sethostname(HOST_NAME.as_bytes()).of_step("set the host name")?;
    rustix::system::setdomainname(b"(none)").of_step("set the domain name")?;
    let kind = SocketType::DGRAM;
    let socket = rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)
        .of_step("open a socket")?;
    raise_loopback(socket).of_step("bring up the loopback device")
}

/// Why there are no namespaces at all, and what helps.
pub(crate) fn no_user_namespace(error: &io::Error) -> Vec<Gap> {
    let (cause, remedy) = diagnose(error, &|path| fs::read_to_string(path).ok());
    gaps(&cause, remedy.as_deref())
}

/// Why the namespaces that there are do not do: the machine's own /proc is covered in part, as container runtimes do, and
/// then the kernel gives no other.
pub(crate) fn masked() -> Vec<Gap> {
    gaps(
        "parts of /proc are masked",
        Some("run the pod with securityContext.procMount Unmasked and hostUsers false"),
    )
}

fn no_namespaces(error: &io::Error) -> Vec<Gap> {
    gaps(&format!("the system refuses namespaces ({error})"), Some("sysctl user.max_net_namespaces=1000"))
}

fn gaps(cause: &str, remedy: Option<&str>) -> Vec<Gap> {
    let walls = [
        Wall::Users,
        Wall::Mounts,
        Wall::Processes,
        Wall::Messages,
        Wall::HostName,
        Wall::Network,
        Wall::ControlGroups,
        Wall::Root,
    ];
    let gap = |wall| Gap { wall, cause: cause.to_owned(), remedy: remedy.map(ToOwned::to_owned) };
    walls.into_iter().map(gap).collect()
}

/// Finds the switch that stands in the way. `read` gives the text of a file of /proc, if it is there.
fn diagnose(error: &io::Error, read: &dyn Fn(&Path) -> Option<String>) -> (String, Option<String>) {
    let is = |path: &str, value: &str| read(Path::new(path)).is_some_and(|text| text.trim() == value);
    if is("/proc/sys/user/max_user_namespaces", "0") {
        let cause = "user namespaces are switched off (user.max_user_namespaces is 0)";
        return (cause.to_owned(), Some("sysctl user.max_user_namespaces=15000".to_owned()));
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        let cause = "user namespaces are for root only (kernel.unprivileged_userns_clone is 0)";
        return (cause.to_owned(), Some("sysctl kernel.unprivileged_userns_clone=1".to_owned()));
    }
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        let cause = "AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)";
        let remedy = "sysctl kernel.apparmor_restrict_unprivileged_userns=0";
        return (cause.to_owned(), Some(remedy.to_owned()));
    }
    let status = read(Path::new("/proc/self/status")).unwrap_or_default();
    let is_filtered = status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"]));
    if error.raw_os_error() == Some(libc::EPERM) && is_filtered {
        let cause = "a seccomp profile around this process refuses user namespaces";
        let remedy = "run the pod with securityContext.seccompProfile.type Unconfined, procMount Unmasked and hostUsers false";
        return (cause.to_owned(), Some(remedy.to_owned()));
    }
    (format!("the system refuses user namespaces ({error})"), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_that_stands_in_the_way_is_named() {
        let refused = io::Error::from_raw_os_error(libc::EPERM);
        let cases = [
            ("/proc/sys/user/max_user_namespaces", "0\n", "sysctl user.max_user_namespaces=15000"),
            (
                "/proc/sys/kernel/unprivileged_userns_clone",
                "0\n",
                "sysctl kernel.unprivileged_userns_clone=1",
            ),
            (
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                "1\n",
                "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            (
                "/proc/self/status",
                "Name:\tx\nSeccomp:\t2\n",
                "run the pod with securityContext.seccompProfile.type Unconfined, procMount Unmasked and hostUsers false",
            ),
        ];
        for (file, content, remedy) in cases {
            let read = |path: &Path| (path == Path::new(file)).then(|| content.to_owned());
            assert_eq!(diagnose(&refused, &read).1.as_deref(), Some(remedy), "{file}");
        }
        let (cause, remedy) = diagnose(&refused, &|_| None);
        assert!(cause.contains("not permitted") && remedy.is_none(), "{cause}");
    }
}
