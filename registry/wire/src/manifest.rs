//! Manifests and indices (OCI image specification, manifest.md and image-index.md).

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{Descriptor, Digest, MediaType};

/// An image or artifact manifest. The order of the fields is the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// Media type of this document.
    pub media_type: MediaType,
    /// Type of the artifact, for artifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An index of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Media type of this document.
    pub media_type: MediaType,
    /// Type of the artifact, for artifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest's bytes say.
#[allow(clippy::large_enum_variant, reason = "few are alive at once, and a box would stand in every match")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestDocument {
    /// An image or artifact.
    Image(ImageManifest),
    /// An index.
    Index(Index),
}

/// A manifest together with the bytes it was read from. The bytes are never written anew from the document.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredManifest {
    media_type: MediaType,
    bytes: Vec<u8>,
    digest: Digest,
    document: ManifestDocument,
}

impl StoredManifest {
    /// Reads a manifest. The media type inside must equal `media_type` (CVE-2021-41190), and a document is either an
    /// image or an index, never both.
    pub fn parse(media_type: MediaType, bytes: Vec<u8>) -> Result<Self, ManifestError> {
        let digest = Digest::of(&bytes);
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|source| ManifestError::Json { digest, source })?;
        let has = |key: &str| value.get(key).is_some();
        if has("manifests") && (has("layers") || has("config")) {
            return Err(ManifestError::Ambiguous { digest });
        }
        let inner = value.get("mediaType").and_then(serde_json::Value::as_str);
        if inner.is_some_and(|inner| inner != media_type.as_str()) {
            return Err(ManifestError::MediaType {
                digest,
                outer: media_type,
                inner: inner.unwrap_or_default().to_owned(),
            });
        }
        let is_index = media_type == MediaType::IMAGE_INDEX || media_type == MediaType::DOCKER_MANIFEST_LIST;
        let is_image = media_type == MediaType::IMAGE_MANIFEST || media_type == MediaType::DOCKER_MANIFEST;
        let document = if is_index {
            with_media_type::<Index>(value, &media_type).map(ManifestDocument::Index)
        } else if is_image {
            with_media_type::<ImageManifest>(value, &media_type).map(ManifestDocument::Image)
        } else {
            return Err(ManifestError::Unsupported { digest, media_type });
        };
        let document = document.map_err(|source| ManifestError::Json { digest, source })?;
        Ok(Self { media_type, bytes, digest, document })
    }

    /// Writes a new image or artifact manifest.
    pub fn from_image(manifest: ImageManifest) -> Self {
        Self::encode(manifest.media_type.clone(), ManifestDocument::Image(manifest))
    }

    /// Writes a new index.
    pub fn from_index(index: Index) -> Self {
        Self::encode(index.media_type.clone(), ManifestDocument::Index(index))
    }

    #[allow(clippy::expect_used, reason = "these types have string keys only, so JSON can always hold them")]
    fn encode(media_type: MediaType, document: ManifestDocument) -> Self {
        let bytes = match &document {
            ManifestDocument::Image(manifest) => serde_json::to_vec(manifest),
            ManifestDocument::Index(index) => serde_json::to_vec(index),
        }
        .expect("a manifest is plain JSON");
        Self { media_type, digest: Digest::of(&bytes), bytes, document }
    }

    /// Media type under which the manifest is stored.
    pub const fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// The bytes as received.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What the bytes say.
    pub const fn document(&self) -> &ManifestDocument {
        &self.document
    }

    /// The image or artifact manifest, if it is one.
    pub const fn image(&self) -> Option<&ImageManifest> {
        match &self.document {
            ManifestDocument::Image(manifest) => Some(manifest),
            ManifestDocument::Index(_) => None,
        }
    }

    /// The index, if it is one.
    pub const fn index(&self) -> Option<&Index> {
        match &self.document {
            ManifestDocument::Index(index) => Some(index),
            ManifestDocument::Image(_) => None,
        }
    }

    /// A descriptor of this manifest, with its artifact type.
    pub fn descriptor(&self) -> Descriptor {
        let mut descriptor = Descriptor::new(self.media_type.clone(), self.digest, self.bytes.len() as u64);
        descriptor.artifact_type = self.artifact_type().cloned();
        descriptor
    }

    /// The declared type of the artifact.
    pub const fn artifact_type(&self) -> Option<&MediaType> {
        match &self.document {
            ManifestDocument::Image(manifest) => manifest.artifact_type.as_ref(),
            ManifestDocument::Index(index) => index.artifact_type.as_ref(),
        }
    }

    /// The manifest that this one says something about.
    pub const fn subject(&self) -> Option<&Descriptor> {
        match &self.document {
            ManifestDocument::Image(manifest) => manifest.subject.as_ref(),
            ManifestDocument::Index(index) => index.subject.as_ref(),
        }
    }
}

impl fmt::Debug for StoredManifest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bytes say the same once more, in numbers.
        let (digest, document) = (&self.digest, &self.document);
        formatter
            .debug_struct("StoredManifest")
            .field("digest", digest)
            .field("document", document)
            .finish_non_exhaustive()
    }
}

/// The specification lets `mediaType` be absent; the type under which the document came then stands for it.
fn with_media_type<T: serde::de::DeserializeOwned>(
    mut value: serde_json::Value,
    media_type: &MediaType,
) -> Result<T, serde_json::Error> {
    if let Some(object) = value.as_object_mut() {
        object.entry("mediaType").or_insert_with(|| media_type.as_str().into());
    }
    serde_json::from_value(value)
}

/// A manifest that is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or not of the form of its media type.
    #[error("manifest {digest} is not valid")]
    Json {
        /// Digest of the refused bytes.
        digest: Digest,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// Both image and index.
    #[error("manifest {digest} is both an image and an index")]
    Ambiguous {
        /// Digest of the refused bytes.
        digest: Digest,
    },
    /// The type inside differs from the type outside.
    #[error("manifest {digest} came as {outer} but calls itself {inner}")]
    MediaType {
        /// Digest of the refused bytes.
        digest: Digest,
        /// Type under which it came.
        outer: MediaType,
        /// Type inside.
        inner: String,
    },
    /// Neither an image nor an index.
    #[error("manifest {digest} has the unsupported media type {media_type}")]
    Unsupported {
        /// Digest of the refused bytes.
        digest: Digest,
        /// Type under which it came.
        media_type: MediaType,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_confused_documents() {
        let both = br#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.to_vec();
        assert!(matches!(
            StoredManifest::parse(MediaType::IMAGE_INDEX, both),
            Err(ManifestError::Ambiguous { .. })
        ));
        let other =
            br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#
                .to_vec();
        assert!(matches!(
            StoredManifest::parse(MediaType::IMAGE_MANIFEST, other),
            Err(ManifestError::MediaType { .. })
        ));
    }

    #[test]
    fn keeps_the_bytes() {
        let bytes = b"{ \"schemaVersion\": 2, \"manifests\": [], \"unknown\": 1 }".to_vec();
        let manifest = StoredManifest::parse(MediaType::IMAGE_INDEX, bytes.clone()).unwrap();
        assert_eq!(manifest.bytes(), bytes);
        assert_eq!(manifest.digest(), Digest::of(&bytes));
    }
}
