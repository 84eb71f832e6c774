//! The Job that takes one restore point.

use bundles_release::names::{BACKUP_LABEL, RELEASE_ANNOTATION, SUBSCRIPTION_LABEL};
use daemon_cluster::{BackupVolume, container_security, pod_security};
use daemon_plan::names::ShortName;
use k8s_openapi::api::{batch::v1::Job, core::v1::PersistentVolumeClaim};
use serde_json::{Value, json};

use crate::{RestorePointRequest, VOLUME};

pub(crate) const CONFIRM: &str = "confirm";
const FORGET: &str = "forget";
const FOLDER: &str = "/backup";
const LONGEST: i64 = 570;
/// A Job is looked at for a week; the record in the Release stays.
const KEPT: i64 = 7 * 24 * 3600;

/// The guest's verb that removes files.
const DISCARD: [&str; 2] = ["guest", "discard"];

/// A program of the data service's own image.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) command: Vec<String>,
}

/// Where the file is while it is incomplete.
pub(crate) fn partial_path(name: &str) -> String {
    format!("{FOLDER}/{name}.rdb.tmp")
}

fn named_path(name: &str) -> String {
    format!("{FOLDER}/{name}.rdb")
}

/// The name of the restore point that lies at a path.
fn named_of(path: &str) -> Option<&str> {
    path.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(".rdb")
}

/// The Job: our guest deletes restore points of forgotten releases and clears what an earlier pod left, the tools of the
/// data service write and check the file, our guest gives it its name.
#[allow(clippy::expect_used, reason = "the literal below is a Job; a test reads it")]
pub(crate) fn job(request: &RestorePointRequest<'_>, image: &str, tools: &[Tool]) -> Job {
    let name = request.name.as_str();
    let security = container_security();
    let mut pod_security = pod_security();
    pod_security["fsGroup"] = json!(65532);
    let container = |name: &str, image: &str| {
        json!({
            "name": name,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "resources": {
                "requests": { "cpu": "10m", "memory": "32Mi" },
                "limits": { "memory": "256Mi" },
            },
            "securityContext": security,
            "volumeMounts": [{ "name": "backup", "mountPath": FOLDER }],
        })
    };
    let guest = |step: &str, arguments: Value| {
        let mut container = container(step, request.guest);
        container["args"] = arguments;
        container
    };
    let mut before = Vec::new();
    if !request.forgotten.is_empty() {
        let old = request.forgotten.iter().map(|old| named_path(old.as_str()));
        let words = DISCARD.iter().map(|word| (*word).to_owned()).chain(old);
        before.push(guest(FORGET, words.collect()));
    }
    before.push(guest("clear", json!([DISCARD[0], DISCARD[1], partial_path(name)])));
    before.extend(tools.iter().map(|tool| {
        let mut container = container(tool.name, image);
        container["command"] = json!(tool.command);
        container
    }));
    let confirm = guest(CONFIRM, json!(["guest", "confirm", partial_path(name), named_path(name)]));
    let labels = json!({ BACKUP_LABEL: request.service, SUBSCRIPTION_LABEL: request.subscription });
    let annotations = json!({
        RELEASE_ANNOTATION: request.release,
        "bundle.build/attempt": request.attempt.to_string(),
    });
    serde_json::from_value(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name, "labels": labels, "annotations": annotations },
        "spec": {
            "backoffLimit": 2,
            "activeDeadlineSeconds": LONGEST,
            "ttlSecondsAfterFinished": KEPT,
            "template": {
                "metadata": { "labels": labels, "annotations": annotations },
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "securityContext": pod_security,
                    "initContainers": before,
                    "containers": [confirm],
                    "volumes": [{ "name": "backup", "persistentVolumeClaim": { "claimName": VOLUME } }],
                },
            },
        },
    }))
    .expect("a Job")
}

/// The restore points that a Job deletes before it takes its own.
pub(crate) fn forgotten(job: &Job) -> Vec<ShortName> {
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let containers = pod.and_then(|pod| pod.init_containers.as_deref()).unwrap_or_default();
    let paths = containers.iter().filter(|container| container.name == FORGET);
    let paths = paths.flat_map(|container| container.args.iter().flatten().skip(DISCARD.len()));
    paths.filter_map(|path| named_of(path)?.parse().ok()).collect()
}

/// The claim of the volume that restore points lie on.
#[allow(clippy::expect_used, reason = "the literal below is a claim; a test reads it")]
pub(crate) fn claim(volume: &BackupVolume) -> PersistentVolumeClaim {
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": { "requests": { "storage": volume.size } },
    });
    if let Some(class) = &volume.storage_class {
        spec["storageClassName"] = json!(class);
    }
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": VOLUME, "labels": { "app.kubernetes.io/part-of": "bundle" } },
        "spec": spec,
    }))
    .expect("a claim")
}
