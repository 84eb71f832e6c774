//! What the judge makes of an object and its pods.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::{at, text},
    pods::{current_pods, lost_readiness, pod_failure},
    reason::Failure,
    status::{Status, status},
};

/// Health of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nothing is known; never a pass.
    Unknown,
    /// It is well.
    Healthy,
    /// It is on the way.
    Progressing {
        /// What is still lacking.
        message: String,
    },
    /// It was ready and is not any more.
    Degraded {
        /// What is lost.
        message: String,
    },
    /// It will not get well.
    Failed(Failure),
}

/// The health of a live object (null if it does not exist) with the pods and `ReplicaSets` of its namespace.
///
/// `least` is as in [`status`]; `since` is when writing began, by the API server's clock if possible: see [`pod_failure`].
pub fn health(
    object: &Value,
    least: Option<i64>,
    replica_sets: &[Value],
    pods: &[Value],
    since: Timestamp,
    now: Timestamp,
) -> Health {
    let status = status(object, least, now);
    // Until its controller has seen the newest document, a workload's pods tell of the one before.
    let seen =
        at(object, "/metadata/generation").as_i64() == at(object, "/status/observedGeneration").as_i64();
    let own = if seen { current_pods(object, replica_sets, pods) } else { Vec::new() };
    if let Some(failure) = own.iter().find_map(|pod| pod_failure(pod, since, now)) {
        return Health::Failed(failure);
    }
    match status {
        Status::Current => Health::Healthy,
        Status::Failed(failure) => Health::Failed(failure),
        Status::NotFound => Health::Progressing { message: "it does not exist".to_owned() },
        Status::Terminating => Health::Progressing { message: "it is being deleted".to_owned() },
        Status::InProgress { message } => match own.iter().find(|pod| lost_readiness(pod)) {
            Some(pod) => {
                let message = format!("pod {} was ready and is not any more", text(pod, "/metadata/name"));
                Health::Degraded { message }
            }
            None => Health::Progressing { message },
        },
    }
}
