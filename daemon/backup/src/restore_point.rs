//! Taking a restore point, one look at a time.

use bundles_objects::BackupKind;
use daemon_cluster::{BackupVolume, Cluster, ClusterError, JobState, Present, RestorePointRecord};
use daemon_plan::{ObjectKey, key::KeyError, names::ShortName};
use k8s_openapi::api::batch::v1::Job;
use registry_wire::Digest;
use serde_json::Value;

use crate::{
    guest::Confirmed,
    job::{self, CONFIRM},
    redis,
};

/// Name of the claim that restore points lie on, in the namespace of the data.
pub const VOLUME: &str = "bundle-backup";

/// Which restore point is wanted.
#[derive(Debug, Clone, Copy)]
pub struct RestorePointRequest<'a> {
    /// The subscription.
    pub subscription: &'a str,
    /// The release that is about to be written.
    pub release: Digest,
    /// The attempt at it.
    pub attempt: u32,
    /// The service whose data is saved; its workload and its Service bear this name.
    pub service: &'a str,
    /// The namespace of the data.
    pub namespace: &'a str,
    /// How it is done.
    pub way: BackupKind,
    /// The port to save from.
    pub port: u16,
    /// Name of the restore point.
    pub name: &'a ShortName,
    /// The image that holds our static executable.
    pub guest: &'a str,
    /// The volume.
    pub volume: &'a BackupVolume,
    /// Restore points of releases that are to be forgotten: deleted first, which makes room.
    pub forgotten: &'a [ShortName],
    /// Whether a release that was kept here is remembered. If not, a workload without one ready replica may be what a
    /// failed first install left, or may have served for years: its claims tell.
    pub was_kept: bool,
}

/// How a restore point stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestorePointProgress {
    /// There is no data, or none that anybody could save: no workload is there.
    NothingToProtect,
    /// There may be data, and the workload is not ready to hand it out.
    Waits {
        /// What it waits for, and what to type.
        message: String,
    },
    /// It is being taken.
    Running,
    /// It is taken and checked.
    Confirmed {
        /// What it is.
        record: RestorePointRecord,
        /// Restore points that were deleted for it. Another look may have asked for others since.
        forgotten: Vec<ShortName>,
    },
    /// It cannot be taken.
    Failed {
        /// Why.
        message: String,
    },
}

/// Why nothing is known of a restore point.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The API server did not answer as hoped.
    #[error("cannot take restore point {name}")]
    Cluster {
        /// Its name.
        name: ShortName,
        /// What went wrong.
        source: ClusterError,
    },
    /// The service's name is no name of an object.
    #[error("the workload of service {service} cannot be named")]
    Workload {
        /// The service.
        service: String,
        /// Why.
        source: KeyError,
    },
}

/// Takes a restore point, or looks how the one under way is. Does not wait: ask again.
pub async fn restore_point(
    cluster: &Cluster,
    request: &RestorePointRequest<'_>,
) -> Result<RestorePointProgress, BackupError> {
    let error = |source| BackupError::Cluster { name: request.name.clone(), source };
    let failed = |message: String| Ok(RestorePointProgress::Failed { message });
    let name = request.name.as_str();
    match cluster.job_state(request.namespace, name, CONFIRM).await.map_err(error)? {
        JobState::Running => return Ok(RestorePointProgress::Running),
        JobState::Failed { message } => return failed(with_advice(message, request.namespace)),
        JobState::Complete { job, message } => return Ok(read_report(request, &job, message)),
        JobState::Absent => {}
    }
    let Some(workload) = workload(cluster, request).await? else {
        return Ok(RestorePointProgress::NothingToProtect);
    };
    let ready = workload.pointer("/status/readyReplicas").and_then(Value::as_u64).unwrap_or(0);
    if ready == 0 && !request.was_kept {
        let listed = cluster.list("", "v1", "PersistentVolumeClaim", Some(request.namespace), None).await;
        let bound = bound_claims(&workload, &listed.map_err(error)?);
        return Ok(match bound.first() {
            None => RestorePointProgress::NothingToProtect,
            Some(claim) => RestorePointProgress::Waits { message: unready(request, &workload, claim) },
        });
    }
    let image = workload.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
    let Some(image) = image else {
        return failed(format!("the workload of {} names no image", request.service));
    };
    let partial = job::partial_path(name);
    let tools = match request.way {
        BackupKind::RedisRdb => redis::tools(request.service, request.port, &partial),
    };
    cluster.ensure_claim(request.namespace, &job::claim(request.volume)).await.map_err(error)?;
    cluster.ensure_job(request.namespace, &job::job(request, image, &tools)).await.map_err(error)?;
    Ok(RestorePointProgress::Running)
}

