//! Uploads: blobs that come in several pieces.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

use registry_wire::{Digest, Hasher, SessionId};

use crate::{
    BlobError, BlobStore,
    store::{BUFFER, remove_file},
};

/// A blob that is coming in. Dropping it keeps the file, so that the upload can be resumed.
#[derive(Debug)]
#[must_use = "bytes that came in are lost to readers until the upload is published"]
pub struct Upload {
    store: BlobStore,
    path: PathBuf,
    file: File,
    hasher: Hasher,
}

impl BlobStore {
    /// Begins an upload.
    pub fn begin_upload(&self, session: &SessionId) -> Result<Upload, BlobError> {
        let path = self.uploads().join(session.as_str());
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(|source| BlobError::write(&path, source))?;
        Ok(Upload { store: self.clone(), path, file, hasher: Hasher::new() })
    }

    /// Opens an upload again, after a restart: its bytes are hashed anew, so that nothing is trusted but the file.
    pub fn resume_upload(&self, session: &SessionId) -> Result<Upload, BlobError> {
        let path = self.uploads().join(session.as_str());
        let mut file = match OpenOptions::new().read(true).append(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BlobError::UnknownUpload { session: session.clone() });
            }
            Err(source) => return Err(BlobError::Read { path, source }),
        };
        let mut hasher = Hasher::new();
        io::copy(&mut io::BufReader::with_capacity(BUFFER, &mut file), &mut hasher)
            .map_err(|source| BlobError::Read { path: path.clone(), source })?;
        Ok(Upload { store: self.clone(), path, file, hasher })
    }

    /// Gives an upload up. `false` when there was none.
    pub fn discard_upload(&self, session: &SessionId) -> Result<bool, BlobError> {
        remove_file(&self.uploads().join(session.as_str()))
    }
}

impl Upload {
    /// Bytes that came in so far.
    pub const fn length(&self) -> u64 {
        self.hasher.length()
    }

    /// Adds bytes, up to `limit` in all. After an error the upload is gone: its file may end in the middle of a
    /// write.
    pub fn append(mut self, bytes: &[u8], limit: u64) -> Result<Self, BlobError> {
        let written = if self.length() + bytes.len() as u64 > limit {
            Err(BlobError::TooLarge { limit })
        } else {
            self.file.write_all(bytes).map_err(|source| BlobError::write(&self.path, source))
        };
        match written {
            Ok(()) => {
                self.hasher.update(bytes);
                Ok(self)
            }
            Err(error) => {
                // The first error is the one that explains.
                self.discard().ok();
                Err(error)
            }
        }
    }

    /// Checks the digest and makes the blob visible; gives its size. With another digest the upload is gone.
    ///
    /// *Atomicity*: the blob is visible after its bytes were verified and synced, or not at all.
    pub fn publish(self, expected: &Digest) -> Result<u64, BlobError> {
        let size = self.length();
        let found = self.hasher.clone().finish();
        if found != *expected {
            self.discard()?;
            return Err(BlobError::Mismatch { expected: *expected, found });
        }
        if self.store.size(expected)?.is_some() {
            self.discard()?;
            return Ok(size);
        }
        let published = self.store.publish(&self.file, &self.path, expected);
        if published.is_err() {
            self.discard().ok();
        }
        published.map(|()| size)
    }

    /// Gives the upload up.
    pub fn discard(self) -> Result<(), BlobError> {
        remove_file(&self.path).map(drop)
    }
}
