//! The changed files of a run, in the form of overlayfs. A script made them, so none of its links is followed and nothing
//! but a file is opened.

use std::{
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
};

use crate::rooted::open_file;

/// The folder of changed files.
#[derive(Debug)]
pub(crate) struct Upper {
    folder: OwnedFd,
    path: PathBuf,
}

/// What is at a path where a text is looked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing was changed there.
    Nothing,
    /// A text.
    Text(String),
    /// Something else, or a link on the way.
    Other,
}

impl Upper {
    /// Opens it.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, &path, flags, Mode::empty())?;
        Ok(Self { folder, path })
    }

    /// Where a path of the tree is on this machine.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    /// A text of at most `limit` bytes.
    pub(crate) fn text(&self, path: &str, limit: u64) -> io::Result<Found> {
        let file = match open_file(&self.folder, Path::new(path)) {
            Ok(Some(file)) => file,
            Ok(None) | Err(Errno::LOOP | Errno::NOTDIR) => return Ok(Found::Other),
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        let text = String::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= limit);
        Ok(text.map_or(Found::Other, Found::Text))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{FileTypeExt as _, symlink},
    };

    use rustix::fs::FileType;

    use super::*;

    #[test]
    fn only_texts_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["etc", "secret"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::write(root.join("etc/text"), "12345678").unwrap();
        fs::write(root.join("etc/bytes"), b"\xff").unwrap();
        symlink(root.join("etc"), root.join("elsewhere")).unwrap();
        symlink("text", root.join("etc/link")).unwrap();
        symlink("/dev/zero", root.join("etc/zero")).unwrap();
        rustix::fs::mknodat(CWD, root.join("etc/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(fs::symlink_metadata(root.join("etc/pipe")).unwrap().file_type().is_fifo());
        let upper = Upper::open(root.to_owned()).unwrap();
        for (path, expected) in [
            ("etc/text", Found::Text("12345678".to_owned())),
            ("etc/absent", Found::Nothing),
            ("absent/text", Found::Nothing),
            ("etc/bytes", Found::Other),
            ("etc/link", Found::Other),
            ("etc/zero", Found::Other),
            ("etc/pipe", Found::Other),
            ("elsewhere/text", Found::Other),
            ("etc", Found::Other),
            ("etc/text/below", Found::Other),
        ] {
            assert_eq!(upper.text(path, 8).unwrap(), expected, "{path}");
        }
        assert_eq!(upper.text("etc/text", 7).unwrap(), Found::Other);
    }
}
