//! The release `R`: the one artifact that is signed and promoted.
//!
//! Equal parts give equal bytes, so independent builders arrive at the same digest. Whatever has a clock or a
//! judgement (signatures, provenance, scans, approvals) refers to a release and is never inside it.

mod error;
mod read;

use std::collections::BTreeSet;

use registry_wire::{Descriptor, Digest, ImageManifest, Index, MediaType, StoredManifest, Tag};
use serde_json::Value;

pub use self::error::ReleaseError;
use crate::{
    EnvironmentName, ObjectsDocument, PartName, ProductName, ReleaseImage, ReleaseVersion, Requirements,
    canonical,
    config::{ConfigDocument, EnvironmentDocument, FORMAT_VERSION},
    document::is_image_type,
    names::{LOCK, RELEASE, RELEASE_CONFIG, SPDX, TITLE_ANNOTATION, VERSION_ANNOTATION},
};

/// How large the documents of a release may be, in bytes and in number. Writer and reader keep the same limits.
pub struct ReleaseLimits;

impl ReleaseLimits {
    /// Manifest.
    pub const MANIFEST: u64 = 4 << 20;
    /// Configuration blob.
    pub const CONFIG: u64 = 1 << 20;
    /// Objects of one part in one environment.
    pub const OBJECTS: u64 = 8 << 20;
    /// Lock.
    pub const LOCK: u64 = 32 << 20;
    /// Bill of materials.
    pub const SBOM: u64 = 64 << 20;
    /// Number of images.
    pub const IMAGES: usize = 1000;
    /// Number of environments.
    pub const ENVIRONMENTS: usize = 100;
    /// Number of parts in one environment.
    pub const PARTS: usize = 1000;
}

/// What a release is made of.
#[derive(Debug, Clone)]
pub struct ReleaseParts {
    /// What is released.
    pub product: ProductName,
    /// Under which version.
    pub version: ReleaseVersion,
    /// The images. Their order is not kept: they are listed by name.
    pub images: Vec<ReleaseImage>,
    /// What the release needs.
    pub requires: Requirements,
    /// The environments. Their order is not kept: they are listed by name.
    pub environments: Vec<EnvironmentParts>,
    /// Bytes of the lock.
    pub lock: Vec<u8>,
    /// Bytes of the bill of materials.
    pub sbom: Vec<u8>,
}

/// One environment of a release.
#[derive(Debug, Clone)]
pub struct EnvironmentParts {
    /// Its name.
    pub name: EnvironmentName,
    /// Its parts in the order in which they are applied.
    pub parts: Vec<PartObjects>,
}

/// One part in one environment.
#[derive(Debug, Clone)]
pub struct PartObjects {
    /// Its name.
    pub part: PartName,
    /// How the daemon rolls it out.
    pub policy: Value,
    /// Its objects in the order in which they are applied.
    pub objects: Vec<Value>,
}

/// One environment of a checked release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseEnvironment {
    name: EnvironmentName,
    parts: Vec<(PartName, Descriptor)>,
}

impl ReleaseEnvironment {
    /// Its name.
    pub const fn name(&self) -> &EnvironmentName {
        &self.name
    }

    /// Its parts in the order in which they are applied, each with the layer that holds its objects.
    pub fn parts(&self) -> &[(PartName, Descriptor)] {
        &self.parts
    }

    /// The layer that holds the objects of `part`.
    pub fn layer(&self, part: &PartName) -> Option<&Descriptor> {
        self.parts.iter().find(|(name, _)| name == part).map(|(_, layer)| layer)
    }
}

/// A checked release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    manifest: StoredManifest,
    product: ProductName,
    version: ReleaseVersion,
    images: Vec<ReleaseImage>,
    requires: Requirements,
    environments: Vec<ReleaseEnvironment>,
    lock: Descriptor,
    sbom: Descriptor,
}

/// A release that was just made, with the blobs that must be stored before its manifest.
#[derive(Debug, Clone)]
pub struct AssembledRelease {
    /// The release.
    pub release: Release,
    /// Configuration and layers, each once.
    pub blobs: Vec<(Descriptor, Vec<u8>)>,
}

impl Release {
    /// Makes a release. Equal parts give equal bytes; the order of images and environments plays no role.
    pub fn assemble(mut parts: ReleaseParts) -> Result<AssembledRelease, ReleaseError> {
        parts.images.sort_by(|left, right| left.name.cmp(&right.name));
        parts.environments.sort_by(|left, right| left.name.cmp(&right.name));
        let lock = Descriptor::of(LOCK, &parts.lock);
        let mut blobs = Vec::new();
        let mut layers = Vec::new();
        let mut environments = Vec::new();
        for environment in parts.environments {
            let names = environment.parts.iter().map(|part| part.part.clone()).collect();
            environments.push(EnvironmentDocument { name: environment.name.clone(), parts: names });
            for part in environment.parts {
                let document = ObjectsDocument {
                    environment: environment.name.clone(),
                    part: part.part,
                    policy: part.policy,
                    objects: part.objects,
                };
                check_images(&document, &parts.images)?;
                let bytes = document.to_bytes();
                let layer = document.layer(&bytes);
                layers.push(layer.clone());
                blobs.push((layer, bytes));
            }
        }
        let sbom = Descriptor::of(SPDX, &parts.sbom);
        layers.extend([lock.clone(), sbom.clone()]);
        let config = ConfigDocument {
            format_version: FORMAT_VERSION,
            product: parts.product,
            version: parts.version,
            images: parts.images.into_iter().map(Into::into).collect(),
            requires: parts.requires,
            lock: lock.digest,
            environments,
        };
        let config_bytes = canonical::write(&config);
        let config_descriptor = Descriptor::of(RELEASE_CONFIG, &config_bytes);
        let manifest = StoredManifest::from_image(ImageManifest {
            schema_version: 2,
            media_type: MediaType::IMAGE_MANIFEST,
            artifact_type: Some(RELEASE),
            config: config_descriptor.clone(),
            layers,
            subject: None,
            annotations: [
                (TITLE_ANNOTATION.to_owned(), config.product.to_string()),
                (VERSION_ANNOTATION.to_owned(), config.version.to_string()),
            ]
            .into(),
        });
        // The reader's rules are the rules: what cannot be read back is never written.
        let release = Self::parse(manifest, &config_bytes)?;
        blobs.extend([(lock, parts.lock), (sbom, parts.sbom), (config_descriptor, config_bytes)]);
        let mut seen = BTreeSet::new();
        blobs.retain(|(descriptor, _)| seen.insert(descriptor.digest));
        Ok(AssembledRelease { release, blobs })
    }

