//! A trust root as a file: the manifest that carries it, as a registry would hold it.

use std::{
    fs, io,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use bundles_trust::{ArtifactError, RootMark, RootRefusal, SignedRoot, TrustedRoot};
use registry_wire::{ManifestError, MediaType, StoredManifest};

use crate::error::{CommandError, Kind};

/// A trust root that was read from a file and has enough signatures of its own root keys.
#[derive(Debug)]
pub(crate) struct RootFile {
    /// The root with its signatures.
    pub(crate) signed: SignedRoot,
    /// The same, trusted because its file was named.
    pub(crate) trusted: TrustedRoot,
    /// The versions that it goes back to, as far as their files were named too.
    pub(crate) earlier: Vec<TrustedRoot>,
}

impl RootFile {
    /// The root under which a document was made, if that is one of these; else the newest.
    pub(crate) fn of(&self, mark: &RootMark) -> &TrustedRoot {
        self.earlier.iter().find(|root| root.mark() == *mark).unwrap_or(&self.trusted)
    }
}

/// A trust root that is not read from a file or written to one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootFileError {
    /// The file cannot be read.
    #[error("the trust root {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is too large to be one.
    #[error("{} has more than {} bytes, which no trust root has", path.display(), SignedRoot::LARGEST)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is no manifest.
    #[error("{} is not a trust root", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ManifestError,
    },
    /// The manifest carries no trust root.
    #[error("{} is not a signed trust root", path.display())]
    Artifact {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<ArtifactError>,
    },
    /// Not signed by its own keys.
    #[error("the trust root {} is refused", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<RootRefusal>,
    },
    /// The file cannot be written.
    #[error("the trust root {} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<RootFileError> for CommandError {
    fn from(error: RootFileError) -> Self {
        let (kind, hint) = match &error {
            RootFileError::Read { .. } | RootFileError::TooLarge { .. } | RootFileError::Manifest { .. } => {
                (Kind::Input, Some("bundle trust init trust.toml --key FILE makes one"))
            }
            RootFileError::Artifact { .. } => {
                (Kind::Trust, Some("get the file anew from the owners of the root"))
            }
            RootFileError::Refused { source, .. } => (Kind::Trust, Some(source.hint())),
            RootFileError::Write { .. } => (Kind::Machine, None),
        };
        Self::new(kind, error).hint_if(hint)
    }
}

/// Reads a trust root. Who names its file trusts it; its own threshold of root keys must have signed it all the same.
pub(crate) fn read(path: &Path) -> Result<RootFile, RootFileError> {
    let path = || path.to_owned();
    let mut bytes = Vec::new();
    let limit = SignedRoot::LARGEST as u64;
    let read = fs::File::open(path()).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    read.map_err(|source| RootFileError::Read { path: path(), source })?;
    if bytes.len() as u64 > limit {
        return Err(RootFileError::TooLarge { path: path() });
    }
    let manifest = StoredManifest::parse(MediaType::IMAGE_MANIFEST, bytes)
        .map_err(|source| RootFileError::Manifest { path: path(), source })?;
    let signed = SignedRoot::parse(&manifest)
        .map_err(|source| RootFileError::Artifact { path: path(), source: Box::new(source) })?;
    let trusted = TrustedRoot::pin(&signed, signed.digest())
        .map_err(|source| RootFileError::Refused { path: path(), source: Box::new(source) })?;
    Ok(RootFile { signed, trusted, earlier: Vec::new() })
}

/// Reads versions of a trust root, each after the one that it follows. The last is the one that holds.
pub(crate) fn read_versions(first: &Path, later: &[PathBuf]) -> Result<RootFile, RootFileError> {
    later.iter().try_fold(read(first)?, |before, path| {
        let RootFile { signed, .. } = read(path)?;
        let trusted = before
            .trusted
            .advance(&signed)
            .map_err(|source| RootFileError::Refused { path: path.clone(), source: Box::new(source) })?;
        let mut earlier = before.earlier;
        earlier.push(before.trusted);
        Ok(RootFile { signed, trusted, earlier })
    })
}

/// Writes a trust root: whole or not at all. What was there is replaced.
pub(crate) fn write(path: &Path, root: &SignedRoot) -> Result<(), RootFileError> {
    let failed = |source| RootFileError::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".trust-root-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(root.manifest().bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
