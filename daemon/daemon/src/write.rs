//! Writing one object: one request, and no more than the rulings on conflicts allow.

use bundles_release::names::{FIELD_MANAGER, SUBSCRIPTION_LABEL};
use daemon_cluster::{ApplyMode, ApplyOutcome, Cluster, ClusterError, Present, RefusalCause};
use daemon_plan::{
    Failure, ObjectKey, Reason,
    conflict::{Conflict, Decision, Scaling, decide, is_about_scaling, parse},
    field::FieldPath,
    inventory::{Ownership, ownership},
    managed::{keep_replicas, least_replicas, scales},
};
use serde_json::Value;

/// How often conflicts are decided for one object before it is left for later.
const ROUNDS: usize = 3;

/// Characters of a value that are told.
const LONGEST_VALUE: usize = 80;

/// What became of writing an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Written {
    /// It is as intended, but for fields that controllers have a right to.
    Done { live: Value, left: Vec<FieldPath> },
    /// It is being deleted: the write is lost.
    Terminating,
    /// It cannot be written as it is.
    Rejected(Failure),
    /// Somebody else was writing; nothing is known.
    Unknown,
}

/// Applies an object, deciding conflicts. `left` are fields that were left to controllers before.
pub(crate) async fn write_object(
    cluster: &Cluster,
    key: &ObjectKey,
    intent: &Value,
    left: &[FieldPath],
    dry_run: bool,
) -> Result<Written, ClusterError> {
    let mut intent = intent.clone();
    let mut left = left.to_vec();
    for field in &left {
        field.remove(&mut intent);
    }
    if hands_over_replicas(key, &intent)
        && let Present::Present(live) = cluster.get(key).await?
    {
        let least = least(cluster, key, &live).await?;
        keep_replicas(&mut intent, &live, FIELD_MANAGER, least);
    }
    let mut mode = ApplyMode { dry_run, take_over: false };
    for _ in 0..ROUNDS {
        match cluster.apply(&intent, mode).await? {
            ApplyOutcome::Applied(live) => return Ok(Written::Done { live, left }),
            ApplyOutcome::Terminating(_) => return Ok(Written::Terminating),
            ApplyOutcome::Refused { cause, message } => {
                return Ok(Written::Rejected(Failure::new(
                    Reason::ApplyRejected,
                    refusal(key, cause, &message),
                )));
            }
            ApplyOutcome::Conflict(answer) => match decide(&answer, scaling(cluster, key, &answer).await?) {
                Ok(Decision::Resolve { leave, force }) => {
                    for field in &leave {
                        field.remove(&mut intent);
                    }
                    left.extend(leave);
                    mode.take_over = force;
                }
                Ok(Decision::Retry) => {}
                Ok(Decision::Stop { conflicts }) => {
                    let live = match cluster.get(key).await? {
                        Present::Present(live) => live,
                        Present::Absent => continue,
                    };
                    let message = undecided(key, &conflicts, &intent, &live);
                    return Ok(Written::Rejected(Failure::new(Reason::Conflict, message)));
                }
                Err(error) => {
                    return Ok(Written::Rejected(Failure::new(Reason::Conflict, format!("{key}: {error}"))));
                }
            },
        }
    }
    Ok(Written::Unknown)
}

/// Who sets the number of replicas of an object, asked only if an answer of the API server makes it matter.
async fn scaling(cluster: &Cluster, key: &ObjectKey, answer: &Value) -> Result<Scaling, ClusterError> {
    if !parse(answer).is_ok_and(|conflicts| conflicts.iter().any(is_about_scaling)) {
        return Ok(Scaling::Fixed);
    }
    let Some(namespace) = key.namespace() else { return Ok(Scaling::Fixed) };
    let autoscalers = autoscalers(cluster, namespace, None).await?;
    let is_scaled = autoscalers.iter().any(|autoscaler| scales(autoscaler, key));
    Ok(if is_scaled { Scaling::Autoscaled } else { Scaling::Fixed })
}

