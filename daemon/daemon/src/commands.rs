//! What people do through the custom resources: `bundle pin | unpin | hold | unhold | clear | status | history`.

use daemon_cluster::{
    Cleared, Cluster, ClusterError, Denied, Hold, Pin, Release, Subscription, SubscriptionStatus,
};
use daemon_plan::RolloutState;
use jiff::Timestamp;
use kube::ResourceExt;
use registry_wire::Digest;
use serde::Serialize;
use serde_json::json;

/// How many releases are named.
const TOLD: usize = 10;

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The cluster.
    #[error("cannot change or read subscription {subscription}")]
    Cluster {
        /// The subscription.
        subscription: String,
        /// Why.
        source: ClusterError,
    },
    /// No such subscription.
    #[error("there is no subscription {subscription} in namespace {namespace}")]
    NoSubscription {
        /// The name.
        subscription: String,
        /// The namespace.
        namespace: String,
    },
    /// Nothing runs yet, so there is nothing to pin.
    #[error("subscription {subscription} runs no release yet")]
    NothingRuns {
        /// The subscription.
        subscription: String,
    },
    /// The release is not denied.
    #[error("release {release} is not denied in subscription {subscription}")]
    NotDenied {
        /// The subscription.
        subscription: String,
        /// The release.
        release: Digest,
    },
    /// The cluster has never seen the release.
    #[error("subscription {subscription} does not know release {release}; it knows {known}")]
    UnknownRelease {
        /// The subscription.
        subscription: String,
        /// The release.
        release: Digest,
        /// Those that it knows, the newest first.
        known: String,
    },
    /// A person or a reason is missing.
    #[error("{what} is empty; say who and why, others will read it")]
    Empty {
        /// What is empty.
        what: &'static str,
    },
    /// A text would change what a terminal shows of it.
    #[error("{what} holds control characters; write it in one plain line")]
    Control {
        /// What holds them.
        what: &'static str,
    },
}

impl CommandError {
    /// The next command to type.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSubscription { namespace, .. } => {
                Some(format!("kubectl -n {namespace} get subscriptions"))
            }
            Self::NothingRuns { subscription } | Self::NotDenied { subscription, .. } => {
                Some(format!("bundle status {subscription} --context NAME"))
            }
            Self::UnknownRelease { .. } => Some(
                "name one of these with --release; --unknown pins to another one all the same".to_owned(),
            ),
            Self::Cluster { source, .. } => source.hint().map(str::to_owned),
            Self::Empty { .. } | Self::Control { .. } => None,
        }
    }
}

/// Whether a status is of the subscription as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Freshness {
    /// The daemon has seen the last change of it.
    Current,
    /// It has not yet.
    Behind,
}

/// A subscription with what is known of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionView {
    /// Its name.
    pub name: String,
    /// The channel.
    pub channel: String,
    /// The namespace of its objects.
    pub namespace: String,
    /// The pin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// The hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// What the daemon says; without denials that a person cleared.
    pub status: SubscriptionStatus,
    /// Whether that is of the subscription as it is now.
    pub freshness: Freshness,
}

/// The rollouts of a subscription.
#[derive(Debug, Clone, Serialize)]
pub struct History {
    /// The newest attempt at each release, oldest first.
    pub entries: Vec<HistoryEntry>,
}

/// One release in the history.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The release.
    pub digest: Digest,
    /// Its version, if it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The phase.
    pub phase: String,
    /// The attempt.
    pub attempt: u32,
    /// When the attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// Since when it is in its phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Why it is as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Restore points that were taken for it.
    pub restore_points: Vec<daemon_cluster::RestorePointRecord>,
}

async fn read(cluster: &Cluster, name: &str) -> Result<Subscription, CommandError> {
    let found = cluster
        .subscription(name)
        .await
        .map_err(|source| CommandError::Cluster { subscription: name.to_owned(), source })?;
    found.ok_or_else(|| missing(cluster, name))
}

fn missing(cluster: &Cluster, name: &str) -> CommandError {
    CommandError::NoSubscription { subscription: name.to_owned(), namespace: cluster.home().to_owned() }
}

async fn change(
    cluster: &Cluster,
    name: &str,
    spec: serde_json::Value,
) -> Result<Subscription, CommandError> {
    let changed = cluster
        .change_subscription(name, spec)
        .await
        .map_err(|source| CommandError::Cluster { subscription: name.to_owned(), source })?;
    changed.ok_or_else(|| missing(cluster, name))
}

fn said(what: &'static str, text: &str) -> Result<(), CommandError> {
    if text.trim().is_empty() {
        Err(CommandError::Empty { what })
    } else if text.chars().any(char::is_control) {
        Err(CommandError::Control { what })
    } else {
        Ok(())
    }
}

/// What a subscription is pinned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinChoice {
    /// The release that runs.
    Running,
    /// A release that the cluster knows: it was tried here, or the channel names it.
    Known(Digest),
    /// Any release; whether there is one is found out when it is fetched.
    Any(Digest),
}

