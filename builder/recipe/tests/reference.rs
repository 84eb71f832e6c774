//! The reference platform in `recipes/`: it parses, keeps the figures of its specification, and its objects are those
//! in `snapshots/`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, fs, path::Path};

use builder_recipe::{Platform, environment_schema, platform_schema, recipe_schema, trust_schema};
use bundles_objects::{ImageIdentity, PartDocument, ServiceName};
use registry_wire::Digest;
use serde_json::{Value, json};

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn platform() -> Platform {
    Platform::load(&repository().join("recipes")).unwrap()
}

fn render(platform: &Platform, environment: &str) -> Vec<PartDocument> {
    let image = |name: &ServiceName| ImageIdentity {
        digest: Digest::of(name.as_str().as_bytes()),
        user: "65532:65532".parse().unwrap(),
    };
    let images: BTreeMap<_, _> =
        platform.recipes().map(|recipe| (recipe.name.clone(), image(&recipe.name))).collect();
    platform.render(platform.environment(&environment.parse().unwrap()).unwrap(), &images).unwrap()
}

fn workload<'a>(parts: &'a [PartDocument], service: &str) -> &'a Value {
    let part = parts.iter().find(|part| part.part.as_str() == service).unwrap();
    part.objects.iter().find(|object| matches!(object.kind(), "Deployment" | "StatefulSet")).unwrap().value()
}

/// Figures of sections 1.1, 1.2 and 2.2 of the specification: service, replicas or bounds, requests, limits.
#[test]
fn production_keeps_the_figures_of_the_specification() {
    let parts = render(&platform(), "production");
    for service in ["api", "cache"] {
        let resources =
            workload(&parts, service).pointer("/spec/template/spec/containers/0/resources").unwrap();
        let expected =
            json!({"limits": {"cpu": "4", "memory": "8Gi"}, "requests": {"cpu": "2", "memory": "4Gi"}});
        assert_eq!(resources, &expected, "{service}");
    }
    let api = parts.iter().find(|part| part.part.as_str() == "api").unwrap();
    let autoscaler =
        api.objects.iter().find(|object| object.kind() == "HorizontalPodAutoscaler").unwrap().value();
    assert_eq!(autoscaler["spec"]["minReplicas"], 2);
    assert_eq!(autoscaler["spec"]["maxReplicas"], 10);
    assert_eq!(autoscaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 70);
    let probes = |probe: &str| {
        workload(&parts, "api")
            .pointer(&format!("/spec/template/spec/containers/0/{probe}/httpGet/path"))
            .unwrap()
    };
    assert_eq!((probes("livenessProbe"), probes("readinessProbe")), (&json!("/health"), &json!("/ready")));
}

#[test]
fn test_asks_for_little() {
    let platform = platform();
    let environment = platform.environment(&"test".parse().unwrap()).unwrap();
    let services = platform.services(environment);
    assert_eq!(services.len(), 2);
    for (name, resolved) in services {
        let resources = resolved.service.resources;
        assert!(resources.cpu.millicores() <= 100, "{name}");
        assert!(resources.memory.bytes() <= 128 << 20, "{name}");
    }
}

#[test]
fn objects_in_test() {
    for part in render(&platform(), "test") {
        let objects: Vec<_> = part.objects.iter().map(|object| format!("{:#}", object.value())).collect();
        let policy = serde_json::to_value(&part.policy).unwrap();
        let text = format!("{policy:#}\n{}", objects.join("\n"));
        insta::assert_snapshot!(format!("{}-in-test", part.part), text);
    }
}

#[test]
fn rendering_twice_gives_the_same_bytes() {
    let bytes = || {
        let parts = render(&platform(), "production");
        parts.iter().flat_map(|part| &part.objects).map(bundles_objects::Object::bytes).collect::<Vec<_>>()
    };
    assert_eq!(bytes(), bytes());
}

#[test]
fn files_and_request() {
    let platform = platform();
    let recipe = platform.recipe(&"api".parse().unwrap()).unwrap();
    let files: Vec<_> = recipe
        .source_files()
        .iter()
        .map(|file| format!("{} -> {} {:o}", file.source, file.target, file.mode()))
        .collect();
    assert_eq!(files, ["app/metrics.js -> /app/metrics.js 644", "app/server.js -> /app/server.js 644"]);
    let request = recipe.package_requests().remove(0);
    assert_eq!((request.suite.as_str(), request.architecture.as_str()), ("trixie", "amd64"));
    assert_eq!(request.recipe.as_str(), "api");
    let cache = platform.recipe(&"cache".parse().unwrap()).unwrap();
    let text = &cache.config_files()["/config/redis.conf"];
    assert!(text.contains("\nprotected-mode no\n") && text.contains("\ndir /data\n"));
}

#[test]
fn schemas_are_up_to_date() {
    let schemas = [
        ("bundle", platform_schema()),
        ("environment", environment_schema()),
        ("recipe", recipe_schema()),
        ("trust", trust_schema()),
    ];
    for (name, schema) in schemas {
        let path = repository().join(format!("docs/schema/{name}.json"));
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == format!("{schema:#}\n"),
            "docs/schema/{name}.json is not what the types say: run `cargo run --release -p builder-recipe --example \
             schema -- docs/schema`"
        );
    }
}