/// The least number of replicas, asked only if the workload stands at 0, where an autoscaler does not raise it. Only
/// those of the subscription count: others may have put it to rest on purpose.
async fn least(cluster: &Cluster, key: &ObjectKey, live: &Value) -> Result<Option<i64>, ClusterError> {
    let label = live.pointer("/metadata/labels").and_then(|labels| labels.get(SUBSCRIPTION_LABEL));
    match (live.pointer("/spec/replicas").and_then(Value::as_i64), key.namespace(), label) {
        (Some(0), Some(namespace), Some(label)) => {
            let autoscalers = autoscalers(cluster, namespace, label.as_str()).await?;
            Ok(least_replicas(&autoscalers, key))
        }
        _ => Ok(None),
    }
}

/// The live autoscalers of a namespace, or those of one subscription in it.
pub(crate) async fn autoscalers(
    cluster: &Cluster,
    namespace: &str,
    subscription: Option<&str>,
) -> Result<Vec<Value>, ClusterError> {
    let kind = "HorizontalPodAutoscaler";
    let label = subscription.map(|subscription| format!("{SUBSCRIPTION_LABEL}={subscription}"));
    match cluster.list("autoscaling", "v2", kind, Some(namespace), label.as_deref()).await {
        Err(ClusterError::NotServed { .. }) => Ok(Vec::new()),
        answer => answer,
    }
}

/// Whether the intent leaves the number of replicas to somebody else.
pub(crate) fn hands_over_replicas(key: &ObjectKey, intent: &Value) -> bool {
    (key.is("apps", "Deployment") || key.is("apps", "StatefulSet"))
        && intent.pointer("/spec/replicas").is_none()
}

/// Whether the live object belongs to somebody else; the text names whom.
pub(crate) fn foreign(key: &ObjectKey, live: &Value, subscription: &str) -> Option<Failure> {
    match ownership(live, subscription) {
        Ownership::Own | Ownership::Free => None,
        Ownership::Foreign { subscription: other } => Some(Failure::new(
            Reason::Conflict,
            format!("{key} belongs to subscription {other}; use another namespace or remove it there first"),
        )),
    }
}

fn undecided(key: &ObjectKey, conflicts: &[Conflict], intent: &Value, live: &Value) -> String {
    let each: Vec<String> = conflicts
        .iter()
        .map(|Conflict { field, manager, .. }| {
            let owned = format!("{field} is owned by {manager}");
            if key.is("", "Secret") {
                return owned;
            }
            format!("{owned}, who says {}; the release says {}", shown(field, live), shown(field, intent))
        })
        .collect();
    format!("{key}: {}; let its manager give it up, or leave the field out of the recipe", each.join(", "))
}

/// A value in one short line.
fn shown(field: &FieldPath, object: &Value) -> String {
    let text = field.read(object).map_or_else(|| "nothing".to_owned(), Value::to_string);
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn refusal(key: &ObjectKey, cause: RefusalCause, message: &str) -> String {
    let namespace = key.namespace().unwrap_or_default();
    match cause {
        RefusalCause::NamespaceAbsent => {
            format!("{key}: the namespace does not exist: kubectl create namespace {namespace}")
        }
        RefusalCause::NamespaceTerminating => format!("{key}: namespace {namespace} is being deleted"),
        RefusalCause::NotServed | RefusalCause::Forbidden | RefusalCause::Invalid => {
            format!("{key}: {message}")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_conflict_is_told_with_both_values_but_of_a_secret() {
        let conflict = |field: &str| Conflict {
            manager: "somebody".to_owned(),
            subresource: None,
            field: field.parse().unwrap(),
        };
        let key = ObjectKey::new("apps", "v1", "Deployment", Some("shop"), "api").unwrap();
        let text = undecided(
            &key,
            &[conflict(".spec.minReadySeconds"), conflict(".spec.paused")],
            &json!({"spec": {"minReadySeconds": 3, "paused": "x".repeat(200)}}),
            &json!({"spec": {"minReadySeconds": 7}}),
        );
        assert!(
            text.contains(".spec.minReadySeconds is owned by somebody, who says 7; the release says 3"),
            "{text}"
        );
        assert!(text.contains("who says nothing; the release says \"xxx") && text.contains('…'), "{text}");
        let secret = ObjectKey::new("", "v1", "Secret", Some("shop"), "token").unwrap();
        let values = json!({"data": {"password": "aHVudGVyMg=="}});
        let text = undecided(&secret, &[conflict(".data.password")], &values, &values);
        assert!(text.contains(".data.password") && !text.contains("aHVudGVyMg"), "{text}");
    }
}