/// Adds what to type when the volume is full.
fn with_advice(message: String, namespace: &str) -> String {
    if !message.contains("No space left on device") {
        return message;
    }
    format!(
        "{message}; the volume {VOLUME} is full: raise spec.backup.size, copy what is to be kept, and \
         kubectl -n {namespace} delete persistentvolumeclaim {VOLUME}, which deletes all restore points on it; the next \
         attempt makes a new one"
    )
}

/// The live workload of the service; none if the API server says that there is none.
async fn workload(
    cluster: &Cluster,
    request: &RestorePointRequest<'_>,
) -> Result<Option<Value>, BackupError> {
    for kind in ["StatefulSet", "Deployment"] {
        let key = ObjectKey::new("apps", "v1", kind, Some(request.namespace), request.service)
            .map_err(|source| BackupError::Workload { service: request.service.to_owned(), source })?;
        let found = cluster
            .get(&key)
            .await
            .map_err(|source| BackupError::Cluster { name: request.name.clone(), source })?;
        if let Present::Present(workload) = found {
            return Ok(Some(workload));
        }
    }
    Ok(None)
}

/// The claims of a workload that are bound to a volume, so that there may be data on it.
fn bound_claims(workload: &Value, claims: &[Value]) -> Vec<String> {
    let text = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let each = |path: &str| workload.pointer(path).and_then(Value::as_array).into_iter().flatten();
    let name = text(workload, "/metadata/name").unwrap_or_default();
    let named: Vec<String> = each("/spec/template/spec/volumes")
        .filter_map(|volume| text(volume, "/persistentVolumeClaim/claimName"))
        .collect();
    // A set names the claims that it makes by template, set and ordinal.
    let made: Vec<String> = each("/spec/volumeClaimTemplates")
        .filter_map(|template| Some(format!("{}-{name}-", text(template, "/metadata/name")?)))
        .collect();
    let is_own = |claim: &str| {
        named.iter().any(|own| own == claim)
            || made.iter().any(|start| {
                let ordinal = claim.strip_prefix(start.as_str());
                ordinal.is_some_and(|ordinal| ordinal.parse::<u32>().is_ok())
            })
    };
    claims
        .iter()
        .filter(|claim| text(claim, "/status/phase").as_deref() == Some("Bound"))
        .filter_map(|claim| text(claim, "/metadata/name"))
        .filter(|claim| is_own(claim))
        .collect()
}

/// What a person reads who has to bring a data service back, or to do without its data.
fn unready(request: &RestorePointRequest<'_>, workload: &Value, claim: &str) -> String {
    let RestorePointRequest { service, namespace, .. } = request;
    let kind = workload.get("kind").and_then(Value::as_str).unwrap_or("StatefulSet").to_lowercase();
    format!(
        "service {service} has no ready replica to save from, and claim {claim} may hold its data; look why: \
         kubectl -n {namespace} describe {kind}.apps {service}; to go on without a restore point: \
         kubectl -n {namespace} delete {kind}.apps {service}, which leaves the claim"
    )
}

