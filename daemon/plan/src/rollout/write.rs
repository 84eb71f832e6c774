//! Writing: forward to the release, and back to the last kept one.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use crate::{
    health::Health,
    inventory::Inventory,
    key::ObjectKey,
    order::Stage,
    plan::{PlannedObject, RolloutPlan},
    reason::{Failure, Reason},
    rollout::{
        Fact, InventoryChange, ObjectFact, Observed, Phase, Progress, RolloutState, Step, Verdict,
        prepare::{after, asked, clock, late},
        settle,
    },
};

/// What a set of objects still lacks.
#[derive(Debug, Default)]
pub(super) struct Lack<'a> {
    /// Nothing is known of the object or of its health.
    pub(super) unknown: Vec<&'a PlannedObject>,
    /// The object is absent or differs.
    pub(super) unwritten: Vec<&'a PlannedObject>,
    /// The API server refuses it.
    pub(super) rejected: Vec<(&'a PlannedObject, &'a Failure)>,
    /// It is being deleted, or not healthy yet.
    pub(super) waiting: Vec<(&'a PlannedObject, String)>,
    /// It was ready and is not any more.
    pub(super) degraded: Vec<(&'a PlannedObject, String)>,
    /// It has failed.
    pub(super) failed: Vec<(&'a PlannedObject, &'a Failure)>,
}

impl<'a> Lack<'a> {
    pub(super) fn of(
        objects: impl IntoIterator<Item = &'a PlannedObject>,
        plan: &RolloutPlan,
        inventory: &Inventory,
        seen: &'a Observed,
    ) -> Self {
        let mut lack = Self::default();
        for object in objects {
            if is_done(object, inventory) {
                continue;
            }
            match seen.object(plan.release, &object.key) {
                None => lack.unknown.push(object),
                Some(ObjectFact::Rejected(failure)) => lack.rejected.push((object, failure)),
                Some(ObjectFact::Terminating) => {
                    lack.waiting.push((object, "is still being deleted".to_owned()));
                }
                Some(ObjectFact::Absent | ObjectFact::Present { in_sync: false, .. }) => {
                    lack.unwritten.push(object);
                }
                Some(ObjectFact::Present { in_sync: true, .. }) => {
                    match seen.health_of(plan.release, &object.key) {
                        None | Some(Health::Unknown) => lack.unknown.push(object),
                        Some(Health::Healthy) => {}
                        Some(Health::Progressing { message }) => lack.waiting.push((object, message.clone())),
                        Some(Health::Degraded { message }) => lack.degraded.push((object, message.clone())),
                        Some(Health::Failed(failure)) => lack.failed.push((object, failure)),
                    }
                }
            }
        }
        lack
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.unknown.is_empty()
            && self.unwritten.is_empty()
            && self.rejected.is_empty()
            && self.waiting.is_empty()
            && self.degraded.is_empty()
            && self.failed.is_empty()
    }

    /// What ended without hope.
    fn failure(&self) -> Option<Failure> {
        let (object, failure) = self.rejected.first().or(self.failed.first())?;
        Some(Failure::new(failure.reason, format!("{}: {}", object.key, failure.message)))
    }

    /// What is not there in time, each object by its own deadline. What is not known is late only when this memory had
    /// that time to learn it.
    fn overdue(&self, start: Timestamp, seen: &Observed, now: Timestamp) -> Option<Failure> {
        let late = |object: &PlannedObject| now >= after(start, object.deadline);
        let within = |object: &PlannedObject| format!("within {} s", object.deadline.as_secs());
        if let Some((object, message)) =
            self.waiting.iter().chain(&self.degraded).find(|(object, _)| late(object))
        {
            let message = format!("{} is not healthy {}: {message}", object.key, within(object));
            return Some(Failure::new(Reason::DeadlineExceeded, message));
        }
        if let Some(object) = self.unwritten.iter().find(|object| late(object)) {
            let message = format!("{} could not be written {}", object.key, within(object));
            return Some(Failure::new(Reason::DeadlineExceeded, message));
        }
        let asked = asked(start, seen);
        let object = self.unknown.iter().find(|object| now >= after(asked, object.deadline))?;
        let message = format!("nothing could be learned of {} {}", object.key, within(object));
        Some(Failure::new(Reason::NoData, message))
    }

    /// That health never held long enough, told of what lacks it now. What is not known counts as in [`Self::overdue`].
    fn unsteady(&self, soak: Duration, whole: Duration, asked: Timestamp, now: Timestamp) -> Option<Failure> {
        let span = format!("health did not hold for {} s within {} s", soak.as_secs(), whole.as_secs());
        if let Some((object, message)) = self.waiting.iter().chain(&self.degraded).next() {
            let message = format!("{span}; now {}: {message}", object.key);
            return Some(Failure::new(Reason::DeadlineExceeded, message));
        }
        if let Some(object) = self.unwritten.first() {
            let message = format!("{span}; now {} is not as it was written", object.key);
            return Some(Failure::new(Reason::DeadlineExceeded, message));
        }
        let object = self.unknown.iter().find(|object| now >= after(asked, object.deadline))?;
        Some(Failure::new(Reason::NoData, format!("{span}; now nothing is known of {}", object.key)))
    }

    /// The step that frees sets which hang on a pod of an earlier revision: the controller waits for that pod to become
    /// ready before it replaces it, also when the new template is what would make it well. Half the deadline passes
    /// first, since a pod that loads its data is slow and not ill.
    fn free(&self, start: Timestamp, seen: &Observed, now: Timestamp) -> Option<Step> {
        let is_over = |object: &PlannedObject| now >= after(start, object.deadline / 2);
        self.free_sets(seen, is_over)
    }

    /// The step that frees the sets that are written, not well, and meant by `which`.
    pub(super) fn free_sets(&self, seen: &Observed, which: impl Fn(&PlannedObject) -> bool) -> Option<Step> {
        let waiting = self.waiting.iter().chain(&self.degraded).map(|(object, _)| *object);
        let sets: Vec<&ObjectKey> =
            waiting.filter(|object| which(object)).map(|object| &object.key).collect();
        let mut pods = seen.stuck_pods.clone();
        pods.retain(|pod| sets.iter().any(|set| pod.is_of(set)));
        (self.unwritten.is_empty() && !pods.is_empty()).then_some(Step::DeletePods { pods })
    }

    /// The step that brings the objects on.
    fn step(&self, plan: &RolloutPlan, start: Timestamp, seen: &Observed, now: Timestamp) -> Step {
        if let Some(step) = self.apply(plan) {
            return step;
        }
        if !self.unknown.is_empty() {
            return Step::Observe { release: plan.release, objects: keys(self.unknown.iter().copied()) };
        }
        let waiting = self.waiting.iter().chain(&self.degraded).map(|(object, _)| *object);
        let waiting: Vec<&PlannedObject> =
            waiting.chain(self.failed.iter().map(|(object, _)| *object)).collect();
        let deadline =
            waiting.iter().map(|object| after(start, object.deadline)).min().unwrap_or(Timestamp::MAX);
        Step::WaitHealthy { objects: keys(waiting), deadline, until: after(now, seen.limits.poll) }
    }

    /// Applies what is not written, one stage at a time.
    pub(super) fn apply(&self, plan: &RolloutPlan) -> Option<Step> {
        let stage: Stage = self.unwritten.iter().map(|object| object.stage).min()?;
        let objects = self.unwritten.iter().copied().filter(|object| object.stage == stage);
        Some(Step::Apply { release: plan.release, stage, objects: keys(objects) })
    }
}

/// A Job that ended well stays done, also when it was cleaned up.
pub(super) fn is_done(object: &PlannedObject, inventory: &Inventory) -> bool {
    object.is_job()
        && inventory.get(&object.key).is_some_and(|entry| entry.completed && entry.intent == object.intent)
}

fn keys<'a>(objects: impl IntoIterator<Item = &'a PlannedObject>) -> BTreeSet<ObjectKey> {
    objects.into_iter().map(|object| object.key.clone()).collect()
}

