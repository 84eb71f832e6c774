//! The list of system calls that a command may make. What is not on it does not exist (`ENOSYS`), so that programs take
//! the way they have for older kernels; on the list, a few arguments are refused (`EPERM`).
//!
//! Not on the list, among others: mounts and roots, namespaces (`unshare`, `setns`, `clone3`, whose flags a filter cannot
//! read), `ptrace` and its kin, keyrings, `bpf`, `io_uring`, `userfaultfd`, performance counters, kernel modules, `kexec`,
//! setting clocks and names, file handles, quotas, accounting, swap, reboot, and every call of the 32-bit and x32 tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

#[allow(clippy::wildcard_imports, reason = "two lists of a few hundred numbers")]
use libc::*;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use super::{OfStep as _, Stop};

/// Calls of every architecture.
#[rustfmt::skip]
const ALLOWED: &[c_long] = &[
    SYS_accept, SYS_accept4, SYS_bind, SYS_brk, SYS_capget, SYS_capset, SYS_chdir, SYS_clock_getres,
    SYS_clock_gettime, SYS_clock_nanosleep, SYS_clone, SYS_close, SYS_close_range, SYS_connect,
    SYS_copy_file_range, SYS_dup, SYS_dup3, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
    SYS_epoll_pwait2, SYS_eventfd2, SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_faccessat,
    SYS_faccessat2, SYS_fadvise64, SYS_fallocate, SYS_fchdir, SYS_fchmod, SYS_fchmodat, SYS_fchmodat2,
    SYS_fchown, SYS_fchownat, SYS_fcntl, SYS_fdatasync, SYS_fgetxattr, SYS_flistxattr, SYS_flock,
    SYS_fremovexattr, SYS_fsetxattr, SYS_fstat, SYS_fstatfs, SYS_fsync, SYS_ftruncate, SYS_futex,
    SYS_futex_waitv, SYS_get_mempolicy,
    SYS_get_robust_list, SYS_getcpu, SYS_getcwd, SYS_getdents64, SYS_getegid, SYS_geteuid, SYS_getgid,
    SYS_getgroups, SYS_getitimer, SYS_getpeername, SYS_getpgid, SYS_getpid, SYS_getppid, SYS_getpriority,
    SYS_getrandom, SYS_getresgid, SYS_getresuid, SYS_getrlimit, SYS_getrusage, SYS_getsid, SYS_getsockname,
    SYS_getsockopt, SYS_gettid, SYS_gettimeofday, SYS_getuid, SYS_getxattr, SYS_inotify_add_watch,
    SYS_inotify_init1, SYS_inotify_rm_watch, SYS_io_cancel, SYS_io_destroy, SYS_io_getevents,
    SYS_io_setup, SYS_io_submit, SYS_ioctl, SYS_ioprio_get, SYS_kill, SYS_lgetxattr,
    SYS_linkat, SYS_listen, SYS_listxattr, SYS_llistxattr, SYS_lremovexattr, SYS_lseek, SYS_lsetxattr,
    SYS_madvise, SYS_membarrier, SYS_memfd_create, SYS_mincore, SYS_mkdirat, SYS_mknodat, SYS_mlock,
    SYS_mlock2, SYS_mlockall, SYS_mmap, SYS_mprotect, SYS_mq_getsetattr, SYS_mq_notify, SYS_mq_open,
    SYS_mq_timedreceive, SYS_mq_timedsend, SYS_mq_unlink, SYS_mremap, SYS_mseal, SYS_msgctl, SYS_msgget,
    SYS_msgrcv, SYS_msgsnd, SYS_msync, SYS_munlock, SYS_munlockall, SYS_munmap, SYS_nanosleep,
    SYS_newfstatat, SYS_openat, SYS_personality, SYS_pidfd_open, SYS_pidfd_send_signal, SYS_pipe2,
    SYS_pkey_alloc, SYS_pkey_free, SYS_pkey_mprotect, SYS_ppoll, SYS_prctl, SYS_pread64, SYS_preadv,
    SYS_preadv2, SYS_prlimit64, SYS_pselect6, SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_read,
    SYS_readahead, SYS_readlinkat, SYS_readv, SYS_recvfrom, SYS_recvmmsg, SYS_recvmsg,
    SYS_remap_file_pages, SYS_removexattr, SYS_renameat, SYS_renameat2, SYS_restart_syscall, SYS_rseq,
    SYS_rt_sigaction, SYS_rt_sigpending, SYS_rt_sigprocmask, SYS_rt_sigqueueinfo, SYS_rt_sigreturn,
    SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_rt_tgsigqueueinfo, SYS_sched_get_priority_max,
    SYS_sched_get_priority_min, SYS_sched_getaffinity, SYS_sched_getattr, SYS_sched_getparam,
    SYS_sched_getscheduler, SYS_sched_rr_get_interval, SYS_sched_setaffinity, SYS_sched_setattr,
    SYS_sched_setparam, SYS_sched_setscheduler, SYS_sched_yield, SYS_semctl, SYS_semget, SYS_semop,
    SYS_semtimedop, SYS_sendfile, SYS_sendmmsg, SYS_sendmsg, SYS_sendto, SYS_set_mempolicy,
    SYS_set_robust_list, SYS_set_tid_address, SYS_setfsgid, SYS_setfsuid, SYS_setgid, SYS_setgroups,
    SYS_setitimer, SYS_setpgid, SYS_setpriority, SYS_setregid, SYS_setresgid, SYS_setresuid, SYS_setreuid,
    SYS_setrlimit, SYS_setsid, SYS_setsockopt, SYS_setuid, SYS_setxattr, SYS_shmat, SYS_shmctl, SYS_shmdt,
    SYS_shmget, SYS_shutdown, SYS_sigaltstack, SYS_signalfd4, SYS_socket, SYS_socketpair, SYS_splice,
    SYS_statfs, SYS_statx, SYS_symlinkat, SYS_sync, SYS_sync_file_range, SYS_syncfs, SYS_sysinfo, SYS_tee,
    SYS_tgkill, SYS_timer_create, SYS_timer_delete, SYS_timer_getoverrun, SYS_timer_gettime,
    SYS_timer_settime, SYS_timerfd_create, SYS_timerfd_gettime, SYS_timerfd_settime, SYS_times, SYS_tkill,
    SYS_truncate, SYS_umask, SYS_uname, SYS_unlinkat, SYS_utimensat, SYS_vmsplice, SYS_wait4, SYS_waitid,
    SYS_write, SYS_writev,
];

