//! The journal of a rollout.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use registry_wire::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    names::{ShortName, restore_point_name},
    reason::Failure,
    rollout::Step,
};

/// Where the rollout of a release stands: all that must survive a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutState {
    /// The release.
    pub release: Digest,
    /// Which attempt at it, from 1. Jobs and restore points carry it in their names.
    pub attempt: u32,
    /// The last kept release: what to go back to. None on a first install.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// When the attempt began.
    pub started: Timestamp,
    /// When the present phase began.
    pub since: Timestamp,
    /// When writing began, once it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writing_since: Option<Timestamp>,
    /// How the data was protected, once it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Protection>,
    /// The present phase.
    pub phase: Phase,
}

/// The typed states of a rollout, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all_fields = "camelCase")]
pub enum Phase {
    /// Begun; nothing is known of the release but its digest.
    Started,
    /// All its documents are in the cluster.
    Fetched,
    /// Its signatures are accepted.
    Verified,
    /// All its objects pass, and its images are on the nodes that will run them.
    OnNodes,
    /// Its data is protected, or there is none; writing may begin and may have begun.
    Protected {
        /// The wave that is being written.
        progress: Progress,
    },
    /// All objects are written and were healthy at least once.
    Applied {
        /// Since when all are healthy without a gap; none while one is not or is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        healthy_since: Option<Timestamp>,
        /// When health broke; none while all are healthy. Deadlines count from here, not from the beginning of the
        /// phase. Journals of old have neither time while health is broken: then the next look counts as the break.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unhealthy_since: Option<Timestamp>,
    },
    /// The judge has spoken.
    Judged {
        /// What it said.
        verdict: Verdict,
    },
    /// The objects of the last kept release are being written again.
    RollingBack {
        /// Why.
        failure: Failure,
    },
    /// The release runs and is the one to go back to. From here on it is kept in place.
    Kept,
    /// The last kept release runs again.
    RolledBack {
        /// Why.
        failure: Failure,
    },
    /// Nothing was written.
    Refused {
        /// Why.
        refusal: Refusal,
        /// When a new attempt may begin.
        retry_after: Timestamp,
    },
    /// Another release took its place, or it was withdrawn before the first write.
    Superseded {
        /// The other release.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Digest>,
    },
    /// A first install failed. Its objects are left as they are, for whoever looks into it.
    FirstInstallFailed {
        /// Why.
        failure: Failure,
    },
    /// The last kept release could not be brought back. A person is needed.
    RollbackFailed {
        /// Why the release was given up.
        failure: Failure,
        /// Why the way back failed.
        rollback: Failure,
    },
}

/// Place in the waves of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Index of the wave.
    pub wave: usize,
    /// When it was begun; its deadlines count from here.
    pub since: Timestamp,
}

/// How the data was protected before the first write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub enum Protection {
    /// The restore point of each service with data.
    RestorePoints(BTreeMap<String, ShortName>),
    /// No service of the release has data in this cluster.
    NothingToProtect,
}

/// What the judge says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub enum Verdict {
    /// Healthy, and health held.
    Healthy,
    /// Not healthy.
    Failed(Failure),
}

/// Why a release is refused before anything was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RefusalReason {
    /// It cannot be fetched, or what is fetched is no release.
    Fetch,
    /// It is not what the channel says: another product, or not as the record names it.
    Identity,
    /// Its signatures are not accepted.
    Verification,
    /// An object does not pass the dry run, or a Secret is missing.
    Preflight,
    /// More objects would be pruned than one release may.
    Prune,
    /// The inventory cannot be read.
    Inventory,
    /// An image cannot be put on a node.
    Images,
    /// A restore point cannot be taken.
    RestorePoint,
    /// The release to go back to is not at hand.
    NoWayBack,
}

/// A refusal with its explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The cause.
    pub reason: RefusalReason,
    /// What a person should read.
    pub message: String,
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// How a rollout ended, for counting and for exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The release runs.
    Kept,
    /// The last kept release runs again.
    RolledBack,
    /// Nothing was written.
    Refused,
    /// Another release took its place.
    Superseded,
    /// A first install failed.
    FirstInstallFailed,
    /// The way back failed.
    RollbackFailed,
}

impl Phase {
    /// All objects are healthy from `since` on.
    pub(crate) const fn healthy(since: Timestamp) -> Self {
        Self::Applied { healthy_since: Some(since), unhealthy_since: None }
    }

    /// All objects were healthy once, and from `since` on one is not or is not known.
    pub(crate) const fn unhealthy(since: Timestamp) -> Self {
        Self::Applied { healthy_since: None, unhealthy_since: Some(since) }
    }

