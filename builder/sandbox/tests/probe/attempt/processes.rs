//! Attempts to reach other processes, and to become more than one is.

use std::{io, process::Command};

use super::{check, number};

/// Runs a program that has more rights and says whether it got them.
pub(crate) fn gain(program: &str, what: &str) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw().to_string();
    let status = Command::new(program).args(["gained", what, &own]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("nothing gained")) }
}

/// Whether this process has more than who started it.
pub(crate) fn gained(what: &str, before: &str) -> io::Result<()> {
    let is_gained = if what == "user" {
        rustix::process::geteuid().as_raw().to_string() != before
    } else {
        !rustix::thread::capabilities(None)?.permitted.is_empty()
    };
    if is_gained { Ok(()) } else { Err(io::Error::other("nothing gained")) }
}

pub(crate) fn trace(process: &str) -> io::Result<()> {
    let process: libc::pid_t = number(process)?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::ptrace(libc::PTRACE_SEIZE, process, 0, 0) }).map(drop)
}

/// Reads the first bytes of the program of a process; they are mapped somewhere, so any other error than that of a wrong
/// address tells that the memory is closed.
pub(crate) fn read_memory(process: &str) -> io::Result<()> {
    let process: libc::pid_t = number(process)?;
    let mut into = [0_u8; 8];
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(0x1000), iov_len: into.len() };
    // SAFETY: the local bytes live; the remote address is another process's.
    let read = unsafe { libc::process_vm_readv(process, &raw const local, 1, &raw const remote, 1, 0) };
    super::is_past_guard(libc::c_long::try_from(read).map_err(io::Error::other)?, &[libc::EFAULT])
}

pub(crate) fn signal(process: &str) -> io::Result<()> {
    let process: libc::pid_t = number(process)?;
    // SAFETY: numbers only. SIGCONT changes nothing about a process that runs.
    check(unsafe { libc::kill(process, libc::SIGCONT) }.into()).map(drop)
}

pub(crate) fn signal_by_descriptor(process: &str) -> io::Result<()> {
    let process: libc::pid_t = number(process)?;
    // SAFETY: numbers only.
    let descriptor = check(unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) })?;
    // SAFETY: numbers, and no information.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, descriptor, libc::SIGCONT, 0, 0) }).map(drop)
}

/// Whether it got through is seen outside. It ends this process too, unless it is spared as the sender.
pub(crate) fn signal_all() -> io::Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::kill(-1, libc::SIGKILL) }.into())?;
    Err(io::Error::other("sent"))
}

pub(crate) fn priority(process: &str) -> io::Result<()> {
    let process: libc::id_t = number(process)?;
    // SAFETY: numbers only.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, process, 19) }.into()).map(drop)
}

pub(crate) fn limits_of(process: &str) -> io::Result<()> {
    let process: libc::pid_t = number(process)?;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit lives.
    check(unsafe { libc::prlimit(process, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit) }.into())
        .map(drop)
}

/// Types a letter into a terminal: through means that the kernel takes the request, whether the terminal allows it or
/// not.
pub(crate) fn terminal_input() -> io::Result<()> {
    let letter = b'x';
    // SAFETY: the letter lives.
    let result = unsafe { libc::ioctl(0, libc::TIOCSTI, &raw const letter) };
    super::is_past_guard(result.into(), &[libc::ENOTTY, libc::EIO])
}
