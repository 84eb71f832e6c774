//! Names under which the world knows us: media types, predicate types, the API group, annotation keys. Chosen once,
//! here, on `bundle.build`.

use registry_wire::MediaType;

/// Type of a release: the artifact that is signed and promoted.
pub const RELEASE: MediaType = MediaType::from_static("application/vnd.bundle.release.v1+json");
/// Configuration blob of a release.
pub const RELEASE_CONFIG: MediaType = MediaType::from_static("application/vnd.bundle.release.config.v1+json");
/// Kubernetes objects of one part in one environment.
pub const OBJECTS: MediaType = MediaType::from_static("application/vnd.bundle.objects.v1+json");
/// The lock.
pub const LOCK: MediaType = MediaType::from_static("application/vnd.bundle.lock.v1+toml");
/// The bill of materials.
pub const SPDX: MediaType = MediaType::from_static("application/spdx+json");
/// A channel record.
pub const CHANNEL_RECORD: MediaType = MediaType::from_static("application/vnd.bundle.channel.v1+json");
/// A trust root.
pub const TRUST_ROOT: MediaType = MediaType::from_static("application/vnd.bundle.trust-root.v1+json");
/// A Sigstore bundle, version 0.3.
pub const SIGSTORE_BUNDLE: MediaType =
    MediaType::from_static("application/vnd.dev.sigstore.bundle.v0.3+json");

/// Predicate type of a promotion.
pub const PROMOTION_PREDICATE: &str = "https://bundle.build/attestation/promotion/v1";
/// Predicate type of a trust root.
pub const TRUST_ROOT_PREDICATE: &str = "https://bundle.build/attestation/trust-root/v1";
/// Predicate type of a signature on a release or image, as cosign writes it.
pub const SIGNATURE_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// API group of the custom resources.
pub const API_GROUP: &str = "bundle.build";
/// Version of the custom resources.
pub const API_VERSION: &str = "v1alpha1";
/// Field manager of every object that is applied from a release.
pub const FIELD_MANAGER: &str = "bundle.build";

/// Label: name of the subscription that an object belongs to.
pub const SUBSCRIPTION_LABEL: &str = "bundle.build/subscription";
/// Label: name of the service that an object belongs to.
pub const SERVICE_LABEL: &str = "bundle.build/service";
/// Label of a pod that saves or restores the data of the service it names; it may talk to that service.
pub const BACKUP_LABEL: &str = "bundle.build/backup";
/// Annotation on what the daemon makes for a rollout (the `Release`, Jobs, pods): full digest of the release. Objects
/// of a release do not bear it: what two releases share is the same in both.
pub const RELEASE_ANNOTATION: &str = "bundle.build/release";
/// Annotation on a layer of a release: the part (service) that it describes.
pub const PART_ANNOTATION: &str = "build.bundle.part";
/// Annotation on a layer of a release: the environment that it is for.
pub const ENVIRONMENT_ANNOTATION: &str = "build.bundle.environment";
/// Label of an image that an index lists beside others: digest of what that index lists, without these labels.
pub const INDEX_LABEL: &str = "build.bundle.index";
/// How objects name an image before a cluster knows where its nodes pull from: `bundle.invalid/NAME@sha256:…`.
pub const IMAGE_PLACEHOLDER_REGISTRY: &str = "bundle.invalid";

/// Annotation on a release: its product.
pub const TITLE_ANNOTATION: &str = "org.opencontainers.image.title";
/// Annotation on a release: its version.
pub const VERSION_ANNOTATION: &str = "org.opencontainers.image.version";
/// Annotation on the manifest of a Sigstore bundle: what the bundle holds.
pub const BUNDLE_CONTENT_ANNOTATION: &str = "dev.sigstore.bundle.content";
/// Annotation on the manifest of a Sigstore bundle: the predicate type of its statement.
pub const BUNDLE_PREDICATE_ANNOTATION: &str = "dev.sigstore.bundle.predicateType";

/// Type of every in-toto statement that we write.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Payload type of every signed envelope.
pub const STATEMENT_PAYLOAD: &str = "application/vnd.in-toto+json";
/// Annotation with the value `false`: nobody waits for this object to become healthy.
pub const WAIT_ANNOTATION: &str = "bundle.build/wait";
/// Annotation with the value `disabled`: the object is never pruned, a person deletes it.
pub const PRUNE_ANNOTATION: &str = "bundle.build/prune";
