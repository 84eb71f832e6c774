//! The recipe's own files: hashed by content each time, since a change of one byte needs no other length or time.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use builder_recipe::SourceFile;
use registry_wire::{Digest, Hasher};

const PIECE: usize = 256 << 10;

/// A file of the recipe, hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceInput {
    /// Where it is on this machine.
    pub path: PathBuf,
    /// Path in the image, absolute.
    pub target: String,
    /// Mode in the image.
    pub mode: u32,
    /// Its content.
    pub digest: Digest,
    /// Its length.
    pub length: u64,
}

/// A file of the recipe that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SourceInput {
    /// Hashes `file` of the recipe in `folder`.
    pub fn hash(folder: &Path, file: &SourceFile) -> Result<Self, SourceError> {
        Self::hash_file(&folder.join(file.source.as_str()), file.target.as_str(), file.mode())
    }

    /// Hashes the file at `path`, which goes to `target` in the image.
    pub fn hash_file(path: &Path, target: &str, mode: u32) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Read { path: path.to_owned(), source };
        let opened = File::open(path).map_err(failed)?;
        let mut hasher = Hasher::new();
        io::copy(&mut io::BufReader::with_capacity(PIECE, opened), &mut hasher).map_err(failed)?;
        let length = hasher.length();
        Ok(Self { path: path.to_owned(), target: target.to_owned(), mode, digest: hasher.finish(), length })
    }
}
