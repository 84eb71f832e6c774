use daemon_plan::{
    ObjectKey,
    drift::{Drift, drift},
    managed::{ReplicasRelease, is_applied_by, keep_replicas, least_replicas, release_of_replicas},
};
use proptest::prelude::*;
use serde_json::{Value, json};

const MANAGER: &str = "bundle.build";

fn intent() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop", "labels": {"app": "api"}, "annotations": {}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "api"}},
            "template": {
                "metadata": {"labels": {"app": "api"}},
                "spec": {
                    "containers": [{
                        "name": "api",
                        "image": "registry.example/api@sha256:1",
                        "env": [{"name": "PORT", "value": "3000"}, {"name": "MODE", "value": "x"}],
                        "ports": [{"containerPort": 3000, "name": "http"}],
                        "resources": {"requests": {"cpu": "1000m", "memory": "1Gi"}, "limits": {"cpu": 2}},
                        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                        "args": ["--a", "--b"],
                    }],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                    "tolerations": [],
                },
            },
        },
    })
}

/// The object as the API server gives it back: with defaults, in canonical form, with what others added.
fn live() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "api", "namespace": "shop", "labels": {"app": "api", "added": "by another"},
            "uid": "u", "resourceVersion": "5", "generation": 1,
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "managedFields": [
                {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status",
                    "fieldsV1": {"f:status": {}}},
                {"manager": MANAGER, "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:app": {}}},
                    "f:spec": {
                        "f:replicas": {},
                        "f:selector": {},
                        "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"api\"}": {
                            ".": {}, "f:name": {}, "f:image": {},
                            "f:env": {"k:{\"name\":\"PORT\"}": {".": {}, "f:name": {}, "f:value": {}}},
                            "f:ports": {"k:{\"containerPort\":3000,\"protocol\":\"TCP\"}":
                                {".": {}, "f:containerPort": {}, "f:name": {}}},
                        }}}},
                    },
                }},
            ],
        },
        "spec": {
            "replicas": 2,
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": "api"}},
            "template": {
                "metadata": {"labels": {"app": "api"}},
                "spec": {
                    "containers": [
                        {"name": "injected", "image": "sidecar"},
                        {
                            "name": "api",
                            "image": "registry.example/api@sha256:1",
                            "imagePullPolicy": "IfNotPresent",
                            "env": [{"name": "MODE", "value": "x"}, {"name": "PORT", "value": "3000"}],
                            "ports": [{"containerPort": 3000, "name": "http", "protocol": "TCP"}],
                            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}},
                            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                            "args": ["--a", "--b"],
                        },
                    ],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                    "restartPolicy": "Always",
                },
            },
        },
        "status": {"observedGeneration": 1},
    })
}

fn fields(intent: &Value, live: &Value) -> Vec<String> {
    match drift(intent, live, MANAGER) {
        Drift::InSync => Vec::new(),
        Drift::Drifted { fields } => fields,
    }
}

#[test]
fn defaults_and_the_work_of_others_are_no_drift() {
    assert_eq!(drift(&intent(), &live(), MANAGER), Drift::InSync);
}

#[test]
fn changes_of_what_we_set_are_found() {
    let container = "/spec/template/spec/containers/1";
    let cases = [
        (format!("{container}/image"), json!("evil"), ".spec.template.spec.containers[api].image"),
        (
            format!("{container}/env/1/value"),
            json!("80"),
            ".spec.template.spec.containers[api].env[PORT].value",
        ),
        (
            format!("{container}/resources/requests/cpu"),
            json!("2"),
            ".spec.template.spec.containers[api].resources.requests.cpu",
        ),
        (
            format!("{container}/resources/requests/memory"),
            json!("1G"),
            ".spec.template.spec.containers[api].resources.requests.memory",
        ),
        (format!("{container}/args"), json!(["--b", "--a"]), ".spec.template.spec.containers[api].args[0]"),
        (format!("{container}/args"), json!(["--a"]), ".spec.template.spec.containers[api].args"),
        (format!("{container}/ports/0/protocol"), json!("UDP"), ""),
        (format!("{container}/name"), json!("other"), ".spec.template.spec.containers[api]"),
        ("/spec/replicas".to_owned(), json!(3), ".spec.replicas"),
        (
            "/spec/template/spec/volumes/0/emptyDir".to_owned(),
            Value::Null,
            ".spec.template.spec.volumes[tmp].emptyDir",
        ),
        ("/metadata/labels".to_owned(), Value::Null, ".metadata.labels"),
    ];
    for (pointer, value, field) in cases {
        let mut changed = live();
        *changed.pointer_mut(&pointer).expect("the field is there") = value;
        let found = fields(&intent(), &changed);
        match field {
            "" => assert!(found.is_empty(), "{pointer} was never ours: {found:?}"),
            field => assert!(found.iter().any(|own| own == field), "{pointer}: {found:?}"),
        }
    }
}