/// What a subscription was pinned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The release.
    pub release: Digest,
    /// Its denial, if it failed here and no person has cleared it: then it is not rolled out.
    pub denied: Option<Denied>,
}

/// Pins a subscription to a release.
pub async fn pin(
    cluster: &Cluster,
    subscription: &str,
    choice: PinChoice,
    reason: &str,
    by: &str,
) -> Result<Pinned, CommandError> {
    said("the reason", reason)?;
    said("the name of the person", by)?;
    let found = read(cluster, subscription).await?;
    let status = found.status.clone().unwrap_or_default();
    let release = match choice {
        PinChoice::Any(release) => release,
        PinChoice::Running => {
            let nothing = || CommandError::NothingRuns { subscription: subscription.to_owned() };
            status.running.as_ref().ok_or_else(nothing)?.digest
        }
        PinChoice::Known(release) => {
            let releases = cluster
                .releases(subscription)
                .await
                .map_err(|source| CommandError::Cluster { subscription: subscription.to_owned(), source })?;
            check_known(subscription, release, &known(&status, &releases))?;
            release
        }
    };
    let pin = Pin { digest: release, reason: reason.to_owned(), by: by.to_owned() };
    change(cluster, subscription, json!({ "pin": pin })).await?;
    let denied = status.denied_now(&found.spec).find(|denied| denied.digest == release).cloned();
    Ok(Pinned { release, denied })
}

/// The releases that a cluster has seen, the newest first, each with its version as far as that is known. A release
/// that could not be fetched was perhaps never there.
fn known(status: &SubscriptionStatus, releases: &[Release]) -> Vec<(Digest, Option<String>)> {
    let accepted = status.accepted.iter().map(|accepted| (accepted.release, &accepted.release_version));
    let tried = releases.iter().rev().filter_map(|release| {
        let status = release.status.as_ref()?;
        status.version.is_some().then_some((release.spec.digest, &status.version))
    });
    let mut known: Vec<(Digest, Option<String>)> = Vec::new();
    for (digest, version) in accepted.chain(tried) {
        if known.iter().all(|(other, _)| *other != digest) {
            known.push((digest, version.as_ref().map(ToString::to_string)));
        }
    }
    known
}

fn check_known(
    subscription: &str,
    release: Digest,
    known: &[(Digest, Option<String>)],
) -> Result<(), CommandError> {
    if known.iter().any(|(digest, _)| *digest == release) {
        return Ok(());
    }
    let named: Vec<String> = known
        .iter()
        .take(TOLD)
        .map(|(digest, version)| match version {
            Some(version) => format!("{version} {digest}"),
            None => digest.to_string(),
        })
        .collect();
    let known = if named.is_empty() { "none yet".to_owned() } else { named.join(", ") };
    Err(CommandError::UnknownRelease { subscription: subscription.to_owned(), release, known })
}

/// What a subscription does once a pin or a hold was taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freed {
    /// There was none.
    NotThere,
    /// It follows its channel.
    Follows,
    /// It stays pinned.
    Pinned(Pin),
    /// It stays held.
    Held(Hold),
}

/// Follows the channel again, if nothing else is in the way.
pub async fn unpin(cluster: &Cluster, subscription: &str) -> Result<Freed, CommandError> {
    let spec = read(cluster, subscription).await?.spec;
    if spec.pin.is_none() {
        return Ok(Freed::NotThere);
    }
    change(cluster, subscription, json!({ "pin": null })).await?;
    Ok(spec.hold.map_or(Freed::Follows, Freed::Held))
}

/// Takes nothing new from the channel.
pub async fn hold(cluster: &Cluster, subscription: &str, reason: &str, by: &str) -> Result<(), CommandError> {
    said("the reason", reason)?;
    said("the name of the person", by)?;
    let hold = Hold { reason: reason.to_owned(), by: by.to_owned() };
    change(cluster, subscription, json!({ "hold": hold })).await.map(drop)
}

/// Ends a hold.
pub async fn unhold(cluster: &Cluster, subscription: &str) -> Result<Freed, CommandError> {
    let spec = read(cluster, subscription).await?.spec;
    if spec.hold.is_none() {
        return Ok(Freed::NotThere);
    }
    change(cluster, subscription, json!({ "hold": null })).await?;
    Ok(spec.pin.map_or(Freed::Follows, Freed::Pinned))
}

