//! The channel record: what an environment should run, as a signed link of a chain.

mod document;

use std::fmt;

use bundles_release::{
    EnvironmentName, ProductName, ReleaseVersion,
    names::{CHANNEL_RECORD, PROMOTION_PREDICATE},
};
use jiff::Timestamp;
use registry_wire::{Digest, MediaType};
use serde::{Deserialize, Serialize};

use crate::{Channel, Document, Owner};

/// A rule that a channel record breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// The form is unknown.
    #[error("it has format version {found}, this program reads version 1")]
    FormatVersion {
        /// The version found.
        found: u32,
    },
    /// Versions start at 1, and only the first record has none before it.
    #[error("it has version {version} and {} previous record", if *.has_previous { "a" } else { "no" })]
    Chain {
        /// Its version.
        version: u64,
        /// Whether it names a previous record.
        has_previous: bool,
    },
    /// It could never be taken.
    #[error("its times are out of order: not before {not_before}, apply by {apply_by}, expires {expires}")]
    Times {
        /// From when on it may be taken.
        not_before: Timestamp,
        /// Until when it must have been seen first.
        apply_by: Timestamp,
        /// Until when it holds.
        expires: Timestamp,
    },
    /// The reason is too long or has control characters.
    #[error(
        "its reason has {size} bytes or control characters, at most 1000 bytes of plain text are expected"
    )]
    Reason {
        /// Its size.
        size: usize,
    },
    /// Too much evidence.
    #[error("it lists {count} pieces of evidence, the limit is {}", ChannelRecord::MOST_EVIDENCE)]
    Evidence {
        /// How many.
        count: usize,
    },
}

/// What a record does to its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Goes on to a release that was not there before, or renews the one that is there.
    Promote,
    /// Goes back to a release on purpose. It holds until the next promotion.
    Rollback,
    /// Stops every change on the channel. It names the release at which the channel stands.
    Hold,
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Hold => "hold",
        })
    }
}

/// The release that a record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseMark {
    /// Version, for people.
    pub version: ReleaseVersion,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Length of the manifest in bytes.
    pub size: u64,
}

/// The trust root under which a record was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootMark {
    /// Version of the root.
    pub version: u64,
    /// Digest of its payload.
    pub digest: Digest,
}

/// A bundle that the approvers have checked. It is stored as a blob beside the release, so that those who take the
/// record can fetch it by digest, without asking for referrers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evidence {
    /// What the bundle states.
    pub predicate_type: String,
    /// Digest of the bundle.
    pub bundle: Digest,
    /// Length of the bundle in bytes.
    pub size: u64,
}

/// What a channel should run, and what was there before. [`crate::Payload::new`] checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRecord {
    /// The channel.
    pub channel: Channel,
    /// One more than that of the previous record; the first has 1.
    pub version: u64,
    /// Payload digest of the previous record.
    pub previous: Option<Digest>,
    /// What it does.
    pub action: Action,
    /// The release.
    pub release: ReleaseMark,
    /// The environment of the release that runs.
    pub environment: EnvironmentName,
    /// The trust root under which it was made.
    pub root: RootMark,
    /// What the approvers have checked.
    pub evidence: Vec<Evidence>,
    /// Who proposed it.
    pub proposed_by: Owner,
    /// When.
    pub proposed_at: Timestamp,
    /// From when on it may be taken.
    pub not_before: Timestamp,
    /// Who sees it for the first time after this does not take it: a proposal that was approved weeks too late must
    /// not surface.
    pub apply_by: Timestamp,
    /// After this nothing is changed on its word. What runs goes on.
    pub expires: Timestamp,
    /// Why, for people.
    pub reason: String,
}

impl ChannelRecord {
    /// Most pieces of evidence.
    pub const MOST_EVIDENCE: usize = 16;
    /// Longest reason in bytes.
    pub const LONGEST_REASON: usize = 1000;

    fn check(self) -> Result<Self, RecordFault> {
        let (version, has_previous) = (self.version, self.previous.is_some());
        if version == 0 || (version == 1) == has_previous {
            return Err(RecordFault::Chain { version, has_previous });
        }
        let Self { not_before, apply_by, expires, .. } = self;
        if not_before >= apply_by || apply_by > expires {
            return Err(RecordFault::Times { not_before, apply_by, expires });
        }
        if self.reason.len() > Self::LONGEST_REASON || self.reason.chars().any(char::is_control) {
            return Err(RecordFault::Reason { size: self.reason.len() });
        }
        if self.evidence.len() > Self::MOST_EVIDENCE {
            return Err(RecordFault::Evidence { count: self.evidence.len() });
        }
        Ok(self)
    }
}

impl Document for ChannelRecord {
    const ARTIFACT: MediaType = CHANNEL_RECORD;
    const LARGEST: usize = 16 * 1024;
    const NAME: &'static str = "channel record";
    const PREDICATE: &'static str = PROMOTION_PREDICATE;

    fn product(&self) -> &ProductName {
        &self.channel.product
    }
}