fn read_report(
    request: &RestorePointRequest<'_>,
    job: &Job,
    message: Option<String>,
) -> RestorePointProgress {
    let Some(message) = message else {
        return RestorePointProgress::Failed { message: "its Job ended without a report".to_owned() };
    };
    match serde_json::from_str::<Confirmed>(&message) {
        Ok(confirmed) => RestorePointProgress::Confirmed {
            record: RestorePointRecord {
                service: request.service.to_owned(),
                name: request.name.clone(),
                volume: VOLUME.to_owned(),
                size: confirmed.size,
                digest: confirmed.digest,
                attempt: request.attempt,
                taken: job.status.as_ref().and_then(|status| Some(status.completion_time.as_ref()?.0)),
            },
            forgotten: job::forgotten(job),
        },
        Err(error) => {
            RestorePointProgress::Failed { message: format!("its Job reported `{message}`: {error}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_locked_down_and_runs_the_steps_in_order() {
        let name: ShortName = "pre-0123-1-cache".parse().unwrap();
        let volume = BackupVolume::default();
        let request = RestorePointRequest {
            subscription: "shop",
            release: Digest::of(b"release"),
            attempt: 1,
            service: "cache",
            namespace: "shop",
            way: BackupKind::RedisRdb,
            port: 6379,
            name: &name,
            guest: "registry.example/bundle@sha256:0",
            volume: &volume,
            forgotten: &["pre-0000-1-cache".parse().unwrap(), "pre-0000-2-cache".parse().unwrap()],
            was_kept: true,
        };
        let tools = redis::tools("cache", 6379, &job::partial_path(name.as_str()));
        let job = job::job(&request, "registry.example/cache@sha256:1", &tools);
        assert_eq!(job::forgotten(&job), request.forgotten, "a Job says what it deletes");
        let job = serde_json::to_value(job).unwrap();
        let pod = &job["spec"]["template"]["spec"];
        let names: Vec<_> = pod["initContainers"]
            .as_array()
            .unwrap()
            .iter()
            .chain(pod["containers"].as_array().unwrap())
            .map(|container| container["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["forget", "clear", "save", "check", "confirm"]);
        assert_eq!(
            pod["initContainers"][0]["args"],
            serde_json::json!([
                "guest",
                "discard",
                "/backup/pre-0000-1-cache.rdb",
                "/backup/pre-0000-2-cache.rdb"
            ])
        );
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        for container in pod["initContainers"].as_array().unwrap() {
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        }
        assert_eq!(
            serde_json::to_value(job::claim(&volume)).unwrap()["spec"]["resources"]["requests"]["storage"],
            "1Gi"
        );
    }

    #[test]
    fn a_full_volume_says_what_to_type() {
        let text = with_advice("save: No space left on device".to_owned(), "shop");
        assert!(text.contains("kubectl -n shop delete persistentvolumeclaim bundle-backup"), "{text}");
        assert_eq!(with_advice("else".to_owned(), "shop"), "else");
    }

    #[test]
    fn only_bound_claims_of_the_workload_hold_data() {
        let claim = |name: &str, phase: &str| serde_json::json!({ "metadata": { "name": name }, "status": { "phase": phase } });
        let set = serde_json::json!({
            "kind": "StatefulSet", "metadata": { "name": "cache" },
            "spec": { "volumeClaimTemplates": [{ "metadata": { "name": "data" } }],
                      "template": { "spec": { "volumes": [
                          { "name": "old", "persistentVolumeClaim": { "claimName": "old" } },
                          { "name": "tmp", "emptyDir": {} } ] } } },
        });
        let all = [
            claim("data-cache-0", "Pending"),
            claim("data-cache-1", "Bound"),
            claim("data-cache-two-0", "Bound"),
            claim("old", "Bound"),
            claim("bundle-backup", "Bound"),
        ];
        assert_eq!(bound_claims(&set, &all), ["data-cache-1", "old"]);
        assert!(bound_claims(&set, &all[..1]).is_empty(), "nothing was ever written to it");
        assert!(bound_claims(&serde_json::json!({ "kind": "Deployment" }), &all).is_empty());
    }

    #[test]
    fn only_a_whole_report_counts() {
        let name: ShortName = "pre-0123-1-cache".parse().unwrap();
        let volume = BackupVolume::default();
        let request = RestorePointRequest {
            subscription: "shop",
            release: Digest::of(b"release"),
            attempt: 1,
            service: "cache",
            namespace: "shop",
            way: BackupKind::RedisRdb,
            port: 6379,
            name: &name,
            guest: "",
            volume: &volume,
            forgotten: &[],
            was_kept: true,
        };
        let job = job::job(&request, "registry.example/cache@sha256:1", &[]);
        let text = format!("{{\"digest\":\"{}\",\"size\":9}}", Digest::of(b"x"));
        assert!(matches!(
            read_report(&request, &job, Some(text)),
            RestorePointProgress::Confirmed { record, forgotten } if record.size == 9 && forgotten.is_empty()
        ));
        for bad in [None, Some(String::new()), Some("{}".to_owned())] {
            assert!(matches!(read_report(&request, &job, bad), RestorePointProgress::Failed { .. }));
        }
    }
}
