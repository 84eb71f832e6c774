//! The daemon's own installation: definitions, account, roles, Deployment.

use bundles_release::names::API_GROUP;
use k8s_openapi::api::apps::v1::Deployment;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::{
    Cluster, ClusterError, Release, Subscription, Verb, container_security,
    permissions::{PermissionScope, rules},
    pod_security,
};

/// Name of the Deployment, the account and the roles.
const NAME: &str = "bundle-daemon";
/// The label by which its pods are found.
pub const DAEMON_PODS: &str = "app.kubernetes.io/name=bundle-daemon";
/// The port that says whether the loop still turns.
const HEALTH_PORT: u16 = 8081;

/// How the daemon is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallOptions {
    /// The namespace of the daemon's own objects.
    pub namespace: String,
    /// The namespaces that subscriptions may install to. The daemon has no rights in others.
    pub targets: Vec<String>,
    /// More arguments of `bundle daemon`.
    pub arguments: Vec<String>,
}

impl InstallOptions {
    /// The usual namespace of the daemon.
    pub const NAMESPACE: &'static str = "bundle-system";
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self { namespace: Self::NAMESPACE.to_owned(), targets: Vec::new(), arguments: Vec::new() }
    }
}

/// The custom resource definitions. They must be established before a Subscription is made.
#[allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a definition is plain data; a test makes both"
)]
pub fn crds() -> Vec<Value> {
    [Subscription::crd(), Release::crd()]
        .into_iter()
        .map(|definition| serde_json::to_value(definition).expect("a definition is JSON"))
        .collect()
}

/// Everything else that the daemon needs, in order of apply. `image` holds our executable as its entry point and is
/// named as nodes pull it.
pub fn install_objects(image: &str, options: &InstallOptions) -> Vec<Value> {
    let home = options.namespace.as_str();
    let mut objects = vec![json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": home,
            "labels": {
                "app.kubernetes.io/part-of": "bundle",
                "pod-security.kubernetes.io/enforce": "restricted",
            },
        },
    })];
    objects.push(json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": NAME, "namespace": home, "labels": labels() },
        "automountServiceAccountToken": false,
    }));
    objects.extend(role(home, Some(home), NAME, PermissionScope::Home));
    objects.extend(role(home, None, &beside_others(home, "nodes"), PermissionScope::Cluster));
    objects.extend(options.targets.iter().flat_map(|target| target_objects(home, target)));
    objects.push(deployment(image, options));
    objects
}

/// A namespace that subscriptions install to, with the rights there of the daemon of namespace `home`.
pub fn target_objects(home: &str, target: &str) -> Vec<Value> {
    let mut objects = Vec::new();
    if target != home {
        objects.push(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": target } }));
    }
    objects.extend(role(home, Some(target), &target_role(home), PermissionScope::Target));
    objects
}

/// Name of the role of the daemon of namespace `home` in a namespace that it installs to.
pub fn target_role(home: &str) -> String {
    beside_others(home, "target")
}

/// A name that the daemon of another namespace does not use: its binding would take the rights of this one away.
fn beside_others(home: &str, what: &str) -> String {
    if home == InstallOptions::NAMESPACE { format!("{NAME}-{what}") } else { format!("{NAME}-{what}-{home}") }
}

/// The daemon of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonState {
    /// None is installed.
    Absent,
    /// None of its processes is ready.
    Unready,
    /// It runs, from this image.
    Ready(String),
}

impl Cluster {
    /// How it stands with the daemon in its namespace.
    pub async fn daemon_state(&self) -> Result<DaemonState, ClusterError> {
        let found = self.own::<Deployment>().get_opt(NAME).await;
        let object = || format!("Deployment {}/{NAME}", self.home());
        let found = found.map_err(|source| ClusterError::request(Verb::Get, object(), source))?;
        let Some(Deployment { spec, status, .. }) = found else { return Ok(DaemonState::Absent) };
        let is_ready = status.and_then(|status| status.ready_replicas).is_some_and(|ready| ready > 0);
        let container = spec.template.spec.and_then(|pod| pod.containers.into_iter().next());
        Ok(match container.and_then(|container| container.image) {
            Some(image) if is_ready => DaemonState::Ready(image),
            _ => DaemonState::Unready,
        })
    }
}

fn labels() -> Value {
    json!({ "app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "bundle" })
}

/// What the daemon of namespace `home` may do in one namespace or in all, and that it may.
fn role(home: &str, namespace: Option<&str>, name: &str, scope: PermissionScope) -> [Value; 2] {
    let group = "rbac.authorization.k8s.io";
    let mut metadata = json!({ "name": name, "labels": labels() });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    let (kind, binding) = match namespace {
        Some(_) => ("Role", "RoleBinding"),
        None => ("ClusterRole", "ClusterRoleBinding"),
    };
    let api_version = format!("{group}/v1");
    [
        json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "rules": rules(scope) }),
        json!({
            "apiVersion": api_version,
            "kind": binding,
            "metadata": metadata,
            "roleRef": { "apiGroup": group, "kind": kind, "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": home }],
        }),
    ]
}

