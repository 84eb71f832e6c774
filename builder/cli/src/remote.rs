//! A release in a registry, as a person names it.

use bundles_release::Release;
use bundles_remote::FetchError;
use clap::Args;
use registry_client::{ClientError, Registry, Scheme};
use registry_wire::{ImageName, RepositoryName};

use crate::{
    error::{CommandError, Kind},
    publishing::{Target, of_registry},
};

/// Which release, and how its registry is reached.
#[derive(Debug, Clone, Args)]
pub(crate) struct RemoteRelease {
    /// The release: HOST:PORT/REPOSITORY@sha256:… or HOST:PORT/REPOSITORY:TAG.
    #[arg(value_name = "REFERENCE")]
    reference: ImageName,
    /// http or https.
    #[arg(long, default_value = "https")]
    scheme: Scheme,
}

/// A release in its registry.
#[derive(Debug)]
pub(crate) struct OpenedRelease {
    registry: Registry,
    repository: RepositoryName,
    /// The release.
    pub(crate) release: Release,
}

impl OpenedRelease {
    /// Where it is.
    pub(crate) const fn target(&self) -> Target<'_> {
        Target { registry: &self.registry, repository: &self.repository }
    }

    /// How it is named for ever, without a tag.
    pub(crate) fn reference(&self) -> String {
        format!("{}/{}@{}", self.registry.address(), self.repository, self.release.digest())
    }
}

impl RemoteRelease {
    /// Reads the release. Nothing is said yet of who vouches for it.
    pub(crate) async fn open(&self) -> Result<OpenedRelease, CommandError> {
        let ImageName { registry: address, repository, .. } = &self.reference;
        let reference = self.reference.reference().ok_or_else(|| {
            let message = format!("`{}` names neither a tag nor a digest", self.reference);
            CommandError::new(Kind::Usage, message)
                .hint("`bundle release --registry HOST:PORT` prints the whole reference")
        })?;
        let registry = Registry::new(address.clone(), self.scheme).map_err(of_registry)?;
        let fetched = bundles_remote::fetch_release(&registry, repository, &reference).await;
        let release = fetched.map_err(|error| self.refused(error))?.release;
        Ok(OpenedRelease { registry, repository: repository.clone(), release })
    }

    fn refused(&self, error: FetchError) -> CommandError {
        let address = &self.reference.registry;
        let (kind, hint) = match &error {
            FetchError::Absent { .. } => (
                Kind::Input,
                Some(format!("bundle release --registry {address} --scheme {} pushes one", self.scheme)),
            ),
            FetchError::Kind { .. } | FetchError::Release { .. } => {
                let hint = "name a release: `bundle release --registry HOST:PORT` prints its reference";
                (Kind::Input, Some(hint.to_owned()))
            }
            FetchError::Manifest { source, .. } | FetchError::Configuration { source, .. } => {
                let hint = match (source, self.scheme) {
                    (ClientError::Unreachable { .. }, Scheme::Https) => Some(
                        "is it running and is the address right? If it speaks plain HTTP: --scheme http"
                            .to_owned(),
                    ),
                    _ => source.hint(),
                };
                (Kind::Remote, hint)
            }
        };
        CommandError::new(kind, error).hint_if(hint)
    }
}
