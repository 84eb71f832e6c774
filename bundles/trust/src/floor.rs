//! What a follower of a channel remembers, so that nobody can lead it back.

use jiff::Timestamp;
use registry_wire::Digest;
use serde::{Deserialize, Serialize};

use crate::{Channel, RootMark, SignedRecord, TrustedRoot};

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
        Self { channel, root: root.mark(), record: None, releases: Vec::new() }
    }

    /// The floor after `root` is trusted. A root never goes back.
    #[must_use]
    pub fn with_root(mut self, root: &TrustedRoot) -> Self {
        if root.mark().version > self.root.version {
            self.root = root.mark();
        }
        self
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
            channel: self.channel.clone(),
            root: root.mark(),
            record: Some(RecordFloor {
                version: document.version,
                digest: record.digest(),
                release: document.release.digest,
                proposed_at: document.proposed_at,
            }),
            releases,
        }
    }
}
