//! The rollout of one release: its journal, what is seen, and the next step.
//!
//! The executor runs one loop: observe, ask [`next()`], do the step, again. A step of the kind [`Step::Record`] is
//! the only way to another state: it is stored (compare-and-swap in the status of the `Release`) before anything
//! follows from it. Every other step may be repeated, so after a crash at any point journal and observation are
//! enough to go on: facts that were only in memory are asked for again.

mod observed;
mod prepare;
mod settle;
mod state;
mod step;
mod write;

use jiff::Timestamp;

pub use observed::{Fact, Limits, ObjectFact, Observed, PodReference, PruneWord, RestorePoint};
pub use state::{Outcome, Phase, Progress, Protection, Refusal, RefusalReason, RolloutState, Verdict};
pub use step::{InventoryChange, Step};

use crate::{
    reason::{Failure, Reason},
    target::Target,
};

/// What to do next.
pub fn next(state: &RolloutState, seen: &Observed, now: Timestamp) -> Step {
    if let Some(step) = unwanted(state, seen, now) {
        return step;
    }
    match &state.phase {
        Phase::Started => prepare::fetch(state, seen, now),
        Phase::Fetched => prepare::verify(state, seen, now),
        Phase::Verified => prepare::preflight(state, seen, now),
        Phase::OnNodes => prepare::protect(state, seen, now),
        Phase::Protected { progress } => write::forward(state, progress, seen, now),
        Phase::Applied { healthy_since, unhealthy_since } => {
            write::soak(state, *healthy_since, *unhealthy_since, seen, now)
        }
        Phase::Judged { verdict: Verdict::Healthy } => settle::keep(state, seen, now),
        Phase::Judged { verdict: Verdict::Failed(failure) } => settle::give_up(state, failure, seen, now),
        Phase::RollingBack { failure } => write::back(state, failure, seen, now),
        Phase::Kept => settle::steady(state, seen, now),
        Phase::RolledBack { .. }
        | Phase::Refused { .. }
        | Phase::Superseded { .. }
        | Phase::FirstInstallFailed { .. }
        | Phase::RollbackFailed { .. } => Step::Done,
    }
}

/// Whether all objects of a kept release are known to be as intended and well.
pub fn is_in_place(seen: &Observed) -> bool {
    let (Fact::Known(plan), Fact::Known(inventory)) = (&seen.plan, &seen.inventory) else { return false };
    inventory.covers(plan) && write::Lack::of(plan.objects(), plan, inventory, seen).is_nothing()
}

/// A rollout whose release is no longer the target ends: at once before the first write, by giving way to the newer
/// release after it, and by going back if there is none. What may have written goes on when the channel is only held or
/// refused: half a release is worse than either. Once judged, it runs to its end.
fn unwanted(state: &RolloutState, seen: &Observed, now: Timestamp) -> Option<Step> {
    if !state.phase.is_before_judgement() {
        return None;
    }
    let written = state.phase.may_have_written();
    let superseded = |by| Some(state.record(Phase::Superseded { by }, now));
    let withdrawn = |message: String| {
        if written {
            let failure = Failure::new(Reason::Withdrawn, message);
            Some(state.record(Phase::Judged { verdict: Verdict::Failed(failure) }, now))
        } else {
            superseded(None)
        }
    };
    match &seen.target {
        Some(Target::RollOut { release }) if *release != state.release => superseded(Some(*release)),
        Some(Target::Keep { current } | Target::Pinned { current, .. }) if *current != state.release => {
            withdrawn(format!("release {current} is to run"))
        }
        Some(Target::Denied { release, .. }) if *release == state.release => {
            withdrawn("the release was denied".to_owned())
        }
        Some(Target::Held { .. } | Target::Refused { .. }) if !written => superseded(None),
        _ => None,
    }
}
