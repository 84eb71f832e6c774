//! What a subscription should run.

use std::collections::BTreeMap;

use jiff::Timestamp;
use registry_wire::Digest;
use serde::{Deserialize, Serialize};

use crate::rollout::{Phase, RolloutState};

/// What trust says of the newest record of the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub enum Channel {
    /// Nothing is known: the registry did not answer, or there is no record yet.
    Unknown,
    /// The record is accepted.
    Accepted {
        /// The release that it names.
        release: Digest,
    },
    /// The record is accepted and stops every change.
    Held {
        /// The release at which the channel stands; it need not be the one that runs here.
        release: Digest,
    },
    /// The record is refused: signatures, freshness, order. What runs goes on running.
    Refused {
        /// What a person should read.
        message: String,
    },
}

/// What decides.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The release that a person pinned.
    pub pin: Option<Digest>,
    /// Whether a person holds the subscription.
    pub hold: bool,
    /// The newest record.
    pub channel: &'a Channel,
    /// Denied releases and why, until a person clears them.
    pub denied: &'a BTreeMap<Digest, String>,
    /// The last kept release.
    pub kept: Option<Digest>,
    /// The newest rollout.
    pub rollout: Option<&'a RolloutState>,
}

/// What the subscription should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// There is nothing to run yet.
    Nothing,
    /// What runs is right.
    Keep {
        /// The release that runs.
        current: Digest,
    },
    /// This release shall run.
    RollOut {
        /// The release.
        release: Digest,
    },
    /// A person pinned what runs.
    Pinned {
        /// The release that runs.
        current: Digest,
        /// The release that the channel names.
        seen: Option<Digest>,
    },
    /// A person holds the subscription, or its channel is held.
    Held {
        /// The release that the channel names.
        seen: Option<Digest>,
    },
    /// The wanted release failed here before.
    Denied {
        /// The release.
        release: Digest,
        /// Why.
        reason: String,
    },
    /// The record is refused, or the last attempt was and the next must wait.
    Refused {
        /// Why.
        reason: String,
        /// When the next attempt may begin; none if something else must change first.
        until: Option<Timestamp>,
    },
}

impl Target {
    /// The reason in conditions when nothing is rolled out since it is refused.
    pub const REFUSED: &'static str = "Refused";

    /// The name, as it stands as reason in conditions.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "Nothing",
            Self::Keep { .. } => "Keep",
            Self::RollOut { .. } => "RollOut",
            Self::Pinned { .. } => "Pinned",
            Self::Held { .. } => "Held",
            Self::Denied { .. } => "Denied",
            Self::Refused { .. } => Self::REFUSED,
        }
    }
}

/// Decides what the subscription should run.
///
/// A pin outweighs a hold, a hold outweighs the channel. A denied release is never rolled out, not even by a pin.
pub fn decide_target(circumstances: &Circumstances<'_>, now: Timestamp) -> Target {
    let Circumstances { pin, hold, channel, denied, kept, rollout } = *circumstances;
    let seen = match channel {
        Channel::Accepted { release } | Channel::Held { release } => Some(*release),
        Channel::Unknown | Channel::Refused { .. } => None,
    };
    let wanted = match (pin, hold) {
        (Some(pin), _) if kept == Some(pin) => return Target::Pinned { current: pin, seen },
        (Some(pin), _) => pin,
        (None, true) => return Target::Held { seen },
        (None, false) => match channel {
            Channel::Accepted { release } => *release,
            Channel::Held { .. } => return Target::Held { seen },
            Channel::Refused { message } => {
                return Target::Refused { reason: message.clone(), until: None };
            }
            // What is under way goes on without the registry.
            Channel::Unknown => match rollout.filter(|rollout| rollout.phase.outcome().is_none()) {
                Some(rollout) => rollout.release,
                None => return kept.map_or(Target::Nothing, |current| Target::Keep { current }),
            },
        },
    };
    if kept == Some(wanted) {
        return Target::Keep { current: wanted };
    }
    if let Some(reason) = denied.get(&wanted) {
        return Target::Denied { release: wanted, reason: reason.clone() };
    }
    if let Some(rollout) = rollout.filter(|rollout| rollout.release == wanted)
        && let Phase::Refused { refusal, retry_after } = &rollout.phase
        && now < *retry_after
    {
        let reason = format!("{}: {}", refusal.reason, refusal.message);
        return Target::Refused { reason, until: Some(*retry_after) };
    }
    Target::RollOut { release: wanted }
}

/// The rollout that a target asks for: the one under way, or a new attempt.
pub fn rollout_for(
    release: Digest,
    kept: Option<Digest>,
    latest: Option<&RolloutState>,
    now: Timestamp,
) -> RolloutState {
    match latest.filter(|rollout| rollout.release == release) {
        Some(rollout) if rollout.phase.outcome().is_none() => rollout.clone(),
        Some(rollout) => RolloutState::start(release, rollout.attempt.saturating_add(1), kept, now),
        None => RolloutState::start(release, 1, kept, now),
    }
}
