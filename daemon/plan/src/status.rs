//! Whether an object has become what its document asks for.
//!
//! The rules begin with those of kstatus and are stricter where those call something done that is not: a running Job,
//! a failed pod, a set that is only updated when its pods are deleted, a load balancer without an address.

use bundles_release::names::WAIT_ANNOTATION;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::{at, condition, condition_of, is_true, list, number, text, words},
    key::split_api_version,
    pods,
    reason::{Failure, Reason},
};

/// Status of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It is what its document asks for.
    Current,
    /// It is on the way.
    InProgress {
        /// What is still lacking.
        message: String,
    },
    /// It will not get there by itself.
    Failed(Failure),
    /// It is being deleted.
    Terminating,
    /// It does not exist.
    NotFound,
}

impl Status {
    fn progress(message: impl Into<String>) -> Self {
        Self::InProgress { message: message.into() }
    }

    fn failed(reason: Reason, message: impl Into<String>) -> Self {
        Self::Failed(Failure::new(reason, message))
    }
}

/// The status of a live object; null stands for an object that the API server said does not exist.
///
/// `least` is the minimum of the live autoscaler that the release has for it, see
/// [`least_replicas`](crate::managed::least_replicas): with fewer it is not what the release asks for, whatever
/// `spec.replicas` says.
pub fn status(object: &Value, least: Option<i64>, now: Timestamp) -> Status {
    if object.is_null() {
        return Status::NotFound;
    }
    if at(object, "/metadata/deletionTimestamp").is_string() {
        return Status::Terminating;
    }
    if at(object, "/metadata/annotations").get(WAIT_ANNOTATION).and_then(Value::as_str) == Some("false") {
        return Status::Current;
    }
    let (group, _) = split_api_version(text(object, "/apiVersion"));
    let kind = text(object, "/kind");
    let counted =
        matches!((group, kind), ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet"));
    if let Some(status) = generic_progress(object, counted) {
        return status;
    }
    match (group, kind) {
        ("apps", "Deployment") => deployment(object, least),
        ("apps", "StatefulSet") => stateful_set(object, least),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "ReplicaSet") => replica_set(object, least),
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object, now),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "PersistentVolume") => volume(object),
        ("", "Service") => service(object),
        ("", "Namespace") => namespace(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apiregistration.k8s.io", "APIService") => by_condition(object, "Available"),
        ("gateway.networking.k8s.io", "Gateway") => gateway(object),
        ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute" | "UDPRoute") => {
            route(object)
        }
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(object),
        // They have no state of their own that could fail, or one that gates nothing: an Ingress may wait for an
        // address for ever, a disruption budget for pods that come later.
        (
            ""
            | "batch"
            | "policy"
            | "networking.k8s.io"
            | "rbac.authorization.k8s.io"
            | "storage.k8s.io"
            | "scheduling.k8s.io"
            | "admissionregistration.k8s.io"
            | "discovery.k8s.io"
            | "node.k8s.io",
            _,
        ) => Status::Current,
        _ => custom(object),
    }
}

/// What holds for every kind; workloads count only once their controller has seen this generation.
fn generic_progress(object: &Value, counted: bool) -> Option<Status> {
    let generation = at(object, "/metadata/generation").as_i64();
    let observed = at(object, "/status/observedGeneration").as_i64();
    match (generation, observed) {
        (Some(generation), Some(observed)) if generation != observed => {
            return Some(Status::progress(format!(
                "its controller has seen generation {observed} of {generation}"
            )));
        }
        (_, None) if counted => {
            return Some(Status::progress("its controller has not seen it yet"));
        }
        _ => {}
    }
    if let Some(condition) = condition(object, "Reconciling").filter(|condition| is_true(Some(condition))) {
        return Some(Status::progress(words(condition)));
    }
    condition(object, "Stalled")
        .filter(|condition| is_true(Some(condition)))
        .map(|condition| Status::failed(Reason::Stalled, words(condition)))
}

/// `spec.replicas` with the default of the API server, and no less than the autoscaler's minimum.
fn wanted_replicas(object: &Value, least: Option<i64>) -> i64 {
    at(object, "/spec/replicas").as_i64().unwrap_or(1).max(least.unwrap_or(0))
}

/// The first count that is not reached.
fn lacking(counts: &[(i64, i64, &str)]) -> Option<Status> {
    let (have, want, what) = counts.iter().find(|(have, want, _)| have < want)?;
    Some(Status::progress(format!("{have} of {want} {what}")))
}

