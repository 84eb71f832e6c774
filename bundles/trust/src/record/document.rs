//! The channel record as it is written.

use bundles_release::{EnvironmentName, ReleaseVersion};
use jiff::Timestamp;
use registry_wire::Digest;
use serde::{Deserialize, Serialize};

use super::{Action, ChannelRecord, Evidence, RecordFault, ReleaseMark, RootMark};
use crate::{Channel, Owner};

const FORMAT_VERSION: u32 = 1;

/// The order of the fields is the order in which they are written. The digest of the release is the subject of the
/// statement and stands there only.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RecordDocument {
    format_version: u32,
    channel: Channel,
    version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prev: Option<Digest>,
    action: Action,
    release: ReleaseDocument,
    environment: EnvironmentName,
    root: RootMark,
    evidence: Vec<Evidence>,
    proposed_by: Owner,
    #[serde(with = "crate::timestamp")]
    proposed_at: Timestamp,
    #[serde(with = "crate::timestamp")]
    not_before: Timestamp,
    #[serde(with = "crate::timestamp")]
    apply_by: Timestamp,
    #[serde(with = "crate::timestamp")]
    expires: Timestamp,
    reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseDocument {
    version: ReleaseVersion,
    size: u64,
}

impl ChannelRecord {
    pub(crate) fn to_document(&self) -> RecordDocument {
        RecordDocument {
            format_version: FORMAT_VERSION,
            channel: self.channel.clone(),
            version: self.version,
            prev: self.previous,
            action: self.action,
            release: ReleaseDocument { version: self.release.version.clone(), size: self.release.size },
            environment: self.environment.clone(),
            root: self.root,
            evidence: self.evidence.clone(),
            proposed_by: self.proposed_by.clone(),
            proposed_at: self.proposed_at,
            not_before: self.not_before,
            apply_by: self.apply_by,
            expires: self.expires,
            reason: self.reason.clone(),
        }
    }

    pub(crate) fn from_document(document: RecordDocument, release: Digest) -> Result<Self, RecordFault> {
        if document.format_version != FORMAT_VERSION {
            return Err(RecordFault::FormatVersion { found: document.format_version });
        }
        let record = Self {
            channel: document.channel,
            version: document.version,
            previous: document.prev,
            action: document.action,
            release: ReleaseMark {
                version: document.release.version,
                digest: release,
                size: document.release.size,
            },
            environment: document.environment,
            root: document.root,
            evidence: document.evidence,
            proposed_by: document.proposed_by,
            proposed_at: document.proposed_at,
            not_before: document.not_before,
            apply_by: document.apply_by,
            expires: document.expires,
            reason: document.reason,
        };
        record.check()
    }
}
