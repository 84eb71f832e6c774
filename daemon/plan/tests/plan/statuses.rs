use daemon_plan::{Reason, Status, status};
use jiff::Timestamp;
use serde_json::{Value, json};

fn now() -> Timestamp {
    "2026-07-01T10:10:00Z".parse().expect("a time")
}

/// An object of a kind with generation 3; `rest` is merged over it.
fn object(api: &str, kind: &str, rest: Value) -> Value {
    let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x", "namespace": "n", "generation": 3}});
    merge(&mut object, rest);
    object
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn current() -> Expected {
    Expected::Current
}

fn progress(part: &'static str) -> Expected {
    Expected::InProgress(part)
}

fn failed(reason: Reason) -> Expected {
    Expected::Failed(reason)
}

#[derive(Debug)]
enum Expected {
    Current,
    InProgress(&'static str),
    Failed(Reason),
    Terminating,
    NotFound,
}

fn check(what: &str, object: &Value, expected: &Expected) {
    let found = status(object, None, now());
    let fits = match (&found, expected) {
        (Status::Current, Expected::Current)
        | (Status::Terminating, Expected::Terminating)
        | (Status::NotFound, Expected::NotFound) => true,
        (Status::InProgress { message }, Expected::InProgress(part)) => message.contains(part),
        (Status::Failed(failure), Expected::Failed(reason)) => failure.reason == *reason,
        _ => false,
    };
    assert!(fits, "{what}: {found:?}, not {expected:?}");
}

fn table(api: &str, kind: &str, base: &Value, cases: Vec<(&str, Value, Expected)>) {
    for (what, change, expected) in cases {
        let mut rest = base.clone();
        merge(&mut rest, change);
        check(&format!("{kind}, {what}"), &object(api, kind, rest), &expected);
    }
}

#[test]
fn what_holds_for_every_kind() {
    check("absent", &Value::Null, &Expected::NotFound);
    let going = json!({"metadata": {"deletionTimestamp": "2026-07-01T10:00:00Z"}});
    for (api, kind) in [("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("example.org/v1", "Thing")] {
        check("deleted", &object(api, kind, going.clone()), &Expected::Terminating);
    }
    table(
        "example.org/v1",
        "Thing",
        &json!({}),
        vec![
            ("no status", json!({}), current()),
            ("null conditions", json!({"status": {"conditions": null}}), current()),
            ("not seen", json!({"status": {"observedGeneration": 2}}), progress("generation 2 of 3")),
            (
                "reconciling",
                json!({"status": {"conditions": [{"type": "Reconciling", "status": "True", "message": "soon"}]}}),
                progress("soon"),
            ),
            (
                "stalled",
                json!({"status": {"conditions": [{"type": "Stalled", "status": "True", "reason": "Bad"}]}}),
                failed(Reason::Stalled),
            ),
            (
                "not ready",
                json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Wait"}]}}),
                progress("Wait"),
            ),
            ("ready", json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}), current()),
            (
                "nobody waits",
                json!({"metadata": {"annotations": {"bundle.build/wait": "false"}},
                    "status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
                current(),
            ),
        ],
    );
}

#[test]
fn deployments() {
    let base = json!({
        "spec": {"replicas": 2, "progressDeadlineSeconds": 90},
        "status": {
            "observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
            "conditions": [
                {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            ],
        },
    });
    let conditions = |available: &str, reason: &str| {
        json!({"status": {"conditions": [
            {"type": "Available", "status": available, "reason": "MinimumReplicas"},
            {"type": "Progressing", "status": "True", "reason": reason, "message": "text"},
        ]}})
    };
    table(
        "apps/v1",
        "Deployment",
        &base,
        vec![
            ("done", json!({}), current()),
            ("just made", json!({"status": {"observedGeneration": null}}), progress("not seen it yet")),
            ("changed", json!({"status": {"observedGeneration": 2}}), progress("generation 2 of 3")),
            (
                "rolling",
                json!({"status": {"updatedReplicas": 1}}),
                progress("1 of 2 replicas are of this revision"),
            ),
            ("surge", json!({"status": {"replicas": 3}}), progress("1 old replicas")),
            ("not ready", json!({"status": {"readyReplicas": 1}}), progress("1 of 2 replicas are ready")),
            (
                "not available",
                json!({"status": {"availableReplicas": null}}),
                progress("0 of 2 replicas are available"),
            ),
            ("unavailable", conditions("False", "NewReplicaSetAvailable"), progress("does not say")),
            ("progressing", conditions("True", "ReplicaSetUpdated"), progress("ReplicaSetUpdated: text")),
            ("deadline", conditions("True", "ProgressDeadlineExceeded"), failed(Reason::ProgressDeadline)),
            (
                "old deadline, new document",
                json!({"status": {"observedGeneration": 2, "conditions": [
                    {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}}),
                progress("generation 2 of 3"),
            ),
            ("paused", json!({"spec": {"paused": true}}), progress("paused")),
            (
                "no deadline of its own",
                json!({"status": {"conditions": [{"type": "Available", "status": "True"}]}}),
                current(),
            ),
            (
                "zero by intent",
                json!({"spec": {"replicas": 0}, "status": {"replicas": null, "updatedReplicas": null,
                    "readyReplicas": null, "availableReplicas": null}}),
                current(),
            ),
            (
                "zero by accident",
                json!({"status": {"replicas": null, "updatedReplicas": null, "readyReplicas": null,
                    "availableReplicas": null}}),
                progress("0 of 2"),
            ),
            (
                "no pods for a quota",
                json!({"status": {"updatedReplicas": 0, "conditions": [{"type": "ReplicaFailure", "status": "True",
                    "reason": "FailedCreate", "message": "exceeded quota"}]}}),
                progress("exceeded quota"),
            ),
        ],
    );
}

#[test]
fn stateful_sets() {
    let base = json!({
        "spec": {"replicas": 3, "updateStrategy": {"type": "RollingUpdate"}},
        "status": {
            "observedGeneration": 3, "replicas": 3, "readyReplicas": 3, "currentReplicas": 3, "updatedReplicas": 3,
            "availableReplicas": 3, "currentRevision": "x-2", "updateRevision": "x-2",
        },
    });
    let on_delete = |updated: u8| {
        json!({"spec": {"updateStrategy": {"type": "OnDelete"}},
            "status": {"updatedReplicas": updated, "currentRevision": "x-1"}})
    };
    let partition = |updated: u8| {
        json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}},
            "status": {"updatedReplicas": updated, "currentReplicas": 2, "currentRevision": "x-1"}})
    };
    table(
        "apps/v1",
        "StatefulSet",
        &base,
        vec![
            ("done", json!({}), current()),
            ("just made", json!({"status": {"observedGeneration": null}}), progress("not seen")),
            ("starting", json!({"status": {"replicas": 1}}), progress("1 of 3 replicas are there")),
            ("not ready", json!({"status": {"readyReplicas": 2}}), progress("2 of 3 replicas are ready")),
            ("shrinking", json!({"status": {"replicas": 4}}), progress("1 replicas are to go")),
            (
                "rolling",
                json!({"status": {"currentRevision": "x-1", "currentReplicas": 2, "updatedReplicas": 1}}),
                progress("1 of 3 replicas are of this revision"),
            ),
            ("counts lag", json!({"status": {"currentReplicas": 2}}), progress("2 of 3")),
            (
                "not long enough ready",
                json!({"spec": {"minReadySeconds": 10}, "status": {"availableReplicas": 2}}),
                progress("2 of 3 replicas are available"),
            ),
            ("OnDelete, nobody deleted", on_delete(0), progress("the strategy is OnDelete")),
            ("OnDelete, all deleted", on_delete(3), current()),
            ("partition, waiting", partition(0), progress("beyond the partition")),
            ("partition, done", partition(1), current()),
            (
                "zero",
                json!({"spec": {"replicas": 0}, "status": {"replicas": 0, "readyReplicas": null, "currentReplicas": null,
                    "updatedReplicas": null, "currentRevision": "x-1"}}),
                current(),
            ),
        ],
    );
}

#[test]
fn other_workloads() {
    let daemons = json!({"status": {"observedGeneration": 3, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
        "updatedNumberScheduled": 2, "numberAvailable": 2, "numberReady": 2}});
    table(
        "apps/v1",
        "DaemonSet",
        &daemons,
        vec![
            ("done", json!({}), current()),
            ("just made", json!({"status": {"observedGeneration": null}}), progress("not seen")),
            (
                "a node lacks it",
                json!({"status": {"currentNumberScheduled": 1}}),
                progress("1 of 2 nodes have a pod"),
            ),
            ("rolling", json!({"status": {"updatedNumberScheduled": 1}}), progress("of this revision")),
            ("not available", json!({"status": {"numberAvailable": 0}}), progress("available")),
            ("not ready", json!({"status": {"numberReady": 1}}), progress("ready")),
        ],
    );
    let replicas = json!({"spec": {"replicas": 1}, "status": {"observedGeneration": 3, "replicas": 1,
        "fullyLabeledReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}});
    table(
        "apps/v1",
        "ReplicaSet",
        &replicas,
        vec![
            ("done", json!({}), current()),
            ("missing", json!({"status": {"replicas": 0}}), progress("0 of 1 replicas are there")),
            ("too many", json!({"status": {"replicas": 2}}), progress("1 replicas are to go")),
        ],
    );
    let condition =
        |name: &str| json!({"status": {"conditions": [{"type": name, "status": "True", "reason": "R"}]}});
    table(
        "batch/v1",
        "Job",
        &json!({"status": {"startTime": "2026-07-01T10:00:00Z", "active": 1}}),
        vec![
            ("running", json!({}), progress("1 active")),
            ("not started", json!({"status": {"startTime": null}}), progress("not started")),
            ("done", condition("Complete"), current()),
            ("failed", condition("Failed"), failed(Reason::JobFailed)),
            ("failing", condition("FailureTarget"), progress("running")),
            ("suspended", condition("Suspended"), current()),
        ],
    );
    table("batch/v1", "CronJob", &json!({}), vec![("always", json!({}), current())]);
}

#[test]
fn a_scaled_workload_has_the_minimum_of_its_autoscaler() {
    let none = json!({"observedGeneration": 3, "conditions": [
        {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]});
    for kind in ["Deployment", "StatefulSet", "ReplicaSet"] {
        let stopped = object("apps/v1", kind, json!({"spec": {"replicas": 0}, "status": none.clone()}));
        assert_eq!(status(&stopped, None, now()), Status::Current, "{kind}: nobody asks for more");
        let found = status(&stopped, Some(2), now());
        let Status::InProgress { message } = found else { panic!("{kind}: {found:?}") };
        assert!(message.starts_with("0 of 2 replicas are "), "{kind}: {message}");
    }
    let more = json!({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3,
        "availableReplicas": 3, "conditions": none["conditions"]});
    let raised = object("apps/v1", "Deployment", json!({"spec": {"replicas": 3}, "status": more}));
    assert_eq!(status(&raised, Some(2), now()), Status::Current, "it asks for more than the minimum");
}

#[test]
fn pods() {
    let base = json!({"metadata": {"creationTimestamp": "2026-07-01T10:00:00Z"}, "status": {"phase": "Running",
    "conditions": [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-07-01T10:00:00Z"},
        {"type": "Ready", "status": "False", "reason": "ContainersNotReady"},
    ]}});
    let waiting = |reason: &str| {
        json!({"status": {"phase": "Pending", "containerStatuses": [
            {"name": "api", "restartCount": 0, "state": {"waiting": {"reason": reason}}}]}})
    };
    table(
        "v1",
        "Pod",
        &base,
        vec![
            ("starting", json!({}), progress("ContainersNotReady")),
            ("ready", json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}), current()),
            ("ended", json!({"status": {"phase": "Succeeded"}}), current()),
            (
                "failed",
                json!({"status": {"phase": "Failed", "reason": "Evicted"}}),
                failed(Reason::PodFailed),
            ),
            (
                "no node",
                json!({"status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
                    "reason": "Unschedulable", "message": "0/3 nodes"}]}}),
                progress("Unschedulable: 0/3 nodes"),
            ),
            ("crashing", waiting("CrashLoopBackOff"), failed(Reason::CrashLoop)),
            ("no image", waiting("ImagePullBackOff"), failed(Reason::ImagePull)),
            ("no configuration", waiting("CreateContainerConfigError"), failed(Reason::ContainerConfig)),
            ("no container", waiting("RunContainerError"), failed(Reason::ContainerStart)),
            ("beginning", waiting("ContainerCreating"), progress("ContainersNotReady")),
        ],
    );
}

#[test]
fn storage_and_network() {
    let claim = |phase: &str| json!({"status": {"phase": phase}});
    table(
        "v1",
        "PersistentVolumeClaim",
        &json!({}),
        vec![
            ("bound", claim("Bound"), current()),
            ("waiting for its first consumer", claim("Pending"), current()),
            (
                "being made",
                json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "one"}},
                    "status": {"phase": "Pending"}}),
                progress("being made"),
            ),
            ("lost", claim("Lost"), failed(Reason::VolumeLost)),
        ],
    );
    table(
        "v1",
        "PersistentVolume",
        &json!({}),
        vec![
            ("available", claim("Available"), current()),
            ("pending", claim("Pending"), progress("being made")),
            ("failed", claim("Failed"), failed(Reason::VolumeLost)),
        ],
    );
    table(
        "v1",
        "Service",
        &json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1"}}),
        vec![
            ("plain", json!({}), current()),
            ("headless", json!({"spec": {"clusterIP": "None"}}), current()),
            ("no address", json!({"spec": {"clusterIP": null}}), progress("no address")),
            ("external", json!({"spec": {"type": "ExternalName", "clusterIP": null}}), current()),
            ("balancer", json!({"spec": {"type": "LoadBalancer"}}), progress("load balancer")),
            (
                "balancer with address",
                json!({"spec": {"type": "LoadBalancer"},
                    "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}),
                current(),
            ),
        ],
    );
    table(
        "v1",
        "Namespace",
        &json!({}),
        vec![("active", claim("Active"), current()), ("going", claim("Terminating"), Expected::Terminating)],
    );
    for (api, kind) in [
        ("v1", "ConfigMap"),
        ("v1", "Secret"),
        ("v1", "ServiceAccount"),
        ("networking.k8s.io/v1", "Ingress"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("policy/v1", "PodDisruptionBudget"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("storage.k8s.io/v1", "StorageClass"),
    ] {
        check(kind, &object(api, kind, json!({})), &current());
    }
    let scaled = |current: u8, desired: u8| json!({"status": {"currentReplicas": current, "desiredReplicas": desired}});
    let off = json!([{"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled"}]);
    table(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        &json!({"spec": {"minReplicas": 2, "maxReplicas": 4}}),
        vec![
            ("new", json!({}), progress("0 of 2 replicas")),
            ("not yet", scaled(1, 0), progress("1 of 2 replicas")),
            ("raised", scaled(1, 2), current()),
            ("there, and no metrics", scaled(3, 0), current()),
            ("off", json!({"status": {"conditions": off}}), current()),
            ("one is enough", json!({"spec": {"minReplicas": 1}}), current()),
        ],
    );
    let at = |name: &str, generation: u8, value: &str| json!({"type": name, "status": value, "observedGeneration": generation, "reason": "Because"});
    let gateway = |conditions: Value| json!({"status": {"conditions": conditions}});
    table(
        "gateway.networking.k8s.io/v1",
        "Gateway",
        &json!({}),
        vec![
            ("new", json!({}), progress("Accepted is not there")),
            ("half", gateway(json!([at("Accepted", 3, "True")])), progress("Programmed is not there")),
            (
                "old",
                gateway(json!([at("Accepted", 3, "True"), at("Programmed", 2, "True")])),
                progress("earlier generation"),
            ),
            ("done", gateway(json!([at("Accepted", 3, "True"), at("Programmed", 3, "True")])), current()),
        ],
    );
    let route = |conditions: Value| json!({"spec": {"parentRefs": [{"name": "g"}]}, "status": {"parents": [{"conditions": conditions}]}});
    table(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        &json!({}),
        vec![
            ("new", json!({"spec": {"parentRefs": [{"name": "g"}]}}), progress("0 of 1 parents")),
            (
                "unresolved",
                route(json!([at("Accepted", 3, "True"), at("ResolvedRefs", 3, "False")])),
                progress("Because"),
            ),
            ("done", route(json!([at("Accepted", 3, "True"), at("ResolvedRefs", 3, "True")])), current()),
        ],
    );
}

#[test]
fn definitions_and_api_services() {
    let condition = |name: &str, value: &str| json!({"type": name, "status": value, "reason": "R"});
    let with = |conditions: Value| json!({"status": {"conditions": conditions}});
    table(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        &json!({}),
        vec![
            ("new", with(Value::Null), progress("Established is not there")),
            (
                "named",
                with(json!([condition("NamesAccepted", "True"), condition("Established", "False")])),
                progress("R"),
            ),
            (
                "done",
                with(json!([condition("NamesAccepted", "True"), condition("Established", "True")])),
                current(),
            ),
            ("name taken", with(json!([condition("NamesAccepted", "False")])), failed(Reason::Definition)),
            (
                "going",
                with(json!([condition("Established", "True"), condition("Terminating", "True")])),
                failed(Reason::Definition),
            ),
        ],
    );
    table(
        "apiregistration.k8s.io/v1",
        "APIService",
        &json!({}),
        vec![
            ("new", json!({}), progress("Available is not there")),
            ("done", with(json!([condition("Available", "True")])), current()),
        ],
    );
}
