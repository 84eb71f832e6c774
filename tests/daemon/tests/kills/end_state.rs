//! Everything that a rollout leaves in the cluster, without what differs from rollout to rollout by its nature.
//!
//! Left out by rule: events (for people only: the one whose call was cut off is lost), the lease, resource versions,
//! times and the words about a crashing pod. Objects of earlier releases are left out here and counted elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use bundles_release::names::FIELD_MANAGER;
use daemon_cluster::Cluster;
use serde_json::{Map, Value, json};
use test_daemon::lab::Place;

use crate::words::Words;

/// Group, version and kind of what is looked at, in the daemon's namespace and in that of the objects.
const HOME_KINDS: [(&str, &str, &str); 4] = [
    ("bundle.build", "v1alpha1", "Subscription"),
    ("bundle.build", "v1alpha1", "Release"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "Pod"),
];
const TARGET_KINDS: [(&str, &str, &str); 7] = [
    ("", "v1", "Service"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "PersistentVolumeClaim"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "StatefulSet"),
    ("batch", "v1", "Job"),
    ("", "v1", "Pod"),
];

/// What others note on objects: how often they changed, and what a person applied.
const ANNOTATIONS_OF_OTHERS: [&str; 2] =
    ["deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration"];

/// The lives of objects that outlast every rollout, by name.
pub(crate) type Lives = BTreeMap<String, String>;

/// What is in both namespaces, by kind and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct EndState(BTreeMap<String, Vec<Value>>);

impl EndState {
    /// Looks at everything. An object of another life than in `lives` says so.
    pub(crate) async fn look(cluster: &Cluster, place: &Place, words: &Words, lives: &Lives) -> Result<Self> {
        let mut state = Self::default();
        for (kinds, namespace) in [(&HOME_KINDS[..], &place.home), (&TARGET_KINDS[..], &place.target)] {
            for (group, version, kind) in kinds {
                for object in cluster.list(group, version, kind, Some(namespace), None).await? {
                    state.take(kind, &object, words, lives);
                }
            }
        }
        for list in state.0.values_mut() {
            list.sort_by_key(Value::to_string);
        }
        Ok(state)
    }

    fn take(&mut self, kind: &str, object: &Value, words: &Words, lives: &Lives) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let known = format!("{kind} {namespace}/{name}");
        let life = match (lives.get(&known), object["metadata"]["uid"].as_str()) {
            (None, _) => "new",
            (Some(first), Some(uid)) if first == uid => "first",
            _ => "another",
        };
        let shown = shown(kind, object);
        let mut shown = said(&shown, words);
        shown["life"] = json!(life);
        // Pods of a set that makes up their names are told apart by what they run.
        let key = if kind == "Pod" { format!("{kind} {}", shown["owner"]) } else { words.say(&known) };
        if kind != "Pod" && is_of_earlier_release(kind, &key, &shown) {
            return;
        }
        if kind == "Pod" && shown["owner"].as_str().is_some_and(|owner| owner.contains('#')) {
            return;
        }
        self.0.entry(key).or_default().push(shown);
    }

    /// The differences, for people.
    pub(crate) fn differences(&self, other: &Self) -> String {
        let keys: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let nothing = Vec::new();
        let mut text = String::new();
        for key in keys {
            let (one, two) = (self.0.get(key).unwrap_or(&nothing), other.0.get(key).unwrap_or(&nothing));
            if one != two {
                for (sign, list, rest) in [('-', one, two), ('+', two, one)] {
                    for object in list.iter().filter(|object| !rest.contains(object)) {
                        text.extend([&sign.to_string(), " ", key, ": ", &object.to_string(), "\n"]);
                    }
                }
                if one.len() != two.len() {
                    text.extend(["  ", key, ": ", &format!("{} became {}\n", one.len(), two.len())]);
                }
            }
        }
        text
    }
}

/// The lives of what stands in the namespace of the objects and of the subscription, before the first rollout that
/// counts.
pub(crate) async fn lives(cluster: &Cluster, place: &Place) -> Result<Lives> {
    let lasting = [
        ("bundle.build", "v1alpha1", "Subscription", &place.home),
        ("", "v1", "Service", &place.target),
        ("", "v1", "PersistentVolumeClaim", &place.target),
        ("apps", "v1", "Deployment", &place.target),
        ("apps", "v1", "StatefulSet", &place.target),
        // What is not touched keeps its pods: the data service always, all services on the way back.
        ("", "v1", "Pod", &place.target),
    ];
    let mut lives = Lives::new();
    for (group, version, kind, namespace) in lasting {
        for object in cluster.list(group, version, kind, Some(namespace), None).await? {
            let metadata = &object["metadata"];
            if metadata["ownerReferences"][0]["kind"] == "Job" {
                continue;
            }
            if let (Some(name), Some(uid)) = (metadata["name"].as_str(), metadata["uid"].as_str()) {
                lives.insert(format!("{kind} {namespace}/{name}"), uid.to_owned());
            }
        }
    }
    Ok(lives)
}

fn is_of_earlier_release(kind: &str, key: &str, shown: &Value) -> bool {
    match kind {
        "Release" | "Job" => key.contains('#'),
        "ConfigMap" => shown["metadata"]["labels"]["bundle.build/document-of"]
            .as_str()
            .is_some_and(|owner| owner.contains('#')),
        _ => false,
    }
}