/// The inventory with what was seen of these objects, if that is news.
pub(super) fn note<'a>(
    objects: impl IntoIterator<Item = &'a PlannedObject>,
    plan: &RolloutPlan,
    inventory: &Inventory,
    seen: &Observed,
) -> Option<Step> {
    let mut noted = inventory.clone();
    for object in objects {
        if let Some(ObjectFact::Present { live, in_sync: true, .. }) = seen.object(plan.release, &object.key)
        {
            let healthy = matches!(seen.health_of(plan.release, &object.key), Some(Health::Healthy));
            noted.note(object, live, healthy && object.is_job());
        }
    }
    (noted != *inventory).then_some(Step::WriteInventory { inventory: noted, change: InventoryChange::Noted })
}

/// Plan and inventory for writing, with all objects of the plan in the inventory; or the step that gets there.
pub(super) fn ready<'a>(
    plan: &'a Fact<RolloutPlan>,
    load: Step,
    seen: &'a Observed,
) -> Result<(&'a RolloutPlan, &'a Inventory), Blocked> {
    let lost = |message: &String| Blocked::Failed(Failure::new(Reason::DocumentsLost, message.clone()));
    let plan = match plan {
        Fact::Known(plan) => plan,
        Fact::Refused { message } => return Err(lost(message)),
        Fact::Unknown => return Err(Blocked::Step(load)),
    };
    let inventory = match &seen.inventory {
        Fact::Known(inventory) => inventory,
        Fact::Refused { message } => return Err(lost(message)),
        Fact::Unknown => return Err(Blocked::Step(Step::ReadInventory)),
    };
    if inventory.covers(plan) {
        return Ok((plan, inventory));
    }
    let superset = inventory.superset(plan);
    Err(Blocked::Step(Step::WriteInventory { inventory: superset, change: InventoryChange::Superset }))
}

