//! The store: blobs by digest.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use registry_wire::{Digest, Hasher};
use tempfile::NamedTempFile;

use crate::BlobError;

/// Bytes that are moved at once.
pub(crate) const BUFFER: usize = 256 * 1024;

/// A directory of blobs.
#[derive(Debug, Clone)]
pub struct BlobStore {
    blobs: PathBuf,
    uploads: PathBuf,
}

/// A blob that is open for reading.
#[derive(Debug)]
pub struct OpenBlob {
    /// Its file, at the start.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
}

impl BlobStore {
    /// Opens the store under `root` and makes its directories.
    pub fn open(root: &Path) -> Result<Self, BlobError> {
        let store = Self { blobs: root.join("blobs").join("sha256"), uploads: root.join("uploads") };
        for path in [&store.blobs, &store.uploads] {
            fs::create_dir_all(path)
                .map_err(|source| BlobError::MakeDirectory { path: path.clone(), source })?;
        }
        sync_directory(root)?;
        Ok(store)
    }

    /// The file of a blob.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.blobs.join(&hex[..2]).join(hex)
    }

    /// The directory of uploads.
    pub(crate) fn uploads(&self) -> &Path {
        &self.uploads
    }

    /// The size of a blob, if it is here.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(BlobError::Read { path, source }),
        }
    }

    /// Opens a blob, if it is here. Its bytes are not hashed again; who needs that uses [`BlobStore::read`] or hashes
    /// while reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<OpenBlob>, BlobError> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BlobError::Read { path, source }),
        };
        let size = file.metadata().map_err(|source| BlobError::Read { path, source })?.len();
        Ok(Some(OpenBlob { file, size }))
    }

    /// Reads a blob of at most `limit` bytes, if it is here, and checks its digest.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, BlobError> {
        let Some(OpenBlob { file, size }) = self.open_blob(digest)? else { return Ok(None) };
        if size > limit {
            return Err(BlobError::TooLarge { limit });
        }
        let path = self.path(digest);
        let mut bytes = Vec::new();
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(|source| BlobError::Read { path: path.clone(), source })?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(BlobError::Damaged { digest: *digest, path, found });
        }
        Ok(Some(bytes))
    }

    /// Writes a blob of at most `limit` bytes and gives its size. A blob that is here already is not read again.
    ///
    /// *Atomicity*: the blob is visible after its bytes were verified and synced, or not at all.
    pub fn write(&self, digest: &Digest, limit: u64, source: &mut dyn Read) -> Result<u64, BlobError> {
        if let Some(size) = self.size(digest)? {
            return Ok(size);
        }
        let mut file = NamedTempFile::with_prefix_in(".write-", &self.uploads)
            .map_err(|source| BlobError::write(&self.uploads, source))?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(BlobError::Source { digest: *digest, source }),
            };
            hasher.update(&buffer[..length]);
            if hasher.length() > limit {
                return Err(BlobError::TooLarge { limit });
            }
            file.write_all(&buffer[..length]).map_err(|source| BlobError::write(file.path(), source))?;
        }
        let size = hasher.length();
        let found = hasher.finish();
        if found != *digest {
            return Err(BlobError::Mismatch { expected: *digest, found });
        }
        // After the rename the temporary name is gone, and dropping it removes nothing.
        self.publish(file.as_file(), file.path(), digest)?;
        Ok(size)
    }

    /// Syncs a verified file and gives it the name of its digest.
    pub(crate) fn publish(&self, file: &File, from: &Path, digest: &Digest) -> Result<(), BlobError> {
        file.sync_all().map_err(|source| BlobError::write(from, source))?;
        let path = self.path(digest);
        let directory = path.parent().unwrap_or(&self.blobs);
        if !directory.is_dir() {
            fs::create_dir_all(directory).map_err(|source| match source.kind() {
                io::ErrorKind::StorageFull => BlobError::write(directory, source),
                _ => BlobError::MakeDirectory { path: directory.to_owned(), source },
            })?;
            sync_directory(&self.blobs)?;
        }
        fs::rename(from, &path).map_err(|source| BlobError::write(&path, source))?;
        sync_directory(directory)
    }

    /// Removes a blob. `false` when it was not here.
    pub fn remove(&self, digest: &Digest) -> Result<bool, BlobError> {
        remove_file(&self.path(digest))
    }

    /// Removes uploads, and writes that a crash cut, which nothing was added to since `before`.
    pub fn sweep_uploads(&self, before: SystemTime) -> Result<usize, BlobError> {
        let read = |source| BlobError::Read { path: self.uploads.clone(), source };
        let mut removed = 0;
        for entry in fs::read_dir(&self.uploads).map_err(read)? {
            let entry = entry.map_err(read)?;
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).map_err(read)?;
            if modified < before && remove_file(&entry.path())? {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

pub(crate) fn remove_file(path: &Path) -> Result<bool, BlobError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(BlobError::Remove { path: path.to_owned(), source }),
    }
}

/// A new name in a directory is durable only after the directory itself was synced.
fn sync_directory(path: &Path) -> Result<(), BlobError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| BlobError::write(path, source))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
