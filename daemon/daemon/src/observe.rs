//! Looking at objects: what is there, whether it is as intended, whether it is well.

use std::collections::{BTreeMap, BTreeSet};

use bundles_release::names::{FIELD_MANAGER, SUBSCRIPTION_LABEL};
use daemon_cluster::{Cluster, ClusterError, Present};
use daemon_plan::{
    Health, ObjectKey,
    drift::{Drift, drift},
    field::FieldPath,
    health::health,
    inventory::Live,
    managed::{is_applied_by, keep_replicas, least_replicas},
    pods::stuck_pods,
    rollout::{ObjectFact, PodReference},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::write::{autoscalers, foreign, hands_over_replicas};

/// What was seen. What is missing is not known.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    pub(crate) objects: BTreeMap<ObjectKey, ObjectFact>,
    pub(crate) health: BTreeMap<ObjectKey, Health>,
    pub(crate) stuck_pods: Vec<PodReference>,
    /// The first error, for people.
    pub(crate) trouble: Option<ClusterError>,
}

/// What to compare with.
pub(crate) struct Intents<'a> {
    pub(crate) subscription: &'a str,
    pub(crate) objects: &'a BTreeMap<ObjectKey, Value>,
    pub(crate) left: &'a BTreeMap<ObjectKey, Vec<FieldPath>>,
    pub(crate) since: Timestamp,
}

/// Looks at objects: one list a kind, and a question for each that is not on the list.
pub(crate) async fn observe(
    cluster: &Cluster,
    intents: &Intents<'_>,
    keys: &BTreeSet<ObjectKey>,
    now: Timestamp,
) -> Sight {
    let mut sight = Sight::default();
    let live = find(cluster, intents.subscription, keys, &mut sight).await;
    let around = around(cluster, intents, keys, &mut sight).await;
    for (key, found) in live {
        let Some(value) = found else {
            sight.objects.insert(key.clone(), ObjectFact::Absent);
            sight.health.insert(key, Health::Progressing { message: "it does not exist".to_owned() });
            continue;
        };
        let nothing = Around::default();
        let around = key.namespace().map_or(Some(&nothing), |namespace| around.get(namespace));
        let least = around.and_then(|around| least_replicas(&around.autoscalers, &key));
        if let Some(Around { pods, replica_sets, .. }) = around {
            let health = health(&value, least, replica_sets, pods, intents.since, now);
            sight.health.insert(key.clone(), health);
            sight.stuck_pods.extend(stuck_pods(&value, pods));
        }
        if let Some(fact) = fact(&key, &value, least, intents) {
            sight.objects.insert(key, fact);
        }
    }
    sight
}

/// What one live object says; none if it has no identity, which does not happen.
fn fact(key: &ObjectKey, value: &Value, least: Option<i64>, intents: &Intents<'_>) -> Option<ObjectFact> {
    if value.pointer("/metadata/deletionTimestamp").is_some_and(Value::is_string) {
        return Some(ObjectFact::Terminating);
    }
    if let Some(failure) = foreign(key, value, intents.subscription) {
        return Some(ObjectFact::Rejected(failure));
    }
    let live = Live::of(value)?;
    let label = value.pointer("/metadata/labels").and_then(|labels| labels.get(SUBSCRIPTION_LABEL));
    let ours = is_applied_by(value, FIELD_MANAGER)
        && label.and_then(Value::as_str).is_some_and(|label| label == intents.subscription);
    let in_sync = intents.objects.get(key).is_some_and(|intent| {
        let mut intent = intent.clone();
        for field in intents.left.get(key).into_iter().flatten() {
            field.remove(&mut intent);
        }
        if hands_over_replicas(key, &intent) {
            keep_replicas(&mut intent, value, FIELD_MANAGER, least);
        }
        match drift(&intent, value, FIELD_MANAGER) {
            Drift::InSync => true,
            Drift::Drifted { fields } => {
                tracing::debug!(object = %key, ?fields, "an object differs");
                false
            }
        }
    });
    Some(ObjectFact::Present { live, in_sync, ours })
}

/// The live objects; none for those that the API server says do not exist.
async fn find(
    cluster: &Cluster,
    subscription: &str,
    keys: &BTreeSet<ObjectKey>,
    sight: &mut Sight,
) -> BTreeMap<ObjectKey, Option<Value>> {
    let mut groups: BTreeMap<(&str, &str, &str, Option<&str>), Vec<&ObjectKey>> = BTreeMap::new();
    for key in keys {
        groups.entry((key.group(), key.version(), key.kind(), key.namespace())).or_default().push(key);
    }
    let label = format!("{SUBSCRIPTION_LABEL}={subscription}");
    let mut found = BTreeMap::new();
    for ((group, version, kind, namespace), keys) in groups {
        let mut listed = match cluster.list(group, version, kind, namespace, Some(&label)).await {
            Ok(list) => by_name(list),
            Err(ClusterError::NotServed { .. }) => BTreeMap::new(),
            Err(error) => {
                sight.trouble.get_or_insert(error);
                continue;
            }
        };
        for key in keys {
            if let Some(value) = listed.remove(key.name()) {
                found.insert(key.clone(), Some(value));
                continue;
            }
            // Not on the list may be without our label only.
            match cluster.get(key).await {
                Ok(Present::Absent) => {
                    found.insert(key.clone(), None);
                }
                Ok(Present::Present(value)) => {
                    found.insert(key.clone(), Some(value));
                }
                Err(error) => {
                    sight.trouble.get_or_insert(error);
                }
            }
        }
    }
    found
}

fn by_name(list: Vec<Value>) -> BTreeMap<String, Value> {
    list.into_iter()
        .filter_map(|value| Some((value.pointer("/metadata/name")?.as_str()?.to_owned(), value)))
        .collect()
}

/// What stands around the objects of a namespace.
#[derive(Debug, Default)]
struct Around {
    pods: Vec<Value>,
    replica_sets: Vec<Value>,
    /// Those of the subscription, if one of the objects leaves its number of replicas to them.
    autoscalers: Vec<Value>,
}

/// What stands around the objects in each namespace; a namespace that could not be asked is missing.
async fn around(
    cluster: &Cluster,
    intents: &Intents<'_>,
    keys: &BTreeSet<ObjectKey>,
    sight: &mut Sight,
) -> BTreeMap<String, Around> {
    let namespaces: BTreeSet<&str> = keys.iter().filter_map(ObjectKey::namespace).collect();
    let scaled: BTreeSet<&str> = keys
        .iter()
        .filter(|key| intents.objects.get(*key).is_some_and(|intent| hands_over_replicas(key, intent)))
        .filter_map(ObjectKey::namespace)
        .collect();
    let mut all = BTreeMap::new();
    for namespace in namespaces {
        let pods = cluster.list("", "v1", "Pod", Some(namespace), None).await;
        let replica_sets = cluster.list("apps", "v1", "ReplicaSet", Some(namespace), None).await;
        let autoscalers = if scaled.contains(namespace) {
            autoscalers(cluster, namespace, Some(intents.subscription)).await
        } else {
            Ok(Vec::new())
        };
        match (pods, replica_sets, autoscalers) {
            (Ok(pods), Ok(replica_sets), Ok(autoscalers)) => {
                all.insert(namespace.to_owned(), Around { pods, replica_sets, autoscalers });
            }
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
                sight.trouble.get_or_insert(error);
            }
        }
    }
    all
}
