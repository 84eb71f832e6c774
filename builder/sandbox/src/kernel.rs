//! The few system calls that no safe crate offers.
#![allow(unsafe_code)]

use std::{
    io,
    mem::{self, MaybeUninit},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr,
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

    /// Makes a user namespace, lets `look` find it below the id that it is given in `/proc`, and lets go of it.
    ///
    /// It is the namespace of a process that does nothing and is ending: it never runs again, and its credentials, and with
    /// them the namespace, stay until it is waited for. It has no memory any more, so its files in `/proc` are root's.
    #[expect(clippy::unused_self, reason = "the proof is what makes it sound")]
    pub(crate) fn with_user_namespace<T>(&self, look: impl FnOnce(Pid) -> T) -> io::Result<T> {
        let mut stack = MaybeUninit::<Stack>::uninit();
        // The memory is shared, so that none is copied for a process that needs none. It has no signal for its end: such a
        // process waits to be waited for even where ends of children are ignored (clone(2), wait(2)).
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_NEWUSER;
        // SAFETY: stacks grow down; this is the aligned end of one that nobody else uses. The only thread stands still until
        // the process has left the memory for good (vfork(2)), so what they share has one user at a time.
        let id =
            unsafe { libc::clone(end_at_once, stack.as_mut_ptr().add(1).cast(), flags, ptr::null_mut()) };
        if id == -1 {
            return Err(io::Error::last_os_error());
        }
        let process = Pid::from_raw(id).ok_or_else(|| io::Error::other("the system gave a process no id"))?;
        let found = look(process);
        // SAFETY: no status is asked for.
        while unsafe { libc::waitpid(id, ptr::null_mut(), libc::__WALL) } == -1 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        Ok(found)
    }

    /// Leaves namespaces for new ones.
    #[expect(clippy::unused_self, reason = "the proof is what makes it sound")]
    pub(crate) fn unshare(&self, namespaces: UnshareFlags) -> io::Result<()> {
        // SAFETY: no other thread can see a table of descriptors that is not its own.
        unsafe { rustix::thread::unshare_unsafe(namespaces) }.map_err(Into::into)
    }
}

/// A stack for [`end_at_once`], which needs next to none; what a signal lays there fits too (`getauxval(3)`,
/// `AT_MINSIGSTKSZ`: at most 11 KiB on processors of today).
#[repr(C, align(16))]
struct Stack([u8; 16 << 10]);

extern "C" fn end_at_once(_: *mut libc::c_void) -> libc::c_int {
    0
}

/// Makes the ends of this process's children heard of: whoever ignores them ignores those of all that it starts, and then
/// none can be waited for (`wait(2)`).
pub(crate) fn notice_children() -> io::Result<()> {
    // SAFETY: no handler is set.
    match unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The function of the C library with which a program starts in another folder. The standard library looks for it when it
/// runs, and without it copies this whole process for each program that has a folder; a program that is linked statically
/// has it if something names it.
#[cfg(target_env = "gnu")]
#[used]
static STARTS_IN_FOLDERS: unsafe extern "C" fn(
    *mut libc::posix_spawn_file_actions_t,
    *const libc::c_char,
) -> libc::c_int = libc::posix_spawn_file_actions_addchdir_np;

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

/// A system call that waits for an answer (`seccomp_unotify(2)`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    /// Which of all that wait.
    pub(crate) id: u64,
    /// The process, as this process's namespace numbers it.
    pub(crate) process: u32,
    /// The call's number.
    pub(crate) number: libc::c_long,
    /// Its arguments.
    pub(crate) arguments: [u64; 6],
}

/// What a waiting call is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The kernel carries it out.
    Continue,
    /// It is over and returned this: what it asked for was written into its memory.
    Done(i64),
}

/// Adds a filter to this thread whose calls wait for whoever holds the descriptor.
///
/// From Linux 5.19 on, a call that was heard of waits through signals other than those that kill, and a program does not
/// see calls fail that would not have failed. On older ones a signal interrupts a call that waits.
pub(crate) fn listen(program: &[seccompiler::sock_filter]) -> io::Result<OwnedFd> {
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    match add_filter(program, flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => add_filter(program, flags),
        other => other,
    }
}

fn add_filter(program: &[seccompiler::sock_filter], flags: libc::c_ulong) -> io::Result<OwnedFd> {
    let filter = libc::sock_fprog {
        len: program.len().try_into().map_err(io::Error::other)?,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: both types of instruction are the kernel's; the kernel copies the program before it returns.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter) };
    match libc::c_int::try_from(result) {
        // SAFETY: the kernel just made it, and nobody else knows of it.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The next call that waits; none if its process ended meanwhile.
pub(crate) fn receive(listener: impl AsFd) -> io::Result<Option<Waiting>> {
    // SAFETY: all bytes zero are what the kernel wants to be given.
    let mut waiting: libc::seccomp_notif = unsafe { mem::zeroed() };
    // SAFETY: the structure lives and has the size that the request names.
    let result = unsafe {
        libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut waiting)
    };
    match result {
        0 => Ok(Some(Waiting {
            id: waiting.id,
            process: waiting.pid,
            number: waiting.data.nr.into(),
            arguments: waiting.data.args,
        })),
        _ => of_ended(io::Error::last_os_error(), None),
    }
}

/// Whether a call still waits: then what was read about its process was that process's.
pub(crate) fn still_waits(listener: impl AsFd, id: u64) -> io::Result<bool> {
    // SAFETY: the number lives and has the size that the request names.
    let result = unsafe {
        libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id)
    };
    if result == 0 { Ok(true) } else { of_ended(io::Error::last_os_error(), false) }
}

/// Lets a waiting call go.
pub(crate) fn answer(listener: impl AsFd, id: u64, answered: Answered) -> io::Result<()> {
    let (val, flags) = match answered {
        Answered::Continue => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE),
        Answered::Done(value) => (value, 0),
    };
    let flags = flags.try_into().map_err(io::Error::other)?;
    let response = libc::seccomp_notif_resp { id, val, error: 0, flags };
    // SAFETY: the structure lives and has the size that the request names.
    let result = unsafe {
        libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const response)
    };
    if result == 0 { Ok(()) } else { of_ended(io::Error::last_os_error(), ()) }
}

/// A process that ended, or was interrupted, waits no more; that is no failure.
fn of_ended<T>(error: io::Error, ended: T) -> io::Result<T> {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::EINTR) => Ok(ended),
        _ => Err(error),
    }
}
