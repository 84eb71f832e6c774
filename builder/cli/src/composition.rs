//! From images to the release `R`.

use std::collections::BTreeMap;

use bundles_objects::{ImageIdentity, KUBERNETES_REQUIRED, ServiceName};
use bundles_release::{
    AssembledRelease, EnvironmentParts, MinimumVersion, PartObjects, Release, ReleaseParts, Requirements,
    lock::Lock, sbom,
};

use crate::{
    error::{CommandError, Kind, OfKind as _},
    images::PlatformImage,
    platform::{PlatformFolder, no_environments},
};

/// The version of the daemon that reads the releases of this program.
const DAEMON_REQUIRED: MinimumVersion = MinimumVersion { major: 0, minor: 1 };

/// What objects have to know of each image.
pub(crate) fn identities(images: &[PlatformImage]) -> BTreeMap<ServiceName, ImageIdentity> {
    images.iter().map(|image| (image.name.clone(), image.identity())).collect()
}

/// Puts a release together. All images of the platform must be there.
pub(crate) fn compose(
    folder: &PlatformFolder,
    lock: &Lock,
    images: &[PlatformImage],
) -> Result<AssembledRelease, CommandError> {
    let platform = &folder.platform;
    let identities = identities(images);
    let mut environments = Vec::new();
    for environment in platform.environments() {
        let parts = platform.render(environment, &identities).of_kind(Kind::Input)?;
        let parts = parts.into_iter().map(|part| {
            Ok(PartObjects {
                part: part.part.as_str().parse().of_kind(Kind::Input)?,
                policy: serde_json::to_value(&part.policy).of_kind(Kind::Machine)?,
                objects: part.objects.iter().map(|object| object.value().clone()).collect(),
            })
        });
        let parts = parts.collect::<Result<_, CommandError>>()?;
        environments.push(EnvironmentParts { name: environment.name.clone(), parts });
    }
    if environments.is_empty() {
        return Err(no_environments(&folder.root));
    }
    let (major, minor) = KUBERNETES_REQUIRED;
    let parts = ReleaseParts {
        product: platform.product.clone(),
        version: platform.version.clone(),
        images: images
            .iter()
            .filter_map(|image| platform.recipe(&image.name).map(|recipe| image.of_release(recipe)))
            .collect::<Result<_, _>>()?,
        requires: Requirements { daemon: DAEMON_REQUIRED, kubernetes: MinimumVersion { major, minor } },
        environments,
        lock: lock.to_toml().into_bytes(),
        sbom: sbom::spdx(lock, &platform.product).of_kind(Kind::Input)?,
    };
    Release::assemble(parts).of_kind(Kind::Input)
}
