//! Following a rollout in a cluster to its end.

use std::time::{Duration, Instant};

use daemon_cluster::{Cluster, Condition, ConditionStatus, DAEMON_PODS, Subscription, SubscriptionStatus};
use daemon_plan::{ObjectKey, Target, Uid, pods::pod_failure};
use jiff::Timestamp;
use registry_wire::Digest;
use serde_json::Value;

use crate::{
    cluster::{ClusterChoice, of_cluster},
    command::Context,
    error::{CommandError, Kind},
};

const LOOK: Duration = Duration::from_millis(500);

/// What is followed.
#[derive(Debug)]
pub(crate) struct Following<'a> {
    /// The cluster.
    pub(crate) choice: &'a ClusterChoice,
    /// The subscription.
    pub(crate) subscription: &'a str,
    /// The image of the daemon, as the nodes know it.
    pub(crate) daemon_image: &'a str,
    /// The release that it shall keep.
    pub(crate) release: Digest,
    /// When to give up; the rollout goes on.
    pub(crate) limit: Duration,
    /// How long a refusal must stand: one that was there before the daemon looked again says nothing.
    pub(crate) patience: Duration,
}

/// How it stands with a release, by the status of its subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// It runs and was judged well.
    Kept,
    /// It was taken back.
    Denied(String),
    /// It is not begun, for a reason that does not go away by itself, or the cluster stays where it is.
    Refused(String),
    /// It is on its way.
    UnderWay,
}

fn condition<'a>(status: &'a SubscriptionStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.kind == kind)
}

fn holds(condition: Option<&Condition>, wanted: ConditionStatus) -> Option<&Condition> {
    condition.filter(|condition| condition.status == wanted)
}

fn verdict(subscription: &Subscription, release: Digest) -> Verdict {
    let Some(status) = &subscription.status else { return Verdict::UnderWay };
    let ready = condition(status, "Ready");
    let runs = status.running.as_ref().is_some_and(|running| running.digest == release);
    if runs && holds(ready, ConditionStatus::True).is_some() {
        return Verdict::Kept;
    }
    if let Some(denied) = status.denied_now(&subscription.spec).find(|denied| denied.digest == release) {
        return Verdict::Denied(format!("{}: {}", denied.reason, denied.message));
    }
    let is_seen = status.accepted.as_ref().is_some_and(|accepted| accepted.release == release);
    if !is_seen {
        let refused = holds(condition(status, "ChannelVerified"), ConditionStatus::False);
        return refused.map_or(Verdict::UnderWay, |refused| Verdict::Refused(refused.message.clone()));
    }
    if let Some(stays) = ["Pinned", "Held"]
        .iter()
        .find_map(|kind| holds(condition(status, kind), ConditionStatus::True))
        .filter(|_| !runs)
    {
        return Verdict::Refused(format!("{}: {}", stays.reason, stays.message));
    }
    match holds(ready, ConditionStatus::False).filter(|ready| ready.reason == Target::REFUSED) {
        Some(ready) => Verdict::Refused(ready.message.clone()),
        None => Verdict::UnderWay,
    }
}

/// What goes on with a release, in one line. As long as another one was seen last, only what keeps this one from being seen.
fn news(status: &SubscriptionStatus, release: Digest) -> Option<String> {
    let silent = || {
        let channel = condition(status, "ChannelVerified")?;
        (channel.status != ConditionStatus::True && !channel.message.is_empty()).then_some(channel)
    };
    let is_other = status.accepted.as_ref().is_some_and(|accepted| accepted.release != release);
    let told = if is_other {
        silent()
    } else {
        let progressing = holds(condition(status, "Progressing"), ConditionStatus::True);
        progressing.or_else(silent).or_else(|| condition(status, "Ready"))
    };
    told.map(|condition| {
        [condition.reason.as_str(), condition.message.as_str()].join(" ").trim_end().to_owned()
    })
}

