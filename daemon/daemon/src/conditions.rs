//! What people read of a subscription: conditions that say what runs, what is wanted, and what is in the way.

use daemon_cluster::{
    AcceptedRecord, ConditionStatus, RunningRelease, Subscription, SubscriptionStatus, release_title,
    set_condition,
};
use daemon_plan::{
    Health, Phase, Target,
    prune::left_to_people,
    rollout::{Fact, ObjectFact, is_in_place},
    target::Channel,
};
use jiff::Timestamp;
use kube::ResourceExt;

use crate::{advice, error::chain, follower::Table, journal::told, work::Work};

/// How many objects are named.
const TOLD: usize = 3;

/// One condition: whether it holds, one word, and a text.
type Word = (ConditionStatus, String, String);

/// What the status shall say.
pub(crate) struct Summary {
    ready: Word,
    progressing: Word,
    pinned: Option<Word>,
    held: Option<Word>,
    denied: Option<Word>,
    pruned: Option<Word>,
    channel: Option<Word>,
    accepted: Option<AcceptedRecord>,
    running: Option<RunningRelease>,
    rollout: Option<String>,
    /// Whether the three above are known.
    complete: bool,
}

impl Summary {
    /// A subscription that cannot be followed as it is written.
    pub(crate) fn bad_subscription(message: String) -> Self {
        Self {
            ready: (ConditionStatus::False, "BadSubscription".to_owned(), message),
            progressing: (ConditionStatus::False, "BadSubscription".to_owned(), String::new()),
            pinned: None,
            held: None,
            denied: None,
            pruned: None,
            channel: None,
            accepted: None,
            running: None,
            rollout: None,
            complete: false,
        }
    }

    pub(crate) fn of(table: &Table, work: Option<&Work>, trouble: Option<&str>) -> Self {
        let spec = &table.subscription.spec;
        let kept = table.journals.kept();
        let running = kept.and_then(|state| {
            let release = table.journals.release(state.release)?;
            let version = release.status.as_ref()?.version.clone()?;
            let title = Some(release_title(Some(&version), &state.release));
            Some(RunningRelease { digest: state.release, version, title, since: state.since })
        });
        let mut runs = running.as_ref().map_or_else(
            || "nothing runs yet".to_owned(),
            |running| format!("release {} runs", release_title(Some(&running.version), &running.digest)),
        );
        if kept.is_some_and(|kept| table.journals.place(kept.release, &table.subscription) != spec.place()) {
            runs.push_str(
                " as it was installed: other images or another environment hold from the next release on",
            );
        }
        let unfinished = work.filter(|work| work.state.phase.outcome().is_none());
        let progressing = match unfinished {
            Some(work) => {
                let (_, message) = told(&work.state);
                let message = message.or_else(|| trouble.map(str::to_owned)).unwrap_or_default();
                (ConditionStatus::True, work.state.phase_name().to_owned(), message)
            }
            None => (ConditionStatus::False, table.target.name().to_owned(), String::new()),
        };
        let ready = match unfinished {
            Some(work) => (ConditionStatus::False, work.state.phase_name().to_owned(), progressing.2.clone()),
            None => readiness(table, work, &runs, trouble),
        };
        let pinned = spec.pin.as_ref().map(|pin| {
            (
                ConditionStatus::True,
                "Pinned".to_owned(),
                format!("{} by {}: {}", pin.digest, pin.by, pin.reason),
            )
        });
        let person = spec.hold.as_ref().map(|hold| format!("by {}: {}", hold.by, hold.reason));
        let channel = match (&table.view.channel, &table.view.accepted) {
            (Channel::Held { .. }, Some(record)) => {
                Some(format!("by record {} of the channel", record.version))
            }
            _ => None,
        };
        let held = person.or(channel).map(|message| (ConditionStatus::True, "Held".to_owned(), message));
        let denied = table.subscription.status.as_ref().and_then(|status| {
            let now: Vec<_> = status.denied_now(spec).collect();
            let last = now.last()?;
            let message = format!("release {} ({} in all): {}", last.digest, now.len(), last.message);
            Some((ConditionStatus::True, last.reason.clone(), message))
        });
        let channel = match (&table.view.trouble, &table.view.accepted) {
            (Some(fault), _) => {
                let status =
                    if fault.is_silence() { ConditionStatus::Unknown } else { ConditionStatus::False };
                (status, fault.word().to_owned(), chain(&**fault))
            }
            (None, Some(accepted)) => {
                (ConditionStatus::True, "Accepted".to_owned(), format!("record {}", accepted.version))
            }
            (None, None) => (ConditionStatus::Unknown, "NotAsked".to_owned(), String::new()),
        };
        Self {
            ready,
            progressing,
            pinned,
            held,
            denied,
            pruned: work.and_then(pruned),
            channel: Some(channel),
            accepted: table.view.accepted.clone(),
            running,
            rollout: table
                .journals
                .latest()
                .and_then(|latest| table.journals.release(latest.release))
                .map(ResourceExt::name_any),
            complete: true,
        }
    }
}

