//! The system calls that an observer hears of: which they are, and where each names a file.

#![allow(non_upper_case_globals, reason = "system calls are called as the C library calls them")]

use std::collections::BTreeMap;

#[allow(clippy::wildcard_imports, reason = "a list of many numbers")]
use libc::*;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::{channel::HANDED_OVER, kernel::Waiting, observation::Use};

/// Where a relative path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    WorkingFolder,
    Descriptor(c_int),
}

/// A path that a call names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) base: Base,
    /// Where the text is in the process's memory.
    pub(crate) text: u64,
    pub(crate) used: Use,
}

/// A call, as far as an observer cares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Files(Vec<Names>),
    /// It reads from descriptor 0.
    ReadInput,
    Connect {
        address: u64,
        length: u64,
    },
    /// It sends messages, which may have addresses: where each `msghdr` is.
    Send(Vec<u64>),
}

/// Messages that one call sends at most (`sendmmsg(2)`).
const MESSAGES_LIMIT: u64 = 1024;
/// From one `mmsghdr` to the next.
const MESSAGE: u64 = size_of::<mmsghdr>() as u64;

/// How a call's flags change the use.
#[derive(Debug, Clone, Copy)]
enum Flags {
    /// There are none.
    Fixed(Use),
    /// Those of `open(2)`, in this argument.
    Open(u8),
    /// `AT_SYMLINK_NOFOLLOW`, in this argument; else the link is followed.
    NoFollow(u8),
    /// `AT_SYMLINK_FOLLOW`, in this argument; else the link is not followed.
    Follow(u8),
    /// `AT_REMOVEDIR`, in this argument: a folder's list decides.
    Remove(u8),
}

/// Calls with paths: number, place of the folder's descriptor if there is one, place of the path, flags.
type Row = (c_long, Option<u8>, u8, Flags);

const LOOK: Flags = Flags::Fixed(Use::Look);
const LINK: Flags = Flags::Fixed(Use::LookAtLink);

#[rustfmt::skip]
const CALLS: &[Row] = &[
    (SYS_openat, Some(0), 1, Flags::Open(2)),
    (SYS_execve, None, 0, Flags::Fixed(Use::Execute)),
    (SYS_execveat, Some(0), 1, Flags::Fixed(Use::Execute)),
    (SYS_newfstatat, Some(0), 1, Flags::NoFollow(3)),
    (SYS_statx, Some(0), 1, Flags::NoFollow(2)),
    (SYS_faccessat, Some(0), 1, LOOK),
    (SYS_faccessat2, Some(0), 1, Flags::NoFollow(3)),
    (SYS_readlinkat, Some(0), 1, LINK),
    (SYS_chdir, None, 0, LOOK),
    (SYS_statfs, None, 0, LOOK),
    (SYS_truncate, None, 0, Flags::Fixed(Use::Read)),
    (SYS_getxattr, None, 0, LOOK),
    (SYS_listxattr, None, 0, LOOK),
    (SYS_setxattr, None, 0, LOOK),
    (SYS_removexattr, None, 0, LOOK),
    (SYS_lgetxattr, None, 0, LINK),
    (SYS_llistxattr, None, 0, LINK),
    (SYS_lsetxattr, None, 0, LINK),
    (SYS_lremovexattr, None, 0, LINK),
    (SYS_mkdirat, Some(0), 1, LINK),
    (SYS_mknodat, Some(0), 1, LINK),
    (SYS_unlinkat, Some(0), 1, Flags::Remove(2)),
    (SYS_symlinkat, Some(1), 2, LINK),
    (SYS_linkat, Some(0), 1, Flags::Follow(4)),
    (SYS_linkat, Some(2), 3, LINK),
    (SYS_renameat, Some(0), 1, LINK),
    (SYS_renameat, Some(2), 3, LINK),
    (SYS_renameat2, Some(0), 1, LINK),
    (SYS_renameat2, Some(2), 3, LINK),
    (SYS_fchmodat, Some(0), 1, LOOK),
    (SYS_fchmodat2, Some(0), 1, Flags::NoFollow(3)),
    (SYS_fchownat, Some(0), 1, Flags::NoFollow(4)),
    (SYS_utimensat, Some(0), 1, Flags::NoFollow(3)),
];