/// Why no pod of the daemon's present image starts, if so.
async fn daemon_failure(
    cluster: &Cluster,
    image: &str,
    since: Timestamp,
) -> Result<Option<String>, CommandError> {
    let pods = cluster.list("", "v1", "Pod", Some(cluster.home()), Some(DAEMON_PODS)).await;
    let has_image = |pod: &&Value| pod["spec"]["containers"][0]["image"] == image;
    let failure = |pod: &Value| pod_failure(pod, since, Timestamp::now());
    let pods = pods.map_err(of_cluster)?;
    Ok(pods.iter().filter(has_image).find_map(failure).map(|failure| failure.message))
}

/// Ends pods of the daemon whose image did not come: an earlier try has them wait for minutes before the next.
pub(crate) async fn end_waiting_pods(cluster: &Cluster, image: &str) -> Result<(), CommandError> {
    let now = Timestamp::now();
    let pods =
        cluster.list("", "v1", "Pod", Some(cluster.home()), Some(DAEMON_PODS)).await.map_err(of_cluster)?;
    for pod in pods.iter().filter(|pod| pod["spec"]["containers"][0]["image"] == image) {
        if let (Some(_), Ok(key)) = (pod_failure(pod, now, now), ObjectKey::of(pod))
            && let Some(Ok(uid)) = pod["metadata"]["uid"].as_str().map(str::parse::<Uid>)
        {
            cluster.delete_life(&key, &uid).await.map_err(of_cluster)?;
        }
    }
    Ok(())
}