/// Whether what runs is what shall run, when nothing is under way.
fn readiness(table: &Table, work: Option<&Work>, runs: &str, trouble: Option<&str>) -> Word {
    let says = |status, reason: &str, message: String| (status, reason.to_owned(), message);
    let latest = table.journals.latest();
    let (home, name) = (table.subscription.namespace().unwrap_or_default(), table.subscription.name_any());
    let clear = |release| format!("to try it again: {}", advice::clear(&home, &name, release));
    if let Some(latest) = latest {
        let next = match &latest.phase {
            Phase::FirstInstallFailed { .. } => Some(clear(&latest.release)),
            // What was kept before goes on being repaired, and counts for what it is now.
            Phase::RollbackFailed { .. } if !work.is_some_and(is_well) => {
                Some(format!("the repair goes on: {}", advice::show(&home, &name)))
            }
            _ => None,
        };
        if let Some(next) = next {
            let (_, message) = told(latest);
            let message = format!("{}; {runs}; {next}", message.unwrap_or_default());
            return says(ConditionStatus::False, latest.phase_name(), message);
        }
    }
    match &table.target {
        Target::Denied { release, reason } => {
            let clear = clear(release);
            says(ConditionStatus::False, "Denied", format!("release {release}: {reason}; {runs}; {clear}"))
        }
        Target::Refused { reason, .. } => {
            says(ConditionStatus::False, Target::REFUSED, format!("{reason}; {runs}"))
        }
        Target::Nothing => {
            let why = table.view.trouble.as_ref().map(|fault| chain(&**fault));
            says(ConditionStatus::False, "Nothing", why.unwrap_or_else(|| runs.to_owned()))
        }
        Target::RollOut { release } => {
            says(ConditionStatus::False, "RollOut", format!("release {release} is next"))
        }
        Target::Keep { .. } | Target::Pinned { .. } | Target::Held { .. } => {
            if let Some(message) = work.and_then(unwell) {
                return says(ConditionStatus::False, "Degraded", format!("{runs}; {message}"));
            }
            if let Some(message) = work.and_then(lost) {
                return says(ConditionStatus::Unknown, "DocumentsLost", format!("{runs}; {message}"));
            }
            let trouble = trouble.map_or_else(String::new, |trouble| format!("; {trouble}"));
            // What was not seen is not well for that.
            if !work.is_none_or(is_well) {
                return says(
                    ConditionStatus::Unknown,
                    "Unknown",
                    format!("{runs}, it is being looked at{trouble}"),
                );
            }
            let reason = match &table.target {
                Target::Keep { .. } => "Kept",
                other => other.name(),
            };
            let seen = match (&table.target, &table.view.accepted) {
                (Target::Pinned { current, .. }, Some(accepted)) if accepted.release != *current => {
                    let named = release_title(accepted.release_version.as_ref(), &accepted.release);
                    format!("; the channel names release {named}")
                }
                _ => String::new(),
            };
            says(ConditionStatus::True, reason, format!("{runs}{seen}{trouble}"))
        }
    }
}

