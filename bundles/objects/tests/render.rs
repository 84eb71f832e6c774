//! What holds for the objects of every service, whatever its recipe says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use bundles_objects::{
    Binding, EnvironmentInput, EnvironmentValue, ImageIdentity, Kind, Object, PartDocument, PlacedImage,
    RegistryMap, RenderError, ResolvedService, Service, ServiceName, bind, images, render, required_secrets,
};
use bundles_release::{EnvironmentName, ObjectsDocument, PartObjects, ProductName, names};
use proptest::prelude::*;
use registry_wire::Digest;
use serde_json::{Value, json};

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn web() -> Value {
    json!({
        "ports": {"http": 3000},
        "resources": {"cpu": "2", "memory": "4Gi", "limit": {"cpu": "4", "memory": "8Gi"}},
        "health": {"ready": {"path": "/ready"}},
        "needs": ["store"],
        "env": {
            "LITERAL": "costs $(MONEY) and $1",
            "URL": {"config": "url"},
            "PASSWORD": {"secret": "store/password"},
        },
        "scaling": {"min": 2, "max": 10, "cpu": 70},
        "scratch": {"/tmp": "64Mi"},
    })
}

fn store() -> Value {
    json!({
        "kind": "statefulset",
        "ports": {"redis": 6379},
        "resources": {"cpu": "100m", "memory": "64Mi"},
        "health": {"ready": {"tcp": "redis"}, "deadline": "10m"},
        "config-files": {"/config/store.conf": "store.conf"},
        "storage": {"data": {"size": "1Gi", "mount": "/data"}},
        "backup": {"kind": "redis-rdb"},
    })
}

struct World {
    services: BTreeMap<ServiceName, ResolvedService>,
    images: BTreeMap<ServiceName, ImageIdentity>,
    values: BTreeMap<bundles_objects::ConfigKey, String>,
}

impl World {
    fn new(services: &[(&str, Value)]) -> Self {
        let resolve = |(text, value): &(&str, Value)| {
            let service: Service = serde_json::from_value(value.clone()).unwrap();
            let config_files =
                service.config_files.keys().map(|path| (path.clone(), "text\n".to_owned())).collect();
            (name(text), ResolvedService { service, config_files })
        };
        let services: BTreeMap<_, _> = services.iter().map(resolve).collect();
        let image = |name: &ServiceName| ImageIdentity {
            digest: Digest::of(name.as_str().as_bytes()),
            user: "65532:65533".parse().unwrap(),
        };
        let images = services.keys().map(|name| (name.clone(), image(name))).collect();
        Self { services, images, values: BTreeMap::from([("url".parse().unwrap(), "http://x".to_owned())]) }
    }

    fn render(&self) -> Result<Vec<PartDocument>, RenderError> {
        let product: ProductName = "shop".parse().unwrap();
        let environment: EnvironmentName = "test".parse().unwrap();
        render(&EnvironmentInput {
            product: &product,
            environment: &environment,
            services: &self.services,
            images: &self.images,
            values: &self.values,
        })
    }
}

fn find<'a>(parts: &'a [PartDocument], kind: &str, name: &str) -> Option<&'a Value> {
    let objects = parts.iter().flat_map(|part| &part.objects);
    objects
        .into_iter()
        .find(|object| object.kind() == kind && object.name().starts_with(name))
        .map(Object::value)
}

fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

#[test]
fn order_of_kinds_and_parts() {
    let parts = World::new(&[("web", web()), ("store", store())]).render().unwrap();
    let shown = |part: &PartDocument| part.objects.iter().map(|it| it.kind().to_owned()).collect::<Vec<_>>();
    assert_eq!(parts[0].part, name("store"));
    assert_eq!(shown(&parts[0]), ["ServiceAccount", "ConfigMap", "NetworkPolicy", "Service", "StatefulSet"]);
    assert_eq!(
        shown(&parts[1]),
        [
            "ServiceAccount",
            "ConfigMap",
            "NetworkPolicy",
            "Service",
            "PodDisruptionBudget",
            "Deployment",
            "HorizontalPodAutoscaler"
        ]
    );
}

