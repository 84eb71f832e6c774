//! From the digest to the first write: all of this leaves the objects of the cluster alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use registry_wire::Digest;

use crate::{
    inventory::Inventory,
    plan::RolloutPlan,
    prune::{Guard, prune_candidates, prune_limit},
    rollout::{Fact, Observed, Phase, Progress, Protection, RefusalReason, RestorePoint, RolloutState, Step},
};

/// How many objects are named.
const TOLD: usize = 3;

/// `start` and a while.
pub(super) fn after(start: Timestamp, wait: Duration) -> Timestamp {
    start.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// When the clock of something that began at `began` starts: time in which nobody looked does not count.
pub(super) fn clock(began: Timestamp, seen: &Observed) -> Timestamp {
    seen.looking_since.map_or(began, |looking| looking.max(began))
}

/// When the clock of a question about something that began at `began` starts: a memory that was lost begins to ask anew.
pub(super) fn asked(began: Timestamp, seen: &Observed) -> Timestamp {
    let start = clock(began, seen);
    seen.memory_since.map_or(start, |memory| memory.max(start))
}

/// Asks for something that is not known, until patience ends.
struct Patience<'a> {
    state: &'a RolloutState,
    seen: &'a Observed,
    end: Timestamp,
    now: Timestamp,
}

impl<'a> Patience<'a> {
    fn new(state: &'a RolloutState, seen: &'a Observed, limit: Duration, now: Timestamp) -> Self {
        Self { state, seen, end: after(clock(state.since, seen), limit), now }
    }

    fn ask(&self, step: Step, reason: RefusalReason) -> Step {
        if self.now < self.end {
            return step;
        }
        self.state.refuse(reason, late(&step, self.seen), self.now)
    }
}

/// That a step was not done in time, and what kept it from being done.
pub(super) fn late(step: &Step, seen: &Observed) -> String {
    let why = seen.trouble.as_ref().map_or_else(String::new, |trouble| format!(": {trouble}"));
    format!("step {} did not succeed in time{why}", step.name())
}

pub(super) fn fetch(state: &RolloutState, seen: &Observed, now: Timestamp) -> Step {
    let patience = Patience::new(state, seen, seen.limits.prepare, now);
    match &seen.plan {
        Fact::Known(_) => state.record(Phase::Fetched, now),
        Fact::Refused { message } => state.refuse(RefusalReason::Fetch, message, now),
        Fact::Unknown => patience.ask(Step::FetchRelease { release: state.release }, RefusalReason::Fetch),
    }
}

pub(super) fn verify(state: &RolloutState, seen: &Observed, now: Timestamp) -> Step {
    let patience = Patience::new(state, seen, seen.limits.prepare, now);
    // The signatures are among the documents, and a new process has read none of them.
    match &seen.plan {
        Fact::Known(_) => {}
        Fact::Refused { message } => return state.refuse(RefusalReason::Fetch, message, now),
        Fact::Unknown => {
            return patience.ask(Step::LoadRelease { release: state.release }, RefusalReason::Fetch);
        }
    }
    unverified(&patience).unwrap_or_else(|| state.record(Phase::Verified, now))
}

/// The step that finds out whether the release is the right one and its signatures are accepted, or what follows if not;
/// none if they are.
fn unverified(patience: &Patience<'_>) -> Option<Step> {
    let state = patience.state;
    match (&patience.seen.belongs, &patience.seen.verified) {
        (Fact::Known(()), Fact::Known(())) => None,
        (Fact::Refused { message }, _) => Some(state.refuse(RefusalReason::Identity, message, patience.now)),
        (_, Fact::Refused { message }) => {
            Some(state.refuse(RefusalReason::Verification, message, patience.now))
        }
        (Fact::Unknown, _) | (_, Fact::Unknown) => {
            let step = Step::VerifyRelease { release: state.release };
            Some(patience.ask(step, RefusalReason::Verification))
        }
    }
}

