//! From images to the release `R`.

use std::collections::{BTreeMap, BTreeSet};

use builder_recipe::{Environment, ScriptPolicy};
use bundles_objects::{ImageIdentity, KUBERNETES_REQUIRED, ServiceName};
use bundles_release::{
    AssembledRelease, EnvironmentParts, MinimumVersion, PartObjects, Release, ReleaseParts, Requirements,
    lock::Lock,
    sbom::{self, ScriptLevel, ScriptLevels},
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

/// How it is known what the scripts of each image's packages did.
fn levels(images: &[PlatformImage]) -> Result<ScriptLevels, CommandError> {
    let of = |image: &PlatformImage| Ok((image.name.as_str().parse().of_kind(Kind::Input)?, image.scripts()));
    images.iter().map(of).collect()
}

/// Refuses an image with recorded scripts for an environment that wants declared ones only.
fn check_scripts(
    environment: &Environment,
    images: &[PlatformImage],
    folder: &PlatformFolder,
) -> Result<(), CommandError> {
    if environment.scripts == ScriptPolicy::Recorded {
        return Ok(());
    }
    for image in images {
        let recorded = image.scripts().into_iter().find(|(_, level)| *level == ScriptLevel::Recorded);
        if let Some((package, _)) = &recorded {
            let recordings = folder.recordings()?;
            let names = recordings.of(package).iter().map(|one| one.run.name.as_str());
            let names = names.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" and ");
            let error = format!(
                "image {}: the {names} of package {package} is only recorded, and environment {} has \
                 `scripts = \"declared-only\"`",
                image.name, environment.name
            );
            return Err(CommandError::new(Kind::Input, error).hint(format!(
                "read the script and add it to the table of effects, or set `scripts = \"recorded\"` in \
                 environments/{}.toml",
                environment.name
            )));
        }
    }
    Ok(())
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
        check_scripts(environment, images, folder)?;
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
        images: images.iter().map(PlatformImage::of_release).collect::<Result<_, _>>()?,
        requires: Requirements { daemon: DAEMON_REQUIRED, kubernetes: MinimumVersion { major, minor } },
        environments,
        lock: lock.to_toml().into_bytes(),
        sbom: sbom::spdx(lock, &platform.product, &levels(images)?).of_kind(Kind::Input)?,
    };
    Release::assemble(parts).of_kind(Kind::Input)
}
