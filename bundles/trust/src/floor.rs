//! What a follower of a channel remembers, so that nobody can lead it back.

use jiff::Timestamp;
use registry_wire::Digest;
use serde::{Deserialize, Serialize};

use crate::{Channel, Reason, RootMark, SignedRecord, TrustedRoot};

/// The last accepted record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordFloor {
    /// Its version.
    pub version: u64,
    /// Digest of its payload.
    pub digest: Digest,
    /// The release that it names.
    pub release: Digest,
    /// When it was proposed.
    #[serde(with = "crate::timestamp")]
    pub proposed_at: Timestamp,
}

/// The floor under which nothing is accepted any more. It is stored whole and replaced whole, before the record that
/// raised it is acted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustFloor {
    /// The channel that is followed.
    pub channel: Channel,
    /// The last trusted root.
    pub root: RootMark,
    /// Roots that led to it step by step, the pinned one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lineage: Vec<Digest>,
    /// The last accepted record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordFloor>,
    /// Releases that the channel named before, oldest first. The channel comes back to one of them only by a rollback.
    #[serde(default)]
    pub releases: Vec<Digest>,
}

impl TrustFloor {
    /// How many earlier releases are remembered.
    pub const MOST_RELEASES: usize = 256;

    /// The floor of one who has seen nothing but the root.
    pub const fn new(channel: Channel, root: &TrustedRoot) -> Self {
        Self { channel, root: root.mark(), lineage: Vec::new(), record: None, releases: Vec::new() }
    }

    /// The floor after a step to `root`, which the root of the floor led to. A root never goes back.
    #[must_use]
    pub fn with_root(mut self, root: &TrustedRoot) -> Self {
        if root.mark().version > self.root.version {
            self.lineage.push(self.root.digest);
            self.root = root.mark();
        }
        self
    }

    /// The floor of one who pins `pinned`: a root that led to that of the floor, or a newer one, from which the way
    /// begins anew. Another root is refused; silently going on with the old one would keep keys that a person meant to
    /// leave.
    pub fn with_pinned(self, pinned: &TrustedRoot) -> Result<Self, Reason> {
        let mark = pinned.mark();
        if mark == self.root || self.lineage.contains(&mark.digest) {
            return Ok(self);
        }
        if mark.version > self.root.version {
            return Ok(Self { root: mark, lineage: Vec::new(), ..self });
        }
        if mark.version == self.root.version {
            let (expected, found) = (self.root.digest, mark.digest);
            return Err(Reason::RootMismatch { version: mark.version, expected, found });
        }
        Err(Reason::RootReplayed { have: self.root.version, found: mark.version })
    }

    /// The floor after `record` is accepted under `root`.
    pub(crate) fn after(&self, record: &SignedRecord, root: &TrustedRoot) -> Self {
        let document = record.document();
        let mut releases = self.releases.clone();
        releases.retain(|release| *release != document.release.digest);
        if let Some(last) = &self.record
            && last.release != document.release.digest
        {
            releases.retain(|release| *release != last.release);
            releases.push(last.release);
        }
        let surplus = releases.len().saturating_sub(Self::MOST_RELEASES);
        releases.drain(..surplus);
        Self {
            record: Some(RecordFloor {
                version: document.version,
                digest: record.digest(),
                release: document.release.digest,
                proposed_at: document.proposed_at,
            }),
            releases,
            ..self.clone().with_root(root)
        }
    }
}
