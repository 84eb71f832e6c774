//! After the verdict: clean up and keep, give up, or stay.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    inventory::Inventory,
    plan::RolloutPlan,
    prune::{Doomed, Guard, prune_candidates, renamed},
    reason::Failure,
    rollout::{
        InventoryChange, ObjectFact, Observed, Phase, RolloutState, Step,
        prepare::{after, clock},
        write::{self, Blocked, Lack},
    },
};

/// Prunes what the release no longer has, then keeps it. What cannot be pruned in time is pruned later.
pub(super) fn keep(state: &RolloutState, seen: &Observed, now: Timestamp) -> Step {
    let kept = || state.record(Phase::Kept, now);
    let overdue = now >= after(clock(state.since, seen), seen.limits.prune);
    let load = Step::LoadRelease { release: state.release };
    match write::ready(&seen.plan, load, seen) {
        Ok((plan, inventory)) => prune(state, plan, inventory, seen, now).unwrap_or_else(kept),
        Err(Blocked::Step(step)) if !overdue => step,
        Err(Blocked::Step(_) | Blocked::Failed(_)) => kept(),
    }
}

/// Denies the release and goes back, if there is something to go back to.
pub(super) fn give_up(state: &RolloutState, failure: &Failure, seen: &Observed, now: Timestamp) -> Step {
    let denies = failure.reason.denies();
    if denies && !seen.denied {
        return Step::Deny { release: state.release, failure: failure.clone() };
    }
    match state.previous {
        Some(_) => state.record(Phase::RollingBack { failure: failure.clone() }, now),
        None if denies => state.record(Phase::FirstInstallFailed { failure: failure.clone() }, now),
        None => state.record(Phase::Superseded { by: None }, now),
    }
}

/// Keeps the objects of a kept release as they are meant to be.
pub(super) fn steady(state: &RolloutState, seen: &Observed, now: Timestamp) -> Step {
    let idle = || Step::Idle { until: after(now, seen.limits.resync) };
    let load = Step::LoadRelease { release: state.release };
    let (plan, inventory) = match write::ready(&seen.plan, load, seen) {
        Ok(ready) => ready,
        Err(Blocked::Step(step)) => return step,
        Err(Blocked::Failed(_)) => return idle(),
    };
    let lack = Lack::of(plan.objects(), plan, inventory, seen);
    // What an abandoned release left may still hold up what was written again after it.
    if let Some(step) = lack.apply(plan).or_else(|| lack.free_sets(seen, |_| true)) {
        return step;
    }
    look(plan, inventory, seen)
        .or_else(|| write::note(plan.objects(), plan, inventory, seen))
        .or_else(|| prune(state, plan, inventory, seen, now))
        .unwrap_or_else(idle)
}

/// The step that looks at wanted objects of which nothing is known.
fn look(plan: &RolloutPlan, inventory: &Inventory, seen: &Observed) -> Option<Step> {
    let unknown: BTreeSet<_> = plan
        .objects()
        .filter(|object| !write::is_done(object, inventory))
        .filter(|object| seen.object(plan.release, &object.key).is_none())
        .map(|object| object.key.clone())
        .collect();
    (!unknown.is_empty()).then_some(Step::Observe { release: plan.release, objects: unknown })
}

/// The next step towards an inventory of nothing but the plan; none when there is none left, or it takes too long.
/// Nothing is deleted while an object of the plan is not known to be well: what is doomed may be what still serves.
pub(super) fn prune(
    state: &RolloutState,
    plan: &RolloutPlan,
    inventory: &Inventory,
    seen: &Observed,
    now: Timestamp,
) -> Option<Step> {
    let wanted = plan.keys();
    let mut gone = renamed(inventory, &wanted);
    let mut unknown = BTreeSet::new();
    let mut doomed = Vec::new();
    let mut waiting = false;
    for entry in prune_candidates(inventory, &wanted) {
        let allowed = entry.guard == Guard::Free;
        match seen.object(plan.release, &entry.key) {
            Some(ObjectFact::Absent) => {
                gone.insert(entry.key.clone());
            }
            Some(ObjectFact::Terminating | ObjectFact::Rejected(_)) => waiting |= allowed,
            Some(ObjectFact::Present { live, ours, .. }) => {
                // Only this life of the object, and only if our manager wrote it: a copied label is no ownership.
                let same = entry.uid.as_ref().is_none_or(|uid| *uid == live.uid);
                if !same || !ours {
                    gone.insert(entry.key.clone());
                } else if allowed {
                    doomed.push(Doomed {
                        key: entry.key.clone(),
                        uid: live.uid.clone(),
                        resource_version: live.resource_version.clone(),
                    });
                }
            }
            // What is left to people is looked at as well: they may have deleted it.
            None if entry.guard != Guard::Never => {
                unknown.insert(entry.key.clone());
            }
            None => {}
        }
    }
    let steady = matches!(state.phase, Phase::Kept);
    if !steady && now >= after(clock(state.since, seen), seen.limits.prune) {
        return None;
    }
    if !gone.is_empty() {
        let inventory = inventory.without(&gone);
        return Some(Step::WriteInventory { inventory, change: InventoryChange::Shrink });
    }
    if !doomed.is_empty() {
        if Lack::of(plan.objects(), plan, inventory, seen).is_nothing() {
            return Some(Step::Prune { objects: doomed });
        }
        if let Some(step) = look(plan, inventory, seen) {
            return Some(step);
        }
        waiting = true;
    }
    if !unknown.is_empty() {
        return Some(Step::Observe { release: plan.release, objects: unknown });
    }
    (waiting && !steady).then_some(Step::Idle { until: after(now, seen.limits.poll) })
}