#[test]
fn autoscaler_owns_replicas() {
    let mut fixed = web();
    fixed.as_object_mut().unwrap().remove("scaling");
    let scaled = World::new(&[("web", web()), ("store", store())]).render().unwrap();
    let fixed = World::new(&[("web", fixed), ("store", store())]).render().unwrap();
    assert_eq!(at(find(&scaled, "Deployment", "web").unwrap(), "/spec/replicas"), &Value::Null);
    assert_eq!(at(find(&fixed, "Deployment", "web").unwrap(), "/spec/replicas"), 2);
    assert!(find(&fixed, "HorizontalPodAutoscaler", "web").is_none());
    let autoscaler = find(&scaled, "HorizontalPodAutoscaler", "web").unwrap();
    assert_eq!(at(autoscaler, "/spec/minReplicas"), 2);
    assert_eq!(at(autoscaler, "/spec/metrics/0/resource/target/averageUtilization"), 70);
}

#[test]
fn environment_variables_mean_what_they_say() {
    let parts = World::new(&[("web", web()), ("store", store())]).render().unwrap();
    let env = at(find(&parts, "Deployment", "web").unwrap(), "/spec/template/spec/containers/0/env");
    let map = find(&parts, "ConfigMap", "web-config-").unwrap();
    assert_eq!(
        env,
        &json!([
            {"name": "LITERAL", "value": "costs $$(MONEY) and $1"},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"key": "password", "name": "store"}}},
            {"name": "URL", "valueFrom": {"configMapKeyRef": {"key": "url", "name": at(map, "/metadata/name")}}},
        ])
    );
    assert_eq!(at(map, "/immutable"), true);
    let objects = parts.iter().flat_map(|part| &part.objects);
    let secrets: Vec<_> = required_secrets(objects).iter().map(ToString::to_string).collect();
    assert_eq!(secrets, ["store/password"]);
}

#[test]
fn a_changed_value_is_a_new_map_and_a_new_pod() {
    let mut world = World::new(&[("web", web()), ("store", store())]);
    let before = world.render().unwrap();
    world.values.insert("url".parse().unwrap(), "http://y".to_owned());
    let after = world.render().unwrap();
    let map = |parts: &[PartDocument]| {
        at(find(parts, "ConfigMap", "web-config-").unwrap(), "/metadata/name").clone()
    };
    assert_ne!(map(&before), map(&after));
    assert_ne!(find(&before, "Deployment", "web"), find(&after, "Deployment", "web"));
    assert_eq!(before[0], after[0], "the other service is untouched");
}

#[test]
fn state_is_kept_and_reached_only_by_those_who_need_it() {
    let parts = World::new(&[("web", web()), ("store", store())]).render().unwrap();
    let set = find(&parts, "StatefulSet", "store").unwrap();
    assert_eq!(at(set, "/spec/podManagementPolicy"), "Parallel");
    assert_eq!(at(set, "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted"), "Retain");
    assert_eq!(at(set, "/spec/volumeClaimTemplates/0/spec/resources/requests/storage"), "1Gi");
    assert_eq!(at(set, "/spec/template/spec/securityContext/fsGroup"), 65533);
    assert_eq!(at(find(&parts, "Service", "store").unwrap(), "/spec/clusterIP"), "None");
    assert_eq!(
        at(find(&parts, "NetworkPolicy", "store").unwrap(), "/spec/ingress"),
        &json!([{
            "from": [
                {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "web", "app.kubernetes.io/part-of": "shop"}}},
                {"podSelector": {"matchLabels": {(names::BACKUP_LABEL): "store"}}},
            ],
            "ports": [{"port": 6379, "protocol": "TCP"}],
        }])
    );
    let policy = find(&parts, "NetworkPolicy", "web").unwrap();
    assert_eq!(at(policy, "/spec/ingress"), &Value::Null, "nobody is let in where nobody is named");
    assert_eq!(at(policy, "/spec/egress/1/ports/0/port"), 6379);
    assert_eq!(parts[0].policy.backup.as_ref().map(|backup| backup.port), Some(6379));
    assert!(!parts[0].policy.zero_downtime);
    assert!(parts[1].policy.zero_downtime);
    let deployment = find(&parts, "Deployment", "web").unwrap();
    assert_eq!(at(deployment, "/spec/progressDeadlineSeconds"), 120);
    assert_eq!(at(deployment, "/spec/template/spec/containers/0/lifecycle/preStop/sleep/seconds"), 5);
    assert_eq!(at(deployment, "/spec/template/spec/terminationGracePeriodSeconds"), 35);
    assert_eq!(at(deployment, "/spec/strategy/rollingUpdate"), &json!({"maxSurge": 1, "maxUnavailable": 0}));
}

