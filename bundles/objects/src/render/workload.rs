//! Workloads and what goes with them: disruption budget and autoscaler.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{
            Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment, StatefulSet,
            StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        autoscaling::v2::{
            CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
            MetricTarget, ResourceMetricSource,
        },
        core::v1::{
            PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeResourceRequirements,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{Part, match_labels};
use crate::{RolloutStrategy, Storage, StorageName};

/// Kubernetes' own deadline, on which it only reports; ours may be longer.
const LONGEST_PROGRESS_DEADLINE: u32 = 120;
/// Old `ReplicaSet`s and revisions that Kubernetes keeps. A return does not use them: it applies the old objects.
const REVISIONS: i32 = 3;

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

impl Part<'_> {
    pub(super) fn deployment(&self, template: PodTemplateSpec) -> Deployment {
        let service = self.service;
        let strategy = match service.rollout.strategy {
            RolloutStrategy::Rolling => DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(count(service.rollout.surge))),
                    max_unavailable: Some(IntOrString::Int(count(service.rollout.unavailable))),
                }),
            },
        };
        let deadline = service.health.deadline.get().min(LONGEST_PROGRESS_DEADLINE);
        Deployment {
            metadata: self.metadata(self.name.as_str()),
            spec: DeploymentSpec {
                progress_deadline_seconds: Some(count(deadline)),
                // Under an autoscaler the field is the autoscaler's.
                replicas: service.scaling.is_none().then(|| count(service.replicas())),
                revision_history_limit: Some(REVISIONS),
                selector: match_labels(self.selector()),
                strategy: Some(strategy),
                template,
                ..DeploymentSpec::default()
            },
            ..Deployment::default()
        }
    }

    pub(super) fn stateful_set(&self, template: PodTemplateSpec) -> StatefulSet {
        let retain = || Some("Retain".to_owned());
        let claims: Vec<_> =
            self.service.storage.iter().map(|(name, storage)| self.claim(name, storage)).collect();
        StatefulSet {
            metadata: self.metadata(self.name.as_str()),
            spec: StatefulSetSpec {
                // With the default, OrderedReady, a rollout whose first pod never gets ready waits for it even after
                // the old template is back, until someone deletes the pod. Updates go one by one in both.
                pod_management_policy: Some("Parallel".to_owned()),
                persistent_volume_claim_retention_policy: Some(
                    StatefulSetPersistentVolumeClaimRetentionPolicy {
                        when_deleted: retain(),
                        when_scaled: retain(),
                    },
                ),
                replicas: Some(count(self.service.replicas())),
                revision_history_limit: Some(REVISIONS),
                selector: match_labels(self.selector()),
                service_name: Some(self.name.to_string()),
                template,
                update_strategy: Some(StatefulSetUpdateStrategy {
                    type_: Some("RollingUpdate".to_owned()),
                    ..StatefulSetUpdateStrategy::default()
                }),
                volume_claim_templates: (!claims.is_empty()).then_some(claims),
                ..StatefulSetSpec::default()
            },
            ..StatefulSet::default()
        }
    }

    /// Templates of claims cannot change, so they carry only labels that never do.
    fn claim(&self, name: &StorageName, storage: &Storage) -> PersistentVolumeClaim {
        PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(name.to_string()),
                labels: Some(self.selector()),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                resources: Some(VolumeResourceRequirements {
                    requests: Some(BTreeMap::from([(
                        "storage".to_owned(),
                        Quantity(storage.size.to_string()),
                    )])),
                    ..VolumeResourceRequirements::default()
                }),
                ..PersistentVolumeClaimSpec::default()
            }),
            ..PersistentVolumeClaim::default()
        }
    }

    /// One at a time may be moved away. With a single replica a budget would only keep nodes from being emptied.
    pub(super) fn disruption_budget(&self) -> Option<PodDisruptionBudget> {
        (self.service.least_replicas() > 1).then(|| PodDisruptionBudget {
            metadata: self.metadata(self.name.as_str()),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(match_labels(self.selector())),
                // A pod that is not well serves nobody and may always go.
                unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
                ..PodDisruptionBudgetSpec::default()
            }),
            ..PodDisruptionBudget::default()
        })
    }

    pub(super) fn autoscaler(&self) -> Option<HorizontalPodAutoscaler> {
        let scaling = self.service.scaling?;
        Some(HorizontalPodAutoscaler {
            metadata: self.metadata(self.name.as_str()),
            spec: HorizontalPodAutoscalerSpec {
                min_replicas: Some(count(scaling.min)),
                max_replicas: count(scaling.max),
                scale_target_ref: CrossVersionObjectReference {
                    api_version: Some("apps/v1".to_owned()),
                    kind: "Deployment".to_owned(),
                    name: self.name.to_string(),
                },
                metrics: Some(vec![MetricSpec {
                    type_: "Resource".to_owned(),
                    resource: Some(ResourceMetricSource {
                        name: "cpu".to_owned(),
                        target: MetricTarget {
                            type_: "Utilization".to_owned(),
                            average_utilization: Some(count(scaling.cpu)),
                            ..MetricTarget::default()
                        },
                    }),
                    ..MetricSpec::default()
                }]),
                ..HorizontalPodAutoscalerSpec::default()
            },
            ..HorizontalPodAutoscaler::default()
        })
    }
}
