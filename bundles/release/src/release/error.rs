//! Why a release is refused.

use registry_wire::Digest;

use crate::{EnvironmentName, PartName};

/// A release that is refused, or parts that do not make one.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Another kind of artifact.
    #[error("manifest {digest} is not a release")]
    NotARelease {
        /// Digest of the manifest.
        digest: Digest,
    },
    /// The manifest has a subject or other annotations than product and version.
    #[error("manifest of release {digest} has other fields than a release has")]
    Manifest {
        /// Digest of the release.
        digest: Digest,
    },
    /// The bytes of a blob are not those that the manifest names.
    #[error("bytes of blob {blob} of release {digest} are not the ones that were released")]
    Bytes {
        /// Digest of the release.
        digest: Digest,
        /// Digest that the manifest names.
        blob: Digest,
    },
    /// The configuration is not a configuration document.
    #[error("configuration of release {digest} is not valid")]
    Config {
        /// Digest of the release.
        digest: Digest,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// An objects layer is not an objects document.
    #[error("objects layer {layer} of release {digest} is not valid")]
    Objects {
        /// Digest of the release.
        digest: Digest,
        /// Digest of the layer.
        layer: Digest,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The documents have a form that this program does not know.
    #[error("release {digest} has format version {found}, this program reads version 1")]
    FormatVersion {
        /// Digest of the release.
        digest: Digest,
        /// The version found.
        found: u32,
    },
    /// Layers are missing or left over.
    #[error("layers of release {digest} are not the ones that its configuration names")]
    LayerCount {
        /// Digest of the release.
        digest: Digest,
    },
    /// A layer is not what the configuration says.
    #[error("layer {layer} of release {digest} is not the {what} layer that its configuration names")]
    Layer {
        /// Digest of the release.
        digest: Digest,
        /// Digest of the layer.
        layer: Digest,
        /// What the configuration expects in its place.
        what: &'static str,
    },
    /// A document is over its limit.
    #[error("{what} of release {digest} has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Digest of the release.
        digest: Digest,
        /// Which document.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A list is over its limit.
    #[error("release {digest} has {count} {what}, which is over the limit")]
    TooMany {
        /// Digest of the release.
        digest: Digest,
        /// What is listed.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// Images are not listed by name, each once.
    #[error("image {name} of release {digest} is listed twice or out of order")]
    ImageOrder {
        /// Digest of the release.
        digest: Digest,
        /// Name of the image.
        name: PartName,
    },
    /// An image entry is not an image or has no platform.
    #[error(
        "image {name} of release {digest} is neither an image with its platform nor an index with platforms"
    )]
    Image {
        /// Digest of the release.
        digest: Digest,
        /// Name of the image.
        name: PartName,
    },
    /// Environments are not listed by name, each once.
    #[error("environment {name} of release {digest} is listed twice or out of order")]
    EnvironmentOrder {
        /// Digest of the release.
        digest: Digest,
        /// Name of the environment.
        name: EnvironmentName,
    },
    /// A part stands twice in an environment.
    #[error("part {part} stands twice in environment {environment} of release {digest}")]
    PartTwice {
        /// Digest of the release.
        digest: Digest,
        /// The environment.
        environment: EnvironmentName,
        /// The part.
        part: PartName,
    },
    /// The release has no such part in this environment.
    #[error("release {digest} has no part {part} in environment {environment}")]
    NoSuchPart {
        /// Digest of the release.
        digest: Digest,
        /// The environment.
        environment: EnvironmentName,
        /// The part.
        part: PartName,
    },
    /// Objects name an image that is not an image of the release.
    #[error(
        "objects of {part} in environment {environment} name the image {image}, which is not in the release"
    )]
    UnknownImage {
        /// The environment.
        environment: EnvironmentName,
        /// The part.
        part: PartName,
        /// The image as written.
        image: String,
    },
}