#[test]
fn what_is_missing_is_named() {
    let mut world = World::new(&[("web", web()), ("store", store())]);
    world.values.clear();
    let text = world.render().unwrap_err().to_string();
    assert_eq!(text, "service web needs config value `url`, which environment test does not give");
    let mut world = World::new(&[("web", web()), ("store", store())]);
    world.images.remove(&name("store"));
    assert_eq!(world.render().unwrap_err().to_string(), "service store has no image");
    let mut world = World::new(&[("store", store())]);
    world.services.get_mut(&name("store")).unwrap().config_files.clear();
    let text = world.render().unwrap_err().to_string();
    assert_eq!(text, "service store mounts /config/store.conf, whose text is not given");
    let text = World::new(&[("web", web())]).render().unwrap_err().to_string();
    assert_eq!(text, "service web breaks a rule at needs.0: there is no service `store`");
    let mut circle = store();
    circle["needs"] = json!(["web"]);
    let error = World::new(&[("web", web()), ("store", circle)]).render().unwrap_err();
    let RenderError::Needs { source } = error else { panic!("{error}") };
    assert_eq!(source.to_string(), "parts need each other in a circle: store, web");
}

#[test]
fn parts_survive_a_release() {
    for part in World::new(&[("web", web()), ("store", store())]).render().unwrap() {
        let PartObjects { part: written, policy, objects } = part.clone().into();
        let environment = part.environment.clone();
        let document = ObjectsDocument { environment, part: written, policy, objects };
        let bytes = document.to_bytes();
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read["policy"]["deadlineSeconds"], if part.part == name("web") { 120 } else { 600 });
        assert_eq!(PartDocument::try_from(document).unwrap(), part);
    }
}

fn binding() -> Binding {
    Binding {
        registry: RegistryMap {
            registry: "registry.example:5000".parse().unwrap(),
            prefix: "shop".parse().unwrap(),
        },
        namespace: "shop-test".parse().unwrap(),
        subscription: "shop".parse().unwrap(),
    }
}

#[test]
fn binding_sets_what_only_the_cluster_knows() {
    let parts = World::new(&[("web", web()), ("store", store())]).render().unwrap();
    let placed = PlacedImage { name: name("web"), digest: Digest::of(b"web") };
    assert!(images(&parts[1].objects).contains(&placed));
    let mut bound = parts[1].objects.clone();
    bind(&mut bound, &binding()).unwrap();
    assert!(images(&bound).is_empty());
    for (one, before) in bound.iter().zip(&parts[1].objects) {
        assert_eq!(one.namespace(), Some("shop-test"));
        assert_eq!(one.label(names::SUBSCRIPTION_LABEL), Some("shop"));
        assert_eq!(
            at(one.value(), "/metadata/annotations"),
            at(before.value(), "/metadata/annotations"),
            "what two releases share is the same in both"
        );
    }
    let deployment = bound.iter().find(|object| object.kind() == "Deployment").unwrap().value();
    let image = format!("registry.example:5000/shop/web@{}", Digest::of(b"web"));
    assert_eq!(at(deployment, "/spec/template/spec/containers/0/image"), &image);
    assert_eq!(
        at(deployment, "/spec/template/metadata"),
        at(find(&parts, "Deployment", "web").unwrap(), "/spec/template/metadata"),
        "pods do not change with the release"
    );
}

