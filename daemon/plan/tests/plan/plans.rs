use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bundles_objects::BackupKind;
use daemon_plan::{
    RolloutPlan,
    order::Stage,
    plan::{PlanError, ServiceRules},
};
use serde_json::{Value, json};

use crate::releases::digest;

fn object(api: &str, kind: &str, name: &str, service: Option<&str>) -> Value {
    let mut object =
        json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "shop"}});
    if let Some(service) = service {
        object["metadata"]["labels"] = json!({"bundle.build/service": service});
    }
    object
}

fn rules(needs: &[&str], deadline: u64, soak: u64, backup: Option<BackupKind>) -> ServiceRules {
    ServiceRules {
        needs: needs.iter().map(|name| (*name).to_owned()).collect(),
        deadline: Duration::from_secs(deadline),
        soak: Duration::from_secs(soak),
        backup,
    }
}

#[test]
fn a_release_becomes_waves() {
    let objects = [
        object("autoscaling/v2", "HorizontalPodAutoscaler", "api", Some("api")),
        object("apps/v1", "Deployment", "web", Some("web")),
        object("apps/v1", "Deployment", "api", Some("api")),
        object("apps/v1", "StatefulSet", "cache", Some("cache")),
        object("v1", "Service", "api", Some("api")),
        object("v1", "Service", "cache", Some("cache")),
        object("v1", "ConfigMap", "api-1", Some("api")),
        object("v1", "ServiceAccount", "shared", None),
    ];
    let services = BTreeMap::from([
        ("api".to_owned(), rules(&["cache"], 90, 15, None)),
        ("cache".to_owned(), rules(&[], 60, 20, Some(BackupKind::RedisRdb))),
        ("web".to_owned(), rules(&[], 30, 5, None)),
    ]);
    let images = ["r/b".to_owned(), "r/a".to_owned(), "r/b".to_owned()];
    let plan = RolloutPlan::new(digest("r"), &objects, &services, images.clone()).unwrap();
    let waves: Vec<(Stage, Vec<String>)> = plan
        .waves
        .iter()
        .map(|wave| (wave.stage, wave.objects.iter().map(|object| object.key.to_string()).collect()))
        .collect();
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        waves,
        [
            (Stage::Configuration, names(&["ConfigMap shop/api-1", "ServiceAccount shop/shared"])),
            (Stage::Endpoints, names(&["Service shop/api", "Service shop/cache"])),
            (Stage::Stateful, names(&["StatefulSet.apps shop/cache"])),
            (Stage::Workloads, names(&["Deployment.apps shop/web"])),
            (Stage::Workloads, names(&["Deployment.apps shop/api"])),
            (Stage::Routes, names(&["HorizontalPodAutoscaler.autoscaling shop/api"])),
        ]
    );
    assert_eq!(plan.images, ["r/a", "r/b"]);
    let backups: Vec<_> = plan.backups.clone().into_iter().collect();
    assert_eq!(backups, [("cache".to_owned(), BackupKind::RedisRdb)]);
    assert_eq!(plan.soak, Duration::from_secs(20));
    assert_eq!(plan.longest_deadline(), Duration::from_mins(2), "what belongs to no service has the default");
    assert_eq!(plan.keys().len(), objects.len());
    // The order in which the release lists its objects does not matter.
    let reversed: Vec<Value> = objects.into_iter().rev().collect();
    assert_eq!(RolloutPlan::new(digest("r"), &reversed, &services, images).unwrap(), plan);
}

#[test]
fn what_cannot_be_planned_is_named() {
    let twice = [object("v1", "Service", "api", None), object("v1", "Service", "api", None)];
    let none = BTreeMap::new();
    let error = RolloutPlan::new(digest("r"), &twice, &none, []).unwrap_err();
    assert!(error.to_string().ends_with("holds Service shop/api twice"), "{error}");
    let error = RolloutPlan::new(digest("r"), &[json!({"kind": "Service"})], &none, []).unwrap_err();
    assert!(matches!(error, PlanError::Key { index: 0, .. }));
    let circle = BTreeMap::from([
        ("a".to_owned(), ServiceRules { needs: BTreeSet::from(["b".to_owned()]), ..ServiceRules::default() }),
        ("b".to_owned(), ServiceRules { needs: BTreeSet::from(["a".to_owned()]), ..ServiceRules::default() }),
    ]);
    let error = RolloutPlan::new(digest("r"), &[], &circle, []).unwrap_err();
    assert!(matches!(error, PlanError::Order { .. }));
}
