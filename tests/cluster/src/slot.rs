//! Numbered places for beds. A slot is held by a lock on a file, which the kernel gives back when the holder ends.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::UnmountFlags;

use crate::network::{SLOTS, Subnet};
use crate::record::{self, Process};
use crate::{Bed, ClusterOptions, Error, cgroups};

/// A slot that this process holds. Its folder exists from the claim until everything else of the bed is gone.
pub(crate) struct Slot {
    number: u8,
    root: PathBuf,
    /// Held, not read.
    _lock: File,
}

impl Slot {
    /// Clears every slot that nobody holds and claims the first of them for a bed with these options.
    pub(crate) fn claim(options: &ClusterOptions) -> Result<(Self, Bed), Error> {
        let root = root();
        let _guard = Self::guard(&root)?;
        let mut claimed = None;
        for number in 0..SLOTS {
            if claimed.is_some() && !folder(&root, number).exists() {
                continue;
            }
            if let Some(slot) = Self::free(&root, number)? {
                claimed.get_or_insert(slot);
            }
        }
        let slot = claimed.ok_or(Error::NoFreeSlot { slots: SLOTS })?;
        let name = options.name.clone().unwrap_or_else(|| format!("bed-{}", slot.number));
        if record::beds()?.iter().any(|bed| bed.name == name) {
            return Err(Error::NameTaken { name });
        }
        let folder = slot.folder();
        fs::create_dir_all(&folder)
            .map_err(|source| Error::FileNotWritten { path: folder.clone(), source })?;
        let bed = Bed {
            name,
            slot: slot.number,
            nodes: options.nodes,
            kubeconfig: folder.join("control/lib/bed/admin.kubeconfig"),
            folder,
            ready_ms: 0,
            supervisor: Process::of(std::process::id()).ok_or(Error::NotFirstProcess)?,
        };
        record::write(&bed)?;
        Ok((slot, bed))
    }

    /// Clears every slot that nobody holds.
    pub(crate) fn sweep() -> Result<(), Error> {
        let root = root();
        let _guard = Self::guard(&root)?;
        for number in (0..SLOTS).filter(|number| folder(&root, *number).exists()) {
            drop(Self::free(&root, number)?);
        }
        Ok(())
    }

    pub(crate) fn folder(&self) -> PathBuf {
        folder(&self.root, self.number)
    }

    /// Removes everything that a bed in this slot can have left, in whatever state it was.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        let folder = self.folder();
        if !folder.exists() {
            return Ok(());
        }
        for process in record::processes(&folder)? {
            process.kill()?;
        }
        remove_link(&Subnet::new(self.number).host_link())?;
        cgroups::remove(&group_prefix(self.number))?;
        unmount_below(&folder)?;
        fs::remove_dir_all(&folder).map_err(|source| Error::FolderNotRemoved { path: folder, source })
    }

    /// One claim or sweep at a time: two beds of one name must not start at once.
    fn guard(root: &Path) -> Result<File, Error> {
        fs::create_dir_all(root).map_err(|source| Error::FileNotWritten { path: root.to_owned(), source })?;
        let path = root.join("lock");
        let guard = open(&path)?;
        guard.lock().map_err(|source| Error::NotLocked { path, source })?;
        Ok(guard)
    }

    fn free(root: &Path, number: u8) -> Result<Option<Self>, Error> {
        let path = root.join(format!("{number}.lock"));
        let lock = open(&path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(Error::NotLocked { path, source }),
        }
        let slot = Self { number, root: root.to_owned(), _lock: lock };
        slot.clear()?;
        Ok(Some(slot))
    }
}

/// How the control groups of the bed in a slot begin.
pub(crate) fn group_prefix(number: u8) -> String {
    format!("bundle-test-{number}-")
}

/// The folders of all slots, held or not.
pub(crate) fn folders() -> Vec<PathBuf> {
    let root = root();
    (0..SLOTS).map(|number| folder(&root, number)).filter(|folder| folder.exists()).collect()
}

fn folder(root: &Path, number: u8) -> PathBuf {
    root.join(number.to_string())
}

/// Where all beds live. A short path: sockets below it are limited to 108 bytes.
pub(crate) fn root() -> PathBuf {
    std::env::var_os("BUNDLE_TEST_BEDS")
        .map_or_else(|| std::env::temp_dir().join("bundle-test-beds"), PathBuf::from)
}

fn open(path: &Path) -> Result<File, Error> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|source| Error::FileNotWritten { path: path.to_owned(), source })
}

/// The link goes with the namespace of its other end, though a little later than the processes.
fn remove_link(name: &str) -> Result<(), Error> {
    let there = || Path::new("/sys/class/net").join(name).exists();
    let deadline = Instant::now() + Duration::from_secs(5);
    while there() {
        let output = Command::new("ip").args(["link", "delete", name]).output().map_err(|source| {
            Error::CommandNotStarted { command: format!("ip link delete {name}"), source }
        })?;
        if !output.status.success() && there() && Instant::now() > deadline {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::LinkNotRemoved { name: name.to_owned(), message });
        }
    }
    Ok(())
}

/// A bed mounts only in namespaces of its own. What a person mounted below its folder is let go, not deleted through.
fn unmount_below(folder: &Path) -> Result<(), Error> {
    let path = Path::new("/proc/self/mounts");
    let mounts =
        fs::read_to_string(path).map_err(|source| Error::FileNotRead { path: path.into(), source })?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    // The list is in the order of mounting, so its reverse goes from the inside out.
    for point in points.filter(|point| point.starts_with(folder)).collect::<Vec<_>>().into_iter().rev() {
        rustix::mount::unmount(point, UnmountFlags::DETACH)
            .map_err(|source| Error::NotUnmounted { point: point.to_owned(), source: source.into() })?;
    }
    Ok(())
}
