//! Attempts to reach files.

use std::{
    ffi::CString,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use super::check;

fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(io::Error::other)
}

/// Through means that the secret was read.
pub(crate) fn read(path: &str) -> io::Result<()> {
    let content = fs::read(path)?;
    if content.is_empty() { Err(io::Error::other("empty")) } else { Ok(()) }
}

pub(crate) fn read_upwards(path: &str) -> io::Result<()> {
    let upwards = "../".repeat(40);
    read(&format!("{upwards}{}", path.trim_start_matches('/')))
}

/// Through means that a folder has that name in it.
pub(crate) fn list(folder: &str, name: &str) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        if entry?.file_name() == *name {
            return Ok(());
        }
    }
    Err(io::Error::other("not there"))
}

pub(crate) fn write(path: &str) -> io::Result<()> {
    fs::write(path, "changed")
}

pub(crate) fn open_to_write(path: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path).map(drop)
}

pub(crate) fn link(from: &str, to: &str) -> io::Result<()> {
    fs::hard_link(from, to)
}

/// Through means that the new device answers.
pub(crate) fn make_device(path: &str, block: bool) -> io::Result<()> {
    let (kind, device) =
        if block { (libc::S_IFBLK, libc::makedev(7, 0)) } else { (libc::S_IFCHR, libc::makedev(1, 5)) };
    let name = c_string(path)?;
    // SAFETY: the path is a C string that lives.
    check(unsafe { libc::mknod(name.as_ptr(), kind | 0o666, device) }.into())?;
    if block { fs::metadata(path).map(drop) } else { fs::File::open(path).map(drop) }
}

/// The file's handle was taken outside; any folder on its file system opens it.
pub(crate) fn by_handle(folder: &str, handle: &str) -> io::Result<()> {
    let folder = fs::File::open(folder)?;
    let bytes: Vec<u8> = handle.split(',').map(super::number).collect::<io::Result<_>>()?;
    let mut handle = Handle { length: 0, kind: 0, bytes: [0; 128] };
    let (kind, bytes) = bytes.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    handle.kind = i32::from(*kind);
    handle.length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    handle.bytes[..bytes.len()].copy_from_slice(bytes);
    let folder = std::os::fd::AsRawFd::as_raw_fd(&folder);
    // SAFETY: the handle lives and says how long it is.
    check(unsafe { libc::syscall(libc::SYS_open_by_handle_at, folder, &raw const handle, libc::O_RDONLY) })
        .map(drop)
}

/// `struct file_handle`.
#[repr(C)]
struct Handle {
    length: u32,
    kind: i32,
    bytes: [u8; 128],
}

/// The handle of a file, as `by_handle` takes it.
pub(crate) fn print_handle(path: &str) -> io::Result<()> {
    let name = c_string(path)?;
    let mut handle = Handle { length: 128, kind: 0, bytes: [0; 128] };
    let mut mount = 0_i32;
    // SAFETY: path, handle and mount live, and the handle says how long it is.
    check(unsafe {
        let (handle, mount) = (&raw mut handle, &raw mut mount);
        libc::syscall(libc::SYS_name_to_handle_at, libc::AT_FDCWD, name.as_ptr(), handle, mount, 0)
    })?;
    let length = usize::try_from(handle.length).map_err(io::Error::other)?;
    let mut numbers = vec![handle.kind.to_string()];
    numbers.extend(handle.bytes[..length].iter().map(ToString::to_string));
    crate::plain::say(&numbers.join(","))
}

pub(crate) fn chroot(folder: &str) -> io::Result<()> {
    std::os::unix::fs::chroot(folder)
}

pub(crate) fn set_owner_rights(path: &str) -> io::Result<()> {
    fs::write(path, "x")?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o4755))?;
    has_owner_rights(path)
}

pub(crate) fn create_owner_rights(path: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o6755).open(path)?;
    has_owner_rights(path)
}

fn has_owner_rights(path: &str) -> io::Result<()> {
    let mode = fs::metadata(Path::new(path))?.permissions().mode();
    if mode & 0o6000 == 0 { Err(io::Error::other("without the bits")) } else { Ok(()) }
}
