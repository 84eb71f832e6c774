//! A release by tag or digest.

use bundles_release::{Release, ReleaseError, ReleaseLimits};
use registry_client::{ClientError, Registry};
use registry_wire::{Reference, RegistryAddress, RepositoryName};

/// A release and what it was read from.
#[derive(Debug, Clone)]
pub struct FetchedRelease {
    /// The release, with its manifest as received.
    pub release: Release,
    /// Bytes of its configuration.
    pub configuration: Vec<u8>,
}

/// A release that is not read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The manifest does not come.
    #[error("the manifest {reference} of {repository} is not read")]
    Manifest {
        /// The repository.
        repository: RepositoryName,
        /// What was asked for.
        reference: Reference,
        /// What the client says.
        source: ClientError,
    },
    /// The registry says that there is none.
    #[error("registry {registry} has no release {reference} in {repository}")]
    Absent {
        /// The registry.
        registry: RegistryAddress,
        /// The repository.
        repository: RepositoryName,
        /// What was asked for.
        reference: Reference,
    },
    /// Something else than a release.
    #[error("{reference} in {repository} is no release")]
    Kind {
        /// The repository.
        repository: RepositoryName,
        /// What was asked for.
        reference: Reference,
        /// What is wrong.
        source: ReleaseError,
    },
    /// The configuration does not come.
    #[error("the configuration of the release {reference} in {repository} is not read")]
    Configuration {
        /// The repository.
        repository: RepositoryName,
        /// What was asked for.
        reference: Reference,
        /// What the client says.
        source: ClientError,
    },
    /// A release that breaks a rule.
    #[error("the release {reference} in {repository} is refused")]
    Release {
        /// The repository.
        repository: RepositoryName,
        /// What was asked for.
        reference: Reference,
        /// What is wrong.
        source: ReleaseError,
    },
}

impl FetchError {
    /// What the client says, when it is the registry that failed.
    pub const fn client(&self) -> Option<&ClientError> {
        match self {
            Self::Manifest { source, .. } | Self::Configuration { source, .. } => Some(source),
            Self::Absent { .. } | Self::Kind { .. } | Self::Release { .. } => None,
        }
    }
}

/// Reads the release that `reference` names. A tag is looked up once; what follows is by digest.
pub async fn fetch_release(
    registry: &Registry,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<FetchedRelease, FetchError> {
    let place = || (repository.clone(), reference.clone());
    let manifest = registry.get_manifest(repository, reference).await.map_err(|source| {
        let (repository, reference) = place();
        FetchError::Manifest { repository, reference, source }
    })?;
    let manifest = manifest.ok_or_else(|| {
        let (repository, reference) = place();
        FetchError::Absent { registry: registry.address().clone(), repository, reference }
    })?;
    let configuration = Release::config_of(&manifest).map_err(|source| {
        let (repository, reference) = place();
        FetchError::Kind { repository, reference, source }
    })?;
    let configuration =
        registry.get_blob(repository, configuration, ReleaseLimits::CONFIG).await.map_err(|source| {
            let (repository, reference) = place();
            FetchError::Configuration { repository, reference, source }
        })?;
    let release = Release::parse(manifest, &configuration).map_err(|source| {
        let (repository, reference) = place();
        FetchError::Release { repository, reference, source }
    })?;
    Ok(FetchedRelease { release, configuration })
}