/// Calls that newer architectures have no more.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: &[c_long] = &[
    SYS_access, SYS_alarm, SYS_chmod, SYS_chown, SYS_creat, SYS_dup2, SYS_epoll_create, SYS_epoll_wait,
    SYS_eventfd, SYS_fork, SYS_futimesat, SYS_getdents, SYS_getpgrp, SYS_inotify_init, SYS_lchown,
    SYS_link, SYS_lstat, SYS_mkdir, SYS_mknod, SYS_open, SYS_pause, SYS_pipe, SYS_poll, SYS_readlink,
    SYS_rename, SYS_rmdir, SYS_select, SYS_signalfd, SYS_stat, SYS_symlink, SYS_time, SYS_unlink,
    SYS_utime, SYS_utimes, SYS_vfork, SYS_arch_prctl,
];

#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[c_long] = &[];

/// Flags of `clone` that make namespaces, which are most of the bits that such a call could smuggle in.
const NEW_NAMESPACES: [c_int; 8] = [
    CLONE_NEWNS,
    CLONE_NEWCGROUP,
    CLONE_NEWUTS,
    CLONE_NEWIPC,
    CLONE_NEWUSER,
    CLONE_NEWPID,
    CLONE_NEWNET,
    // CLONE_NEWTIME
    0x80,
];

/// Sockets that reach no further than the sandbox's own network.
const FAMILIES: [c_int; 4] = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK];

/// `personality` that programs ask for: none, what there is, no randomised addresses.
const PERSONALITIES: [u32; 3] = [0, 0xffff_ffff, 0x0004_0000];

/// Requests that type into the caller's terminal.
const TYPING: [u32; 2] = [0x5412, 0x541c];

/// Calls on System V objects, which any process of the same user opens.
const SHARED: &[c_long] =
    &[SYS_shmget, SYS_shmat, SYS_shmctl, SYS_semget, SYS_semctl, SYS_msgget, SYS_msgctl];

/// Calls that change another process, and the place of its id; 0 is oneself.
const OF_OTHERS: &[(c_long, u8)] = &[
    (SYS_prlimit64, 0),
    (SYS_setpriority, 1),
    (SYS_sched_setaffinity, 0),
    (SYS_sched_setattr, 0),
    (SYS_sched_setparam, 0),
    (SYS_sched_setscheduler, 0),
];

