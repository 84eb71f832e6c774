//! The rollout that is at work, in memory: its journal as stored, and what was seen. Losing it loses nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use daemon_cluster::{Subscription, SubscriptionStatus};
use daemon_plan::{ObjectKey, Observed, Phase, RolloutState, field::FieldPath, rollout::Limits};
use jiff::Timestamp;
use registry_wire::Digest;

/// The rollout that is at work.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) state: RolloutState,
    pub(crate) seen: Observed,
    /// Fields that were left to controllers.
    pub(crate) left: BTreeMap<ObjectKey, Vec<FieldPath>>,
}

impl Work {
    /// A memory that begins `now` and knows nothing, of a process that looks since `looking_since`.
    pub(crate) fn new(state: RolloutState, looking_since: Timestamp, now: Timestamp) -> Self {
        let seen =
            Observed { looking_since: Some(looking_since), memory_since: Some(now), ..Observed::default() };
        Self { state, seen, left: BTreeMap::new() }
    }

    /// The release whose objects are being written or kept.
    pub(crate) fn release_at_work(&self) -> Digest {
        match self.state.phase {
            Phase::RollingBack { .. } => self.state.previous.unwrap_or(self.state.release),
            _ => self.state.release,
        }
    }

    /// Whether objects are being written or kept, so that they have to be looked at again and again.
    pub(crate) const fn watches_objects(&self) -> bool {
        matches!(
            self.state.phase,
            Phase::Protected { .. }
                | Phase::Applied { .. }
                | Phase::Judged { .. }
                | Phase::RollingBack { .. }
                | Phase::Kept
        )
    }

    /// Everything that something is known of, or was.
    pub(crate) fn watched(&self) -> BTreeSet<ObjectKey> {
        self.seen.objects.keys().chain(self.seen.health.keys()).cloned().collect()
    }

    /// Whether this attempt stands on the list of denied ones.
    pub(crate) fn is_denied(&self, status: &SubscriptionStatus) -> bool {
        let same = |denied: &daemon_cluster::Denied| {
            denied.digest == self.state.release && denied.attempt == self.state.attempt
        };
        status.denied.iter().any(same)
    }
}

/// The limits of a subscription.
pub(crate) fn limits(subscription: &Subscription, resync: Duration) -> Limits {
    Limits {
        resync,
        soak: subscription.spec.soak_seconds.map(|seconds| Duration::from_secs(seconds.into())),
        ..Limits::default()
    }
}
