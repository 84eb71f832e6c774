//! Fetched files by hash: `sha256/<hex>` below one folder. Only verified files have such a name.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek as _, SeekFrom, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use bundles_release::lock::LockedPackage;
use registry_wire::{Digest, Hasher};
use tempfile::NamedTempFile;

const PIECE: usize = 128 << 10;
const PARTIAL: &str = ".partial-";

/// Fetched files by hash.
#[derive(Debug, Clone)]
pub struct PackageCache {
    root: PathBuf,
}

/// Why the cache does not give or take a file.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The folder cannot be made.
    #[error("cannot make the cache folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {} from the cache", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write to the cache below {}", path.display())]
    Write {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not there.
    #[error("package {package} {version} is not in the cache; `bundle fetch` brings it")]
    Missing {
        /// The package.
        package: String,
        /// Its version.
        version: String,
    },
    /// A file has other content than its name says.
    #[error("{} in the cache is damaged: it has {found}; `bundle fetch` replaces it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: Digest,
    },
    /// Bytes that arrived are not those that were promised.
    #[error("{found} of {found_size} bytes arrived where {expected} of {expected_size} bytes was promised")]
    Mismatch {
        /// What was promised.
        expected: Digest,
        /// Its length.
        expected_size: u64,
        /// What arrived.
        found: Digest,
        /// Its length.
        found_size: u64,
    },
}

