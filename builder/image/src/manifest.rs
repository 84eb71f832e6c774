//! The documents of an image: manifest and configuration, and an index for several platforms.

use std::collections::BTreeMap;

use bundles_release::names::INDEX_LABEL;
use registry_wire::{Descriptor, Digest, ImageManifest, Index, MediaType, StoredManifest};

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
        Self::labelled(config, layers, BTreeMap::new())
    }

    fn labelled(config: &ImageConfig, layers: &[Layer], labels: BTreeMap<&'static str, String>) -> Self {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        let bytes = config.encode_labelled(&diff_ids, labels);
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

/// The documents of an image for several platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedIndex {
    /// The index, sorted by platform; the digest of the image is the digest of this.
    pub manifest: StoredManifest,
    /// The image for each platform, in the order in which they were given.
    pub images: Vec<EncodedImage>,
}

impl EncodedIndex {
    /// An index of an image for each of several platforms.
    ///
    /// A node knows an image by its configuration, and says of a container under which name it has that: under any, if
    /// it has several. So that the name is that of this index, each configuration has a label with what the index lists:
    /// where one of the images changes, none is shared with the index before.
    pub fn new(images: &[(&ImageConfig, &[Layer])]) -> Self {
        let encoded = |labels: &BTreeMap<&'static str, String>| -> Vec<EncodedImage> {
            let encode = |(config, layers): &(&_, &_)| EncodedImage::labelled(config, layers, labels.clone());
            images.iter().map(encode).collect()
        };
        let index = |encoded: &[EncodedImage]| {
            let mut manifests: Vec<Descriptor> = Vec::new();
            for ((config, _), image) in images.iter().zip(encoded) {
                let platform = Some(config.platform.clone());
                manifests.push(Descriptor { platform, ..image.manifest.descriptor() });
            }
            manifests.sort_by(|left, right| left.platform.cmp(&right.platform));
            StoredManifest::from_index(Index::of(manifests))
        };
        let listed = index(&encoded(&BTreeMap::new())).digest();
        let images = encoded(&BTreeMap::from([(INDEX_LABEL, listed.to_string())]));
        Self { manifest: index(&images), images }
    }
}