#[test]
fn what_we_no_longer_want_is_found() {
    let mut less = intent();
    less["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "MODE", "value": "x"}]);
    assert_eq!(
        fields(&less, &live()),
        [r#".spec.template.spec.containers[{"name":"api"}].env[{"name":"PORT"}]"#]
    );
    let mut without = intent();
    without["metadata"]["labels"] = json!({});
    assert_eq!(fields(&without, &live()), [".metadata.labels.app"]);
    // An object that we never applied is not ours yet, whatever it holds.
    let mut foreign = live();
    foreign["metadata"]["managedFields"] = json!([]);
    assert_eq!(fields(&intent(), &foreign), [".metadata.managedFields"]);
    assert!(is_applied_by(&live(), MANAGER) && !is_applied_by(&foreign, MANAGER));
}

#[test]
fn lists_of_other_kinds() {
    let owned = json!([{"manager": MANAGER, "operation": "Apply", "fieldsV1": {}}]);
    let object = |kind: &str, rest: &Value| {
        let mut object = rest.clone();
        object["kind"] = json!(kind);
        object["metadata"] = json!({"name": "x", "managedFields": owned, "finalizers": rest["finalizers"]});
        object
    };
    let cases = [
        (
            "Service",
            json!({"spec": {"ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}),
            json!({"spec": {"ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
                "clusterIP": "10.0.0.1"}}),
            true,
        ),
        (
            "Service",
            json!({"spec": {"ports": [{"port": 53, "protocol": "UDP"}]}}),
            json!({"spec": {"ports": [{"port": 53, "protocol": "TCP"}]}}),
            false,
        ),
        (
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 6379}]}]}}),
            json!({"spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 6379, "protocol": "TCP"}]}]}}),
            true,
        ),
        (
            "NetworkPolicy",
            json!({"spec": {"ingress": [{"ports": [{"port": 6379}]}]}}),
            json!({"spec": {"ingress": [{"ports": [{"port": 6379}]}, {"from": []}]}}),
            false,
        ),
        ("NetworkPolicy", json!({"spec": {"podSelector": {}}}), json!({"spec": {}}), false),
        (
            "HorizontalPodAutoscaler",
            json!({"spec": {"metrics": [{"resource": {"target": {"averageValue": "0.5"}}}]}}),
            json!({"spec": {"metrics": [{"resource": {"target": {"averageValue": "500m"}}}]}}),
            true,
        ),
        ("ConfigMap", json!({"data": {"a": "1"}}), json!({"data": {"a": "1", "b": "2"}}), true),
        ("ConfigMap", json!({"data": {"a": "1"}}), json!({"data": {"a": "1000m"}}), false),
        ("ConfigMap", json!({"data": {}}), json!({}), true),
        ("ConfigMap", json!({"finalizers": ["a"]}), json!({"finalizers": ["b", "a"]}), true),
        ("ConfigMap", json!({"finalizers": ["a", "c"]}), json!({"finalizers": ["b", "a"]}), false),
    ];
    for (kind, wanted, live, same) in cases {
        let mut wanted = object(kind, &wanted);
        wanted["metadata"]["managedFields"] = Value::Null;
        let live = object(kind, &live);
        let strip = |value: &Value| {
            let mut value = value.clone();
            if let Some(fields) = value.as_object_mut() {
                fields.shift_remove("finalizers");
            }
            value
        };
        let found = drift(&strip(&wanted), &strip(&live), MANAGER);
        assert_eq!(found == Drift::InSync, same, "{kind} {wanted} {live}: {found:?}");
    }
}