pub(super) fn preflight(state: &RolloutState, seen: &Observed, now: Timestamp) -> Step {
    let patience = Patience::new(state, seen, seen.limits.nodes, now);
    let (plan, kept) = match plans(state, seen, &patience) {
        Ok(plans) => plans,
        Err(step) => return step,
    };
    let inventory = match &seen.inventory {
        Fact::Known(inventory) => inventory,
        Fact::Refused { message } => return state.refuse(RefusalReason::Inventory, message, now),
        Fact::Unknown => return patience.ask(Step::ReadInventory, RefusalReason::Inventory),
    };
    if let Some(message) = too_much_prune(plan, inventory, seen) {
        return state.refuse(RefusalReason::Prune, message, now);
    }
    match &seen.preflight {
        Fact::Known(()) => {}
        Fact::Refused { message } => return state.refuse(RefusalReason::Preflight, message, now),
        Fact::Unknown => {
            return patience.ask(Step::Preflight { release: state.release }, RefusalReason::Preflight);
        }
    }
    // The images of the way back must be at hand as well: it may be needed when the registry is not there.
    let mut images: BTreeSet<String> = plan.images.iter().cloned().collect();
    images.extend(kept.into_iter().flat_map(|kept| kept.images.iter().cloned()));
    match &seen.missing_images {
        Fact::Known(missing) if images.is_disjoint(missing) => state.record(Phase::OnNodes, now),
        Fact::Refused { message } => state.refuse(RefusalReason::Images, message, now),
        // All of them each time: a node that joined since the last look has none.
        Fact::Known(_) | Fact::Unknown => patience.ask(Step::WarmNodes { images }, RefusalReason::Images),
    }
}

pub(super) fn protect(state: &RolloutState, seen: &Observed, now: Timestamp) -> Step {
    let patience = Patience::new(state, seen, seen.limits.protect, now);
    let (plan, kept) = match plans(state, seen, &patience) {
        Ok(plans) => plans,
        Err(step) => return step,
    };
    // Data of a service that the release leaves out or changes kind is protected the way it was kept so far.
    let mut backups = plan.backups.clone();
    backups.extend(kept.into_iter().flat_map(|kept| kept.backups.clone()));
    let mut points = BTreeMap::new();
    for (service, backup) in backups {
        let name = state.restore_point(&service);
        match seen.restore_points.get(&service) {
            Some(RestorePoint::NoData) => {}
            Some(RestorePoint::Confirmed) => {
                points.insert(service, name);
            }
            Some(RestorePoint::Failed { message }) => {
                let message = format!("restore point {name} of service {service}: {message}");
                return state.refuse(RefusalReason::RestorePoint, message, now);
            }
            Some(RestorePoint::Absent | RestorePoint::Running) | None => {
                let step = Step::TakeRestorePoint { service, backup, name };
                return patience.ask(step, RefusalReason::RestorePoint);
            }
        }
    }
    // Pulling images and saving data took their time, and keys may have been revoked meanwhile.
    if let Some(step) = unverified(&patience) {
        return step;
    }
    let protection =
        if points.is_empty() { Protection::NothingToProtect } else { Protection::RestorePoints(points) };
    let protected = RolloutState { protection: Some(protection), writing_since: Some(now), ..state.clone() };
    protected.record(Phase::Protected { progress: Progress { wave: 0, since: now } }, now)
}

/// The plan of the release and of the way back, or the step that finds them out.
fn plans<'a>(
    state: &RolloutState,
    seen: &'a Observed,
    patience: &Patience<'_>,
) -> Result<(&'a RolloutPlan, Option<&'a RolloutPlan>), Step> {
    let load = |release: Digest, reason| Err(patience.ask(Step::LoadRelease { release }, reason));
    let refuse = |reason, message: &String| Err(state.refuse(reason, message, patience.now));
    let plan = match &seen.plan {
        Fact::Known(plan) => plan,
        Fact::Refused { message } => return refuse(RefusalReason::Fetch, message),
        Fact::Unknown => return load(state.release, RefusalReason::Fetch),
    };
    let Some(previous) = state.previous else {
        return Ok((plan, None));
    };
    match &seen.kept_plan {
        Fact::Known(kept) => Ok((plan, Some(kept))),
        Fact::Refused { message } => refuse(RefusalReason::NoWayBack, message),
        Fact::Unknown => load(previous, RefusalReason::NoWayBack),
    }
}

fn too_much_prune(plan: &RolloutPlan, inventory: &Inventory, seen: &Observed) -> Option<String> {
    let limit = prune_limit(inventory);
    let doomed: Vec<_> = prune_candidates(inventory, &plan.keys())
        .into_iter()
        .filter(|entry| entry.uid.is_some() && entry.guard == Guard::Free)
        .map(|entry| entry.key.to_string())
        .collect();
    (doomed.len() > limit && !seen.prune_word.given).then(|| {
        format!(
            "{} of {} objects would be pruned, {limit} are allowed without a person's word ({}, …); to allow it: {}",
            doomed.len(),
            inventory.len(),
            doomed[..TOLD.min(doomed.len())].join(", "),
            seen.prune_word.command
        )
    })
}