/// Why nothing can be written now.
pub(super) enum Blocked {
    /// Something must be done first.
    Step(Step),
    /// It can never be.
    Failed(Failure),
}

fn fail(state: &RolloutState, failure: Failure, now: Timestamp) -> Step {
    state.record(Phase::Judged { verdict: Verdict::Failed(failure) }, now)
}

fn blocked(state: &RolloutState, blocked: Blocked, seen: &Observed, now: Timestamp) -> Step {
    match blocked {
        Blocked::Failed(failure) => fail(state, failure, now),
        Blocked::Step(step) => {
            // Not even the first question is answered: that has the same limit as all of protecting.
            if now < after(asked(state.since, seen), seen.limits.protect) {
                return step;
            }
            fail(state, Failure::new(Reason::NoData, late(&step, seen)), now)
        }
    }
}

/// Writes wave after wave, each healthy before the next.
pub(super) fn forward(state: &RolloutState, progress: &Progress, seen: &Observed, now: Timestamp) -> Step {
    let load = Step::LoadRelease { release: state.release };
    let (plan, inventory) = match ready(&seen.plan, load, seen) {
        Ok(ready) => ready,
        Err(reason) => return blocked(state, reason, seen, now),
    };
    let (done, rest) = plan.waves.split_at(progress.wave.min(plan.waves.len()));
    let before = Lack::of(done.iter().flat_map(|wave| &wave.objects), plan, inventory, seen);
    if let Some(failure) = before.failure() {
        return fail(state, failure, now);
    }
    for (index, wave) in (progress.wave..).zip(rest) {
        let lack = Lack::of(&wave.objects, plan, inventory, seen);
        if lack.is_nothing() {
            continue;
        }
        if index > progress.wave {
            // The journal says which wave is at work before it is, since its deadlines count from then. What the
            // waves before it made is noted first: a Job that ended must not run again.
            let complete = plan.waves[..index].iter().flat_map(|wave| &wave.objects);
            let next = Progress { wave: index, since: now };
            return noted(state, progress, note(complete, plan, inventory, seen), seen, now)
                .unwrap_or_else(|| state.record(Phase::Protected { progress: next }, now));
        }
        let start = clock(progress.since, seen);
        return match lack.failure().or_else(|| lack.overdue(start, seen, now)) {
            Some(failure) => fail(state, failure, now),
            None => lack.free(start, seen, now).unwrap_or_else(|| lack.step(plan, start, seen, now)),
        };
    }
    noted(state, progress, note(plan.objects(), plan, inventory, seen), seen, now)
        .unwrap_or_else(|| state.record(Phase::healthy(now), now))
}

/// The step that notes what was written, as long as there is hope that the inventory takes it.
fn noted(
    state: &RolloutState,
    progress: &Progress,
    step: Option<Step>,
    seen: &Observed,
    now: Timestamp,
) -> Option<Step> {
    let step = step?;
    let Fact::Known(plan) = &seen.plan else { return Some(step) };
    let end = after(after(asked(progress.since, seen), plan.longest_deadline()), seen.limits.protect);
    if now < end {
        return Some(step);
    }
    Some(fail(state, Failure::new(Reason::NoData, "the inventory could not be written in time"), now))
}

/// How often the time of a soak and of the longest deadline may pass before a break of health is the last one.
///
/// A break alone is no failure: an autoscaler adds a replica, the API server is silent for a moment. But a release whose
/// health breaks for ever is not healthy, and while it is judged neither it nor its way back is settled.
const MOST_SOAKS: u32 = 3;