impl PackageCache {
    /// The cache below a folder, which is made when something is written.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where the file of that hash is, if it is there.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("sha256").join(digest.hex())
    }

    /// Whether a file of that hash and length is there; its content is not looked at.
    pub fn has(&self, digest: &Digest, size: u64) -> bool {
        fs::metadata(self.path(digest)).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
    }

    /// The bytes of a locked package, verified on this use.
    pub fn read_package(&self, package: &LockedPackage) -> Result<Vec<u8>, CacheError> {
        self.read(&package.sha256, package.size)?.ok_or_else(|| CacheError::Missing {
            package: package.name.to_string(),
            version: package.version.to_string(),
        })
    }

    /// The bytes of that hash, at most `limit`, verified on this use; nothing if they are not there.
    pub(crate) fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, CacheError> {
        let path = self.path(digest);
        let failed = |source| CacheError::Read { path: path.clone(), source };
        let Some(file) = open(&path).map_err(failed)? else { return Ok(None) };
        let mut bytes = Vec::new();
        // One byte more than allowed shows that the file is too long, without reading all of it.
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        let found = Digest::of(&bytes);
        if found == *digest { Ok(Some(bytes)) } else { Err(CacheError::Damaged { path, found }) }
    }

    /// Hashes the file of that hash; false if it is not there.
    pub(crate) fn verify(&self, digest: &Digest) -> Result<bool, CacheError> {
        let path = self.path(digest);
        let failed = |source| CacheError::Read { path: path.clone(), source };
        let Some(file) = open(&path).map_err(failed)? else { return Ok(false) };
        let mut hasher = Hasher::new();
        io::copy(&mut io::BufReader::with_capacity(PIECE, file), &mut hasher).map_err(failed)?;
        let found = hasher.finish();
        if found == *digest { Ok(true) } else { Err(CacheError::Damaged { path, found }) }
    }

    /// Puts bytes under their hash.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), CacheError> {
        let mut partial = self.begin()?;
        partial.write(bytes)?;
        partial.finish(&Digest::of(bytes), bytes.len() as u64)
    }

    /// Starts a file that becomes visible when it is complete and verified, and is gone if it does not.
    pub(crate) fn begin(&self) -> Result<Partial, CacheError> {
        let folder = self.folder()?;
        let file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(&folder);
        let file = file.map_err(|source| CacheError::Write { path: folder.clone(), source })?;
        Ok(Partial { folder, file: PartialFile::Temporary(file), hasher: Hasher::new() })
    }

    /// Goes on with the file of that hash where an earlier attempt ended. What is not finished stays for the next
    /// attempt, of this process or another. While another process works on it, a file as of [`Self::begin`] is given.
    pub(crate) fn resume(&self, digest: &Digest) -> Result<Partial, CacheError> {
        let folder = self.folder()?;
        let path = folder.join(format!("{PARTIAL}{}", digest.hex()));
        let failed = |source| CacheError::Write { path: folder.clone(), source };
        loop {
            let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
            let file = file.map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return self.begin(),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            // Whoever had it locked may have made it visible under its final name meanwhile.
            let is_same = match fs::metadata(&path) {
                Ok(there) => there.ino() == file.metadata().map_err(failed)?.ino(),
                Err(_) => false,
            };
            if !is_same {
                continue;
            }
            let mut hasher = Hasher::new();
            io::copy(&mut io::BufReader::with_capacity(PIECE, &file), &mut hasher).map_err(failed)?;
            return Ok(Partial { folder, file: PartialFile::Kept { file, path, keep: true }, hasher });
        }
    }

    fn folder(&self) -> Result<PathBuf, CacheError> {
        let folder = self.root.join("sha256");
        fs::create_dir_all(&folder).map_err(|source| CacheError::Folder { path: folder.clone(), source })?;
        Ok(folder)
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file on its way into the cache.
#[derive(Debug)]
pub(crate) struct Partial {
    folder: PathBuf,
    file: PartialFile,
    hasher: Hasher,
}

#[derive(Debug)]
enum PartialFile {
    Temporary(NamedTempFile),
    /// Under a name that a later attempt finds; locked.
    Kept {
        file: File,
        path: PathBuf,
        keep: bool,
    },
}

impl PartialFile {
    fn file(&mut self) -> &mut File {
        match self {
            Self::Temporary(file) => file.as_file_mut(),
            Self::Kept { file, .. } => file,
        }
    }

    /// Leaves nothing for a later attempt.
    fn forget(&mut self) {
        if let Self::Kept { keep, .. } = self {
            *keep = false;
        }
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if let Self::Kept { path, file, keep } = self
            && (!*keep || file.metadata().is_ok_and(|metadata| metadata.len() == 0))
        {
            // It is one file too many at worst; the next attempt finds it.
            fs::remove_file(path).unwrap_or_default();
        }
    }
}

impl Partial {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), CacheError> {
        self.hasher.update(bytes);
        let written = self.file.file().write_all(bytes);
        written.map_err(|source| {
            // A full disk is not to stay full because of us, and what was written is not known.
            self.file.forget();
            CacheError::Write { path: self.folder.clone(), source }
        })
    }

    pub(crate) const fn length(&self) -> u64 {
        self.hasher.length()
    }

    /// Begins anew.
    pub(crate) fn restart(&mut self) -> Result<(), CacheError> {
        self.hasher = Hasher::new();
        let file = self.file.file();
        let emptied = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
        emptied.map(|_| ()).map_err(|source| CacheError::Write { path: self.folder.clone(), source })
    }

    /// Makes the file visible, if it is what was promised; if not, it is gone.
    pub(crate) fn finish(mut self, expected: &Digest, expected_size: u64) -> Result<(), CacheError> {
        let found_size = self.hasher.length();
        let found = self.hasher.finish();
        if found != *expected || found_size != expected_size {
            self.file.forget();
            return Err(CacheError::Mismatch { expected: *expected, expected_size, found, found_size });
        }
        let failed = |source| CacheError::Write { path: self.folder.clone(), source };
        self.file.file().sync_all().map_err(failed)?;
        let target = self.folder.join(expected.hex());
        match &mut self.file {
            PartialFile::Temporary(file) => {
                // When it is dropped, nothing of that name is there to be removed.
                fs::rename(file.path(), &target).map_err(failed)?;
            }
            PartialFile::Kept { path, .. } => fs::rename(path, &target).map_err(failed)?,
        }
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}
