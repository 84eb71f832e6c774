//! What can go wrong with files of blobs.

use std::{io, path::PathBuf};

use registry_wire::{Digest, SessionId};

/// A failed operation of a blob store.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No space is left. Nothing half-written stays.
    #[error("no space left while writing {}", path.display())]
    Full {
        /// The file that was written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A directory cannot be made.
    #[error("cannot make directory {}", path.display())]
    MakeDirectory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file cannot be made or written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file cannot be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The source of a write failed.
    #[error("cannot read the bytes of blob {digest} from their source")]
    Source {
        /// The blob that was to be written.
        digest: Digest,
        /// The source's error.
        source: io::Error,
    },
    /// The bytes have another digest.
    #[error("the bytes have digest {found}, not {expected}")]
    Mismatch {
        /// The digest that they should have.
        expected: Digest,
        /// The digest that they have.
        found: Digest,
    },
    /// More bytes than allowed.
    #[error("more than the allowed {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The stored bytes no longer have their digest.
    #[error("stored blob {digest} is damaged: {} has digest {found}", path.display())]
    Damaged {
        /// The blob.
        digest: Digest,
        /// Its file.
        path: PathBuf,
        /// The digest that the bytes have.
        found: Digest,
    },
    /// No such upload.
    #[error("there is no upload {session}")]
    UnknownUpload {
        /// The session.
        session: SessionId,
    },
}

impl BlobError {
    /// What to do about it.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Full { .. } => {
                Some("free space on that file system and try again: nothing half-written was left")
            }
            Self::Damaged { .. } => Some("check the disk, remove the file and push the image again"),
            _ => None,
        }
    }

    /// A failed write to `path`; a full disk is told apart.
    pub(crate) fn write(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path, source },
            _ => Self::Write { path, source },
        }
    }
}
