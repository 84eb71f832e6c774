//! Who owns which field: `metadata.managedFields`.

use serde_json::Value;

use crate::{
    field::{at, list, matches_keys, text},
    key::ObjectKey,
};

/// The fields that `manager` owns by server-side apply on the object itself, not on a subresource.
pub fn applied_fields<'a>(live: &'a Value, manager: &str) -> Option<&'a Value> {
    list(live, "/metadata/managedFields")
        .iter()
        .find(|entry| {
            text(entry, "/manager") == manager
                && text(entry, "/operation") == "Apply"
                && text(entry, "/subresource").is_empty()
        })?
        .get("fieldsV1")
}

/// Whether `manager` has applied the object.
pub fn is_applied_by(live: &Value, manager: &str) -> bool {
    applied_fields(live, manager).is_some()
}

/// Managers that own `spec.replicas`, with the subresource through which they wrote it.
fn owners_of_replicas(live: &Value) -> impl Iterator<Item = (&str, &str)> {
    list(live, "/metadata/managedFields")
        .iter()
        .filter(|entry| entry.pointer("/fieldsV1/f:spec/f:replicas").is_some())
        .map(|entry| (text(entry, "/manager"), text(entry, "/operation")))
}

/// What happens to `spec.replicas` when our intent no longer has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicasRelease {
    /// Another manager owns the field too, or we never did: it stays as it is.
    Safe,
    /// We are its only owner: it would fall to the default of 1.
    FallsToDefault {
        /// The count that runs now.
        current: i64,
    },
}

/// What dropping `spec.replicas` from the intent does to a live workload.
pub fn release_of_replicas(live: &Value, manager: &str) -> ReplicasRelease {
    let Some(current) = live.pointer("/spec/replicas").and_then(Value::as_i64) else {
        return ReplicasRelease::Safe;
    };
    let (ours, others): (Vec<_>, Vec<_>) =
        owners_of_replicas(live).partition(|owner| *owner == (manager, "Apply"));
    if !ours.is_empty() && others.is_empty() && current != 1 {
        ReplicasRelease::FallsToDefault { current }
    } else {
        ReplicasRelease::Safe
    }
}

/// Keeps `spec.replicas` in an intent that hands it over to an autoscaler, until that has taken hold of the field.
///
/// At 0 an autoscaler is switched off, so what stands there is raised to `least`, its minimum; from 1 on it does that
/// itself.
pub fn keep_replicas(intent: &mut Value, live: &Value, manager: &str, least: Option<i64>) {
    if intent.pointer("/spec/replicas").is_some() {
        return;
    }
    let stands_still = live.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0);
    let count = match (least, release_of_replicas(live, manager)) {
        (Some(least), _) if stands_still && least > 0 => least,
        (_, ReplicasRelease::FallsToDefault { current }) => current,
        (_, ReplicasRelease::Safe) => return,
    };
    if let Some(spec) = intent.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("replicas".to_owned(), count.into());
    }
}

/// The least number of replicas that live autoscalers give an object; none if none of them scales it.
///
/// They must be live: one that is yet to be written raises nothing, and it is written when its workload is well.
pub fn least_replicas(autoscalers: &[Value], key: &ObjectKey) -> Option<i64> {
    autoscalers
        .iter()
        .filter(|autoscaler| scales(autoscaler, key))
        .map(|autoscaler| at(autoscaler, "/spec/minReplicas").as_i64().unwrap_or(1))
        .max()
}

/// Whether a live autoscaler sets the number of replicas of an object; one that is being deleted does not any more.
pub fn scales(autoscaler: &Value, key: &ObjectKey) -> bool {
    let of = |path: &str| text(autoscaler, path);
    let group = of("/spec/scaleTargetRef/apiVersion").split_once('/').map_or("", |(group, _)| group);
    let target = (group, of("/spec/scaleTargetRef/kind"), of("/spec/scaleTargetRef/name"));
    target == (key.group(), key.kind(), key.name())
        && key.namespace() == Some(of("/metadata/namespace"))
        && of("/metadata/deletionTimestamp").is_empty()
}

/// Fields of a `fieldsV1` tree that the intent does not have: they leave the object with the next apply.
pub fn left_behind(fields: &Value, intent: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(fields, intent, &mut String::new(), &mut found);
    found
}

fn walk(fields: &Value, intent: &Value, path: &mut String, found: &mut Vec<String>) {
    let Some(fields) = fields.as_object() else { return };
    for (name, inner) in fields {
        let length = path.len();
        let below = if let Some(field) = name.strip_prefix("f:") {
            path.push('.');
            path.push_str(field);
            intent.get(field)
        } else if let Some(keys) = name.strip_prefix("k:") {
            path.extend(["[", keys, "]"]);
            item_with(intent, keys)
        } else if let Some(value) = name.strip_prefix("v:") {
            path.extend(["[=", value, "]"]);
            let value: Option<Value> = serde_json::from_str(value).ok();
            intent.as_array().and_then(|items| items.iter().find(|item| Some(*item) == value.as_ref()))
        } else {
            // "." says that the container itself is owned, "i:" is a place in a list that nobody uses.
            continue;
        };
        match below {
            Some(below) => walk(inner, below, path, found),
            None => found.push(path.clone()),
        }
        path.truncate(length);
    }
}

fn item_with<'a>(list: &'a Value, keys: &str) -> Option<&'a Value> {
    let keys: serde_json::Map<String, Value> = serde_json::from_str(keys).ok()?;
    let keys: Vec<(String, Value)> = keys.into_iter().collect();
    list.as_array()?.iter().find(|item| matches_keys(item, &keys))
}