/// What counts of an object.
fn shown(kind: &str, object: &Value) -> Value {
    let metadata = json!({
        "labels": object["metadata"]["labels"],
        "annotations": without(&object["metadata"]["annotations"], &ANNOTATIONS_OF_OTHERS),
        "terminating": object["metadata"]["deletionTimestamp"].is_string(),
        "managers": managers(object),
    });
    let status = &object["status"];
    let part = match kind {
        "Subscription" => subscription(status),
        "Release" => release(status),
        "ConfigMap" => {
            let keys =
                |member: &str| object[member].as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
            // The texts are signed afresh for each release.
            json!({ "keys": keys("data"), "pieces": keys("binaryData"), "immutable": object["immutable"] })
        }
        "Job" => {
            json!({ "succeeded": status["succeeded"], "failed": status["failed"], "active": status["active"] })
        }
        "PersistentVolumeClaim" => json!({ "phase": status["phase"] }),
        "Deployment" | "StatefulSet" => json!({
            "spec": object["spec"],
            "replicas": status["replicas"], "ready": status["readyReplicas"], "updated": status["updatedReplicas"],
        }),
        "Pod" => return pod(object),
        _ => json!({ "spec": without(&object["spec"], &["clusterIP", "clusterIPs"]) }),
    };
    // A claim and a Job are noted by controllers as they please.
    let metadata = match kind {
        "PersistentVolumeClaim" => json!({ "labels": metadata["labels"] }),
        "Job" => json!({ "labels": metadata["labels"], "annotations": metadata["annotations"] }),
        _ => metadata,
    };
    json!({ "metadata": metadata, "object": part })
}

fn release(status: &Value) -> Value {
    let mut status = without(status, &["sequence", "epoch"]);
    // A dump holds the time and how much memory was used, so its bytes differ a little.
    for point in status["restorePoints"].as_array_mut().into_iter().flatten() {
        point["size"] = json!(point["size"].as_u64() > Some(0));
    }
    status
}

fn subscription(status: &Value) -> Value {
    let mut status = status.clone();
    // Its number counts the promotions, its digest is that of a document signed afresh.
    status["accepted"] = without(&status["accepted"], &["version", "digest"]);
    status["inventory"] = without(&status["inventory"], &["digest"]);
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        if condition["type"] == "ChannelVerified" {
            condition["message"] = Value::Null;
        }
    }
    // Earlier releases that were denied stay so.
    let running = status["running"]["digest"].clone();
    let wanted = status["accepted"]["release"].clone();
    if let Some(denied) = status["denied"].as_array_mut() {
        denied.retain(|denied| denied["digest"] == wanted || denied["digest"] == running);
    }
    status
}

fn pod(pod: &Value) -> Value {
    let owner = &pod["metadata"]["ownerReferences"][0];
    let labels = &pod["metadata"]["labels"];
    let owner = match owner["kind"].as_str() {
        Some("Job" | "StatefulSet") => owner["name"].clone(),
        Some("ReplicaSet") => labels["app.kubernetes.io/name"].clone(),
        _ => pod["metadata"]["name"].clone(),
    };
    let ready = pod["status"]["conditions"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"));
    let container = &pod["spec"]["containers"][0];
    json!({
        "owner": owner,
        "image": container["image"],
        "env": container["env"],
        "phase": pod["status"]["phase"],
        "ready": ready,
        "terminating": pod["metadata"]["deletionTimestamp"].is_string(),
    })
}

/// What our manager owns, and who else owns something.
fn managers(object: &Value) -> Value {
    let all = object["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours = all.iter().filter(|entry| entry["manager"] == FIELD_MANAGER);
    ours.map(|entry| json!({ "operation": entry["operation"], "fields": entry["fieldsV1"] })).collect()
}

fn without(value: &Value, members: &[&str]) -> Value {
    let mut value = value.clone();
    if let Some(map) = value.as_object_mut() {
        for member in members {
            map.remove(*member);
        }
    }
    value
}

/// The value in the words of every rollout.
fn said(value: &Value, words: &Words) -> Value {
    match value {
        Value::String(text) => json!(crash(&words.say(text))),
        Value::Array(list) => list.iter().map(|value| said(value, words)).collect(),
        Value::Object(map) => {
            let mut all = Map::new();
            for (key, value) in map {
                // A message is for people; the words about a crash depend on when one looks.
                let about_crash = key == "message" && map.get("reason").is_some_and(is_crash);
                let value = if about_crash { json!("CRASH") } else { said(value, words) };
                if key != "observedGeneration" {
                    all.insert(words.say(key), value);
                }
            }
            Value::Object(all)
        }
        other => other.clone(),
    }
}

/// A pod that crashes waits in a back-off or has restarted: one and the same, seen at different moments.
const CRASH: [&str; 2] = ["CrashLoop", "Restarts"];

fn is_crash(reason: &Value) -> bool {
    // The condition `Ready` of a denied release repeats the words.
    reason.as_str().is_some_and(|reason| CRASH.contains(&reason) || matches!(reason, "Denied" | "RolledBack"))
}

fn crash(text: &str) -> String {
    if CRASH.contains(&text) { "CRASH".to_owned() } else { text.to_owned() }
}
