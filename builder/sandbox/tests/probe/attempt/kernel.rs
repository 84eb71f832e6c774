//! Attempts to reach the kernel. Those that would harm the machine pass arguments that the kernel refuses after it has
//! let the caller past its guard.

use std::{ffi::CString, fs, io, os::fd::AsRawFd as _, ptr};

use super::{check, is_past_guard, number};

/// Finds a key of the caller's user by its description.
pub(crate) fn key(description: &str) -> io::Result<()> {
    let description = CString::new(description).map_err(io::Error::other)?;
    // SAFETY: both texts live.
    check(unsafe {
        let user = libc::KEY_SPEC_USER_KEYRING;
        libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SEARCH, user, c"user".as_ptr(), description.as_ptr(), 0)
    })
    .map(drop)
}

pub(crate) fn new_key() -> io::Result<()> {
    add_key("sandbox-probe-own", libc::KEY_SPEC_PROCESS_KEYRING)
}

/// Adds a key; the user's keyring keeps it until the user has no process any more.
pub(crate) fn add_key(description: &str, keyring: i32) -> io::Result<()> {
    let description = CString::new(description).map_err(io::Error::other)?;
    // SAFETY: the texts live.
    check(unsafe {
        let (kind, payload) = (c"user".as_ptr(), c"x".as_ptr());
        libc::syscall(libc::SYS_add_key, kind, description.as_ptr(), payload, 1, keyring)
    })
    .map(drop)
}

/// Makes a map, which needs the right to.
pub(crate) fn bpf() -> io::Result<()> {
    // BPF_MAP_CREATE of an array with one element of four bytes.
    let attributes: [u32; 32] = {
        let mut attributes = [0; 32];
        attributes[..4].copy_from_slice(&[2, 4, 4, 1]);
        attributes
    };
    // SAFETY: the attributes live and have that length.
    check(unsafe { libc::syscall(libc::SYS_bpf, 0, attributes.as_ptr(), size_of_val(&attributes)) }).map(drop)
}

pub(crate) fn performance_counter() -> io::Result<()> {
    // perf_event_attr, first form: a software event, the processor's clock.
    let mut attributes = [0_u64; 16];
    attributes[0] = 1 | (64 << 32);
    // SAFETY: the attributes live and say their length.
    check(unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 0) }).map(drop)
}

pub(crate) fn io_uring() -> io::Result<()> {
    let mut parameters = [0_u32; 30];
    // SAFETY: the parameters live and are as long as the kernel's.
    check(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) }).map(drop)
}

pub(crate) fn page_faults() -> io::Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) }).map(drop)
}

pub(crate) fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: this program has one thread.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

pub(crate) fn clone_user_namespace() -> io::Result<()> {
    let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
    // SAFETY: as fork, in a program of one thread.
    let child = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })?;
    end_child(child)
}

pub(crate) fn clone3_user_namespace() -> io::Result<()> {
    let mut arguments = [0_u64; 11];
    arguments[0] = u64::from(libc::CLONE_NEWUSER.unsigned_abs());
    arguments[4] = u64::from(libc::SIGCHLD.unsigned_abs());
    // SAFETY: as fork, in a program of one thread; the arguments live and have that length.
    let child =
        check(unsafe { libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size_of_val(&arguments)) })?;
    end_child(child)
}

fn end_child(child: libc::c_long) -> io::Result<()> {
    if child == 0 {
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(0) }
    }
    let child = libc::pid_t::try_from(child).map_err(io::Error::other)?;
    // SAFETY: no status is asked for.
    check(unsafe { libc::waitpid(child, ptr::null_mut(), 0) }.into()).map(drop)
}

pub(crate) fn enter_namespace(path: &str) -> io::Result<()> {
    let namespace = fs::File::open(path)?;
    // SAFETY: numbers only.
    check(unsafe { libc::setns(namespace.as_raw_fd(), 0) }.into()).map(drop)
}

pub(crate) fn mount(folder: &str) -> io::Result<()> {
    let folder = CString::new(folder).map_err(io::Error::other)?;
    // SAFETY: the texts live; there are no data.
    check(unsafe { libc::mount(c"none".as_ptr(), folder.as_ptr(), c"tmpfs".as_ptr(), 0, ptr::null()) }.into())
        .map(drop)
}

pub(crate) fn mount_new() -> io::Result<()> {
    // SAFETY: the text lives.
    check(unsafe { libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), 0) }).map(drop)
}

pub(crate) fn remount_writable(folder: &str) -> io::Result<()> {
    let folder = CString::new(folder).map_err(io::Error::other)?;
    let flags = libc::MS_REMOUNT | libc::MS_BIND;
    // SAFETY: the folder lives; source, kind and data are not needed.
    check(unsafe { libc::mount(ptr::null(), folder.as_ptr(), ptr::null(), flags, ptr::null()) }.into())
        .map(drop)
}

