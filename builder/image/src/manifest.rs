//! The documents of an image: manifest and configuration.

use std::collections::BTreeMap;

use registry_wire::{Descriptor, Digest, ImageManifest, MediaType, StoredManifest};

use crate::{ImageConfig, Layer};

/// The documents of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedImage {
    /// Its manifest; the digest of the image is the digest of this.
    pub manifest: StoredManifest,
    /// Its configuration.
    pub config: (Descriptor, Vec<u8>),
}

impl EncodedImage {
    /// The image with that configuration and those layers, lowest first.
    pub fn new(config: &ImageConfig, layers: &[Layer]) -> Self {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        let bytes = config.encode(&diff_ids);
        let descriptor = Descriptor::of(MediaType::IMAGE_CONFIG, &bytes);
        let manifest = StoredManifest::from_image(ImageManifest {
            schema_version: 2,
            media_type: MediaType::IMAGE_MANIFEST,
            artifact_type: None,
            config: descriptor.clone(),
            layers: layers.iter().map(Layer::descriptor).collect(),
            subject: None,
            annotations: BTreeMap::new(),
        });
        Self { manifest, config: (descriptor, bytes) }
    }
}
