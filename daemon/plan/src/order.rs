//! In which order objects are written, and the reverse in which they are pruned.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::key::ObjectKey;

/// A stage of an apply, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Custom resource definitions.
    Definitions,
    /// Namespaces, classes, cluster roles, volumes: what other objects stand in or refer to.
    Cluster,
    /// Accounts, roles, limits, network policies, configuration, claims.
    Configuration,
    /// Services and disruption budgets.
    Endpoints,
    /// Jobs that must end before workloads change.
    Jobs,
    /// Workloads with data, and custom resources whose controllers run such.
    Stateful,
    /// Workloads without data.
    Workloads,
    /// Routes and autoscalers.
    Routes,
    /// Webhooks and API services: they can stop the API server from taking anything else, so they are last.
    Admission,
}

/// Every stage in order.
pub const STAGES: [Stage; 9] = [
    Stage::Definitions,
    Stage::Cluster,
    Stage::Configuration,
    Stage::Endpoints,
    Stage::Jobs,
    Stage::Stateful,
    Stage::Workloads,
    Stage::Routes,
    Stage::Admission,
];

impl Stage {
    /// The stage of an object, by its kind.
    pub fn of(key: &ObjectKey) -> Self {
        match (key.group(), key.kind()) {
            ("apiextensions.k8s.io", "CustomResourceDefinition") => Self::Definitions,
            ("", "Namespace" | "PersistentVolume")
            | ("rbac.authorization.k8s.io", "ClusterRole")
            | (
                "storage.k8s.io"
                | "scheduling.k8s.io"
                | "node.k8s.io"
                | "networking.k8s.io"
                | "gateway.networking.k8s.io"
                | "snapshot.storage.k8s.io"
                | "resource.k8s.io",
                "StorageClass"
                | "VolumeAttributesClass"
                | "PriorityClass"
                | "RuntimeClass"
                | "IngressClass"
                | "GatewayClass"
                | "VolumeSnapshotClass"
                | "DeviceClass"
                | "CSIDriver",
            ) => Self::Cluster,
            (
                "",
                "ServiceAccount"
                | "ResourceQuota"
                | "LimitRange"
                | "ConfigMap"
                | "Secret"
                | "PersistentVolumeClaim",
            )
            | ("rbac.authorization.k8s.io", _)
            | ("networking.k8s.io", "NetworkPolicy") => Self::Configuration,
            ("", "Service" | "Endpoints") | ("discovery.k8s.io", "EndpointSlice") | ("policy", _) => {
                Self::Endpoints
            }
            ("batch", "Job") => Self::Jobs,
            ("apps", "Deployment" | "DaemonSet" | "ReplicaSet")
            | ("", "Pod" | "ReplicationController")
            | ("batch", "CronJob") => Self::Workloads,
            ("autoscaling" | "networking.k8s.io" | "gateway.networking.k8s.io", _) => Self::Routes,
            ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => Self::Admission,
            // StatefulSets, and custom resources: their controllers often keep data (a database cluster), and a
            // workload of the release may need what they make.
            _ => Self::Stateful,
        }
    }

    /// Workloads with and without data are one band, in which `needs` decides first.
    const fn band(self) -> u8 {
        match self {
            Self::Definitions => 0,
            Self::Cluster => 1,
            Self::Configuration => 2,
            Self::Endpoints => 3,
            Self::Jobs => 4,
            Self::Stateful | Self::Workloads => 5,
            Self::Routes => 6,
            Self::Admission => 7,
        }
    }
}

/// Place of an object in the order; equal places are written together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    band: u8,
    level: u32,
    stage: Stage,
}

impl Place {
    /// The place of an object whose service stands at `level` (see [`levels`]).
    pub fn of(key: &ObjectKey, level: u32) -> Self {
        let stage = Stage::of(key);
        let level = if matches!(stage, Stage::Stateful | Stage::Workloads) { level } else { 0 };
        Self { band: stage.band(), level, stage }
    }

    /// The stage.
    pub const fn stage(self) -> Stage {
        self.stage
    }
}

/// Why services cannot be put in order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Services need each other in a circle.
    #[error("services need each other in a circle: {}", .services.join(" → "))]
    Circle {
        /// The services of the circle; the last needs the first.
        services: Vec<String>,
    },
    /// A service needs one that the release does not have.
    #[error("service `{service}` needs `{needed}`, which the release does not have")]
    Unknown {
        /// The service that needs.
        service: String,
        /// The service that is not there.
        needed: String,
    },
}

/// The level of each service: 0 for one that needs nothing, else one more than the highest that it needs.
pub fn levels(needs: &BTreeMap<String, BTreeSet<String>>) -> Result<BTreeMap<String, u32>, OrderError> {
    let mut levels = BTreeMap::new();
    for service in needs.keys() {
        level_of(service, needs, &mut levels, &mut Vec::new())?;
    }
    Ok(levels)
}

