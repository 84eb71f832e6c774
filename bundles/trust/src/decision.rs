//! The decisions: pure functions of what was fetched, what is remembered, and what time it is.

mod link;
mod reason;

use bundles_release::ProductName;
use jiff::{SignedDuration, Timestamp};
use registry_wire::Digest;

pub use self::{link::RecordLink, reason::Reason};
use crate::{
    Action, Channel, ChannelRecord, Document as _, Ignored, RecordFloor, ReleaseMark, Role, SignatureBundle,
    SignedRecord, Tally, TrustFloor, TrustedRoot, signature::signs, tally,
};

/// How far the clock may stand behind the last accepted record.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// What to do with a channel record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a record that was not decided on must not be acted on"]
pub enum Decision {
    /// It is new and good. Store this floor first, then act.
    Accept(TrustFloor),
    /// It states what was accepted last and is in order itself: it may replace the one that is stored, whose signatures
    /// may have become too few.
    Unchanged,
    /// It states what was accepted last and is not in order itself. What is stored stays: who can move a tag must not be
    /// able to take signatures away. [`standing`] says whether the stored one is still in order.
    Weaker(Reason),
    /// It changes nothing: what runs goes on.
    Refuse(Reason),
}

/// Decides on the record that a channel's tag names.
///
/// `between` are the records after the last accepted one and before `record`, oldest first; it is empty when `record`
/// is the next one. They only have to link up: `record` is signed and names its predecessor by digest, so their own
/// signatures add nothing.
pub fn decide(
    record: &SignedRecord,
    between: &[RecordLink],
    root: &TrustedRoot,
    floor: &TrustFloor,
    now: Timestamp,
) -> Decision {
    if let Err(reason) = check_place(record, root, floor) {
        return Decision::Refuse(reason);
    }
    if floor.record.as_ref().is_some_and(|last| last.digest == record.digest()) {
        return match standing(record, root, now) {
            Ok(()) => Decision::Unchanged,
            Err(reason) => Decision::Weaker(reason),
        };
    }
    match check_new(record, between, root, floor, now) {
        Ok(()) => Decision::Accept(floor.after(record, root)),
        Err(reason) => Decision::Refuse(reason),
    }
}

/// Whether an accepted record is still in order: the root in date, enough signatures under it, the release not revoked,
/// the record in date. If not, what runs goes on and nothing is changed until a new record comes.
pub fn standing(record: &SignedRecord, root: &TrustedRoot, now: Timestamp) -> Result<(), Reason> {
    check_root_date(root, now)?;
    check_signatures(record, root, Some(now))?;
    check_revoked(record.document().release.digest, root)?;
    check_expiry(record, now)
}

/// Verifies the signatures on the release of digest `release` against role `release` of the root. Bundles that state
/// something else, such as provenance, are passed over. Returns the signatures that count.
pub fn verify_release(
    release: Digest,
    bundles: &[SignatureBundle],
    root: &TrustedRoot,
    now: Timestamp,
) -> Result<Tally, Reason> {
    check_root_date(root, now)?;
    check_revoked(release, root)?;
    let tally = tally::count(root.root(), &Role::Release, bundles, Some(now), |payload| {
        signs(payload, release).is_ok()
    });
    let is_unsigned = tally.ignored.iter().all(|(_, why)| *why == Ignored::OtherStatement);
    if tally.counted.is_empty() && is_unsigned {
        return Err(Reason::Unsigned { release });
    }
    enough(tally)
}

/// Whether a release is one that the channel may name, and is what the record of the channel says if it names this one.
/// A digest tells neither: a sibling product's release is signed as well, and a record may have been made by mistake.
pub fn check_release(
    product: &ProductName,
    found: &ReleaseMark,
    channel: &Channel,
    record: Option<&ChannelRecord>,
) -> Result<(), Reason> {
    if *product != channel.product {
        let (expected, release) = (channel.product.clone(), found.digest);
        return Err(Reason::OtherProduct { release, expected, found: product.clone() });
    }
    match record.filter(|record| record.release.digest == found.digest) {
        Some(record) if record.release != *found => Err(Reason::OtherRelease {
            record: record.version,
            named: Box::new(record.release.clone()),
            found: Box::new(found.clone()),
        }),
        _ => Ok(()),
    }
}

/// Verifies that `record` is one of `channel` with enough signatures under this root: what a new record may be built
/// on. Dates play no role, neither of the record nor of keys. Returns the signatures that count.
pub fn verify_record(record: &SignedRecord, channel: &Channel, root: &TrustedRoot) -> Result<Tally, Reason> {
    let found = &record.document().channel;
    if found != channel {
        return Err(Reason::WrongChannel { expected: channel.clone(), found: found.clone() });
    }
    check_signatures(record, root, None)
}

