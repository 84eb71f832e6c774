//! What of a record makes it a link of its channel's chain.

use registry_wire::Digest;

use crate::{Channel, SignedRecord};

/// Place of a record in the chain of its channel. A chain may be long, so this is all that is kept of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordLink {
    pub(super) channel: Channel,
    pub(super) version: u64,
    pub(super) digest: Digest,
    pub(super) previous: Option<Digest>,
}

impl From<&SignedRecord> for RecordLink {
    fn from(record: &SignedRecord) -> Self {
        let document = record.document();
        Self {
            channel: document.channel.clone(),
            version: document.version,
            digest: record.digest(),
            previous: document.previous,
        }
    }
}