fn deployment(image: &str, options: &InstallOptions) -> Value {
    let labels = labels();
    let mut arguments = vec!["daemon".to_owned(), "--guest-image".to_owned(), image.to_owned()];
    arguments.extend(options.arguments.iter().cloned());
    let field =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": NAME, "namespace": options.namespace, "labels": labels },
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 3,
            "selector": { "matchLabels": { "app.kubernetes.io/name": NAME } },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "serviceAccountName": NAME,
                    "automountServiceAccountToken": true,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 15,
                    "securityContext": pod_security(),
                    "containers": [{
                        "name": "daemon",
                        "image": image,
                        "imagePullPolicy": "IfNotPresent",
                        "args": arguments,
                        "env": [
                            field("POD_NAME", "metadata.name"),
                            field("POD_NAMESPACE", "metadata.namespace"),
                        ],
                        "ports": [{ "name": "health", "containerPort": HEALTH_PORT }],
                        "livenessProbe": {
                            "httpGet": { "path": "/healthz", "port": "health" },
                            "periodSeconds": 10,
                            "timeoutSeconds": 3,
                            "failureThreshold": 6,
                        },
                        "resources": {
                            "requests": { "cpu": "20m", "memory": "48Mi" },
                            "limits": { "memory": "256Mi" },
                        },
                        "securityContext": container_security(),
                    }],
                },
            },
        },
    })
}

/// Full names of the definitions, to wait for.
pub fn crd_names() -> [String; 2] {
    [format!("subscriptions.{API_GROUP}"), format!("releases.{API_GROUP}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_have_status_and_columns() {
        let definitions = crds();
        assert_eq!(definitions.len(), 2);
        for (definition, name) in definitions.iter().zip(crd_names()) {
            assert_eq!(definition["metadata"]["name"], name.as_str());
            let version = &definition["spec"]["versions"][0];
            assert!(version["subresources"]["status"].is_object(), "{name}");
            assert!(version["additionalPrinterColumns"].as_array().unwrap().len() >= 5, "{name}");
            assert_eq!(definition["spec"]["group"], API_GROUP);
        }
    }

    #[test]
    fn daemons_of_two_namespaces_share_no_name() {
        let names = |home: &str| {
            let options = InstallOptions {
                namespace: home.to_owned(),
                targets: vec!["shop".to_owned()],
                arguments: Vec::new(),
            };
            let objects = install_objects("registry.example/bundle@sha256:0", &options);
            let shared = objects.iter().filter(|object| {
                object["metadata"]["namespace"] != home && object["metadata"]["name"] != home
            });
            let name = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
            shared.filter(|object| object["kind"] != "Namespace").map(name).collect::<Vec<_>>()
        };
        let (usual, other) = (names(InstallOptions::NAMESPACE), names("other"));
        assert_eq!((usual.len(), other.len()), (4, 4));
        assert!(usual.iter().all(|name| !other.contains(name)), "{usual:?} {other:?}");
    }

    #[test]
    fn pods_of_the_daemon_are_found() {
        let objects = install_objects("registry.example/bundle@sha256:0", &InstallOptions::default());
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let (key, value) = DAEMON_PODS.split_once('=').unwrap();
        assert_eq!(deployment["spec"]["template"]["metadata"]["labels"][key], value);
    }

    #[test]
    fn a_subscription_stays_in_its_namespace() {
        let subscription = &crds()[0];
        let schema = &subscription["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let rules = &schema["properties"]["spec"]["properties"]["namespace"]["x-kubernetes-validations"];
        assert_eq!(rules[0]["rule"], "self == oldSelf", "{schema}");
    }

    #[test]
    fn no_role_reaches_beyond_its_namespaces() {
        let options = InstallOptions { targets: vec!["shop".to_owned()], ..InstallOptions::default() };
        let objects = install_objects("registry.example/bundle@sha256:0", &options);
        for object in &objects {
            let Some(rules) = object.get("rules").and_then(Value::as_array) else { continue };
            for rule in rules {
                let text = rule.to_string();
                assert!(!text.contains('*'), "{text}");
                if object["kind"] == "ClusterRole" {
                    assert_eq!(rule["resources"], json!(["nodes"]));
                    assert_eq!(rule["verbs"], json!(["list"]));
                }
                if rule["resources"].as_array().unwrap().contains(&json!("secrets")) {
                    assert_eq!(rule["verbs"], json!(["get"]));
                }
            }
        }
        let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == "RoleBinding").count(), 2);
        assert_eq!(kinds.last(), Some(&"Deployment"));
    }
}
