//! The objects of a release as the daemon applies them, for a peer to apply.

use anyhow::{Context as _, Result};
use bundles_objects::{Binding, Object, RegistryMap, bind};
use bundles_release::{EnvironmentName, Release, ReleaseLimits};
use registry_client::{Registry, Scheme};
use registry_wire::{Digest, Reference, RepositoryName};
use serde_json::Value;

/// Where a release is and where it runs.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) registry: &'a str,
    pub(super) repository: &'a str,
    pub(super) release: &'a str,
    pub(super) environment: &'a str,
    /// The namespace, which is also the subscription's name.
    pub(super) namespace: &'a str,
}

/// All objects, bound as the daemon binds them.
pub(super) async fn objects(place: &Place<'_>) -> Result<Vec<Value>> {
    let registry = Registry::new(place.registry.parse()?, Scheme::Http)?;
    let repository: RepositoryName = place.repository.parse()?;
    let release: Digest = place.release.parse()?;
    let environment: EnvironmentName = place.environment.parse()?;
    let manifest = registry.get_manifest(&repository, &Reference::Digest(release)).await?;
    let manifest = manifest.context("the registry has the release")?;
    let config =
        registry.get_blob(&repository, Release::config_of(&manifest)?, ReleaseLimits::CONFIG).await?;
    let document = Release::parse(manifest, &config)?;
    let parts = document.environment(&environment).context("the release has the environment")?.parts();
    let mut all = Vec::new();
    for (part, layer) in parts {
        let bytes = registry.get_blob(&repository, layer, ReleaseLimits::OBJECTS).await?;
        for value in document.read_objects(&environment, part, &bytes)?.objects {
            all.push(Object::new(value)?);
        }
    }
    let binding = Binding {
        registry: RegistryMap { registry: place.registry.parse()?, prefix: repository },
        namespace: place.namespace.parse()?,
        subscription: place.namespace.parse()?,
    };
    bind(&mut all, &binding)?;
    Ok(all.into_iter().map(Object::into_value).collect())
}