/// Whether a kept release is known to be in place.
fn is_well(work: &Work) -> bool {
    matches!(work.state.phase, Phase::Kept) && is_in_place(&work.seen)
}

/// Why a kept release can be neither compared nor repaired, if it cannot.
fn lost(work: &Work) -> Option<String> {
    match (&work.state.phase, &work.seen.plan, &work.seen.inventory) {
        (Phase::Kept, Fact::Refused { message }, _) | (Phase::Kept, _, Fact::Refused { message }) => {
            Some(format!("it cannot be repaired: {message}"))
        }
        _ => None,
    }
}

/// Whether a kept release left something behind that is for people to delete; none if that is not known.
fn pruned(work: &Work) -> Option<Word> {
    let (Phase::Kept, Fact::Known(plan), Fact::Known(inventory)) =
        (&work.state.phase, &work.seen.plan, &work.seen.inventory)
    else {
        return None;
    };
    let keys = plan.keys();
    let left = left_to_people(inventory, &keys);
    if left.is_empty() {
        return Some((ConditionStatus::True, "NothingLeft".to_owned(), String::new()));
    }
    let mut commands: Vec<String> = left.iter().take(TOLD).map(|entry| advice::delete(&entry.key)).collect();
    if let Some(more) = left.len().checked_sub(TOLD).filter(|more| *more > 0) {
        commands.push(format!("and {more} more"));
    }
    let message = format!(
        "the release no longer has these, and they stay since they hold data or say so; when they may go: {}",
        commands.join("; ")
    );
    Some((ConditionStatus::False, "LeftToPeople".to_owned(), message))
}

/// What is not well of a release that is kept. What it no longer has may be as it is.
fn unwell(work: &Work) -> Option<String> {
    let (Phase::Kept, Fact::Known(plan)) = (&work.state.phase, &work.seen.plan) else { return None };
    let wanted = plan.keys();
    let rejected = work.seen.objects.iter().find_map(|(_, fact)| match fact {
        ObjectFact::Rejected(failure) => Some(failure.message.clone()),
        _ => None,
    });
    let mut own = work.seen.health.iter().filter(|(key, _)| wanted.contains(key));
    let health = own.find_map(|(key, health)| match health {
        Health::Failed(failure) => Some(format!("{key}: {}", failure.message)),
        Health::Degraded { message } | Health::Progressing { message } => Some(format!("{key}: {message}")),
        Health::Healthy | Health::Unknown => None,
    });
    rejected.or(health)
}

