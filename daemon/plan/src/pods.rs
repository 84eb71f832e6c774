//! Pods: which of them tell of the current revision, and what fails before any deadline.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    field::{at, condition, is_true, list, number, text, time},
    key::split_api_version,
    reason::{Failure, Reason},
    rollout::PodReference,
};

/// How long an image may fail to come before that is a failure.
const IMAGE_PATIENCE: SignedDuration = SignedDuration::from_secs(20);
/// How long a container's configuration may be incomplete: the kubelet learns of a new `ConfigMap` a moment later.
const CONFIG_PATIENCE: SignedDuration = SignedDuration::from_secs(10);
/// Lines and characters of a container's last words that are told.
const LAST_LINES: usize = 3;
const LAST_CHARACTERS: usize = 300;
/// Restarts of a new pod that are a failure.
const RESTARTS: i64 = 2;

/// What fails a pod at once. `since` is when the rollout began to write: restarts count only for pods that were made
/// after it, since old pods have restarted in their time.
pub fn pod_failure(pod: &Value, since: Timestamp, now: Timestamp) -> Option<Failure> {
    if is_going(pod) {
        return None;
    }
    waiting_failure(pod, now).or_else(|| memory_failure(pod, since)).or_else(|| restarts(pod, since))
}

/// What a container waits for in vain.
pub(crate) fn waiting_failure(pod: &Value, now: Timestamp) -> Option<Failure> {
    statuses(pod).find_map(|container| {
        let waiting = at(container, "/state/waiting");
        let why = text(waiting, "/reason");
        let waited = waiting_since(pod).map(|since| now.duration_since(since));
        let longer = |patience: SignedDuration| waited.is_some_and(|waited| waited > patience);
        let reason = match why {
            "CrashLoopBackOff" => Reason::CrashLoop,
            "InvalidImageName" | "ErrImageNeverPull" => Reason::ImagePull,
            "ErrImagePull"
            | "ImagePullBackOff"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed"
                if longer(IMAGE_PATIENCE) =>
            {
                Reason::ImagePull
            }
            "CreateContainerConfigError" if longer(CONFIG_PATIENCE) => Reason::ContainerConfig,
            "RunContainerError" | "CreateContainerError" | "PreStartHookError" | "PostStartHookError"
                if longer(CONFIG_PATIENCE) =>
            {
                Reason::ContainerStart
            }
            _ => return None,
        };
        let message = [text(waiting, "/message").to_owned(), last_end(container).unwrap_or_default()];
        let message: Vec<String> = message.into_iter().filter(|part| !part.is_empty()).collect();
        Some(Failure::new(reason, about(pod, container, why, &message.join("; "))))
    })
}

fn memory_failure(pod: &Value, since: Timestamp) -> Option<Failure> {
    statuses(pod).find_map(|container| {
        ["/state/terminated", "/lastState/terminated"].iter().find_map(|state| {
            let ended = at(container, state);
            let recent = time(ended, "/finishedAt").is_some_and(|finished| not_before(finished, since));
            (text(ended, "/reason") == "OOMKilled" && recent).then(|| {
                Failure::new(
                    Reason::OutOfMemory,
                    about(pod, container, "OOMKilled", "the memory limit was reached"),
                )
            })
        })
    })
}

fn restarts(pod: &Value, since: Timestamp) -> Option<Failure> {
    let made = time(pod, "/metadata/creationTimestamp")?;
    if !not_before(made, since) {
        return None;
    }
    let container = statuses(pod).find(|container| number(container, "/restartCount") >= RESTARTS)?;
    let count = number(container, "/restartCount");
    let ended = last_end(container).unwrap_or_default();
    let message = about(pod, container, &format!("restarted {count} times"), &ended);
    Some(Failure::new(Reason::Restarts, message))
}

/// How a container ended last, with its last words; none if it never did.
fn last_end(container: &Value) -> Option<String> {
    let ended = ["/state/terminated", "/lastState/terminated"]
        .into_iter()
        .map(|state| at(container, state))
        .find(|ended| ended.is_object())?;
    let mut told = vec![format!("it ended with exit code {}", number(ended, "/exitCode"))];
    if let signal @ 1.. = number(ended, "/signal") {
        told.push(format!("signal {signal}"));
    }
    // These say no more than the code.
    let reason = text(ended, "/reason");
    if !matches!(reason, "" | "Error" | "Completed") {
        told.push(reason.to_owned());
    }
    let told = told.join(", ");
    let words = last_words(text(ended, "/message"));
    Some(if words.is_empty() { told } else { format!("{told}: {words}") })
}

/// The end of what a container wrote, in one line without control characters. Indented lines are frames of a stack and
/// the like: the error itself stands above them.
fn last_words(message: &str) -> String {
    let plain: String = message
        .chars()
        .filter(|character| matches!(character, '\n' | '\t') || !character.is_control())
        .collect();
    let lines: Vec<&str> = plain.lines().filter(|line| line.chars().any(char::is_alphanumeric)).collect();
    let outer: Vec<&str> = lines.iter().copied().filter(|line| !line.starts_with([' ', '\t'])).collect();
    let lines = if outer.is_empty() { lines } else { outer };
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    let words = last.iter().map(|line| line.trim().replace('\t', " ")).collect::<Vec<_>>().join(" | ");
    match words.char_indices().rev().nth(LAST_CHARACTERS) {
        Some((start, _)) => format!("…{}", &words[start..]),
        None => words,
    }
}

/// The API server keeps whole seconds.
fn not_before(time: Timestamp, since: Timestamp) -> bool {
    time.as_second() >= since.as_second()
}

fn about(pod: &Value, container: &Value, what: &str, message: &str) -> String {
    let place =
        format!("container {} of pod {}: {what}", text(container, "/name"), text(pod, "/metadata/name"));
    if message.is_empty() { place } else { format!("{place}, {message}") }
}

