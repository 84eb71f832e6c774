//! A signed document as one OCI artifact: an image manifest whose layers are the bundles of its signers, each inlined in
//! its descriptor, so that one request brings the document with all its signatures. M signatures are M bundles over the
//! same payload, each made and checked on its own.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bundles_release::names::SIGSTORE_BUNDLE;
use registry_wire::{Descriptor, Digest, ImageManifest, MediaType, StoredManifest};
use serde::Deserialize;

use crate::{
    BundleError, ChannelRecord, Document, DocumentError, Payload, SignatureBundle, TrustRoot, bundle_layer,
};

/// The configuration of an artifact that has none.
pub(crate) const EMPTY_DOCUMENT: &[u8] = b"{}";

/// A signed channel record.
pub type SignedRecord = Signed<ChannelRecord>;
/// A signed trust root.
pub type SignedRoot = Signed<TrustRoot>;

/// An artifact that is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// Larger than any such artifact.
    #[error("the manifest {digest} of a {what} has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// What kind of document.
        what: &'static str,
        /// Digest of the manifest.
        digest: Digest,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The manifest has another form.
    #[error("the manifest {digest} does not have the form of a {what}")]
    Json {
        /// What kind of document.
        what: &'static str,
        /// Digest of the manifest.
        digest: Digest,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The manifest is of another kind.
    #[error("the manifest {digest} is not a {what}")]
    Kind {
        /// What kind of document is expected.
        what: &'static str,
        /// Digest of the manifest.
        digest: Digest,
    },
    /// A layer is not an inlined bundle.
    #[error("layer {layer} of the {what} {digest} is not an inlined bundle of its digest and size")]
    Layer {
        /// What kind of document.
        what: &'static str,
        /// Digest of the manifest.
        digest: Digest,
        /// Digest that the layer claims.
        layer: Digest,
    },
    /// A bundle is refused.
    #[error("a signature of the {what} cannot be read")]
    Bundle {
        /// What kind of document.
        what: &'static str,
        /// What is wrong.
        source: BundleError,
    },
    /// Nobody or too many signed.
    #[error("the {what} has {count} signatures, between 1 and {} are expected", Signed::<TrustRoot>::MOST_SIGNATURES)]
    SignatureCount {
        /// What kind of document.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// The signers signed different bytes.
    #[error("bundle {bundle} signs other bytes than the {what} {payload}")]
    Payload {
        /// What kind of document.
        what: &'static str,
        /// Digest of the payload.
        payload: Digest,
        /// Digest of the bundle.
        bundle: Digest,
    },
    /// One key signed twice.
    #[error("bundle {bundle} is a second signature by one key on the {what}")]
    Twice {
        /// What kind of document.
        what: &'static str,
        /// Digest of the bundle.
        bundle: Digest,
    },
    /// The document is refused.
    #[error("the {what} cannot be read")]
    Document {
        /// What kind of document.
        what: &'static str,
        /// What is wrong.
        source: Box<DocumentError>,
    },
}

/// The manifest as it is written; other fields are refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ManifestDocument {
    schema_version: u32,
    media_type: MediaType,
    artifact_type: MediaType,
    config: ConfigDocument,
    layers: Vec<LayerDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfigDocument {
    media_type: MediaType,
    digest: Digest,
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LayerDocument {
    media_type: MediaType,
    digest: Digest,
    size: u64,
    data: String,
}

/// A document with the bundles of those who signed it. Nobody has counted the signatures yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<D> {
    payload: Payload<D>,
    bundles: Vec<SignatureBundle>,
}

impl<D: Document> Signed<D> {
    /// Most signatures on one document.
    pub const MOST_SIGNATURES: usize = 32;
    /// Largest manifest in bytes.
    pub const LARGEST: usize = 512 * 1024;

    /// Puts the signatures of one document together, in the order of their keys.
    pub fn new(payload: Payload<D>, mut bundles: Vec<SignatureBundle>) -> Result<Self, ArtifactError> {
        bundles.sort_by_key(SignatureBundle::hint);
        let signed = Self { payload, bundles };
        signed.check()?;
        let size = signed.manifest().bytes().len();
        if size > Self::LARGEST {
            let digest = signed.manifest().digest();
            return Err(ArtifactError::TooLarge { what: D::NAME, digest, size, limit: Self::LARGEST });
        }
        Ok(signed)
    }

    /// Reads a signed document from the manifest that carries it.
    pub fn parse(manifest: &StoredManifest) -> Result<Self, ArtifactError> {
        let (what, digest, size) = (D::NAME, manifest.digest(), manifest.bytes().len());
        if size > Self::LARGEST {
            return Err(ArtifactError::TooLarge { what, digest, size, limit: Self::LARGEST });
        }
        let document: ManifestDocument = serde_json::from_slice(manifest.bytes())
            .map_err(|source| ArtifactError::Json { what, digest, source })?;
        let config = &document.config;
        let is_kind = document.schema_version == 2
            && document.media_type == MediaType::IMAGE_MANIFEST
            && *manifest.media_type() == MediaType::IMAGE_MANIFEST
            && document.artifact_type == D::ARTIFACT
            && config.media_type == MediaType::EMPTY
            && config.digest == Digest::of(EMPTY_DOCUMENT)
            && config.size == EMPTY_DOCUMENT.len() as u64;
        if !is_kind {
            return Err(ArtifactError::Kind { what, digest });
        }
        let count = document.layers.len();
        if count > Self::MOST_SIGNATURES {
            return Err(ArtifactError::SignatureCount { what, count });
        }
        let mut bundles = Vec::with_capacity(count);
        for layer in document.layers {
            let refused = || ArtifactError::Layer { what, digest, layer: layer.digest };
            let bytes = STANDARD.decode(&layer.data).map_err(|_| refused())?;
            let is_whole = layer.media_type == SIGSTORE_BUNDLE
                && layer.size == bytes.len() as u64
                && layer.digest == Digest::of(&bytes);
            if !is_whole {
                return Err(refused());
            }
            bundles.push(
                SignatureBundle::parse(bytes).map_err(|source| ArtifactError::Bundle { what, source })?,
            );
        }
        let first = bundles.first().ok_or(ArtifactError::SignatureCount { what, count })?;
        let payload = Payload::parse(first.unverified_payload().to_vec())
            .map_err(|source| ArtifactError::Document { what, source: Box::new(source) })?;
        let signed = Self { payload, bundles };
        signed.check()?;
        Ok(signed)
    }

    fn check(&self) -> Result<(), ArtifactError> {
        let (what, count) = (D::NAME, self.bundles.len());
        if !(1..=Self::MOST_SIGNATURES).contains(&count) {
            return Err(ArtifactError::SignatureCount { what, count });
        }
        let mut keys = BTreeSet::new();
        for bundle in &self.bundles {
            if bundle.unverified_payload() != self.payload.bytes() {
                let (payload, bundle) = (self.payload.digest(), bundle.digest());
                return Err(ArtifactError::Payload { what, payload, bundle });
            }
            if !keys.insert(bundle.hint()) {
                return Err(ArtifactError::Twice { what, bundle: bundle.digest() });
            }
        }
        Ok(())
    }

    /// The document and its bytes.
    pub const fn payload(&self) -> &Payload<D> {
        &self.payload
    }

    /// The document. Nobody has counted its signatures yet.
    pub const fn document(&self) -> &D {
        self.payload.document()
    }

    /// SHA-256 of the signed bytes. It names the document in later documents.
    pub const fn digest(&self) -> Digest {
        self.payload.digest()
    }

    /// The signatures.
    pub fn bundles(&self) -> &[SignatureBundle] {
        &self.bundles
    }

    /// The manifest that carries the document. Equal documents and signers give equal manifests.
    pub fn manifest(&self) -> StoredManifest {
        StoredManifest::from_image(ImageManifest {
            schema_version: 2,
            media_type: MediaType::IMAGE_MANIFEST,
            artifact_type: Some(D::ARTIFACT),
            config: Descriptor::of(MediaType::EMPTY, EMPTY_DOCUMENT),
            layers: self
                .bundles
                .iter()
                .map(|bundle| Descriptor { data: Some(bundle.bytes().to_vec()), ..bundle_layer(bundle) })
                .collect(),
            subject: None,
            annotations: std::collections::BTreeMap::new(),
        })
    }

    /// The blobs that a registry wants before it takes the manifest.
    pub fn blobs(&self) -> Vec<(Descriptor, Vec<u8>)> {
        let config = (Descriptor::of(MediaType::EMPTY, EMPTY_DOCUMENT), EMPTY_DOCUMENT.to_vec());
        let layers = self.bundles.iter().map(|bundle| (bundle_layer(bundle), bundle.bytes().to_vec()));
        std::iter::once(config).chain(layers).collect()
    }
}