#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const CALLS_HERE: &[Row] = &[
    (SYS_open, None, 0, Flags::Open(1)),
    (SYS_creat, None, 0, LOOK),
    (SYS_stat, None, 0, LOOK),
    (SYS_lstat, None, 0, LINK),
    (SYS_access, None, 0, LOOK),
    (SYS_readlink, None, 0, LINK),
    (SYS_mkdir, None, 0, LINK),
    (SYS_mknod, None, 0, LINK),
    (SYS_rmdir, None, 0, Flags::Fixed(Use::ReadNoLink)),
    (SYS_unlink, None, 0, LINK),
    (SYS_symlink, None, 1, LINK),
    (SYS_link, None, 0, LINK),
    (SYS_link, None, 1, LINK),
    (SYS_rename, None, 0, LINK),
    (SYS_rename, None, 1, LINK),
    (SYS_chmod, None, 0, LOOK),
    (SYS_chown, None, 0, LOOK),
    (SYS_lchown, None, 0, LINK),
    (SYS_utime, None, 0, LOOK),
    (SYS_utimes, None, 0, LOOK),
    (SYS_futimesat, Some(0), 1, LOOK),
];
#[cfg(not(target_arch = "x86_64"))]
const CALLS_HERE: &[Row] = &[];

fn rows() -> impl Iterator<Item = &'static Row> {
    CALLS.iter().chain(CALLS_HERE)
}

impl Call {
    /// What a waiting call is; none if no observer cares.
    pub(crate) fn of(waiting: &Waiting) -> Option<Self> {
        let argument = |place: u8| waiting.arguments[usize::from(place)];
        match waiting.number {
            SYS_connect => return Some(Self::Connect { address: argument(1), length: argument(2) }),
            SYS_sendto => return Some(Self::Connect { address: argument(4), length: argument(5) }),
            SYS_sendmsg => return Some(Self::Send(vec![argument(1)])),
            SYS_sendmmsg => {
                let count = (argument(2) & 0xffff_ffff).min(MESSAGES_LIMIT);
                let places = (0..count).map(|number| argument(1).wrapping_add(number * MESSAGE));
                return Some(Self::Send(places.collect()));
            }
            SYS_read => return Some(Self::ReadInput),
            _ => {}
        }
        let names: Vec<Names> = rows()
            .filter(|(number, ..)| *number == waiting.number)
            .map(|(_, folder, text, flags)| {
                let base = match folder.map(|place| descriptor(argument(place))) {
                    None | Some(AT_FDCWD) => Base::WorkingFolder,
                    Some(number) => Base::Descriptor(number),
                };
                let used = flags.used(&waiting.arguments);
                Names { base, text: argument(*text), used }
            })
            .collect();
        (!names.is_empty()).then_some(Self::Files(names))
    }
}

/// The kernel takes the lower half of the register.
const fn descriptor(argument: u64) -> c_int {
    ((argument & 0xffff_ffff) as u32).cast_signed()
}

impl Flags {
    #[allow(clippy::match_same_arms, reason = "each flag stands beside what is without it")]
    fn used(self, arguments: &[u64; 6]) -> Use {
        let has = |place: u8, flag: c_int| descriptor(arguments[usize::from(place)]) & flag == flag;
        match self {
            Self::Fixed(used) => used,
            Self::Open(place) => match (has(place, O_PATH), has(place, O_NOFOLLOW)) {
                (true, true) => Use::LookAtLink,
                (true, false) => Use::Look,
                (false, true) => Use::ReadNoLink,
                (false, false) => Use::Read,
            },
            Self::NoFollow(place) => {
                if has(place, AT_SYMLINK_NOFOLLOW) {
                    Use::LookAtLink
                } else {
                    Use::Look
                }
            }
            Self::Follow(place) => {
                if has(place, AT_SYMLINK_FOLLOW) {
                    Use::Look
                } else {
                    Use::LookAtLink
                }
            }
            Self::Remove(place) => {
                if has(place, AT_REMOVEDIR) {
                    Use::ReadNoLink
                } else {
                    Use::LookAtLink
                }
            }
        }
    }
}

