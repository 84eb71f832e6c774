//! Fetched files by hash: `sha256/<hex>` below one folder. Only verified files have such a name.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
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

    /// Starts a file that becomes visible when it is complete and verified.
    pub(crate) fn begin(&self) -> Result<Partial, CacheError> {
        let folder = self.root.join("sha256");
        fs::create_dir_all(&folder).map_err(|source| CacheError::Folder { path: folder.clone(), source })?;
        let file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(&folder);
        let file = file.map_err(|source| CacheError::Write { path: folder.clone(), source })?;
        Ok(Partial { folder, file, hasher: Hasher::new() })
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
    file: NamedTempFile,
    hasher: Hasher,
}

impl Partial {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), CacheError> {
        self.hasher.update(bytes);
        let written = self.file.write_all(bytes);
        written.map_err(|source| CacheError::Write { path: self.folder.clone(), source })
    }

    pub(crate) const fn length(&self) -> u64 {
        self.hasher.length()
    }

    /// Makes the file visible, if it is what was promised.
    pub(crate) fn finish(self, expected: &Digest, expected_size: u64) -> Result<(), CacheError> {
        let found_size = self.hasher.length();
        let found = self.hasher.finish();
        if found != *expected || found_size != expected_size {
            return Err(CacheError::Mismatch { expected: *expected, expected_size, found, found_size });
        }
        let failed = |source| CacheError::Write { path: self.folder.clone(), source };
        self.file.as_file().sync_all().map_err(failed)?;
        let target = self.folder.join(expected.hex());
        self.file.persist(&target).map_err(|error| failed(error.error))?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}
