//! Temporary folders in which trees are laid down: hundreds of megabytes, so that none may stay.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

/// What their names begin with.
const PREFIX: &str = "bundle-record-";
/// Held as long as somebody uses the folder.
const LOCK: &str = "lock";

/// A folder that ends with this.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: tempfile::TempDir,
    _held: File,
}

impl Folder {
    /// Makes one in `base`, and removes those that processes left there which were killed.
    pub(crate) fn make(base: &Path) -> io::Result<Self> {
        remove_abandoned(base)?;
        loop {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base)?;
            let held = File::create(folder.path().join(LOCK))?;
            held.lock()?;
            // Somebody else may have taken it for abandoned before it was held.
            if folder.path().join(LOCK).exists() {
                return Ok(Self { folder, _held: held });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn remove_abandoned(base: &Path) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    // Who may not list the folder can still have one of his own in it.
    let Ok(entries) = fs::read_dir(base) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let is_one = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // What is another user's is his.
        let Some(metadata) = entry.metadata().ok().filter(|metadata| is_one && metadata.is_dir()) else {
            continue;
        };
        if metadata.uid() != own {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        match lock.try_lock() {
            // What cannot be removed now is tried again the next time.
            Ok(()) => remove(&entry.path()).unwrap_or_default(),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Removes a folder with its lock last, so that it is found again if this fails.
fn remove(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        open_up(&entry.path())?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir_all(folder)
}

/// Makes a folder of changes removable: the kernel keeps one of an overlay's folders closed to everybody, and only root
/// passes.
pub(crate) fn open_up(changes: &Path) -> io::Result<()> {
    match fs::set_permissions(changes.join("work/work"), fs::Permissions::from_mode(0o700)) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_uses_any_more_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let used = Folder::make(base.path()).unwrap();
        fs::create_dir(used.path().join("tree")).unwrap();
        for name in ["bundle-record-killed", "bundle-record-new", "other"] {
            fs::create_dir_all(base.path().join(name).join("tree")).unwrap();
        }
        for name in ["bundle-record-killed", "other"] {
            fs::write(base.path().join(name).join(LOCK), "").unwrap();
        }
        let closed = base.path().join("bundle-record-killed/changes-1/work/work");
        fs::create_dir_all(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        let next = Folder::make(base.path()).unwrap();
        let is_there = |name: &str| base.path().join(name).exists();
        assert!(!is_there("bundle-record-killed"));
        // One that is not held yet, and what is none.
        assert!(is_there("bundle-record-new") && is_there("other"));
        assert!(used.path().join("tree").exists() && next.path().exists());
        let path = used.path().to_owned();
        drop(used);
        assert!(!path.exists());
    }
}
