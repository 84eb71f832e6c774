//! How a bundle is stored beside the manifest that it is about: an artifact whose subject is that manifest.

use bundles_release::names::{BUNDLE_CONTENT_ANNOTATION, BUNDLE_PREDICATE_ANNOTATION, SIGSTORE_BUNDLE};
use registry_wire::{Descriptor, ImageManifest, MediaType, StoredManifest};

use crate::{SignatureBundle, artifact::EMPTY_DOCUMENT};

/// The descriptor under which the bytes of `bundle` are stored.
pub fn bundle_layer(bundle: &SignatureBundle) -> Descriptor {
    Descriptor::new(SIGSTORE_BUNDLE, bundle.digest(), bundle.bytes().len() as u64)
}

/// The manifest that attaches `bundle`, whose statement is of `predicate_type`, to `subject`, and the blobs to store
/// before it. It is the manifest that cosign writes, without its creation time: equal bundles give equal manifests, so
/// signing twice leaves one referrer.
pub fn referrer(
    subject: &Descriptor,
    bundle: &SignatureBundle,
    predicate_type: &str,
) -> (StoredManifest, Vec<(Descriptor, Vec<u8>)>) {
    let config = Descriptor::of(MediaType::EMPTY, EMPTY_DOCUMENT);
    let layer = bundle_layer(bundle);
    let manifest = StoredManifest::from_image(ImageManifest {
        schema_version: 2,
        media_type: MediaType::IMAGE_MANIFEST,
        artifact_type: Some(SIGSTORE_BUNDLE),
        config: config.clone(),
        layers: vec![layer.clone()],
        subject: Some(Descriptor::new(subject.media_type.clone(), subject.digest, subject.size)),
        annotations: [
            (BUNDLE_CONTENT_ANNOTATION.to_owned(), "dsse-envelope".to_owned()),
            (BUNDLE_PREDICATE_ANNOTATION.to_owned(), predicate_type.to_owned()),
        ]
        .into(),
    });
    (manifest, vec![(config, EMPTY_DOCUMENT.to_vec()), (layer, bundle.bytes().to_vec())])
}
