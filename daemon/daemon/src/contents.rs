//! What a release holds, read from its documents: no registry and no cluster.

use std::collections::{BTreeMap, BTreeSet};

use bundles_objects::{
    BindError, Binding, Object, ObjectError, SecretReference, ServicePolicy, bind, images, required_secrets,
};
use bundles_release::{EnvironmentName, PartName, Release, ReleaseError, ReleaseVersion};
use bundles_trust::{Channel, ChannelRecord, Reason, ReleaseMark, SignatureBundle, check_release};
use daemon_plan::{
    ObjectKey, RolloutPlan,
    plan::{PlanError, ServiceRules},
};
use registry_wire::{Digest, ManifestError, MediaType, StoredManifest};
use serde_json::Value;

use crate::follower::PlaceError;

/// The documents of a release that are kept in the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Documents {
    pub(crate) manifest: Vec<u8>,
    pub(crate) configuration: Vec<u8>,
    pub(crate) objects: BTreeMap<PartName, Vec<u8>>,
    pub(crate) signatures: Vec<Vec<u8>>,
}

/// A release made ready for one subscription.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    pub(crate) release: Release,
    pub(crate) plan: RolloutPlan,
    pub(crate) objects: BTreeMap<ObjectKey, Value>,
    pub(crate) policies: BTreeMap<String, ServicePolicy>,
    pub(crate) secrets: BTreeSet<SecretReference>,
    pub(crate) signatures: Vec<SignatureBundle>,
}

/// Why a release cannot run here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentsError {
    /// The place is none.
    #[error(transparent)]
    Place {
        #[from]
        source: PlaceError,
    },
    /// Its manifest cannot be read.
    #[error(transparent)]
    Manifest {
        #[from]
        source: ManifestError,
    },
    /// Its documents are not those of a release.
    #[error(transparent)]
    Release {
        #[from]
        source: ReleaseError,
    },
    /// The documents are whole, and those of another release.
    #[error("the documents are those of release {found}")]
    Other { found: Digest },
    /// It was not made for this environment.
    #[error("release {version} has no environment {environment}, it has {known}: set spec.environment")]
    Environment { version: ReleaseVersion, environment: EnvironmentName, known: String },
    /// A document is not there.
    #[error("the objects of part {part} are missing")]
    Missing { part: PartName },
    /// The rules of a service cannot be read.
    #[error("the policy of part {part} cannot be read")]
    Policy { part: PartName, source: serde_json::Error },
    /// An object is none.
    #[error(transparent)]
    Object {
        #[from]
        source: ObjectError,
    },
    /// The objects do not fit the place.
    #[error(transparent)]
    Bind {
        #[from]
        source: BindError,
    },
    /// The objects have no order.
    #[error(transparent)]
    Plan {
        #[from]
        source: PlanError,
    },
}

impl Contents {
    /// Reads a release for the environment and the place where it runs. Whatever is wrong, the release is refused.
    pub(crate) fn read(
        documents: &Documents,
        environment: &EnvironmentName,
        binding: &Binding,
    ) -> Result<Self, ContentsError> {
        let release = read_release(&documents.manifest, &documents.configuration)?;
        let Some(place) = release.environment(environment) else {
            let known: Vec<&str> = release.environments().iter().map(|one| one.name().as_str()).collect();
            return Err(ContentsError::Environment {
                version: release.version().clone(),
                environment: environment.clone(),
                known: known.join(", "),
            });
        };
        let mut policies = BTreeMap::new();
        let mut rules = BTreeMap::new();
        let mut all: Vec<Object> = Vec::new();
        for (part, _) in place.parts() {
            let missing = || ContentsError::Missing { part: part.clone() };
            let bytes = documents.objects.get(part).ok_or_else(missing)?;
            let document = release.read_objects(environment, part, bytes)?;
            let policy: ServicePolicy = serde_json::from_value(document.policy)
                .map_err(|source| ContentsError::Policy { part: part.clone(), source })?;
            rules.insert(part.to_string(), rules_of(&policy));
            policies.insert(part.to_string(), policy);
            for value in document.objects {
                all.push(Object::new(value)?);
            }
        }
        let references: BTreeSet<String> =
            images(&all).iter().map(|image| binding.registry.image(image)).collect();
        let secrets = required_secrets(&all);
        bind(&mut all, binding)?;
        let values: Vec<Value> = all.into_iter().map(Object::into_value).collect();
        let plan = RolloutPlan::new(release.digest(), &values, &rules, references)?;
        let objects =
            values.into_iter().filter_map(|value| Some((ObjectKey::of(&value).ok()?, value))).collect();
        let signatures = documents
            .signatures
            .iter()
            .filter_map(|bytes| match SignatureBundle::parse(bytes.clone()) {
                Ok(bundle) => Some(bundle),
                Err(error) => {
                    tracing::warn!(release = %release.digest(), error = %crate::error::chain(&error), "a signature cannot be read");
                    None
                }
            })
            .collect();
        Ok(Self { release, plan, objects, policies, secrets, signatures })
    }
}

impl Contents {
    /// Whether the release is one of the channel, and as its record names it.
    pub(crate) fn belongs(&self, channel: &Channel, record: Option<&ChannelRecord>) -> Result<(), Reason> {
        let release = &self.release;
        let size = u64::try_from(release.manifest().bytes().len()).unwrap_or(u64::MAX);
        let mark = ReleaseMark { version: release.version().clone(), digest: release.digest(), size };
        check_release(release.product(), &mark, channel, record)
    }
}

/// Reads the release itself.
pub(crate) fn read_release(manifest: &[u8], configuration: &[u8]) -> Result<Release, ContentsError> {
    let manifest = StoredManifest::parse(MediaType::IMAGE_MANIFEST, manifest.to_vec())?;
    Ok(Release::parse(manifest, configuration)?)
}

fn rules_of(policy: &ServicePolicy) -> ServiceRules {
    ServiceRules {
        needs: policy.needs.iter().map(ToString::to_string).collect(),
        deadline: std::time::Duration::from_secs(policy.deadline.get().into()),
        soak: std::time::Duration::from_secs(policy.soak.get().into()),
        backup: policy.backup.as_ref().map(|backup| backup.kind),
    }
}