/// Follows the rollout, telling each change, until the release is kept, taken back, or refused, or the limit is over.
pub(crate) async fn follow(
    cluster: &Cluster,
    following: &Following<'_>,
    context: &Context,
) -> Result<(), CommandError> {
    let (begun, since) = (Instant::now(), Timestamp::now());
    let mut said = String::new();
    let mut refused_since: Option<Instant> = None;
    let failed = |kind, message: String| {
        let hint = following.choice.command(&format!("status {}", following.subscription));
        CommandError::new(kind, message).hint(hint)
    };
    loop {
        // Nobody tells how it goes as long as the daemon does not start.
        if said.is_empty()
            && let Some(failure) = daemon_failure(cluster, following.daemon_image, since).await?
        {
            let message = format!("the daemon does not start in {}: {failure}", following.choice.context);
            return Err(CommandError::new(Kind::Remote, message).hint(
                "if its image does not come: every node must reach --registry HOST:PORT, and its containerd must take that for \
                 a registry over plain HTTP (/etc/containerd/certs.d/HOST:PORT/hosts.toml); then run the command again",
            ));
        }
        if let Some(subscription) = cluster.subscription(following.subscription).await.map_err(of_cluster)? {
            let news = subscription.status.as_ref().and_then(|status| news(status, following.release));
            if let Some(news) = news.filter(|news| *news != said) {
                context.report.note(&format!("{:>6.1} s  {news}", begun.elapsed().as_secs_f64()));
                said = news;
            }
            match verdict(&subscription, following.release) {
                Verdict::Kept => return Ok(()),
                Verdict::Denied(why) => {
                    return Err(failed(
                        Kind::Rollout,
                        format!("the cluster did not keep the release, {why}"),
                    ));
                }
                Verdict::Refused(why)
                    if refused_since.get_or_insert_with(Instant::now).elapsed() > following.patience =>
                {
                    return Err(failed(
                        Kind::Rollout,
                        format!("the cluster does not take the release: {why}"),
                    ));
                }
                Verdict::Refused(_) => {}
                Verdict::UnderWay => refused_since = None,
            }
        }
        if begun.elapsed() > following.limit {
            let seconds = following.limit.as_secs();
            return Err(failed(Kind::UnderWay, format!("the release is not kept after {seconds} s: {said}")));
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn subscription(spec: &Value, status: &Value) -> Subscription {
        let mut object = json!({
            "apiVersion": "bundle.build/v1alpha1",
            "kind": "Subscription",
            "metadata": { "name": "shop" },
            "spec": {
                "registry": { "address": "registry:5000", "scheme": "http" },
                "repository": "shop",
                "channel": "shop/dev",
                "environment": "test",
                "namespace": "shop",
                "trustRoot": { "digest": Digest::of(b"root"), "inline": "" },
            },
            "status": status,
        });
        for (key, value) in spec.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    fn one(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        let at = "2026-11-01T00:00:00Z";
        json!({ "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at })
    }

    #[test]
    fn news_are_of_the_release_that_is_followed() {
        let (new, old) = (Digest::of(b"new"), Digest::of(b"old"));
        let at = "2026-11-01T00:00:00Z";
        let accepted = |release: Digest| json!({ "version": 2, "digest": Digest::of(b"record"), "release": release, "seenAt": at });
        let silent = one("ChannelVerified", "Unknown", "RegistrySilent", "no answer");
        let kept = one("Ready", "True", "Kept", "release 1 runs");
        let applied = one("Progressing", "True", "Applied", "");
        let nothing = one("Ready", "False", "BadSubscription", "spec.namespace");
        let cases = [
            ("nothing yet", json!({}), None),
            (
                "cannot be followed",
                json!({ "conditions": [nothing] }),
                Some("BadSubscription spec.namespace"),
            ),
            ("nothing is seen", json!({ "conditions": [nothing, silent] }), Some("RegistrySilent no answer")),
            ("another runs", json!({ "accepted": accepted(old), "conditions": [kept] }), None),
            (
                "another runs and nothing is seen",
                json!({ "accepted": accepted(old), "conditions": [kept, silent] }),
                Some("RegistrySilent no answer"),
            ),
            (
                "under way",
                json!({ "accepted": accepted(new), "conditions": [applied, silent] }),
                Some("Applied"),
            ),
            ("kept", json!({ "accepted": accepted(new), "conditions": [kept] }), Some("Kept release 1 runs")),
        ];
        for (name, status, expected) in cases {
            let status = subscription(&json!({}), &status).status.unwrap();
            assert_eq!(news(&status, new).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_status_tells_how_it_stands() {
        let (new, old) = (Digest::of(b"new"), Digest::of(b"old"));
        let at = "2026-11-01T00:00:00Z";
        let accepted = |release: Digest| json!({ "version": 2, "digest": Digest::of(b"record"), "release": release, "seenAt": at });
        let running = |digest: Digest| json!({ "digest": digest, "version": "1", "since": at });
        let denied =
            json!([{ "digest": new, "attempt": 1, "reason": "Deadline", "message": "late", "at": at }]);
        let cleared =
            json!({ "cleared": [{ "digest": new, "attempt": 1, "reason": "fixed", "by": "alice" }] });
        let well = one("Ready", "True", "Kept", "");
        let refused = one("Ready", "False", "Refused", "Secret missing");
        let pinned = one("Pinned", "True", "Pinned", "freeze");
        let unsigned = one("ChannelVerified", "False", "Signatures", "too few");
        let none = json!({});
        let cases = [
            ("nothing yet", &none, json!({}), Verdict::UnderWay),
            ("kept", &none, json!({ "running": running(new), "conditions": [well] }), Verdict::Kept),
            (
                "another runs",
                &none,
                json!({ "running": running(old), "conditions": [well] }),
                Verdict::UnderWay,
            ),
            ("denied", &none, json!({ "denied": denied }), Verdict::Denied("Deadline: late".to_owned())),
            ("cleared", &cleared, json!({ "denied": denied }), Verdict::UnderWay),
            (
                "refused",
                &none,
                json!({ "accepted": accepted(new), "conditions": [refused] }),
                Verdict::Refused("Secret missing".to_owned()),
            ),
            (
                "another was refused",
                &none,
                json!({ "accepted": accepted(old), "conditions": [refused] }),
                Verdict::UnderWay,
            ),
            (
                "the record is refused",
                &none,
                json!({ "accepted": accepted(old), "conditions": [unsigned] }),
                Verdict::Refused("too few".to_owned()),
            ),
            (
                "pinned to another",
                &none,
                json!({ "accepted": accepted(new), "running": running(old), "conditions": [well, pinned] }),
                Verdict::Refused("Pinned: freeze".to_owned()),
            ),
            (
                "pinned to this one",
                &none,
                json!({ "accepted": accepted(new), "running": running(new), "conditions": [well, pinned] }),
                Verdict::Kept,
            ),
        ];
        for (name, spec, status, expected) in cases {
            assert_eq!(verdict(&subscription(spec, &status), new), expected, "{name}");
        }
    }
}