/// Lets a denied release be tried again.
pub async fn clear_denied(
    cluster: &Cluster,
    subscription: &str,
    release: Digest,
    reason: &str,
    by: &str,
) -> Result<(), CommandError> {
    said("the reason", reason)?;
    said("the name of the person", by)?;
    let found = read(cluster, subscription).await?;
    let status = found.status.clone().unwrap_or_default();
    let denied = status.denied_now(&found.spec).find(|denied| denied.digest == release);
    let Some(denied) = denied else {
        return Err(CommandError::NotDenied { subscription: subscription.to_owned(), release });
    };
    let mut cleared: Vec<Cleared> =
        found.spec.cleared.iter().filter(|cleared| cleared.digest != release).cloned().collect();
    cleared.push(Cleared {
        digest: release,
        attempt: denied.attempt,
        reason: reason.to_owned(),
        by: by.to_owned(),
    });
    change(cluster, subscription, json!({ "cleared": cleared })).await.map(drop)
}

/// What is known of one subscription, or of all.
pub async fn status(
    cluster: &Cluster,
    subscription: Option<&str>,
) -> Result<Vec<SubscriptionView>, CommandError> {
    let subscriptions = if let Some(name) = subscription {
        vec![read(cluster, name).await?]
    } else {
        let error = |source| CommandError::Cluster { subscription: "*".to_owned(), source };
        let all = cluster.subscriptions().await.map_err(error)?;
        all.into_iter().collect::<Result<Vec<_>, _>>().map_err(error)?
    };
    Ok(subscriptions.into_iter().map(view).collect())
}

fn view(subscription: Subscription) -> SubscriptionView {
    let name = subscription.name_any();
    let Subscription { spec, status, metadata } = subscription;
    let mut status = status.unwrap_or_default();
    let freshness =
        if status.observed_generation < metadata.generation { Freshness::Behind } else { Freshness::Current };
    // What a person cleared is denied no more.
    status.denied = status.denied_now(&spec).cloned().collect();
    let (channel, namespace) = (spec.channel, spec.namespace);
    SubscriptionView { name, channel, namespace, pin: spec.pin, hold: spec.hold, status, freshness }
}

/// The rollouts of a subscription.
pub async fn history(cluster: &Cluster, subscription: &str) -> Result<History, CommandError> {
    read(cluster, subscription).await?;
    let releases = cluster
        .releases(subscription)
        .await
        .map_err(|source| CommandError::Cluster { subscription: subscription.to_owned(), source })?;
    Ok(History { entries: releases.into_iter().map(entry).collect() })
}

fn entry(release: Release) -> HistoryEntry {
    let status = release.status.unwrap_or_default();
    let journal: Option<&RolloutState> = status.journal.as_ref();
    HistoryEntry {
        digest: release.spec.digest,
        version: status.version.as_ref().map(ToString::to_string),
        phase: status.phase.clone().unwrap_or_default(),
        attempt: status.attempt.unwrap_or(0),
        started: journal.map(|journal| journal.started),
        since: status.since,
        reason: status.reason.clone(),
        message: status.message.clone(),
        restore_points: status.restore_points,
    }
}

#[cfg(test)]
mod tests {
    use daemon_cluster::{AcceptedRecord, ReleaseObjectSpec, ReleaseObjectStatus};

    use super::*;

    fn release(digest: Digest, version: Option<&str>) -> Release {
        let spec = ReleaseObjectSpec { subscription: "shop".to_owned(), digest };
        let version = version.map(|version| version.parse().unwrap());
        let status = ReleaseObjectStatus { version, ..ReleaseObjectStatus::default() };
        Release { status: Some(status), ..Release::new("shop", spec) }
    }

    #[test]
    fn a_release_that_was_never_here_is_unknown() {
        let [one, two, seen, absent] =
            ["one", "two", "seen", "absent"].map(|text| Digest::of(text.as_bytes()));
        let releases = [release(one, Some("0.1.0")), release(two, Some("0.2.0")), release(absent, None)];
        let status = SubscriptionStatus {
            accepted: Some(AcceptedRecord {
                version: 3,
                digest: Digest::of(b"record"),
                release: seen,
                release_version: None,
                title: None,
                seen_at: Timestamp::UNIX_EPOCH,
            }),
            ..SubscriptionStatus::default()
        };
        let known = known(&status, &releases);
        for release in [one, two, seen] {
            check_known("shop", release, &known).unwrap();
        }
        // It was pinned by mistake before, and is named nowhere but in that word.
        let text = check_known("shop", absent, &known).unwrap_err().to_string();
        assert!(text.ends_with(&format!("it knows {seen}, 0.2.0 {two}, 0.1.0 {one}")), "{text}");
        let text = check_known("shop", one, &[]).unwrap_err().to_string();
        assert!(text.ends_with("it knows none yet"), "{text}");
    }

    #[test]
    fn words_are_there_and_plain() {
        said("the reason", "freeze, até segunda-feira").unwrap();
        assert!(matches!(said("the reason", " "), Err(CommandError::Empty { .. })));
        for text in ["a\u{1b}[2Jb", "a\nb", "a\u{9b}b", "\u{7}"] {
            assert!(matches!(said("the reason", text), Err(CommandError::Control { .. })), "{text:?}");
        }
    }
}