#[test]
fn the_minimum_is_that_of_the_live_autoscaler_of_this_workload() {
    let autoscaler = |name: &str, least: Value| {
        json!({"kind": "HorizontalPodAutoscaler", "metadata": {"namespace": "shop"}, "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}, "minReplicas": least}})
    };
    let key = ObjectKey::new("apps", "v1", "Deployment", Some("shop"), "api").expect("a key");
    let mut all = vec![autoscaler("web", json!(5)), autoscaler("api", json!(2))];
    assert_eq!(least_replicas(&all, &key), Some(2));
    all[1]["metadata"]["deletionTimestamp"] = json!("2026-07-01T10:00:00Z");
    assert_eq!(least_replicas(&all, &key), None, "it is going");
    assert_eq!(least_replicas(&[autoscaler("api", Value::Null)], &key), Some(1), "the API server's default");
}

#[test]
fn replicas_are_handed_over_without_a_fall() {
    let owners = |list: &[(&str, &str)], replicas: Value| {
        let managed: Vec<Value> = list
            .iter()
            .map(|(manager, operation)| {
                json!({"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {"f:replicas": {}}}})
            })
            .collect();
        json!({"metadata": {"managedFields": managed}, "spec": {"replicas": replicas}})
    };
    let ours = (MANAGER, "Apply");
    let scaler = ("kube-controller-manager", "Update");
    let falls = ReplicasRelease::FallsToDefault { current: 7 };
    for (list, replicas, expected) in [
        (vec![ours], json!(7), falls),
        (vec![ours, scaler], json!(7), ReplicasRelease::Safe),
        (vec![scaler], json!(7), ReplicasRelease::Safe),
        (vec![ours], json!(1), ReplicasRelease::Safe),
        (vec![ours], Value::Null, ReplicasRelease::Safe),
    ] {
        let live = owners(&list, replicas);
        assert_eq!(release_of_replicas(&live, MANAGER), expected, "{live}");
        let mut intent = json!({"spec": {"template": {}}});
        keep_replicas(&mut intent, &live, MANAGER, Some(2));
        let kept = intent.pointer("/spec/replicas").and_then(Value::as_i64);
        assert_eq!(kept, (expected == falls).then_some(7));
    }
    let mut own = json!({"spec": {"replicas": 3}});
    keep_replicas(&mut own, &owners(&[ours], json!(7)), MANAGER, None);
    assert_eq!(own["spec"]["replicas"], 3, "an intent with a count keeps it");

    // At 0 the autoscaler is switched off: somebody else has to raise the workload.
    let person = ("kubectl", "Update");
    for (replicas, least, raised) in
        [(0, Some(2), Some(2)), (0, None, None), (0, Some(0), None), (1, Some(2), None), (3, Some(2), None)]
    {
        let mut intent = json!({"spec": {"template": {}}});
        let live = owners(&[person], json!(replicas));
        keep_replicas(&mut intent, &live, MANAGER, least);
        let found = intent.pointer("/spec/replicas").and_then(Value::as_i64);
        assert_eq!(found, raised, "{replicas} replicas, at least {least:?}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("(name|ports|env|spec|limits|[a-z]{1,3})", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn an_object_does_not_differ_from_itself(spec in value()) {
        let intent = json!({"spec": spec});
        let mut live = intent.clone();
        live["metadata"] = json!({"managedFields": [{"manager": MANAGER, "operation": "Apply", "fieldsV1": {}}]});
        prop_assert_eq!(drift(&intent, &live, MANAGER), Drift::InSync);
    }

    #[test]
    fn a_field_more_in_the_intent_is_drift(spec in value()) {
        let live = json!({"spec": {"a": spec}, "metadata":
            {"managedFields": [{"manager": MANAGER, "operation": "Apply", "fieldsV1": {}}]}});
        let mut intent = live.clone();
        intent["spec"]["wanted"] = json!("x");
        prop_assert_ne!(drift(&intent, &live, MANAGER), Drift::InSync);
    }
}