/// Does the record belong here at all, under this root and on this channel?
fn check_place(record: &SignedRecord, root: &TrustedRoot, floor: &TrustFloor) -> Result<(), Reason> {
    let channel = &record.document().channel;
    if *channel != floor.channel {
        return Err(Reason::WrongChannel { expected: floor.channel.clone(), found: channel.clone() });
    }
    if *root.root().product() != floor.channel.product {
        let (expected, found) = (floor.channel.product.clone(), root.root().product().clone());
        return Err(Reason::WrongProduct { expected, found });
    }
    let mark = root.mark();
    if mark.version < floor.root.version {
        return Err(Reason::RootReplayed { have: floor.root.version, found: mark.version });
    }
    if mark.version == floor.root.version && mark.digest != floor.root.digest {
        return Err(Reason::RootMismatch {
            version: mark.version,
            expected: floor.root.digest,
            found: mark.digest,
        });
    }
    Ok(())
}

fn check_new(
    record: &SignedRecord,
    between: &[RecordLink],
    root: &TrustedRoot,
    floor: &TrustFloor,
    now: Timestamp,
) -> Result<(), Reason> {
    let document = record.document();
    if let Some(last) = &floor.record
        && document.version < last.version
    {
        return Err(Reason::Replayed { have: last.version, found: document.version });
    }
    check_root_date(root, now)?;
    let mark = root.mark();
    if document.root.version > mark.version {
        return Err(Reason::RootBehind { have: mark.version, need: document.root.version });
    }
    if document.root.version == mark.version && document.root.digest != mark.digest {
        let (expected, found) = (mark.digest, document.root.digest);
        return Err(Reason::RootMismatch { version: mark.version, expected, found });
    }
    check_signatures(record, root, Some(now))?;
    if let Some(last) = &floor.record {
        if now < last.proposed_at - CLOCK_TOLERANCE {
            return Err(Reason::ClockBehind { now, last: last.proposed_at });
        }
        check_chain(record, between, last)?;
        check_action(record, last, floor)?;
    }
    check_revoked(document.release.digest, root)?;
    check_expiry(record, now)?;
    if now < document.not_before {
        return Err(Reason::NotYet { not_before: document.not_before });
    }
    if now > document.apply_by {
        return Err(Reason::TooLate { apply_by: document.apply_by });
    }
    Ok(())
}

/// Every record from the last accepted one up to `record` names the one before it.
fn check_chain(record: &SignedRecord, between: &[RecordLink], last: &RecordFloor) -> Result<(), Reason> {
    let version = record.document().version;
    if version == last.version {
        return Err(Reason::Equivocation { version, first: last.digest, second: record.digest() });
    }
    let mut previous = (last.version, last.digest);
    for next in between.iter().chain([&RecordLink::from(record)]) {
        if next.version != previous.0.saturating_add(1) {
            return Err(Reason::Gap {
                from: previous.0.saturating_add(1),
                to: next.version.saturating_sub(1),
            });
        }
        let found = next.previous;
        if next.channel != record.document().channel || found != Some(previous.1) {
            return Err(Reason::BrokenChain { version: next.version, expected: previous.1, found });
        }
        previous = (next.version, next.digest);
    }
    Ok(())
}

/// A channel goes back only by a rollback, and stands still while it is held.
fn check_action(record: &SignedRecord, last: &RecordFloor, floor: &TrustFloor) -> Result<(), Reason> {
    let release = record.document().release.digest;
    match record.document().action {
        Action::Promote if release != last.release && floor.releases.contains(&release) => {
            Err(Reason::OldRelease { release })
        }
        Action::Hold if release != last.release => {
            Err(Reason::HoldMoves { stands: last.release, named: release })
        }
        Action::Promote | Action::Rollback | Action::Hold => Ok(()),
    }
}

fn check_root_date(root: &TrustedRoot, now: Timestamp) -> Result<(), Reason> {
    let expires = root.root().expires();
    if now >= expires {
        return Err(Reason::RootExpired { version: root.root().version(), expires });
    }
    Ok(())
}

fn check_signatures(
    record: &SignedRecord,
    root: &TrustedRoot,
    now: Option<Timestamp>,
) -> Result<Tally, Reason> {
    let role = Role::Channel(record.document().channel.clone());
    let tally = tally::count(root.root(), &role, record.bundles(), now, |payload| {
        payload == record.payload().bytes()
    });
    enough(tally)
}

fn check_revoked(release: Digest, root: &TrustedRoot) -> Result<(), Reason> {
    if root.root().revoked().releases.contains(&release) {
        return Err(Reason::Revoked { release });
    }
    Ok(())
}

fn check_expiry(record: &SignedRecord, now: Timestamp) -> Result<(), Reason> {
    let expires = record.document().expires;
    if now >= expires {
        return Err(Reason::Expired { expires });
    }
    Ok(())
}

fn enough(tally: Tally) -> Result<Tally, Reason> {
    if tally.is_enough() {
        return Ok(tally);
    }
    if tally.needed == 0 {
        return Err(Reason::NoRole { role: tally.role });
    }
    let is_foreign =
        |why: &Ignored| matches!(why, Ignored::UnknownKey | Ignored::NotInRole | Ignored::RevokedKey);
    if tally.counted.is_empty() && tally.ignored.iter().any(|(_, why)| is_foreign(why)) {
        return Err(Reason::WrongKey { tally: Box::new(tally) });
    }
    Err(Reason::TooFewSignatures { tally: Box::new(tally) })
}