fn level_of(
    service: &str,
    needs: &BTreeMap<String, BTreeSet<String>>,
    levels: &mut BTreeMap<String, u32>,
    path: &mut Vec<String>,
) -> Result<u32, OrderError> {
    if let Some(level) = levels.get(service) {
        return Ok(*level);
    }
    if let Some(start) = path.iter().position(|above| above == service) {
        return Err(OrderError::Circle { services: path[start..].to_vec() });
    }
    let Some(needed) = needs.get(service) else {
        return Err(OrderError::Unknown {
            service: path.last().cloned().unwrap_or_default(),
            needed: service.to_owned(),
        });
    };
    path.push(service.to_owned());
    let mut level = 0;
    for other in needed {
        level = level.max(level_of(other, needs, levels, path)? + 1);
    }
    path.pop();
    levels.insert(service.to_owned(), level);
    Ok(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(api: &str, kind: &str) -> ObjectKey {
        let (group, version) = crate::key::split_api_version(api);
        ObjectKey::new(group, version, kind, None, "x").unwrap()
    }

    fn needs(list: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        list.iter()
            .map(|(name, others)| {
                ((*name).to_owned(), others.iter().map(|other| (*other).to_owned()).collect())
            })
            .collect()
    }

    #[test]
    fn kinds_have_their_stage() {
        let cases = [
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", Stage::Definitions),
            ("v1", "Namespace", Stage::Cluster),
            ("v1", "PersistentVolume", Stage::Cluster),
            ("storage.k8s.io/v1", "StorageClass", Stage::Cluster),
            ("scheduling.k8s.io/v1", "PriorityClass", Stage::Cluster),
            ("networking.k8s.io/v1", "IngressClass", Stage::Cluster),
            ("rbac.authorization.k8s.io/v1", "ClusterRole", Stage::Cluster),
            ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", Stage::Configuration),
            ("rbac.authorization.k8s.io/v1", "RoleBinding", Stage::Configuration),
            ("v1", "ServiceAccount", Stage::Configuration),
            ("v1", "ConfigMap", Stage::Configuration),
            ("v1", "Secret", Stage::Configuration),
            ("v1", "PersistentVolumeClaim", Stage::Configuration),
            ("networking.k8s.io/v1", "NetworkPolicy", Stage::Configuration),
            ("v1", "Service", Stage::Endpoints),
            ("policy/v1", "PodDisruptionBudget", Stage::Endpoints),
            ("batch/v1", "Job", Stage::Jobs),
            ("apps/v1", "StatefulSet", Stage::Stateful),
            ("postgresql.cnpg.io/v1", "Cluster", Stage::Stateful),
            ("apps/v1", "Deployment", Stage::Workloads),
            ("apps/v1", "DaemonSet", Stage::Workloads),
            ("batch/v1", "CronJob", Stage::Workloads),
            ("autoscaling/v2", "HorizontalPodAutoscaler", Stage::Routes),
            ("networking.k8s.io/v1", "Ingress", Stage::Routes),
            ("gateway.networking.k8s.io/v1", "HTTPRoute", Stage::Routes),
            ("gateway.networking.k8s.io/v1", "GatewayClass", Stage::Cluster),
            ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", Stage::Admission),
            ("apiregistration.k8s.io/v1", "APIService", Stage::Admission),
        ];
        let mut reached = BTreeSet::new();
        for (api, kind, stage) in cases {
            assert_eq!(Stage::of(&key(api, kind)), stage, "{api} {kind}");
            reached.insert(stage);
        }
        assert_eq!(reached.into_iter().collect::<Vec<_>>(), STAGES);
    }

    #[test]
    fn needs_come_first_and_data_comes_before_the_rest() {
        let levels = levels(&needs(&[
            ("api", &["cache", "queue"]),
            ("cache", &[]),
            ("queue", &["cache"]),
            ("web", &["api"]),
        ]))
        .unwrap();
        assert_eq!(levels.values().copied().collect::<Vec<_>>(), [2, 0, 1, 3]);
        let stateful = key("apps/v1", "StatefulSet");
        let deployment = key("apps/v1", "Deployment");
        assert!(Place::of(&stateful, 0) < Place::of(&deployment, 0));
        assert!(
            Place::of(&deployment, 0) < Place::of(&stateful, 1),
            "a stateful service may need a stateless one"
        );
        assert_eq!(Place::of(&key("v1", "Service"), 0), Place::of(&key("v1", "Service"), 5));
        assert!(Place::of(&key("v1", "Service"), 9) < Place::of(&stateful, 0));
    }

    #[test]
    fn circles_and_unknown_needs_are_named() {
        let error = levels(&needs(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])])).unwrap_err();
        assert_eq!(error.to_string(), "services need each other in a circle: b → c");
        let error = levels(&needs(&[("a", &["b"])])).unwrap_err();
        assert_eq!(error.to_string(), "service `a` needs `b`, which the release does not have");
    }
}
