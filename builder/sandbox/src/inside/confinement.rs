//! The walls that a process builds around itself alone: limits, capabilities, Landlock, the list of system calls.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, LandlockStatus, RestrictionStatus, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::{
    io::Errno,
    process::{Resource, Rlimit},
    thread::{CapabilitySet, CapabilitySets},
};

use super::{
    OfStep as _, Stop,
    system_calls::{self, Refused},
};
use crate::{
    channel::{Channel, Order, Report, Stage, Surroundings},
    kernel,
    level::{Gap, Reached, Wall},
    observed,
    specification::{Identity, Limits, Mount, Root, Specification},
};

/// What a maintainer script does as root, and what nobody outside notices.
const ROOT_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP);

/// Devices that every command may use.
pub(crate) const DEVICES: [&str; 5] = ["full", "null", "random", "urandom", "zero"];

/// Builds the walls and says which stand: of those that others built too.
pub(crate) fn confine(channel: &Channel, order: &Order, gaps: &[Gap]) -> Result<Reached, Stop> {
    let specification = &order.specification;
    // Read before Landlock closes /proc where it is the machine's.
    let here = Surroundings::observe().of_step("read its namespaces")?;
    let mut reached = Reached { walls: here.walls(&order.outside), gaps: gaps.to_vec() };
    let has_facts = Path::new("/proc/sys").exists();
    if has_facts && order.stage == Stage::Inside {
        let cause = "all of /proc is there".to_owned();
        reached.gaps.push(Gap { wall: Wall::Facts, cause, remedy: Some("use the own executor".to_owned()) });
    } else if !has_facts {
        reached.walls.push(Wall::Facts);
    }
    // Who is not root can make nobody root; a map says something only about the user namespace around it.
    let user = if order.outside.is_roots() { outer_user().of_step("read the map of users")? } else { None };
    match user {
        Some(0) => reached.gaps.push(Gap {
            wall: Wall::Unprivileged,
            cause: "outside it is user 0".to_owned(),
            remedy: Some("start it as another user, or with the own executor".to_owned()),
        }),
        _ => reached.walls.push(Wall::Unprivileged),
    }
    set_limits(&specification.limits)?;
    reached.walls.push(Wall::Limits);
    // Without a user namespace a capability is one over the machine.
    let kept = match specification.identity {
        Identity::Root if reached.walls.contains(&Wall::Users) => ROOT_CAPABILITIES,
        Identity::Root | Identity::User => CapabilitySet::empty(),
    };
    keep_capabilities(kept)?;
    reached.walls.push(Wall::Capabilities);
    rustix::thread::set_no_new_privs(true).of_step("give up new privileges")?;
    reached.walls.push(Wall::NoNewPrivileges);
    restrict_files(order, &mut reached)?;
    if order.watch.is_some() {
        // Before the list, which does not have the call that adds a filter.
        let program = observed::filter().map_err(std::io::Error::other).of_step("watch system calls")?;
        let listener = kernel::listen(&program).of_step("watch system calls")?;
        channel.hand_over(&Report::Watched, &listener).map_err(|_| Stop::Over)?;
    }
    system_calls::restrict(Refused {
        machine: matches!(order.stage, Stage::WithoutNamespaces(_)),
        owner_rights: specification.identity == Identity::User,
    })?;
    reached.walls.push(Wall::SystemCalls);
    for wall in Wall::ALL {
        let is_known = reached.walls.contains(&wall) || reached.gaps.iter().any(|gap| gap.wall == wall);
        if !is_known {
            let cause = "it is the machine's own".to_owned();
            reached.gaps.push(Gap { wall, cause, remedy: None });
        }
    }
    reached.walls.sort();
    Ok(reached)
}

/// The machine's number of this process's user, as far as this process's user namespace tells. Maps name users of the
/// namespace around, which is the caller's.
fn outer_user() -> std::io::Result<Option<u32>> {
    let own = rustix::process::geteuid().as_raw();
    let text = std::fs::read_to_string("/proc/self/uid_map")?;
    Ok(text.lines().find_map(|line| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let &[inside, outside, count] = numbers.as_slice() else { return None };
        let place = own.checked_sub(inside).filter(|place| *place < count)?;
        outside.checked_add(place)
    }))
}

