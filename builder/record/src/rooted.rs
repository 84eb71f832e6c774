//! Files below a root that a script makes, perhaps while one looks: no path leads out of it, and nothing is opened that
//! answers when it likes.

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// Opens what is at a path below `root`, if that is a file and no link is on the way.
pub(crate) fn open_file(root: impl AsFd, path: &Path) -> Result<Option<File>, Errno> {
    let at = look(root, path)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&at)?.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    // The same file, whatever is at the path by now.
    let same = format!("/proc/self/fd/{}", at.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(Some(rustix::fs::openat(CWD, same, flags, Mode::empty())?.into()))
}

/// What is at a path below `root`, itself not opened, if no link is on the way; it may be one.
pub(crate) fn look(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // The kernel asks to try again where something was renamed meanwhile.
    rustix::io::retry_on_intr(|| match rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve) {
        Err(Errno::AGAIN) => Err(Errno::INTR),
        other => other,
    })
}
