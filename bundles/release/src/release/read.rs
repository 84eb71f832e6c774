//! Reading a release from stored bytes.

use std::collections::BTreeSet;

use registry_wire::{Descriptor, Digest, StoredManifest};

use super::{Release, ReleaseEnvironment, ReleaseError, ReleaseLimits, check_image_list, check_images};
use crate::{
    EnvironmentName, ObjectsDocument, PartName,
    config::{ConfigDocument, EnvironmentDocument, FORMAT_VERSION},
    document::DocumentFault,
    names::{LOCK, RELEASE, RELEASE_CONFIG, SPDX, TITLE_ANNOTATION, VERSION_ANNOTATION},
};

impl Release {
    /// The descriptor of the configuration blob, which `parse` needs. Checks type and declared size, so that it can be
    /// fetched with a limit.
    pub fn config_of(manifest: &StoredManifest) -> Result<&Descriptor, ReleaseError> {
        let digest = manifest.digest();
        let image = manifest.image().ok_or(ReleaseError::NotARelease { digest })?;
        if image.artifact_type.as_ref() != Some(&RELEASE) || image.config.media_type != RELEASE_CONFIG {
            return Err(ReleaseError::NotARelease { digest });
        }
        within(digest, &image.config, "configuration", ReleaseLimits::CONFIG)?;
        Ok(&image.config)
    }

    /// Reads a release from its manifest and its configuration blob. Unknown fields, unknown layers, layers that the
    /// configuration does not name, and anything over its limit are refused.
    pub fn parse(manifest: StoredManifest, config: &[u8]) -> Result<Self, ReleaseError> {
        let digest = manifest.digest();
        let declared = Self::config_of(&manifest)?;
        verify(digest, declared, config)?;
        if manifest.bytes().len() as u64 > ReleaseLimits::MANIFEST {
            return Err(ReleaseError::TooLarge {
                digest,
                what: "manifest",
                size: manifest.bytes().len() as u64,
                limit: ReleaseLimits::MANIFEST,
            });
        }
        let image = manifest.image().ok_or(ReleaseError::NotARelease { digest })?;
        let document: ConfigDocument =
            serde_json::from_slice(config).map_err(|source| ReleaseError::Config { digest, source })?;
        if document.format_version != FORMAT_VERSION {
            return Err(ReleaseError::FormatVersion { digest, found: document.format_version });
        }
        let annotation = |key: &str| image.annotations.get(key).map(String::as_str);
        let is_plain = image.schema_version == 2
            && image.subject.is_none()
            && image.annotations.len() == 2
            && annotation(TITLE_ANNOTATION) == Some(document.product.as_str())
            && annotation(VERSION_ANNOTATION) == Some(document.version.as_str());
        if !is_plain {
            return Err(ReleaseError::Manifest { digest });
        }
        let images: Vec<_> = document.images.into_iter().map(Into::into).collect();
        check_image_list(digest, &images)?;
        let mut layers = image.layers.iter();
        let environments = read_environments(digest, document.environments, &mut layers)?;
        let (Some(lock), Some(sbom), None) = (layers.next(), layers.next(), layers.next()) else {
            return Err(ReleaseError::LayerCount { digest });
        };
        for (layer, media_type, what, limit) in [
            (lock, LOCK, "lock", ReleaseLimits::LOCK),
            (sbom, SPDX, "bill of materials", ReleaseLimits::SBOM),
        ] {
            if *layer != Descriptor::new(media_type, layer.digest, layer.size) {
                return Err(ReleaseError::Layer { digest, layer: layer.digest, what });
            }
            within(digest, layer, what, limit)?;
        }
        if lock.digest != document.lock {
            return Err(ReleaseError::Layer { digest, layer: lock.digest, what: "lock" });
        }
        Ok(Self {
            lock: lock.clone(),
            sbom: sbom.clone(),
            product: document.product,
            version: document.version,
            images,
            requires: document.requires,
            environments,
            manifest,
        })
    }

    /// Reads the objects of `part` in `environment` from the bytes of their layer.
    pub fn read_objects(
        &self,
        environment: &EnvironmentName,
        part: &PartName,
        bytes: &[u8],
    ) -> Result<ObjectsDocument, ReleaseError> {
        let digest = self.digest();
        let absent =
            || ReleaseError::NoSuchPart { digest, environment: environment.clone(), part: part.clone() };
        let layer = self.layer(environment, part).ok_or_else(absent)?;
        verify(digest, layer, bytes)?;
        let document = ObjectsDocument::parse(bytes).map_err(|fault| match fault {
            DocumentFault::Json(source) => ReleaseError::Objects { digest, layer: layer.digest, source },
            DocumentFault::FormatVersion(found) => ReleaseError::FormatVersion { digest, found },
        })?;
        if document.environment != *environment || document.part != *part {
            return Err(ReleaseError::Layer { digest, layer: layer.digest, what: "objects" });
        }
        check_images(&document, &self.images)?;
        Ok(document)
    }
}

/// Takes from `layers` the layers that `documents` promise, in their order.
fn read_environments<'layers>(
    digest: Digest,
    documents: Vec<EnvironmentDocument>,
    layers: &mut impl Iterator<Item = &'layers Descriptor>,
) -> Result<Vec<ReleaseEnvironment>, ReleaseError> {
    if documents.len() > ReleaseLimits::ENVIRONMENTS {
        return Err(ReleaseError::TooMany { digest, what: "environments", count: documents.len() });
    }
    for pair in documents.windows(2) {
        if pair[0].name >= pair[1].name {
            return Err(ReleaseError::EnvironmentOrder { digest, name: pair[1].name.clone() });
        }
    }
    let mut environments = Vec::with_capacity(documents.len());
    for document in documents {
        if document.parts.len() > ReleaseLimits::PARTS {
            return Err(ReleaseError::TooMany { digest, what: "parts", count: document.parts.len() });
        }
        let mut seen = BTreeSet::new();
        let mut parts = Vec::with_capacity(document.parts.len());
        for part in document.parts {
            let layer = layers.next().ok_or(ReleaseError::LayerCount { digest })?;
            if *layer != ObjectsDocument::described(&document.name, &part, layer.digest, layer.size) {
                return Err(ReleaseError::Layer { digest, layer: layer.digest, what: "objects" });
            }
            within(digest, layer, "objects", ReleaseLimits::OBJECTS)?;
            if !seen.insert(part.clone()) {
                return Err(ReleaseError::PartTwice { digest, environment: document.name, part });
            }
            parts.push((part, layer.clone()));
        }
        environments.push(ReleaseEnvironment { name: document.name, parts });
    }
    Ok(environments)
}

const fn within(
    digest: Digest,
    layer: &Descriptor,
    what: &'static str,
    limit: u64,
) -> Result<(), ReleaseError> {
    if layer.size > limit {
        return Err(ReleaseError::TooLarge { digest, what, size: layer.size, limit });
    }
    Ok(())
}

fn verify(digest: Digest, declared: &Descriptor, bytes: &[u8]) -> Result<(), ReleaseError> {
    if declared.size != bytes.len() as u64 || declared.digest != Digest::of(bytes) {
        return Err(ReleaseError::Bytes { digest, blob: declared.digest });
    }
    Ok(())
}