/// The filter whose calls wait.
pub(crate) fn filter() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = rows().map(|row| (row.0, Vec::new())).collect();
    let is = |argument: u8, value: u64| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
    };
    for call in [SYS_connect, SYS_sendmmsg] {
        rules.insert(call, Vec::new());
    }
    // Until the caller has the descriptor, who hands it over would wait for ever.
    let flags = u64::from(HANDED_OVER.bits());
    let others = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, flags)?;
    rules.insert(SYS_sendmsg, vec![SeccompRule::new(vec![others])?]);
    rules.insert(
        SYS_sendto,
        vec![SeccompRule::new(vec![SeccompCondition::new(
            4,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::Ne,
            0,
        )?])?],
    );
    rules.insert(SYS_read, vec![SeccompRule::new(vec![is(0, 0)?])?]);
    crate::clock::add_rules(&mut rules)?;
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    // The library knows no action by which a call waits; one that it knows stands for it.
    let mut program: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Trace(0), architecture)?.try_into()?;
    for instruction in &mut program {
        if u32::from(instruction.code) == BPF_RET | BPF_K && instruction.k == SECCOMP_RET_TRACE {
            instruction.k = SECCOMP_RET_USER_NOTIF;
        }
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: c_long, arguments: [u64; 6]) -> Option<Call> {
        Call::of(&Waiting { id: 1, process: 1, number, arguments })
    }

    #[test]
    fn calls_name_their_paths() {
        let here = AT_FDCWD.cast_unsigned();
        let flag = |flag: c_int| u64::from(flag.unsigned_abs());
        let names = |base, text, used| Names { base, text, used };
        let cwd = Base::WorkingFolder;
        for (number, arguments, expected) in [
            (SYS_openat, [here.into(), 7, 0, 0, 0, 0], vec![names(cwd, 7, Use::Read)]),
            (
                SYS_openat,
                [5, 7, flag(O_PATH | O_NOFOLLOW), 0, 0, 0],
                vec![names(Base::Descriptor(5), 7, Use::LookAtLink)],
            ),
            (
                SYS_newfstatat,
                [here.into(), 7, 0, flag(AT_SYMLINK_NOFOLLOW), 0, 0],
                vec![names(cwd, 7, Use::LookAtLink)],
            ),
            (
                SYS_unlinkat,
                [here.into(), 7, flag(AT_REMOVEDIR), 0, 0, 0],
                vec![names(cwd, 7, Use::ReadNoLink)],
            ),
            (
                SYS_renameat2,
                [here.into(), 7, 3, 8, 0, 0],
                vec![names(cwd, 7, Use::LookAtLink), names(Base::Descriptor(3), 8, Use::LookAtLink)],
            ),
            (SYS_execve, [7, 0, 0, 0, 0, 0], vec![names(cwd, 7, Use::Execute)]),
        ] {
            assert_eq!(call(number, arguments), Some(Call::Files(expected)), "{number}");
        }
        assert_eq!(call(SYS_write, [0; 6]), None);
        assert_eq!(call(SYS_connect, [3, 9, 16, 0, 0, 0]), Some(Call::Connect { address: 9, length: 16 }));
        assert_eq!(call(SYS_sendmsg, [3, 9, 0, 0, 0, 0]), Some(Call::Send(vec![9])));
        assert_eq!(call(SYS_sendmmsg, [3, 9, 2, 0, 0, 0]), Some(Call::Send(vec![9, 9 + 64])));
    }

    #[test]
    fn the_filter_lets_others_pass() {
        let program = filter().unwrap();
        let returns = |value: u32| {
            let is = |code: u16, k: u32| u32::from(code) == BPF_RET | BPF_K && k == value;
            program.iter().filter(|one| is(one.code, one.k)).count()
        };
        assert!(returns(SECCOMP_RET_USER_NOTIF) > 40);
        assert_eq!(returns(SECCOMP_RET_TRACE), 0);
        assert!(returns(SECCOMP_RET_ALLOW) > 0);
    }
}