/// Calls with a mode, and its place.
const MODES: &[(c_long, u8)] = &[(SYS_fchmod, 1), (SYS_fchmodat, 2), (SYS_fchmodat2, 2), (SYS_mknodat, 2)];
#[cfg(target_arch = "x86_64")]
const MODES_HERE: &[(c_long, u8)] = &[(SYS_chmod, 1), (SYS_creat, 1), (SYS_mknod, 1)];
#[cfg(not(target_arch = "x86_64"))]
const MODES_HERE: &[(c_long, u8)] = &[];

/// Calls with flags and a mode, and their places.
const CREATING: &[(c_long, u8, u8)] = &[(SYS_openat, 2, 3)];
#[cfg(target_arch = "x86_64")]
const CREATING_HERE: &[(c_long, u8, u8)] = &[(SYS_open, 1, 2)];
#[cfg(not(target_arch = "x86_64"))]
const CREATING_HERE: &[(c_long, u8, u8)] = &[];

/// What of the arguments is refused beyond what always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What belongs to the machine where there are no namespaces: every socket, shared memory, other processes.
    pub(crate) machine: bool,
    /// Set-user-id and set-group-id: in a folder of the machine such a file runs there with its owner's rights.
    pub(crate) owner_rights: bool,
}

/// Restricts this process, for good.
pub(crate) fn restrict(refused: Refused) -> Result<(), Stop> {
    // The list comes last: it does not have the call that adds a filter.
    let first = arguments(refused).map_err(io::Error::other).of_step("restrict system calls")?;
    let second = list(allowed()).of_step("restrict system calls")?;
    for program in [first, second] {
        seccompiler::apply_filter(&program).map_err(io::Error::other).of_step("restrict system calls")?;
    }
    Ok(())
}

fn allowed() -> impl Iterator<Item = c_long> {
    ALLOWED.iter().chain(ALLOWED_HERE).copied()
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Allows these calls and no other. That they are this processor's, and not of a table with other numbers, [`arguments`] sees.
///
/// The kernel runs a new filter for each number that there is, to remember those that it always allows. With a comparison
/// for each allowed call, as `seccompiler` writes it, that took a tenth of a sandbox's start; there are few ranges.
#[expect(clippy::cast_possible_truncation, reason = "codes of instructions have 16 bits")]
fn list(allowed: impl Iterator<Item = c_long>) -> io::Result<BpfProgram> {
    const LOAD: u16 = (BPF_LD | BPF_W | BPF_ABS) as u16;
    const IS_GREATER: u16 = (BPF_JMP | BPF_JGT | BPF_K) as u16;
    const IS_NOT_LESS: u16 = (BPF_JMP | BPF_JGE | BPF_K) as u16;
    const RETURN: u16 = (BPF_RET | BPF_K) as u16;
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let refuse = instruction(RETURN, 0, 0, SECCOMP_RET_ERRNO | ENOSYS.unsigned_abs());
    // The number is the first field of what a filter is given.
    let mut program = vec![instruction(LOAD, 0, 0, 0)];
    for (first, last) in ranges(allowed)? {
        program.extend([
            instruction(IS_GREATER, 3, 0, last),
            instruction(IS_NOT_LESS, 0, 1, first),
            instruction(RETURN, 0, 0, SECCOMP_RET_ALLOW),
            refuse.clone(),
        ]);
    }
    program.push(refuse);
    Ok(program)
}

/// The runs of numbers without a gap, in order: first and last of each.
fn ranges(numbers: impl Iterator<Item = c_long>) -> io::Result<Vec<(u32, u32)>> {
    let numbers = numbers.map(u32::try_from).collect::<Result<BTreeSet<_>, _>>().map_err(io::Error::other)?;
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    Ok(ranges)
}

fn arguments(refused: Refused) -> Result<BpfProgram, BackendError> {
    let mut rules = Rules::new();
    let mut refuse = |call: c_long, conditions: Vec<SeccompCondition>| {
        rules.entry(call).or_default().push(SeccompRule::new(conditions)?);
        Ok::<_, BackendError>(())
    };
    for flag in NEW_NAMESPACES {
        refuse(SYS_clone, vec![has(0, flag.unsigned_abs())?])?;
    }
    let families = if refused.machine {
        vec![always()?]
    } else {
        FAMILIES.into_iter().map(|family| is_not(0, family.unsigned_abs())).collect::<Result<_, _>>()?
    };
    refuse(SYS_socket, families)?;
    if refused.machine {
        for call in SHARED {
            refuse(*call, vec![always()?])?;
        }
        for (call, process) in OF_OTHERS {
            refuse(*call, vec![is_not(*process, 0)?])?;
        }
    }
    let personalities = PERSONALITIES.into_iter().map(|persona| is_not(0, persona));
    refuse(SYS_personality, personalities.collect::<Result<_, _>>()?)?;
    for request in TYPING {
        refuse(SYS_ioctl, vec![is(1, request)?])?;
    }
    if refused.owner_rights {
        for bit in [S_ISUID, S_ISGID] {
            for (call, mode) in MODES.iter().chain(MODES_HERE) {
                refuse(*call, vec![has(*mode, bit)?])?;
            }
            for (call, flags, mode) in CREATING.iter().chain(CREATING_HERE) {
                // Without a new file the mode means nothing and may be anything.
                for flag in [O_CREAT, O_TMPFILE & !O_DIRECTORY] {
                    refuse(*call, vec![has(*flags, flag.unsigned_abs())?, has(*mode, bit)?])?;
                }
            }
        }
    }
    compile(rules, SeccompAction::Allow, SeccompAction::Errno(EPERM.unsigned_abs()))
}

fn compile(rules: Rules, others: SeccompAction, these: SeccompAction) -> Result<BpfProgram, BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, others, these, architecture)?.try_into()
}

