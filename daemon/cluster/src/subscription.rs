//! The custom resource `Subscription`: which channel a namespace of this cluster follows.

use bundles_release::{EnvironmentName, ReleaseVersion};
use jiff::Timestamp;
use kube::CustomResource;
use registry_wire::{Digest, RegistryAddress, RepositoryName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, ReleasePlace};

const DIGEST_PATTERN: &str = "^sha256:[0-9a-f]{64}$";

/// What a namespace of this cluster runs: the release that a channel names.
#[allow(clippy::duplicated_attributes, reason = "each column has a type")]
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "bundle.build",
    version = "v1alpha1",
    kind = "Subscription",
    namespaced,
    status = "SubscriptionStatus",
    derive = "PartialEq",
    shortname = "bsub",
    category = "bundle",
    doc = "What a namespace of this cluster runs: the release that a channel names.",
    printcolumn(name = "Channel", type_ = "string", json_path = ".spec.channel"),
    printcolumn(name = "Release", type_ = "string", json_path = ".status.running.title"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Seen", type_ = "string", json_path = ".status.accepted.title"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubscriptionSpec {
    /// The registry as the daemon reaches it.
    pub registry: RegistryEndpoint,
    /// The repository of releases and channel records.
    #[schemars(with = "String")]
    pub repository: RepositoryName,
    /// The channel: `product/channel`.
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z]([a-z0-9._]*[a-z0-9])?$"))]
    pub channel: String,
    /// The environment of the release that runs here. A change holds from the next attempt at a release on.
    #[schemars(with = "String")]
    pub environment: EnvironmentName,
    /// The namespace that the objects live in. It must exist, is never deleted, and stays the same.
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = stays_the_same()))]
    pub namespace: String,
    /// Whom to trust.
    pub trust_root: TrustRootSource,
    /// Where nodes pull images from; the registry and the repository above when left out. A change holds from the next
    /// attempt at a release on: what runs keeps its images as they were proven to be on the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_map: Option<NodeRegistry>,
    /// Seconds from one look at the channel to the next.
    #[serde(default = "default_poll")]
    #[schemars(range(min = 1, max = 86_400))]
    pub poll_seconds: u32,
    /// Seconds that health must hold, in place of what the release asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 86_400))]
    pub soak_seconds: Option<u32>,
    /// The volume that restore points are written to.
    #[serde(default)]
    pub backup: BackupVolume,
    /// Runs this release whatever the channel names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Takes nothing new from the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Denials that a person lifted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub cleared: Vec<Cleared>,
    /// Lets one release prune more objects than is allowed without a person's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_prune: Option<ConfirmedPrune>,
}

/// Moving what runs to another namespace would leave its data behind.
fn stays_the_same() -> serde_json::Value {
    serde_json::json!([{
        "rule": "self == oldSelf",
        "message": "a subscription stays in its namespace, and data is not moved: name the namespace as before \
                    (--namespace), or make a subscription of another name for the other one",
    }])
}

const fn default_poll() -> u32 {
    30
}

impl SubscriptionSpec {
    /// Where a release that is tried now runs.
    pub fn place(&self) -> ReleasePlace {
        let map = self.registry_map.as_ref();
        ReleasePlace {
            registry: map.map_or(&self.registry.address, |map| &map.registry).clone(),
            prefix: map.and_then(|map| map.prefix.as_ref()).unwrap_or(&self.repository).clone(),
            namespace: self.namespace.clone(),
            environment: self.environment.clone(),
        }
    }
}

/// A registry and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegistryEndpoint {
    /// Host and port.
    #[schemars(with = "String")]
    pub address: RegistryAddress,
    /// The scheme; `http` has to be asked for.
    #[serde(default)]
    pub scheme: RegistryScheme,
}

/// How a registry is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RegistryScheme {
    /// Encrypted.
    #[default]
    Https,
    /// Not encrypted: for a registry on the same machine or a test.
    Http,
}