    /// The name of the phase, as it stands in status and events.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::Fetched => "Fetched",
            Self::Verified => "Verified",
            Self::OnNodes => "OnNodes",
            Self::Protected { .. } => "Protected",
            Self::Applied { .. } => "Applied",
            Self::Judged { .. } => "Judged",
            Self::RollingBack { .. } => "RollingBack",
            Self::Kept => "Kept",
            Self::RolledBack { .. } => "RolledBack",
            Self::Refused { .. } => "Refused",
            Self::Superseded { .. } => "Superseded",
            Self::FirstInstallFailed { .. } => "FirstInstallFailed",
            Self::RollbackFailed { .. } => "RollbackFailed",
        }
    }

    /// How the rollout ended; none while it runs.
    pub const fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Kept => Some(Outcome::Kept),
            Self::RolledBack { .. } => Some(Outcome::RolledBack),
            Self::Refused { .. } => Some(Outcome::Refused),
            Self::Superseded { .. } => Some(Outcome::Superseded),
            Self::FirstInstallFailed { .. } => Some(Outcome::FirstInstallFailed),
            Self::RollbackFailed { .. } => Some(Outcome::RollbackFailed),
            _ => None,
        }
    }

    /// Whether an object of the release may have been written.
    pub const fn may_have_written(&self) -> bool {
        !matches!(self, Self::Started | Self::Fetched | Self::Verified | Self::OnNodes | Self::Refused { .. })
    }

    /// Whether the judge has not spoken yet.
    pub const fn is_before_judgement(&self) -> bool {
        matches!(
            self,
            Self::Started
                | Self::Fetched
                | Self::Verified
                | Self::OnNodes
                | Self::Protected { .. }
                | Self::Applied { .. }
        )
    }

    /// The failure that brought the release down, if one did.
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Judged { verdict: Verdict::Failed(failure) }
            | Self::RollingBack { failure }
            | Self::RolledBack { failure }
            | Self::FirstInstallFailed { failure }
            | Self::RollbackFailed { failure, .. } => Some(failure),
            _ => None,
        }
    }

    /// Position in the order of phases: a record never goes to a smaller one.
    pub const fn rank(&self) -> (u8, usize) {
        match self {
            Self::Started => (0, 0),
            Self::Fetched => (1, 0),
            Self::Verified => (2, 0),
            Self::OnNodes => (3, 0),
            Self::Protected { progress } => (4, progress.wave),
            Self::Applied { .. } => (5, 0),
            Self::Judged { .. } => (6, 0),
            Self::RollingBack { .. } => (7, 0),
            _ => (8, 0),
        }
    }
}

impl RolloutState {
    /// Begins an attempt at `release`; `previous` is the last kept release.
    pub const fn start(release: Digest, attempt: u32, previous: Option<Digest>, now: Timestamp) -> Self {
        Self {
            release,
            attempt,
            previous,
            started: now,
            since: now,
            writing_since: None,
            protection: None,
            phase: Phase::Started,
        }
    }

    /// The name of the present phase, where a rollout without data is told from a protected one.
    pub const fn phase_name(&self) -> &'static str {
        match (&self.phase, &self.protection) {
            (Phase::Protected { .. }, Some(Protection::NothingToProtect)) => "NothingToProtect",
            (phase, _) => phase.name(),
        }
    }

    /// Pods that were made before this moment are not new, so their restarts tell nothing of what was written.
    pub fn pods_count_from(&self) -> Timestamp {
        match self.phase {
            Phase::RollingBack { .. } => self.since,
            _ => self.writing_since.unwrap_or(self.since),
        }
    }

    /// Name of the restore point of a service in this attempt.
    pub fn restore_point(&self, service: &str) -> ShortName {
        restore_point_name(service, &self.release, self.attempt, self.started)
    }

    pub(crate) fn record(&self, phase: Phase, now: Timestamp) -> Step {
        // Within a phase (another wave, a break in health) its time goes on.
        let since = if self.phase.name() == phase.name() { self.since } else { now };
        Step::Record(Box::new(Self { since, phase, ..self.clone() }))
    }

    pub(crate) fn refuse(&self, reason: RefusalReason, message: impl Into<String>, now: Timestamp) -> Step {
        let wait = retry_delay(self.attempt);
        let retry_after = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        self.record(Phase::Refused { refusal: Refusal { reason, message: message.into() }, retry_after }, now)
    }
}

/// Time between a refused attempt and the next: 15 s, doubled each time, at most 10 minutes.
fn retry_delay(attempt: u32) -> jiff::SignedDuration {
    let doubled = 15_i64 << attempt.saturating_sub(1).min(6);
    jiff::SignedDuration::from_secs(doubled.min(600))
}
