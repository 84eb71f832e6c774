//! How much a command has changed in its tree. No limit of the kernel bounds a folder as a whole, so it is measured while the
//! command runs.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags},
    io::Errno,
};

use crate::specification::{Root, Specification};

/// How long from one look to the next, at least.
const PAUSE: Duration = Duration::from_secs(1);
/// A look takes at most this part of the time.
const PART: u32 = 20;
/// What a file or folder counts beside what is in it.
const ENTRY: u64 = 4096;
/// Folders in one another; nobody needs more.
const DEPTH_LIMIT: usize = 200;

/// The changed files of one command.
pub(crate) struct Changed {
    /// None where there are none.
    upper: Option<PathBuf>,
    limit: u64,
    next: Instant,
}

impl Changed {
    pub(crate) fn of(specification: &Specification, begun: Instant) -> Self {
        let upper = match &specification.root {
            Root::Overlay { changes, .. } => Some(changes.join("upper")),
            Root::Empty => None,
        };
        Self { upper, limit: specification.limits.changes, next: begun + PAUSE }
    }

    /// When to look next; never if there is nothing to look at.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.upper.as_ref().map(|_| self.next)
    }

    /// Looks if it is time to: whether there is more than the limit.
    pub(crate) fn are_over(&mut self) -> io::Result<bool> {
        let begun = Instant::now();
        if begun < self.next {
            return Ok(false);
        }
        let are_over = self.were_over()?;
        self.next = Instant::now() + PAUSE.max(begun.elapsed() * PART);
        Ok(are_over)
    }

    /// Looks in the end.
    pub(crate) fn were_over(&self) -> io::Result<bool> {
        self.upper.as_ref().map_or(Ok(false), |upper| is_over(upper, self.limit))
    }
}

fn is_over(upper: &Path, limit: u64) -> io::Result<bool> {
    let Some(folder) = open(CWD, upper)? else { return Ok(false) };
    let mut left = Some(limit);
    take(folder, 0, &mut left)?;
    Ok(left.is_none())
}

/// Takes what a folder holds from what is left; nothing is left once it is too much.
fn take(folder: OwnedFd, depth: usize, left: &mut Option<u64>) -> io::Result<()> {
    if depth > DEPTH_LIMIT {
        *left = None;
    }
    let mut entries = Dir::new(folder)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name();
        if left.is_none() {
            return Ok(());
        }
        if name == c"." || name == c".." {
            continue;
        }
        // It may be gone by now.
        let Some(found) = unless_gone(rustix::fs::statat(entries.fd()?, name, AtFlags::SYMLINK_NOFOLLOW))?
        else {
            continue;
        };
        let size = u64::try_from(found.st_blocks).unwrap_or_default().saturating_mul(512);
        *left = left.and_then(|left| left.checked_sub(size.saturating_add(ENTRY)));
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory
            && let Some(inner) = open(entries.fd()?, name)?
        {
            take(inner, depth + 1, left)?;
        }
    }
    Ok(())
}

/// Opens a folder that is no link.
fn open(at: impl AsFd, name: impl rustix::path::Arg) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    unless_gone(rustix::fs::openat(at, name, flags, Mode::empty()))
}

/// What is gone, or became something else, or is closed to its own owner, counts no more.
fn unless_gone<T>(found: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn files_and_folders_count_and_links_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let upper = folder.path().join("upper");
        assert!(!is_over(&upper, 0).unwrap());
        fs::create_dir_all(upper.join("a/b")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/large"), vec![1; 1 << 20]).unwrap();
        symlink("../../outside", upper.join("a/link")).unwrap();
        assert!(!is_over(&upper, 1 << 18).unwrap());
        fs::write(upper.join("a/b/large"), vec![1; 1 << 20]).unwrap();
        assert!(is_over(&upper, 1 << 20).unwrap() && !is_over(&upper, 1 << 21).unwrap());
        // Empty files count too, and so does depth.
        for number in 0..100 {
            fs::write(upper.join(format!("a/{number}")), "").unwrap();
        }
        assert!(is_over(&upper, (1 << 20) + 90 * ENTRY).unwrap());
        let deep = (0..=DEPTH_LIMIT).fold(upper, |path, _| path.join("x"));
        fs::create_dir_all(deep).unwrap();
        assert!(is_over(&folder.path().join("upper"), u64::MAX).unwrap());
    }
}