fn deployment(object: &Value, least: Option<i64>) -> Status {
    let progressing = condition(object, "Progressing");
    if let Some(condition) = progressing
        && text(condition, "/reason") == "ProgressDeadlineExceeded"
    {
        return Status::failed(Reason::ProgressDeadline, words(condition));
    }
    if at(object, "/spec/paused").as_bool() == Some(true) {
        return Status::progress("the Deployment is paused");
    }
    let want = wanted_replicas(object, least);
    let total = number(object, "/status/replicas");
    let updated = number(object, "/status/updatedReplicas");
    let available = number(object, "/status/availableReplicas");
    let ready = number(object, "/status/readyReplicas");
    let counts = [
        (updated, want, "replicas are of this revision"),
        (ready, want, "replicas are ready"),
        (available, want, "replicas are available"),
    ];
    if let Some(status) = lacking(&counts) {
        return with_replica_failure(object, status);
    }
    if total > updated || total > want {
        return Status::progress(format!("{} old replicas are still there", total - updated.min(want)));
    }
    if want > 0 && !is_true(condition(object, "Available")) {
        return Status::progress("the Deployment does not say that it is available");
    }
    // Progressing is not there when the Deployment has no deadline.
    match progressing {
        Some(condition) if text(condition, "/reason") != "NewReplicaSetAvailable" => {
            Status::progress(words(condition))
        }
        _ => Status::Current,
    }
}

/// Adds why pods cannot be made (a quota, an admission policy) to a progress message.
fn with_replica_failure(object: &Value, status: Status) -> Status {
    match (condition(object, "ReplicaFailure").filter(|condition| is_true(Some(condition))), status) {
        (Some(condition), Status::InProgress { message }) => {
            Status::progress(format!("{message}; {}", words(condition)))
        }
        (_, status) => status,
    }
}

fn stateful_set(object: &Value, least: Option<i64>) -> Status {
    let want = wanted_replicas(object, least);
    let total = number(object, "/status/replicas");
    let updated = number(object, "/status/updatedReplicas");
    let counts = [
        (total, want, "replicas are there"),
        (number(object, "/status/readyReplicas"), want, "replicas are ready"),
    ];
    if let Some(status) = lacking(&counts) {
        return status;
    }
    if number(object, "/spec/minReadySeconds") > 0 {
        let available = number(object, "/status/availableReplicas");
        if let Some(status) = lacking(&[(available, want, "replicas are available")]) {
            return status;
        }
    }
    if total > want {
        return Status::progress(format!("{} replicas are to go", total - want));
    }
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition");
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        // Pods are updated when someone deletes them; until all were, the release does not run.
        return lacking(&[(updated, want, "replicas are of this revision (the strategy is OnDelete)")])
            .unwrap_or(Status::Current);
    }
    if partition > 0 {
        return lacking(&[(
            updated,
            (want - partition).max(0),
            "replicas beyond the partition are of this revision",
        )])
        .unwrap_or(Status::Current);
    }
    let same = text(object, "/status/currentRevision") == text(object, "/status/updateRevision");
    if want > 0 && !same {
        return Status::progress(format!("{updated} of {want} replicas are of this revision"));
    }
    lacking(&[(number(object, "/status/currentReplicas"), want, "replicas are of the current revision")])
        .unwrap_or(Status::Current)
}

/// Whether the autoscaler has raised its workload to the least number of replicas. Until it is there the workload itself
/// is judged by the single replica that it began with; from then on by `spec.replicas`, and no less than the minimum.
/// Metrics gate nothing: an autoscaler may wait for the first ones for ever.
fn autoscaler(object: &Value) -> Status {
    let is_off =
        condition(object, "ScalingActive").is_some_and(|one| text(one, "/reason") == "ScalingDisabled");
    let least = at(object, "/spec/minReplicas").as_i64().unwrap_or(1);
    // The first replica is there without an autoscaler.
    if is_off || least <= 1 {
        return Status::Current;
    }
    let asked = number(object, "/status/currentReplicas").max(number(object, "/status/desiredReplicas"));
    lacking(&[(asked, least, "replicas are asked for by the autoscaler")]).unwrap_or(Status::Current)
}

fn daemon_set(object: &Value) -> Status {
    let want = number(object, "/status/desiredNumberScheduled");
    let counts = [
        (number(object, "/status/currentNumberScheduled"), want, "nodes have a pod"),
        (number(object, "/status/updatedNumberScheduled"), want, "nodes have a pod of this revision"),
        (number(object, "/status/numberAvailable"), want, "nodes have an available pod"),
        (number(object, "/status/numberReady"), want, "nodes have a ready pod"),
    ];
    lacking(&counts).unwrap_or(Status::Current)
}

fn replica_set(object: &Value, least: Option<i64>) -> Status {
    let want = wanted_replicas(object, least);
    let total = number(object, "/status/replicas");
    let counts = [
        (total, want, "replicas are there"),
        (number(object, "/status/fullyLabeledReplicas"), want, "replicas have their labels"),
        (number(object, "/status/availableReplicas"), want, "replicas are available"),
        (number(object, "/status/readyReplicas"), want, "replicas are ready"),
    ];
    match lacking(&counts) {
        Some(status) => with_replica_failure(object, status),
        None if total > want => Status::progress(format!("{} replicas are to go", total - want)),
        None => Status::Current,
    }
}

fn job(object: &Value) -> Status {
    if let Some(condition) = condition(object, "Failed").filter(|condition| is_true(Some(condition))) {
        return Status::failed(Reason::JobFailed, words(condition));
    }
    if is_true(condition(object, "Complete")) {
        return Status::Current;
    }
    if is_true(condition(object, "Suspended")) {
        return Status::Current;
    }
    if text(object, "/status/startTime").is_empty() {
        return Status::progress("the Job has not started");
    }
    let count = |field: &str| number(object, &format!("/status/{field}"));
    let (active, succeeded, failed) = (count("active"), count("succeeded"), count("failed"));
    Status::progress(format!("the Job is running: {active} active, {succeeded} succeeded, {failed} failed"))
}

