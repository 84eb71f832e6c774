//! The releases of the world, and how each may behave.

use std::collections::{BTreeMap, BTreeSet};

use bundles_objects::BackupKind;
use daemon_plan::{RolloutPlan, plan::ServiceRules};
use registry_wire::Digest;
use serde_json::{Value, json};

/// How a release behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Good,
    Foreign,
    Unsigned,
    Broken,
    FailsPreflight,
    ImageMissing,
    Rejected,
    Crashes,
    NeverReady,
    Silent,
    Regresses,
    LosesReadiness,
    /// Health breaks twice while it soaks, as when an autoscaler adds replicas.
    Grows,
    /// Health breaks again and again.
    Flaps,
}

pub(crate) const BEHAVIOURS: [Behaviour; 14] = [
    Behaviour::Good,
    Behaviour::Foreign,
    Behaviour::Unsigned,
    Behaviour::Broken,
    Behaviour::FailsPreflight,
    Behaviour::ImageMissing,
    Behaviour::Rejected,
    Behaviour::Crashes,
    Behaviour::NeverReady,
    Behaviour::Silent,
    Behaviour::Regresses,
    Behaviour::LosesReadiness,
    Behaviour::Grows,
    Behaviour::Flaps,
];

pub(crate) fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn object(api_version: &str, kind: &str, name: &str, service: &str, content: &str) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "labels": {"bundle.build/service": service}},
        "content": content,
    })
}

fn services() -> BTreeMap<String, ServiceRules> {
    let cache = ServiceRules { backup: Some(BackupKind::RedisRdb), ..ServiceRules::default() };
    let api = ServiceRules { needs: BTreeSet::from(["cache".to_owned()]), ..ServiceRules::default() };
    BTreeMap::from([("cache".to_owned(), cache), ("api".to_owned(), api)])
}

pub(crate) fn plan(name: &str) -> RolloutPlan {
    let mut objects = vec![
        object("v1", "ConfigMap", &format!("config-{name}"), "api", name),
        object("v1", "Service", "api", "api", "same"),
        object("apps/v1", "Deployment", "api", "api", name),
        object("batch/v1", "Job", &format!("migrate-{name}"), "api", name),
        object("apps/v1", "StatefulSet", "cache", "cache", if name == "c" { "other" } else { "same" }),
    ];
    if name == "a" {
        objects.push(object("v1", "PersistentVolumeClaim", "old-data", "api", "a"));
        objects.push(object("v1", "ServiceAccount", "old", "api", "a"));
    }
    RolloutPlan::new(digest(name), &objects, &services(), [format!("registry.example/{name}")])
        .expect("the plan is sound")
}