/// Where the trust root comes from. Its digest is pinned, so whoever can write the `ConfigMap` cannot change whom the
/// subscription trusts. Nor can who writes the trust floor: a later root counts only if its documents lead there from
/// the pinned one, and that is verified at each start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustRootSource {
    /// Digest of the payload of the first root.
    #[schemars(with = "String", regex(pattern = DIGEST_PATTERN))]
    pub digest: Digest,
    /// The signed root itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
    /// A `ConfigMap` beside the subscription that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKey>,
}

/// One key of a `ConfigMap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigMapKey {
    /// Name of the `ConfigMap`.
    pub name: String,
    /// The key.
    pub key: String,
}

/// Where nodes pull images from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeRegistry {
    /// Host and port as nodes reach it.
    #[schemars(with = "String")]
    pub registry: RegistryAddress,
    /// The repository that holds one repository for each image; that of the releases when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub prefix: Option<RepositoryName>,
}

/// The volume that restore points are written to: a claim `bundle-backup` in the namespace of the objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupVolume {
    /// Its size.
    #[serde(default = "default_size")]
    pub size: String,
    /// Its class; the cluster's default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

impl Default for BackupVolume {
    fn default() -> Self {
        Self { size: default_size(), storage_class: None }
    }
}

fn default_size() -> String {
    "1Gi".to_owned()
}

/// A person's word that one release stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pin {
    /// The release.
    #[schemars(with = "String", regex(pattern = DIGEST_PATTERN))]
    pub digest: Digest,
    /// Why.
    pub reason: String,
    /// Who says so.
    pub by: String,
}

/// A person's word that nothing new is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hold {
    /// Why.
    pub reason: String,
    /// Who says so.
    pub by: String,
}

/// A person's word that a denied release may be tried again. It lifts denials up to this attempt: a release that
/// fails once more is denied once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cleared {
    /// The release.
    #[schemars(with = "String", regex(pattern = DIGEST_PATTERN))]
    pub digest: Digest,
    /// The attempt that failed.
    pub attempt: u32,
    /// Why it may be tried again.
    pub reason: String,
    /// Who says so.
    pub by: String,
}

/// A person's word that one release may prune more than the limit. What holds data stays all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfirmedPrune {
    /// The release.
    #[schemars(with = "String", regex(pattern = DIGEST_PATTERN))]
    pub digest: Digest,
    /// Why.
    pub reason: String,
    /// Who says so.
    pub by: String,
}

/// What the daemon knows of a subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionStatus {
    /// The generation of the subscription that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Progressing`, `Pinned`, `Held`, `Denied`, `Pruned`, `ChannelVerified`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The newest record of the channel that was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<AcceptedRecord>,
    /// The release that runs and was judged well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<RunningRelease>,
    /// The object of the rollout under way, or of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<String>,
    /// Releases that failed here and are not tried again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<Denied>,
    /// The stored list of everything that this subscription has in the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<InventoryReference>,
}

/// An accepted record of the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedRecord {
    /// Version of the channel.
    pub version: u64,
    /// Digest of the signed payload.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The release that it names.
    #[schemars(with = "String")]
    pub release: Digest,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub release_version: Option<ReleaseVersion>,
    /// What it is called in tables, see [`release_title`](crate::release_title).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it was seen here first.
    #[schemars(with = "String")]
    pub seen_at: Timestamp,
}

/// A release that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunningRelease {
    /// Its digest.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// Its version.
    #[schemars(with = "String")]
    pub version: ReleaseVersion,
    /// What it is called in tables, see [`release_title`](crate::release_title).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Since when it is kept.
    #[schemars(with = "String")]
    pub since: Timestamp,
}

/// A release that failed here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Denied {
    /// The release.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// Which attempt failed.
    pub attempt: u32,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
}

/// Names a stored inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryReference {
    /// Digest of the document.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// How many objects it lists.
    pub objects: usize,
    /// How many pieces it is stored in.
    pub chunks: usize,
}

impl SubscriptionStatus {
    /// Releases that are denied, without those that a person cleared.
    pub fn denied_now<'a>(&'a self, spec: &'a SubscriptionSpec) -> impl Iterator<Item = &'a Denied> {
        self.denied.iter().filter(|denied| {
            !spec
                .cleared
                .iter()
                .any(|cleared| cleared.digest == denied.digest && cleared.attempt >= denied.attempt)
        })
    }
}
