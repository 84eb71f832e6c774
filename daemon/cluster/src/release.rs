//! The custom resource `Release`: one release in this cluster, its documents and the journal of its rollout.

use bundles_release::{EnvironmentName, ProductName, ReleaseVersion};
use daemon_plan::{RolloutState, names::ShortName};
use jiff::Timestamp;
use kube::CustomResource;
use registry_wire::{Digest, RegistryAddress, RepositoryName};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{Condition, DocumentReference};

/// One release in this cluster.
#[allow(clippy::duplicated_attributes, reason = "each column has a type")]
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "bundle.build",
    version = "v1alpha1",
    kind = "Release",
    namespaced,
    status = "ReleaseObjectStatus",
    derive = "PartialEq",
    shortname = "brel",
    category = "bundle",
    doc = "One release in this cluster, its documents and the journal of its rollout.",
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Attempt", type_ = "integer", json_path = ".status.attempt"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Since", type_ = "date", json_path = ".status.since"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".spec.digest", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = "1")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseObjectSpec {
    /// The subscription that it is rolled out for.
    pub subscription: String,
    /// The release.
    #[schemars(with = "String")]
    pub digest: Digest,
}

/// Where the rollout of a release stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseObjectStatus {
    /// The product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub product: Option<ProductName>,
    /// The version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub version: Option<ReleaseVersion>,
    /// The phase of the rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Which attempt it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Why it ended as it did, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it ended as it did, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the phase began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// Place of the attempt in the history of the subscription, from 1.
    #[serde(default)]
    pub sequence: u64,
    /// How often the lease had changed hands when this was written.
    #[serde(default)]
    pub epoch: u64,
    /// The journal: all that the daemon needs to go on after a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub journal: Option<RolloutState>,
    /// Where the attempt runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<ReleasePlace>,
    /// The documents of the release that are kept in the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<DocumentPart>,
    /// Restore points that were taken before attempts at it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restore_points: Vec<RestorePointRecord>,
    /// `Ready`, `Progressing`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true })
}

/// Where a release runs and its images come from, as the subscription said when the attempt began. A kept release stays
/// as it was proven, whatever the subscription says later: another place is another rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleasePlace {
    /// The registry as the nodes see it.
    #[schemars(with = "String")]
    pub registry: RegistryAddress,
    /// The repository that holds one repository for each image.
    #[schemars(with = "String")]
    pub prefix: RepositoryName,
    /// The namespace of its objects.
    pub namespace: String,
    /// Its environment.
    #[schemars(with = "String")]
    pub environment: EnvironmentName,
}

/// One stored document of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DocumentPart {
    /// What it is: `manifest`, `configuration`, `signature/N` with N from 0, or `objects/PART`.
    pub role: String,
    /// Where it is.
    #[serde(flatten)]
    pub reference: DocumentReference,
}

/// A restore point that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestorePointRecord {
    /// The service whose data it holds.
    pub service: String,
    /// Its name: the file on the volume.
    #[schemars(with = "String")]
    pub name: ShortName,
    /// The claim of the volume that it lies on.
    pub volume: String,
    /// Its size in bytes.
    pub size: u64,
    /// Digest of its bytes.
    #[schemars(with = "String")]
    pub digest: Digest,
    /// The attempt that it was taken for.
    pub attempt: u32,
    /// When it was confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub taken: Option<Timestamp>,
}

/// What a release is called in messages and tables: `0.1.0@4f7ab333ffd5`. The version alone does not tell releases
/// apart, since many may have the same.
pub fn release_title(version: Option<&ReleaseVersion>, release: &Digest) -> String {
    match version {
        Some(version) => format!("{version}@{}", release.short()),
        None => release.short(),
    }
}

/// Name of the object of a release, unless another release has it.
pub fn release_object_name(subscription: &str, release: &Digest) -> ShortName {
    ShortName::of(&[subscription, &release.short()])
}

/// Names that the object of a release may have, the preferred one first. Digests may agree in the digits that the first
/// shows; the second depends on all of them.
pub(crate) fn release_object_names(subscription: &str, release: &Digest) -> [ShortName; 2] {
    let whole = ShortName::of(&[subscription, &release.hex()]);
    [release_object_name(subscription, release), whole]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_that_agree_in_their_first_digits_have_names_of_their_own() {
        let [one, two]: [Digest; 2] = ["0", "1"].map(|last| {
            let digits = "0123456789abcdef".repeat(4);
            format!("sha256:{}{last}", &digits[..63]).parse().unwrap()
        });
        let (one, two) = (release_object_names("shop", &one), release_object_names("shop", &two));
        assert_eq!(one[0], two[0], "the names that are tried first are short");
        assert_ne!(one[1], two[1]);
    }
}