    /// The manifest, with its bytes as stored.
    pub const fn manifest(&self) -> &StoredManifest {
        &self.manifest
    }

    /// The digest that is signed and promoted.
    pub const fn digest(&self) -> Digest {
        self.manifest.digest()
    }

    /// What is released.
    pub const fn product(&self) -> &ProductName {
        &self.product
    }

    /// Under which version.
    pub const fn version(&self) -> &ReleaseVersion {
        &self.version
    }

    /// Tag of the release: its version.
    pub fn tag(&self) -> Tag {
        self.version.tag()
    }

    /// The images by name.
    pub fn images(&self) -> &[ReleaseImage] {
        &self.images
    }

    /// The image of `name`.
    pub fn image(&self, name: &PartName) -> Option<&ReleaseImage> {
        self.images.iter().find(|image| image.name == *name)
    }

    /// What the release needs.
    pub const fn requires(&self) -> &Requirements {
        &self.requires
    }

    /// The environments by name.
    pub fn environments(&self) -> &[ReleaseEnvironment] {
        &self.environments
    }

    /// The environment of `name`.
    pub fn environment(&self, name: &EnvironmentName) -> Option<&ReleaseEnvironment> {
        self.environments.iter().find(|environment| environment.name == *name)
    }

    /// The layer that holds the objects of `part` in `environment`.
    pub fn layer(&self, environment: &EnvironmentName, part: &PartName) -> Option<&Descriptor> {
        self.environment(environment)?.layer(part)
    }

    /// The layer that holds the lock.
    pub const fn lock(&self) -> &Descriptor {
        &self.lock
    }

    /// The layer that holds the bill of materials.
    pub const fn sbom(&self) -> &Descriptor {
        &self.sbom
    }

    /// The carrier index: lists the release and its images, so that garbage collectors keep them together and generic
    /// tools copy them together. Nobody signs or trusts it. It has no artifact type, neither its own nor in its
    /// descriptors, since older copy tools drop that and change the digest.
    pub fn carrier(&self) -> StoredManifest {
        let release = Descriptor::new(
            self.manifest.media_type().clone(),
            self.digest(),
            self.manifest.bytes().len() as u64,
        );
        let mut seen = BTreeSet::from([release.digest]);
        let mut manifests = vec![release];
        manifests.extend(
            self.images.iter().map(ReleaseImage::descriptor).filter(|image| seen.insert(image.digest)),
        );
        StoredManifest::from_index(Index::of(manifests))
    }

    /// Tag of the carrier index.
    pub fn carrier_tag(&self) -> Tag {
        self.version.carrier_tag()
    }
}

/// Every image that objects name must be an image of the release, by name and digest.
fn check_images(document: &ObjectsDocument, images: &[ReleaseImage]) -> Result<(), ReleaseError> {
    for image in document.images() {
        let is_known = match &image {
            Ok((name, digest)) => images.iter().any(|image| image.name == *name && image.digest == *digest),
            Err(_) => false,
        };
        if !is_known {
            return Err(ReleaseError::UnknownImage {
                environment: document.environment.clone(),
                part: document.part.clone(),
                image: image.map_or_else(|text| text, |(name, digest)| format!("{name}@{digest}")),
            });
        }
    }
    Ok(())
}

/// Images are listed by name, once, as an image manifest or an index, with at least one platform.
fn check_image_list(digest: Digest, images: &[ReleaseImage]) -> Result<(), ReleaseError> {
    if images.len() > ReleaseLimits::IMAGES {
        return Err(ReleaseError::TooMany { digest, what: "images", count: images.len() });
    }
    for pair in images.windows(2) {
        if pair[0].name >= pair[1].name {
            return Err(ReleaseError::ImageOrder { digest, name: pair[1].name.clone() });
        }
    }
    for image in images {
        let is_self_listed = image.media_type == MediaType::IMAGE_INDEX
            || (image.platforms.len() == 1 && image.platforms[0].1 == image.digest);
        if !is_image_type(&image.media_type) || image.platforms.is_empty() || !is_self_listed {
            return Err(ReleaseError::Image { digest, name: image.name.clone() });
        }
    }
    Ok(())
}