/// A rule needs a condition; this one always holds.
fn always() -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ge, 0)
}

fn is(argument: u8, value: u32) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value.into())
}

fn is_not(argument: u8, value: u32) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value.into())
}

fn has(argument: u8, bit: u32) -> Result<SeccompCondition, BackendError> {
    let bit = u64::from(bit);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bit), bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: u32 = 0;
    const PROCESSOR: u32 = 4;

    /// The kind of an instruction.
    fn code(step: &sock_filter) -> u32 {
        u32::from(step.code)
    }

    /// What the program says of a number, by the four kinds of instruction that it has.
    fn run(program: &[sock_filter], number: u32) -> u32 {
        let (mut at, mut loaded) = (0, None);
        loop {
            let step = &program[at];
            let value = || loaded.expect("a comparison after a load");
            let jump = if code(step) == BPF_LD | BPF_W | BPF_ABS {
                assert_eq!(step.k, NUMBER);
                loaded = Some(number);
                0
            } else if code(step) == BPF_JMP | BPF_JGT | BPF_K {
                if value() > step.k { step.jt } else { step.jf }
            } else if code(step) == BPF_JMP | BPF_JGE | BPF_K {
                if value() >= step.k { step.jt } else { step.jf }
            } else {
                assert_eq!(code(step), BPF_RET | BPF_K);
                return step.k;
            };
            at += 1 + usize::from(jump);
        }
    }

    #[test]
    fn what_is_on_the_list_is_allowed_and_nothing_else() {
        let numbers: BTreeSet<_> = allowed().collect();
        let program = list(allowed()).unwrap();
        assert!(program.len() < 256, "{}", program.len());
        let x32 = 0x4000_0000;
        let far = [i32::MAX.unsigned_abs(), 1 << 31, u32::MAX];
        let mut found = 0;
        for number in (0..2048).chain(x32..x32 + 2048).chain(far) {
            let expected = if numbers.contains(&c_long::from(number)) {
                found += 1;
                SECCOMP_RET_ALLOW
            } else {
                SECCOMP_RET_ERRNO | ENOSYS.unsigned_abs()
            };
            assert_eq!(run(&program, number), expected, "{number}");
        }
        assert_eq!(found, numbers.len());
    }

    #[test]
    fn calls_of_other_tables_end_the_command() {
        for refused in [true, false].map(|all| Refused { machine: all, owner_rights: all }) {
            let program = arguments(refused).unwrap();
            let [load, compare, kill, ..] = program.as_slice() else { panic!("{program:?}") };
            assert_eq!((code(load), load.k), (BPF_LD | BPF_W | BPF_ABS, PROCESSOR));
            assert_eq!((code(compare), compare.jt, compare.jf), (BPF_JMP | BPF_JEQ | BPF_K, 1, 0));
            assert_eq!((code(kill), kill.k), (BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
        }
    }

    #[test]
    fn runs_of_numbers_are_found_in_any_order() {
        let last = c_long::from(u32::MAX);
        let cases = [
            (vec![], vec![]),
            (vec![7], vec![(7, 7)]),
            (vec![3, 1, 2, 2, 5], vec![(1, 3), (5, 5)]),
            (vec![0, last, last - 1], vec![(0, 0), (u32::MAX - 1, u32::MAX)]),
        ];
        for (numbers, expected) in cases {
            assert_eq!(ranges(numbers.iter().copied()).unwrap(), expected, "{numbers:?}");
        }
        assert!(ranges([-1].into_iter()).is_err());
    }
}
