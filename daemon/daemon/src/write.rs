//! Writing one object: one request, and no more than the rulings on conflicts allow.

use bundles_release::names::FIELD_MANAGER;
use daemon_cluster::{ApplyMode, ApplyOutcome, Cluster, ClusterError, Present, RefusalCause};
use daemon_plan::{
    Failure, ObjectKey, Reason,
    conflict::{Conflict, Decision, decide},
    field::FieldPath,
    inventory::{Ownership, ownership},
    managed::keep_replicas,
};
use serde_json::Value;

/// How often conflicts are decided for one object before it is left for later.
const ROUNDS: usize = 3;

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
        keep_replicas(&mut intent, &live, FIELD_MANAGER);
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
            ApplyOutcome::Conflict(answer) => match decide(&answer) {
                Ok(Decision::Resolve { leave, force }) => {
                    for field in &leave {
                        field.remove(&mut intent);
                    }
                    left.extend(leave);
                    mode.take_over = force;
                }
                Ok(Decision::Retry) => {}
                Ok(Decision::Stop { conflicts }) => {
                    return Ok(Written::Rejected(Failure::new(Reason::Conflict, undecided(key, &conflicts))));
                }
                Err(error) => {
                    return Ok(Written::Rejected(Failure::new(Reason::Conflict, format!("{key}: {error}"))));
                }
            },
        }
    }
    Ok(Written::Unknown)
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

fn undecided(key: &ObjectKey, conflicts: &[Conflict]) -> String {
    let each: Vec<String> = conflicts
        .iter()
        .map(|conflict| format!("{} is owned by {}", conflict.field.as_str(), conflict.manager))
        .collect();
    format!("{key}: {}; let its manager give it up, or leave the field out of the recipe", each.join(", "))
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