/// Sees that health holds. What is not known breaks it off, and it begins anew.
pub(super) fn soak(
    state: &RolloutState,
    healthy_since: Option<Timestamp>,
    unhealthy_since: Option<Timestamp>,
    seen: &Observed,
    now: Timestamp,
) -> Step {
    let load = Step::LoadRelease { release: state.release };
    let (plan, inventory) = match ready(&seen.plan, load, seen) {
        Ok(ready) => ready,
        Err(reason) => return blocked(state, reason, seen, now),
    };
    let lack = Lack::of(plan.objects(), plan, inventory, seen);
    if let Some(failure) = lack.failure() {
        return fail(state, failure, now);
    }
    if let Some((object, message)) = lack.degraded.first() {
        return fail(state, Failure::new(Reason::Regression, format!("{}: {message}", object.key)), now);
    }
    let soak = seen.limits.soak.unwrap_or(plan.soak);
    if lack.is_nothing() {
        return match healthy_since {
            None => state.record(Phase::healthy(now), now),
            Some(since) if now >= after(since, soak) => {
                state.record(Phase::Judged { verdict: Verdict::Healthy }, now)
            }
            Some(since) => {
                let end = after(since, soak);
                Step::Soak { end, until: end.min(after(now, seen.limits.poll)) }
            }
        };
    }
    let Some(broken) = unhealthy_since else {
        return state.record(Phase::unhealthy(now), now);
    };
    let start = clock(broken, seen);
    let whole = soak.saturating_add(plan.longest_deadline()).saturating_mul(MOST_SOAKS);
    let is_last = now >= after(clock(state.since, seen), whole);
    let unsteady = || lack.unsteady(soak, whole, asked(state.since, seen), now).filter(|_| is_last);
    match lack.overdue(start, seen, now).or_else(unsteady) {
        Some(failure) => fail(state, failure, now),
        None => lack.step(plan, start, seen, now),
    }
}

/// Writes the objects of the last kept release again.
///
/// They ran together before, so no wave waits for another: what is broken must not keep the rest from coming back.
/// Nothing but time ends it, since there is nothing to go back to from here.
pub(super) fn back(state: &RolloutState, failure: &Failure, seen: &Observed, now: Timestamp) -> Step {
    let failed =
        |rollback: Failure| state.record(Phase::RollbackFailed { failure: failure.clone(), rollback }, now);
    let Some(previous) = state.previous else {
        return state.record(Phase::FirstInstallFailed { failure: failure.clone() }, now);
    };
    let start = after(clock(state.since, seen), seen.limits.rollback);
    let (plan, inventory) = match ready(&seen.kept_plan, Step::LoadRelease { release: previous }, seen) {
        Ok(ready) => ready,
        Err(Blocked::Failed(rollback)) => return failed(rollback),
        Err(Blocked::Step(step)) if now < after(asked(state.since, seen), seen.limits.rollback) => {
            return step;
        }
        Err(Blocked::Step(step)) => {
            return failed(Failure::new(Reason::NoData, late(&step, seen)));
        }
    };
    let mut lack = Lack::of(plan.objects(), plan, inventory, seen);
    // A refusal may end when what the failed release left is out of the way: it is tried again.
    let rejected = lack.failure().filter(|_| !lack.rejected.is_empty());
    let tried: Vec<&PlannedObject> = lack.rejected.drain(..).map(|(object, _)| object).collect();
    lack.unwritten.extend(tried);
    if lack.is_nothing() {
        let overdue = now >= after(start, plan.longest_deadline());
        return note(plan.objects(), plan, inventory, seen)
            .or_else(|| settle::prune(state, plan, inventory, seen, now))
            .filter(|_| !overdue)
            .unwrap_or_else(|| state.record(Phase::RolledBack { failure: failure.clone() }, now));
    }
    // Whoever has just begun to ask looks before the way back is given up.
    let end = if lack.unknown.is_empty() { start } else { asked(start, seen) };
    if now >= after(end, plan.longest_deadline()) {
        let failure = rejected.or_else(|| lack.failure()).or_else(|| lack.overdue(start, seen, now));
        return failed(failure.unwrap_or_else(|| {
            Failure::new(Reason::DeadlineExceeded, format!("release {previous} is not healthy again"))
        }));
    }
    if let Some(step) = lack.apply(plan) {
        return step;
    }
    if !seen.stuck_pods.is_empty() {
        return Step::DeletePods { pods: seen.stuck_pods.clone() };
    }
    lack.step(plan, start, seen, now)
}