/// Since when the containers could have started: the last of scheduled and initialised.
fn waiting_since(pod: &Value) -> Option<Timestamp> {
    ["PodScheduled", "Initialized"]
        .iter()
        .filter_map(|name| condition(pod, name).filter(|condition| is_true(Some(condition))))
        .filter_map(|condition| time(condition, "/lastTransitionTime"))
        .max()
        .or_else(|| time(pod, "/metadata/creationTimestamp"))
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    list(pod, "/status/initContainerStatuses").iter().chain(list(pod, "/status/containerStatuses"))
}

/// Whether the pod is being deleted: what it does then says nothing.
fn is_going(pod: &Value) -> bool {
    at(pod, "/metadata/deletionTimestamp").is_string()
}

/// Whether a pod was ready and is not any more, without a restart of a container in between: `Ready` went from true
/// to false after its containers had started, since it is false from the beginning otherwise.
///
/// A pod whose node was not heard of is not meant: the node controller takes `Ready` from every pod there and leaves
/// `ContainersReady` as the kubelet wrote it. That says nothing of the release, and passes or runs into the deadline.
pub fn lost_readiness(pod: &Value) -> bool {
    if is_going(pod) || is_true(condition(pod, "ContainersReady")) && !lacks_gates(pod) {
        return false;
    }
    let Some(ready) = condition(pod, "Ready") else { return false };
    let Some(changed) = time(ready, "/lastTransitionTime") else { return false };
    let containers = list(pod, "/status/containerStatuses");
    text(ready, "/status") == "False"
        && text(ready, "/reason") != "PodCompleted"
        && !containers.is_empty()
        && containers
            .iter()
            .all(|container| time(container, "/state/running/startedAt").is_some_and(|start| changed > start))
}

/// Whether the containers are ready and something else that the pod names as a readiness gate is not.
fn lacks_gates(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| text(ready, "/reason") == "ReadinessGatesNotReady")
}

/// The pods of a workload's current revision; for other kinds none.
///
/// A Deployment's are those of the `ReplicaSet` with its revision, so `replica_sets` must hold the namespace's.
pub fn current_pods<'a>(workload: &Value, replica_sets: &[Value], pods: &'a [Value]) -> Vec<&'a Value> {
    let uid = text(workload, "/metadata/uid");
    let of = |owner: &str, pod: &Value| !owner.is_empty() && is_owned(pod, owner);
    let labelled = |pod: &Value, label: &str, value: &str| {
        at(pod, "/metadata/labels").get(label).is_some_and(|own| own == value)
    };
    match (split_api_version(text(workload, "/apiVersion")).0, text(workload, "/kind")) {
        ("apps", "Deployment") => {
            let revision = annotation(workload, "deployment.kubernetes.io/revision");
            let current = replica_sets.iter().filter(|set| is_owned(set, uid)).find(|set| {
                !revision.is_empty() && annotation(set, "deployment.kubernetes.io/revision") == revision
            });
            let owner = current.map_or("", |set| text(set, "/metadata/uid"));
            pods.iter().filter(|pod| of(owner, pod)).collect()
        }
        ("apps", "StatefulSet") => {
            let revision = text(workload, "/status/updateRevision");
            let current = |pod: &&Value| of(uid, pod) && labelled(pod, "controller-revision-hash", revision);
            pods.iter().filter(current).collect()
        }
        ("apps", "DaemonSet") => {
            let generation = annotation(workload, "deprecated.daemonset.template.generation");
            let current = |pod: &&Value| {
                of(uid, pod)
                    && (generation.is_empty() || labelled(pod, "pod-template-generation", generation))
            };
            pods.iter().filter(current).collect()
        }
        ("apps", "ReplicaSet") => pods.iter().filter(|pod| of(uid, pod)).collect(),
        _ => Vec::new(),
    }
}

/// Pods of an abandoned revision that keep a `StatefulSet` from going on.
///
/// The controller waits for a pod to become ready before it replaces it, also when a newer template says how: a pod
/// that can never become ready must be deleted by someone.
pub fn stuck_pods(workload: &Value, pods: &[Value]) -> Vec<PodReference> {
    let kind = (split_api_version(text(workload, "/apiVersion")).0, text(workload, "/kind"));
    let seen = at(workload, "/metadata/generation") == at(workload, "/status/observedGeneration");
    let revision = text(workload, "/status/updateRevision");
    // Where people replace pods by hand, earlier revisions are no leftovers.
    let by_hand = text(workload, "/spec/updateStrategy/type") == "OnDelete";
    if kind != ("apps", "StatefulSet") || !seen || revision.is_empty() || by_hand {
        return Vec::new();
    }
    let uid = text(workload, "/metadata/uid");
    pods.iter()
        .filter(|pod| is_owned(pod, uid) && !is_going(pod) && !is_true(condition(pod, "Ready")))
        .filter(|pod| {
            at(pod, "/metadata/labels/controller-revision-hash").as_str().is_some_and(|own| own != revision)
        })
        .filter_map(|pod| {
            Some(PodReference {
                namespace: text(pod, "/metadata/namespace").to_owned(),
                name: text(pod, "/metadata/name").to_owned(),
                uid: text(pod, "/metadata/uid").parse().ok()?,
            })
        })
        .collect()
}

fn is_owned(object: &Value, owner: &str) -> bool {
    let owners = list(object, "/metadata/ownerReferences");
    !owner.is_empty()
        && owners.iter().any(|reference| {
            text(reference, "/uid") == owner && at(reference, "/controller").as_bool() == Some(true)
        })
}

fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    at(object, "/metadata/annotations").get(name).and_then(Value::as_str).unwrap_or("")
}