/// The new status; equal to the old one if there is nothing new to say.
pub(crate) fn describe_status(
    before: &SubscriptionStatus,
    subscription: &Subscription,
    summary: Summary,
    now: Timestamp,
) -> SubscriptionStatus {
    let mut status = before.clone();
    let generation = subscription.metadata.generation;
    status.observed_generation = generation;
    let mut set = |kind: &str, word: Option<Word>, rest: &str| {
        let (holds, reason, message) =
            word.unwrap_or_else(|| (ConditionStatus::False, rest.to_owned(), String::new()));
        set_condition(&mut status.conditions, kind, holds, &reason, message, generation, now);
    };
    set("Ready", Some(summary.ready), "");
    set("Progressing", Some(summary.progressing), "");
    set("Pinned", summary.pinned, "NotPinned");
    set("Held", summary.held, "NotHeld");
    set("Denied", summary.denied, "NothingDenied");
    // What is not known for now stays as it was said last.
    for (kind, word) in [("Pruned", summary.pruned), ("ChannelVerified", summary.channel)] {
        if word.is_some() {
            set(kind, word, "");
        }
    }
    if summary.complete {
        // What is silent for now was accepted before all the same.
        status.accepted = summary.accepted.or(status.accepted);
        status.running = summary.running;
        status.rollout = summary.rollout;
    }
    status
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use daemon_cluster::{Release, ReleaseObjectSpec, ReleaseObjectStatus};
    use daemon_plan::{Inventory, RolloutPlan, RolloutState, inventory::Live};
    use registry_wire::Digest;
    use serde_json::json;

    use super::*;
    use crate::{channel::ChannelView, journal::Journals};

    fn table(current: Digest) -> Table {
        let spec = serde_json::from_value(json!({
            "registry": { "address": "registry.example:5000" }, "repository": "shop", "channel": "shop/dev",
            "environment": "test", "namespace": "shop", "trustRoot": { "digest": Digest::of(b"root") },
        }));
        Table {
            subscription: Subscription::new("shop", spec.unwrap()),
            journals: Journals::default(),
            view: ChannelView { channel: Channel::Unknown, accepted: None, trouble: None },
            target: Target::Keep { current },
        }
    }

    #[test]
    fn releases_of_one_version_are_told_apart() {
        let release = Digest::of(b"release");
        let now = Timestamp::UNIX_EPOCH;
        let kept = RolloutState { phase: Phase::Kept, ..RolloutState::start(release, 1, None, now) };
        let stored = ReleaseObjectStatus {
            version: Some("0.1.0".parse().unwrap()),
            journal: Some(kept.clone()),
            ..ReleaseObjectStatus::default()
        };
        let spec = ReleaseObjectSpec { subscription: "shop".to_owned(), digest: release };
        let mut table = table(release);
        table.journals = Journals::with(vec![Release { status: Some(stored), ..Release::new("r", spec) }]);
        let work = Work::new(kept, now, now);
        let summary = Summary::of(&table, Some(&work), None);
        let status = describe_status(&SubscriptionStatus::default(), &table.subscription, summary, now);
        let title = format!("0.1.0@{}", release.short());
        let ready = &status.conditions.iter().find(|one| one.kind == "Ready").unwrap().message;
        assert!(ready.starts_with(&format!("release {title} runs")), "{ready}");
        assert_eq!(status.running.unwrap().title, Some(title), "the column of `kubectl get`");
        assert_eq!(status.rollout.as_deref(), Some("r"), "the object as it is named");
    }

    #[test]
    fn a_kept_release_is_ready_only_if_it_is_seen_in_place() {
        let release = Digest::of(b"release");
        let now = Timestamp::UNIX_EPOCH;
        let kept = RolloutState { phase: Phase::Kept, ..RolloutState::start(release, 1, None, now) };
        let mut work = Work::new(kept, now, now);
        let table = table(release);
        let ready = |work: &Work, trouble| readiness(&table, Some(work), "release 1 runs", trouble);

        let (status, _, message) = ready(&work, Some("Deployments cannot be listed"));
        assert_eq!(status, ConditionStatus::Unknown);
        assert!(message.ends_with("Deployments cannot be listed"), "{message}");
        assert_eq!(ready(&work, None).0, ConditionStatus::Unknown, "nothing is known yet");
        work.seen.plan = Fact::Refused { message: "the documents are lost".to_owned() };
        let (status, reason, message) = ready(&work, None);
        assert_eq!((status, reason.as_str()), (ConditionStatus::Unknown, "DocumentsLost"));
        assert!(message.ends_with("the documents are lost"), "{message}");

        let object = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "api", "namespace": "shop" },
        });
        let plan = RolloutPlan::new(release, &[object], &BTreeMap::new(), []).unwrap();
        let key = plan.objects().next().unwrap().key.clone();
        let live = Live { uid: "u".parse().unwrap(), generation: None, resource_version: "1".to_owned() };
        work.seen.inventory = Fact::Known(Inventory::default().superset(&plan));
        work.seen.plan = Fact::Known(plan);
        work.seen.compared_with = Some(release);
        work.seen.objects.insert(key.clone(), ObjectFact::Present { live, in_sync: true, ours: true });
        assert_eq!(ready(&work, None).0, ConditionStatus::Unknown, "nothing is known of its health");
        work.seen.health.insert(key, Health::Healthy);
        let (status, reason, message) = ready(&work, None);
        assert_eq!((status, reason.as_str()), (ConditionStatus::True, "Kept"), "{message}");
    }
}
