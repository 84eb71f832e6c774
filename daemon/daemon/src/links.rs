//! The way from the last accepted record to the one that the channel's tag names, however long it is.

use bundles_trust::{ArtifactError, RecordLink, SignedRecord, TrustFloor, TrustedRoot, verify_record};
use registry_client::{ClientError, Registry};
use registry_wire::{Reference, RepositoryName};

/// The records after the last accepted one and before `record`, from their own tags, as far as they are there.
///
/// `known` holds what was read; what is in it is not asked for again. Whoever cannot sign a record cannot send the
/// daemon along a way: without enough signatures on `record` nothing is read, and the decision is to refuse it.
///
/// # Cancel safety
///
/// May be dropped: what was read stays in `known`.
pub(crate) async fn read_links<'a>(
    known: &'a mut Vec<RecordLink>,
    record: &SignedRecord,
    root: &TrustedRoot,
    floor: &TrustFloor,
    registry: &Registry,
    repository: &RepositoryName,
) -> Result<Result<&'a [RecordLink], ArtifactError>, ClientError> {
    let Some(last) = &floor.record else { return Ok(Ok(&[])) };
    if verify_record(record, &floor.channel, root).is_err() {
        return Ok(Ok(&[]));
    }
    let first = last.version.saturating_add(1);
    let version = record.document().version;
    for missing in first.saturating_add(known.len() as u64)..version {
        let tag = Reference::Tag(floor.channel.version_tag(missing));
        let Some(found) = registry.get_manifest(repository, &tag).await? else { break };
        match SignedRecord::parse(&found) {
            Ok(record) => known.push(RecordLink::from(&record)),
            Err(error) => return Ok(Err(error)),
        }
    }
    let wanted = usize::try_from(version.saturating_sub(first)).unwrap_or(usize::MAX);
    Ok(Ok(&known[..wanted.min(known.len())]))
}