#[test]
fn binding_refuses_images_that_nobody_signed_and_changes_nothing() {
    let parts = World::new(&[("web", web()), ("store", store())]).render().unwrap();
    let mut objects = parts[1].objects.clone();
    let last = objects.iter().position(|object| object.kind() == "Deployment").unwrap();
    let mut value = objects[last].value().clone();
    value["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example/web:latest");
    objects[last] = Object::new(value).unwrap();
    let before = objects.clone();
    let error = bind(&mut objects, &binding()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Deployment/web names image `registry.example/web:latest`, a placeholder with a digest is expected"
    );
    assert_eq!(objects, before);
}

fn any_service() -> impl Strategy<Value = Service> {
    let parts = (
        any::<bool>(),
        1_u32..5,
        1_u32..5,
        any::<bool>(),
        1_u64..4000,
        1_u64..4000,
        0_u32..30,
        any::<bool>(),
    );
    parts.prop_map(|(is_stateful, replicas, more, is_scaled, cpu, memory, delay, has_limit)| {
        let mut service = if is_stateful { store() } else { web() };
        service["resources"] = json!({"cpu": format!("{cpu}m"), "memory": format!("{memory}Mi")});
        if has_limit {
            service["resources"]["limit"] =
                json!({"cpu": format!("{}m", cpu * 2), "memory": format!("{memory}Mi")});
        }
        service["stop"] = json!({"delay": format!("{delay}s")});
        service["needs"] = json!([]);
        if is_scaled && !is_stateful {
            service["scaling"] = json!({"min": replicas, "max": replicas + more, "cpu": 50});
        } else {
            service.as_object_mut().unwrap().remove("scaling");
            service["replicas"] = json!(replicas);
        }
        serde_json::from_value(service).unwrap()
    })
}

fn has_null_or_unsorted(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => !members.keys().is_sorted() || members.values().any(has_null_or_unsorted),
        Value::Array(items) => items.iter().any(has_null_or_unsorted),
        _ => false,
    }
}

proptest! {
    #[test]
    fn every_service(service in any_service()) {
        let world = World::new(&[("it", serde_json::to_value(&service).unwrap())]);
        let parts = world.render().unwrap();
        prop_assert_eq!(&parts, &world.render().unwrap());
        let objects = &parts[0].objects;
        prop_assert!(objects.is_sorted_by_key(Object::stage));
        prop_assert!(objects.iter().all(|object| !has_null_or_unsorted(object.value())));
        let kind = if service.kind == Kind::Deployment { "Deployment" } else { "StatefulSet" };
        let pod = at(find(&parts, kind, "it").unwrap(), "/spec/template/spec");
        prop_assert_eq!(at(pod, "/securityContext/runAsNonRoot"), true);
        prop_assert_eq!(at(pod, "/securityContext/seccompProfile/type"), "RuntimeDefault");
        prop_assert_eq!(at(pod, "/automountServiceAccountToken"), false);
        prop_assert_eq!(at(pod, "/enableServiceLinks"), false);
        let container = at(pod, "/containers/0");
        for pointer in ["/resources/requests/cpu", "/resources/requests/memory", "/resources/limits/memory", "/readinessProbe"] {
            prop_assert!(!at(container, pointer).is_null(), "{}", pointer);
        }
        prop_assert_eq!(at(container, "/securityContext/readOnlyRootFilesystem"), true);
        prop_assert_eq!(at(container, "/securityContext/capabilities/drop"), &json!(["ALL"]));
        let has_budget = find(&parts, "PodDisruptionBudget", "it").is_some();
        prop_assert_eq!(has_budget, service.least_replicas() > 1);
        let is_scaled = find(&parts, "HorizontalPodAutoscaler", "it").is_some();
        prop_assert_eq!(at(find(&parts, kind, "it").unwrap(), "/spec/replicas").is_null(), is_scaled);
        let references = service.env.values().filter(|value| matches!(value, EnvironmentValue::Secret(_))).count();
        prop_assert_eq!(required_secrets(objects).len(), references);
    }
}
