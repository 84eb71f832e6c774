//! One service of one environment as a release holds it: its objects and what the daemon has to know to run them.

use std::collections::{BTreeMap, BTreeSet};

use bundles_release::{EnvironmentName, ObjectsDocument, PartName, PartObjects, canonical};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{BackupKind, Kind, Object, ObjectError, Seconds, ServiceName, Stage, TextError};

/// The objects of one service in one environment, in order of apply.
#[derive(Debug, Clone, PartialEq)]
pub struct PartDocument {
    /// The environment.
    pub environment: EnvironmentName,
    /// The service.
    pub part: ServiceName,
    /// What the daemon has to know.
    pub policy: ServicePolicy,
    /// The objects.
    pub objects: Vec<Object>,
}

/// What the daemon has to know of a service, beside its objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicePolicy {
    /// The kind of its workload.
    pub kind: Kind,
    /// The stage of its workload.
    pub stage: Stage,
    /// Services of the same release that are applied before it within a stage.
    pub needs: Vec<ServiceName>,
    /// Time that it may take to become well.
    #[serde(rename = "deadlineSeconds", with = "number_of_seconds")]
    pub deadline: Seconds,
    /// Time that it has to stay well.
    #[serde(rename = "soakSeconds", with = "number_of_seconds")]
    pub soak: Seconds,
    /// The number of replicas below which it never falls.
    pub least_replicas: u32,
    /// Whether a rollout can go without a lost request: more than nothing is ready at any time. A single replica with
    /// a volume of its own cannot.
    pub zero_downtime: bool,
    /// What is saved before each release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupPolicy>,
}

/// How a service is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupPolicy {
    /// The way to save.
    pub kind: BackupKind,
    /// The port to save from. The host is the Service with the name of the part.
    pub port: u16,
}

mod number_of_seconds {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::Seconds;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(super) fn serialize<S: Serializer>(span: &Seconds, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(span.get())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Seconds, D::Error> {
        let number = u32::deserialize(deserializer)?;
        let span = Seconds::new(number);
        if span.get() == number { Ok(span) } else { Err(de::Error::custom("at most a day is expected")) }
    }
}

/// A document that is not what it should be, or parts that do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// A part whose name no service can have.
    #[error("part {part} cannot be a service")]
    Name {
        /// The part.
        part: PartName,
        /// Why.
        source: TextError,
    },
    /// The policy is not one.
    #[error("the policy of part {part} cannot be read")]
    Policy {
        /// The part.
        part: PartName,
        /// What the reader says.
        source: serde_json::Error,
    },
    /// One of the objects is refused.
    #[error("part {part} is refused for an object")]
    Object {
        /// The part.
        part: PartName,
        /// Why.
        source: ObjectError,
    },
    /// A part needs one that is not there.
    #[error("part {part} needs {need}, which is not in the release")]
    UnknownNeed {
        /// The part.
        part: ServiceName,
        /// What it needs.
        need: ServiceName,
    },
    /// Parts need each other.
    #[error("parts need each other in a circle: {}", names(parts))]
    Circle {
        /// The parts of the circle and what hangs on it.
        parts: Vec<ServiceName>,
    },
}

fn names(parts: &[ServiceName]) -> String {
    parts.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ")
}

impl From<PartDocument> for PartObjects {
    fn from(document: PartDocument) -> Self {
        Self {
            part: document.part.part(),
            policy: policy_value(&document.policy),
            objects: document.objects.into_iter().map(Object::into_value).collect(),
        }
    }
}

#[allow(clippy::expect_used, reason = "a policy is a struct with text keys")]
fn policy_value(policy: &ServicePolicy) -> Value {
    canonical::sorted(serde_json::to_value(policy).expect("a policy is plain JSON"))
}

impl TryFrom<ObjectsDocument> for PartDocument {
    type Error = PartError;

    fn try_from(document: ObjectsDocument) -> Result<Self, PartError> {
        let part = document.part;
        let name = part.as_str().parse().map_err(|source| PartError::Name { part: part.clone(), source })?;
        let policy = serde_json::from_value(document.policy)
            .map_err(|source| PartError::Policy { part: part.clone(), source })?;
        let objects: Result<_, _> = document.objects.into_iter().map(Object::new).collect();
        let objects = objects.map_err(|source| PartError::Object { part, source })?;
        Ok(Self { environment: document.environment, part: name, policy, objects })
    }
}

/// The length of the longest chain of needs under each service: 0 for one that needs none.
pub fn need_levels<'a>(
    needs: &BTreeMap<&'a ServiceName, &'a [ServiceName]>,
) -> Result<BTreeMap<&'a ServiceName, usize>, PartError> {
    for (part, wanted) in needs {
        if let Some(need) = wanted.iter().find(|need| !needs.contains_key(need)) {
            return Err(PartError::UnknownNeed { part: (*part).clone(), need: need.clone() });
        }
    }
    let mut levels: BTreeMap<&ServiceName, usize> = BTreeMap::new();
    let mut open: BTreeSet<&ServiceName> = needs.keys().copied().collect();
    while !open.is_empty() {
        let ready: Vec<(&ServiceName, usize)> = open
            .iter()
            .filter_map(|part| {
                let below = needs[part].iter().map(|need| levels.get(need).map(|level| level + 1));
                let level = below.collect::<Option<Vec<usize>>>()?.into_iter().max().unwrap_or(0);
                Some((*part, level))
            })
            .collect();
        if ready.is_empty() {
            return Err(PartError::Circle { parts: open.into_iter().cloned().collect() });
        }
        for (part, level) in ready {
            open.remove(part);
            levels.insert(part, level);
        }
    }
    Ok(levels)
}
