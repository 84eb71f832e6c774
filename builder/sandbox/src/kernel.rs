//! The few system calls that no safe crate offers.
#![allow(unsafe_code)]

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
};

use rustix::{mount::MountAttrFlags, process::Pid, thread::UnshareFlags};

/// On which side of a fork one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fork {
    /// In the new process.
    Child,
    /// In the old one; this is the new one's id.
    Parent(Pid),
}

/// Proof that this process has one thread, so that a fork copies it whole.
#[derive(Debug)]
pub(crate) struct SingleThread(());

impl SingleThread {
    /// Looks. A process whose only thread asks cannot get a second one behind its back.
    pub(crate) fn prove() -> io::Result<Self> {
        // Field "Threads" of /proc/self/status would do too; the links of /proc/self/task are fewer bytes.
        let threads = std::fs::read_dir("/proc/self/task")?.count();
        if threads == 1 { Ok(Self(())) } else { Err(io::Error::other(format!("{threads} threads"))) }
    }

    /// Divides this process.
    #[expect(clippy::unused_self, reason = "the proof is what makes it sound")]
    pub(crate) fn fork(&self) -> io::Result<Fork> {
        // SAFETY: there is one thread, so no lock is held by a thread that the child lacks.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            id => Ok(Pid::from_raw(id).map_or(Fork::Child, Fork::Parent)),
        }
    }

    /// Leaves namespaces for new ones.
    #[expect(clippy::unused_self, reason = "the proof is what makes it sound")]
    pub(crate) fn unshare(&self, namespaces: UnshareFlags) -> io::Result<()> {
        // SAFETY: no other thread can see a table of descriptors that is not its own.
        unsafe { rustix::thread::unshare_unsafe(namespaces) }.map_err(Into::into)
    }
}

/// How a mount that is not yet anywhere is changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MountAttributes<'a> {
    /// What is set.
    pub(crate) set: MountAttrFlags,
    /// Whose map of users owners are read through.
    pub(crate) owners: Option<BorrowedFd<'a>>,
    /// Whether mounts below it change too.
    pub(crate) recursive: bool,
}

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
struct Argument {
    set: u64,
    clear: u64,
    propagation: u64,
    owners: u64,
}

/// `MOUNT_ATTR_IDMAP`.
const IDMAP: u64 = 0x0010_0000;

/// `mount_setattr(2)`, Linux 5.12.
pub(crate) fn change_mount(mount: impl AsFd, attributes: MountAttributes<'_>) -> io::Result<()> {
    let argument = Argument {
        set: u64::from(attributes.set.bits()) | if attributes.owners.is_some() { IDMAP } else { 0 },
        clear: 0,
        propagation: 0,
        owners: attributes.owners.map_or(0, |owners| u64::from(owners.as_raw_fd().unsigned_abs())),
    };
    let recursive = if attributes.recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, and the argument lives and has the length that is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const argument,
            mem::size_of::<Argument>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Brings the loopback device of this network namespace up (netdevice(7)). `socket` is any socket of a network family.
pub(crate) fn raise_loopback(socket: impl AsFd) -> io::Result<()> {
    // SAFETY: all bytes zero are a valid ifreq.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
    // SAFETY: the request lives, names a device, and its flags are set.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