fn set_limits(limits: &Limits) -> Result<(), Stop> {
    let wanted = [
        (Resource::As, limits.memory),
        (Resource::Nproc, limits.processes),
        (Resource::Nofile, limits.descriptors),
        (Resource::Fsize, limits.file),
        (Resource::Cpu, limits.processor.as_secs()),
        (Resource::Core, 0),
        (Resource::Memlock, 64 << 10),
        (Resource::Msgqueue, 64 << 10),
        (Resource::Rtprio, 0),
    ];
    for (resource, value) in wanted {
        // What is bounded more tightly already stays so.
        let value = rustix::process::getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value));
        let limit = Rlimit { current: Some(value), maximum: Some(value) };
        rustix::process::setrlimit(resource, limit).of_step("set limits")?;
    }
    Ok(())
}

fn keep_capabilities(kept: CapabilitySet) -> Result<(), Stop> {
    match rustix::thread::clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error).of_step("drop capabilities"),
    }
    let own = rustix::thread::capabilities(None).of_step("read capabilities")?;
    // Without new privileges no program gains any; so where the right to drop them is missing, nothing is.
    if own.effective.contains(CapabilitySet::SETPCAP) {
        for bit in 0..u64::BITS {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            if kept.contains(one) {
                continue;
            }
            match rustix::thread::remove_capability_from_bounding_set(one) {
                Ok(()) => {}
                // The kernel knows no more of them.
                Err(Errno::INVAL) => break,
                Err(error) => return Err(error).of_step("drop capabilities"),
            }
        }
    }
    let kept = kept & own.permitted;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).of_step("drop capabilities")
}

/// Lets files be written only where the specification says so.
fn restrict_files(order: &Order, reached: &mut Reached) -> Result<(), Stop> {
    let without_namespaces = matches!(order.stage, Stage::WithoutNamespaces(_));
    let status = landlock_rules(&order.specification, without_namespaces)
        .map_err(std::io::Error::other)
        .of_step("restrict files with Landlock")?;
    let missing = |cause: &str, remedy: &str| (cause.to_owned(), remedy.to_owned());
    let (files, scopes) = match status.landlock {
        LandlockStatus::NotImplemented => {
            let gap = missing("this kernel has no Landlock", "install Linux 6.12 or newer");
            (Some(gap.clone()), Some(gap))
        }
        LandlockStatus::NotEnabled => {
            let gap =
                missing("Landlock is not among the kernel's lsm", "add landlock to the boot parameter lsm=");
            (Some(gap.clone()), Some(gap))
        }
        LandlockStatus::Available { .. } if status.ruleset == RulesetStatus::NotEnforced => {
            let gap = missing("Landlock enforces nothing", "install Linux 6.12 or newer");
            (Some(gap.clone()), Some(gap))
        }
        LandlockStatus::Available { effective_abi, .. } if effective_abi < ABI::V6 => {
            let cause =
                format!("Landlock of this kernel is version {}, scopes are of 6", effective_abi as i32);
            (None, Some(missing(&cause, "install Linux 6.12 or newer")))
        }
        LandlockStatus::Available { .. } => (None, None),
    };
    for (wall, gap) in [(Wall::Files, files), (Wall::Scopes, scopes)] {
        match gap {
            Some((cause, remedy)) => reached.gaps.push(Gap { wall, cause, remedy: Some(remedy) }),
            None => reached.walls.push(wall),
        }
    }
    Ok(())
}

fn landlock_rules(
    specification: &Specification,
    without_namespaces: bool,
) -> Result<RestrictionStatus, RulesetError> {
    // The newest rights that this text was checked against; older kernels take a part of them.
    let newest = ABI::V6;
    let all = AccessFs::from_all(newest);
    let read = AccessFs::from_read(newest);
    let devices = DEVICES.map(|name| Path::new("/dev").join(name));
    let mut readable = Vec::new();
    let mut writable = vec![PathBuf::from("/dev/shm")];
    if without_namespaces {
        // The machine's /dev/shm and /proc are no business of a command's.
        writable.clear();
        readable.push(PathBuf::from("/proc/self"));
    } else if specification.root == Root::Empty {
        readable.push(PathBuf::from("/"));
    } else {
        writable.push(PathBuf::from("/"));
    }
    for mount in &specification.mounts {
        match mount {
            Mount::ReadOnly { target, .. } => readable.push(target.clone()),
            Mount::Writable { target, .. } | Mount::Temporary { target, .. } => writable.push(target.clone()),
            Mount::Link { .. } => {}
        }
    }
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(Scope::from_all(newest))?
        .create()?
        .add_rules(path_beneath_rules(readable, read))?
        .add_rules(path_beneath_rules(writable, all))?
        .add_rules(path_beneath_rules(devices, AccessFs::ReadFile | AccessFs::WriteFile))?
        .restrict_self()
}
