//! `bundle.toml` and `environments/*.toml`.

use std::collections::{BTreeMap, BTreeSet};

use bundles_objects::{ConfigKey, Resources, Scaling, ServiceName};
use bundles_release::{
    ProductName, ReleaseVersion,
    lock::{Codename, Component, Fingerprint, LockedSuite, ReleaseField, Staleness, SuiteName},
};
use registry_wire::RepositoryName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{
    CodenameText, ComponentText, FingerprintText, ProductNameText, ReleaseFieldText, ReleaseVersionText,
    RepositoryNameText, SuiteNameText,
};

/// A platform: what is released together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "bundle.toml")]
pub struct PlatformDocument {
    /// The platform itself.
    pub platform: PlatformManifest,
    /// Where packages may come from, by what the signed Release file of a repository says. Which server it is fetched
    /// from is the machine's matter and stands nowhere in a platform.
    #[schemars(with = "BTreeMap<SuiteNameText, Suite>")]
    pub suites: BTreeMap<SuiteName, Suite>,
}

/// The platform itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlatformManifest {
    /// Name of the product.
    #[schemars(with = "ProductNameText")]
    pub name: ProductName,
    /// Version of the product. It becomes the tag of the release.
    #[schemars(with = "ReleaseVersionText")]
    pub version: ReleaseVersion,
    /// Repository that releases go to; images go to one below it for each recipe.
    #[schemars(with = "RepositoryNameText")]
    pub repository: RepositoryName,
    /// The suite of recipes that name none.
    #[schemars(with = "SuiteNameText")]
    pub default_suite: SuiteName,
    /// Which maintainer scripts may have a part in images.
    #[serde(default)]
    pub scripts: ScriptPolicy,
    /// The weakest sandbox in which a script may have been recorded.
    #[serde(default)]
    pub sandbox: SandboxPolicy,
}

/// Which maintainer scripts may have a part in images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScriptPolicy {
    /// Those whose effects are declared, and those whose effects `bundle effects record` has recorded.
    #[default]
    Recorded,
    /// Those whose effects are declared, and no others.
    DeclaredOnly,
}

/// The weakest sandbox in which a script may have been recorded; `bundle doctor` says what a machine reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxPolicy {
    /// All walls.
    #[default]
    Full,
    /// Namespaces, an own root and filtered system calls.
    Isolated,
}

/// A suite of packages, recognised by its signed Release file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Suite {
    /// Field `Origin`.
    #[schemars(with = "ReleaseFieldText")]
    pub origin: ReleaseField,
    /// Field `Label`.
    #[schemars(with = "ReleaseFieldText")]
    pub label: ReleaseField,
    /// Field `Codename`.
    #[schemars(with = "CodenameText")]
    pub codename: Codename,
    /// Components to use.
    #[schemars(with = "Vec<ComponentText>", length(min = 1))]
    pub components: Vec<Component>,
    /// Fingerprints of the primary keys of which one must have signed.
    #[schemars(with = "Vec<FingerprintText>", length(min = 1))]
    pub keys: Vec<Fingerprint>,
    /// Suites with newer versions of this one's packages, such as that of security updates. A recipe of this suite takes
    /// the newest version that any of them has. Each is declared as a suite of its own; their `updates` are not followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<SuiteNameText>")]
    pub updates: Vec<SuiteName>,
}

impl Suite {
    /// Why what was locked of this suite no longer answers its definition, if so. A key that is not pinned any more may
    /// have been revoked.
    pub fn staleness(&self, locked: &LockedSuite) -> Option<Staleness> {
        let components = |list: &[Component]| list.iter().cloned().collect::<BTreeSet<_>>();
        let what = if !locked.keys.iter().any(|key| self.keys.contains(key)) {
            "other keys"
        } else if locked.origin != self.origin || locked.label != self.label {
            "another origin or label"
        } else if locked.codename != self.codename {
            "another codename"
        } else if components(&locked.components) != components(&self.components) {
            "other components"
        } else {
            return None;
        };
        Some(Staleness::Suite { suite: locked.name.clone(), what })
    }
}

/// What one environment gives and changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "environments/*.toml")]
pub struct EnvironmentDocument {
    /// Values for `{ config = "key" }` in recipes.
    #[serde(default)]
    pub config: BTreeMap<ConfigKey, String>,
    /// Changes to services.
    #[serde(default)]
    pub services: BTreeMap<ServiceName, ServiceOverride>,
    /// Which maintainer scripts may have a part in images of a release for this environment. Images are the same in all
    /// environments, so this can be stricter than the platform's and not more lenient.
    #[serde(default)]
    pub scripts: ScriptPolicy,
}

/// What an environment changes in a service. Each key replaces that of the recipe as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServiceOverride {
    /// Number of replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: Option<u32>,
    /// What one replica is promised and may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Horizontal autoscaling, or `"off"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingOverride>,
}

/// Other autoscaling, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ScalingOverride {
    /// None.
    Off(Off),
    /// Other bounds.
    Scaling(Scaling),
}

/// The word `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Off {
    /// No autoscaling.
    Off,
}