fn pod(object: &Value, now: Timestamp) -> Status {
    match text(object, "/status/phase") {
        "Succeeded" => return Status::Current,
        "Failed" => {
            let message = match (text(object, "/status/reason"), text(object, "/status/message")) {
                ("", "") => "the pod ended without success".to_owned(),
                (reason, message) => format!("{reason} {message}").trim().to_owned(),
            };
            return Status::failed(Reason::PodFailed, message);
        }
        _ => {}
    }
    if let Some(failure) = pods::waiting_failure(object, now) {
        return Status::Failed(failure);
    }
    let ready = condition(object, "Ready");
    if is_true(ready) {
        return Status::Current;
    }
    // Pods that no node takes wait for an autoscaler: the release's deadline decides.
    let scheduled = condition(object, "PodScheduled").filter(|condition| !is_true(Some(condition)));
    Status::progress(scheduled.or(ready).map_or_else(|| "the pod has no status yet".to_owned(), words))
}

/// A pending claim is fine: many classes bind it only once a pod uses it, and then that pod's readiness counts. Once
/// the scheduler has chosen a node for it, it is being provisioned.
fn claim(object: &Value) -> Status {
    match text(object, "/status/phase") {
        "Lost" => Status::failed(Reason::VolumeLost, "the claim has lost its volume"),
        "Bound" => Status::Current,
        _ if at(object, "/metadata/annotations").get("volume.kubernetes.io/selected-node").is_some() => {
            Status::progress("the volume of the claim is being made")
        }
        _ => Status::Current,
    }
}

fn volume(object: &Value) -> Status {
    match text(object, "/status/phase") {
        "Failed" => Status::failed(Reason::VolumeLost, text(object, "/status/message")),
        "Pending" => Status::progress("the volume is being made"),
        _ => Status::Current,
    }
}

fn service(object: &Value) -> Status {
    if text(object, "/spec/type") == "ExternalName" {
        return Status::Current;
    }
    if text(object, "/spec/clusterIP").is_empty() {
        return Status::progress("the Service has no address");
    }
    let balanced = text(object, "/spec/type") == "LoadBalancer";
    if balanced && list(object, "/status/loadBalancer/ingress").is_empty() {
        return Status::progress("the load balancer has no address");
    }
    Status::Current
}

fn namespace(object: &Value) -> Status {
    match text(object, "/status/phase") {
        "Terminating" => Status::Terminating,
        _ => Status::Current,
    }
}

fn definition(object: &Value) -> Status {
    if let Some(condition) = condition(object, "Terminating").filter(|condition| is_true(Some(condition))) {
        return Status::failed(Reason::Definition, words(condition));
    }
    if let Some(condition) = condition(object, "NamesAccepted")
        && text(condition, "/status") == "False"
    {
        return Status::failed(Reason::Definition, words(condition));
    }
    by_condition(object, "Established")
}

fn by_condition(object: &Value, name: &str) -> Status {
    match condition(object, name) {
        Some(condition) if is_true(Some(condition)) => Status::Current,
        Some(condition) => Status::progress(words(condition)),
        None => Status::progress(format!("condition {name} is not there yet")),
    }
}

/// A condition counts only for the generation that it was written for.
fn at_generation(conditions: &[Value], name: &str, generation: i64) -> Option<Status> {
    match condition_of(conditions, name) {
        Some(condition) if number(condition, "/observedGeneration") < generation => {
            Some(Status::progress(format!("condition {name} is of an earlier generation")))
        }
        Some(condition) if is_true(Some(condition)) => None,
        Some(condition) => Some(Status::progress(words(condition))),
        None => Some(Status::progress(format!("condition {name} is not there yet"))),
    }
}

fn gateway(object: &Value) -> Status {
    let generation = number(object, "/metadata/generation");
    let conditions = list(object, "/status/conditions");
    ["Accepted", "Programmed"]
        .iter()
        .find_map(|name| at_generation(conditions, name, generation))
        .unwrap_or(Status::Current)
}

fn route(object: &Value) -> Status {
    let generation = number(object, "/metadata/generation");
    let parents = list(object, "/status/parents");
    let wanted = list(object, "/spec/parentRefs").len();
    if parents.len() < wanted || parents.is_empty() {
        return Status::progress(format!("{} of {wanted} parents have answered", parents.len()));
    }
    parents
        .iter()
        .flat_map(|parent| ["Accepted", "ResolvedRefs"].map(|name| (parent, name)))
        .find_map(|(parent, name)| at_generation(list(parent, "/conditions"), name, generation))
        .unwrap_or(Status::Current)
}

fn custom(object: &Value) -> Status {
    match condition(object, "Ready") {
        Some(condition) if is_true(Some(condition)) => Status::Current,
        Some(condition) => Status::progress(words(condition)),
        None => Status::Current,
    }
}
