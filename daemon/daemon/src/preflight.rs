//! Preflight: all that can be found out before the first write.

use std::collections::{BTreeMap, BTreeSet};

use bundles_objects::SecretReference;
use daemon_cluster::{Cluster, ClusterError, Present};
use daemon_plan::{ObjectKey, rollout::Fact};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use crate::{
    contents::Contents,
    write::{Written, foreign, write_object},
};

const AT_ONCE: usize = 8;
/// How many faults are told at once.
const TOLD: usize = 5;

/// Checks versions, Secrets and every object by dry run.
pub(crate) async fn preflight(
    cluster: &Cluster,
    contents: &Contents,
    subscription: &str,
    namespace: &str,
    version: (u32, u32),
) -> Result<Fact<()>, ClusterError> {
    let mut faults = Vec::new();
    let requires = contents.release.requires();
    if !requires.daemon.is_met_by(version.0, version.1) {
        faults.push(format!(
            "the release needs a daemon {}, this is {}.{}: a newer `bundle subscribe` with --upgrade-daemon installs its own",
            requires.daemon, version.0, version.1
        ));
    }
    let kubernetes = cluster.version().await?;
    if !requires.kubernetes.is_met_by(kubernetes.major, kubernetes.minor) {
        faults.push(format!(
            "the release needs Kubernetes {}, this is {}.{}",
            requires.kubernetes, kubernetes.major, kubernetes.minor
        ));
    }
    faults.extend(missing_secrets(cluster, namespace, &contents.secrets).await?);
    let mut tasks = Vec::new();
    for (key, intent) in &contents.objects {
        tasks.push(check(cluster, subscription, key, intent));
    }
    let results: Vec<Option<String>> = stream::iter(tasks).buffered(AT_ONCE).try_collect().await?;
    faults.extend(results.into_iter().flatten());
    faults.sort();
    faults.dedup();
    if faults.is_empty() {
        return Ok(Fact::Known(()));
    }
    let more = faults.len().saturating_sub(TOLD);
    faults.truncate(TOLD);
    let mut message = faults.join("; ");
    if more > 0 {
        message = format!("{message}; and {more} more");
    }
    Ok(Fact::Refused { message })
}

async fn check(
    cluster: &Cluster,
    subscription: &str,
    key: &ObjectKey,
    intent: &Value,
) -> Result<Option<String>, ClusterError> {
    if let Present::Present(live) = cluster.get(key).await?
        && let Some(failure) = foreign(key, &live, subscription)
    {
        return Ok(Some(failure.message));
    }
    Ok(match write_object(cluster, key, intent, &[], true).await? {
        Written::Done { .. } | Written::Terminating | Written::Unknown => None,
        Written::Rejected(failure) => Some(failure.message),
    })
}

/// Secrets or keys of them that are not there, each with the command that makes it. Values are not looked at.
async fn missing_secrets(
    cluster: &Cluster,
    namespace: &str,
    wanted: &BTreeSet<SecretReference>,
) -> Result<Vec<String>, ClusterError> {
    let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for reference in wanted {
        by_name.entry(reference.name()).or_default().push(reference.key());
    }
    let mut faults = Vec::new();
    for (name, keys) in by_name {
        let Ok(object) = ObjectKey::new("", "v1", "Secret", Some(namespace), name) else { continue };
        match cluster.get(&object).await? {
            Present::Absent => {
                let values: Vec<String> =
                    keys.iter().map(|key| format!("--from-literal={key}=VALUE")).collect();
                faults.push(format!(
                    "Secret {namespace}/{name} is missing: kubectl -n {namespace} create secret generic {name} {}",
                    values.join(" ")
                ));
            }
            Present::Present(secret) => {
                for key in
                    keys.iter().filter(|key| secret.get("data").and_then(|data| data.get(**key)).is_none())
                {
                    faults.push(format!(
                        "Secret {namespace}/{name} has no key {key}: kubectl -n {namespace} patch secret {name} -p \
                         '{{\"stringData\":{{\"{key}\":\"VALUE\"}}}}'"
                    ));
                }
            }
        }
    }
    Ok(faults)
}
