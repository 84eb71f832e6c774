//! Reading the bytes of a tree's files.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use registry_wire::{Digest, HashingWriter};

use crate::Content;

/// Where the unpacked payloads of packages are on this machine.
#[derive(Debug, Default)]
pub struct Payloads {
    files: BTreeMap<Digest, Payload>,
}

#[derive(Debug)]
struct Payload {
    path: PathBuf,
    /// What its hash was when it was written, if that was not just now.
    kept: Option<Digest>,
    /// Open once it was needed, and found whole if it was kept.
    open: Mutex<Option<Arc<File>>>,
}

/// Why the bytes of a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The payload of a package is not known.
    #[error("package sha256:{} is not unpacked", package.hex())]
    Unknown {
        /// SHA-256 of the `.deb`.
        package: Digest,
    },
    /// A payload could not be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A kept payload is not what was written then.
    #[error("{} is not the unpacked package that it was", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What its hash should be.
        digest: Digest,
    },
    /// A file of the recipe is not what it was when the build began.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The receiver of the bytes failed.
    #[error("cannot write the content of a file")]
    Write(#[source] io::Error),
}

/// Bytes moved at once.
const CHUNK: usize = 256 << 10;

impl Payloads {
    /// No payload.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says where the payload of the package with that SHA-256 was written just now.
    pub fn add(&mut self, package: Digest, path: PathBuf) {
        self.files.insert(package, Payload { path, kept: None, open: Mutex::default() });
    }

    /// Says where it is kept since an earlier time; its hash then was `digest`. It is hashed before its first byte is
    /// used: disks forget.
    pub fn add_kept(&mut self, package: Digest, path: PathBuf, digest: Digest) {
        self.files.insert(package, Payload { path, kept: Some(digest), open: Mutex::default() });
    }

    fn file(&self, package: Digest) -> Result<(Arc<File>, &Path), PayloadError> {
        let Payload { path, kept, open } =
            self.files.get(&package).ok_or(PayloadError::Unknown { package })?;
        // Whoever else needs this payload waits until it was hashed.
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*open {
            return Ok((file.clone(), path));
        }
        let read = |source| PayloadError::Read { path: path.clone(), source };
        let file = File::open(path).map_err(read)?;
        if let Some(digest) = *kept {
            let mut hashed = HashingWriter::new(io::sink());
            copy_range(&file, path, 0, file.metadata().map_err(read)?.len(), &mut hashed)?;
            if hashed.into_parts().1.finish() != digest {
                return Err(PayloadError::Damaged { path: path.clone(), digest });
            }
        }
        Ok((open.insert(Arc::new(file)).clone(), path))
    }

    /// Reads a content of at most `limit` bytes; nothing if it is longer.
    pub fn read(&self, content: &Content, limit: u64) -> Result<Option<Vec<u8>>, PayloadError> {
        if content.length() > limit {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(content.length()).unwrap_or_default());
        self.copy(content, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// Reads a range that lies inside a content.
    pub(crate) fn range(&self, content: &Content, start: u64, length: u64) -> Result<Vec<u8>, PayloadError> {
        if let Content::Payload { package, offset, .. } = content {
            let (file, path) = self.file(*package)?;
            let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
            file.read_exact_at(&mut bytes, offset + start)
                .map_err(|source| PayloadError::Read { path: path.to_owned(), source })?;
            return Ok(bytes);
        }
        let mut bytes = Vec::new();
        self.copy(content, &mut bytes)?;
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Ok(bytes.into_iter().skip(start).take(length).collect())
    }

    /// Writes all bytes of a content to `to`.
    pub fn copy(&self, content: &Content, to: &mut dyn io::Write) -> Result<(), PayloadError> {
        match content {
            Content::Bytes(bytes) => to.write_all(bytes).map_err(PayloadError::Write),
            Content::Payload { package, offset, length } => {
                let (file, path) = self.file(*package)?;
                copy_range(&file, path, *offset, *length, to)
            }
            Content::Host { path, digest, length } => {
                let file =
                    File::open(path).map_err(|source| PayloadError::Read { path: path.clone(), source })?;
                let mut hashed = HashingWriter::new(to);
                copy_range(&file, path, 0, *length, &mut hashed)?;
                if hashed.into_parts().1.finish() == *digest {
                    Ok(())
                } else {
                    Err(PayloadError::Changed { path: path.clone() })
                }
            }
        }
    }
}

fn copy_range(
    file: &File,
    path: &Path,
    mut offset: u64,
    mut length: u64,
    to: &mut dyn io::Write,
) -> Result<(), PayloadError> {
    let mut buffer = vec![0; CHUNK.min(usize::try_from(length).unwrap_or(CHUNK))];
    while length > 0 {
        let part = usize::try_from(length).unwrap_or(CHUNK).min(CHUNK);
        file.read_exact_at(&mut buffer[..part], offset)
            .map_err(|source| PayloadError::Read { path: path.to_owned(), source })?;
        to.write_all(&buffer[..part]).map_err(PayloadError::Write)?;
        offset += part as u64;
        length -= part as u64;
    }
    Ok(())
}