pub(crate) fn unmount(folder: &str) -> io::Result<()> {
    let folder = CString::new(folder).map_err(io::Error::other)?;
    // SAFETY: the folder lives.
    check(unsafe { libc::umount2(folder.as_ptr(), libc::MNT_DETACH) }.into()).map(drop)
}

pub(crate) fn host_name() -> io::Result<()> {
    let name = b"changed";
    // SAFETY: the name lives and has that length.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// A tick of no length: refused, but only to those who may set clocks.
pub(crate) fn clock() -> io::Result<()> {
    // SAFETY: all bytes zero are a valid timex.
    let mut change: libc::timex = unsafe { std::mem::zeroed() };
    change.modes = libc::ADJ_TICK;
    // SAFETY: the change lives.
    is_past_guard(unsafe { libc::adjtimex(&raw mut change) }.into(), &[libc::EINVAL])
}

pub(crate) fn kernel_log() -> io::Result<()> {
    let mut text = [0_u8; 512];
    // SAFETY: the text lives and has that length.
    check(unsafe { libc::klogctl(3, text.as_mut_ptr().cast(), 512) }.into()).map(drop)
}

/// A command that there is not.
pub(crate) fn reboot() -> io::Result<()> {
    // SAFETY: numbers only; no such command exists.
    let result = unsafe { libc::syscall(libc::SYS_reboot, 0xfee1_dead_u32, 672_274_793, 0x7777_7777, 0) };
    is_past_guard(result, &[libc::EINVAL])
}

/// A file that there is not.
pub(crate) fn swap() -> io::Result<()> {
    // SAFETY: the path lives.
    is_past_guard(unsafe { libc::swapon(c"/absent".as_ptr(), 0) }.into(), &[libc::ENOENT])
}

/// A file that there is not.
pub(crate) fn accounting() -> io::Result<()> {
    // SAFETY: the path lives.
    is_past_guard(unsafe { libc::acct(c"/absent".as_ptr()) }.into(), &[libc::ENOENT])
}

pub(crate) fn ports() -> io::Result<()> {
    // SAFETY: asks for the right, and uses no port.
    check(unsafe { libc::ioperm(0x80, 1, 1) }.into()).map(drop)
}

/// A device that there is not.
pub(crate) fn quota() -> io::Result<()> {
    // SAFETY: the path lives; Q_SYNC takes no more.
    let result =
        unsafe { libc::syscall(libc::SYS_quotactl, 0x0080_0001_u32 << 8, c"/absent".as_ptr(), 0, 0) };
    is_past_guard(result, &[libc::ENOENT, libc::EINVAL])
}

/// Nothing is no module.
pub(crate) fn kernel_module() -> io::Result<()> {
    // SAFETY: no bytes are passed.
    let result = unsafe { libc::syscall(libc::SYS_init_module, ptr::null::<u8>(), 0, c"".as_ptr()) };
    is_past_guard(result, &[libc::ENOEXEC, libc::EFAULT])
}

/// More segments than there can be.
pub(crate) fn kexec() -> io::Result<()> {
    // SAFETY: the number of segments is refused before any is read.
    let result = unsafe { libc::syscall(libc::SYS_kexec_load, 0, 1000, ptr::null::<u8>(), 0) };
    is_past_guard(result, &[libc::EINVAL])
}

/// The calls of 32-bit programs, number 20: which process this is.
#[cfg(target_arch = "x86_64")]
pub(crate) fn old_table() -> io::Result<()> {
    let process: i64;
    // SAFETY: the call takes nothing and returns a number.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => process);
    }
    if process > 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ENOSYS)) }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn old_table() -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

pub(crate) fn raise_capabilities() -> io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets};
    let all = CapabilitySet::SYS_ADMIN;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: all, permitted: all, inheritable: CapabilitySet::empty() },
    )
    .map_err(Into::into)
}

pub(crate) fn shared_memory(key: &str) -> io::Result<()> {
    let key: libc::key_t = number(key)?;
    // SAFETY: numbers only.
    check(unsafe { libc::shmget(key, 0, 0) }.into()).map(drop)
}

pub(crate) fn message_queue(name: &str) -> io::Result<()> {
    let name = CString::new(name).map_err(io::Error::other)?;
    // SAFETY: the name lives. Where there is no library call in a static program, there is the system's.
    check(unsafe { libc::syscall(libc::SYS_mq_open, name.as_ptr(), libc::O_RDONLY, 0, ptr::null::<u8>()) })
        .map(drop)
}
