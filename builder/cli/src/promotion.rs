//! Moving a channel to a release.
//!
//! Order: the trust root before a record that names it, the immutable tag of a record before the tag that moves. A
//! promotion that is cut off between the two is finished by typing it again. A channel's tag that stands behind the
//! signed records that are there was moved back or left behind; nothing is built on it.

use std::{cmp::Ordering, collections::BTreeSet};

use bundles_release::{EnvironmentName, Release, names::SIGNATURE_PREDICATE};
use bundles_trust::{
    Action, Channel, ChannelRecord, Document as _, Evidence, Owner, Payload, PrivateKey, Reason, ReleaseMark,
    Role, SignatureBundle, Signed, SignedRecord, TrustFloor, TrustRoot, standing, verify_record,
    verify_release,
};
use jiff::{SignedDuration, Timestamp};
use registry_wire::{Digest, Reference, Tag};

use crate::{
    error::{CommandError, Kind, OfKind as _},
    publishing::{Change, Moved, Target, of_refusal, of_registry},
    root_file::RootFile,
};

/// How long a record is taken by those who see it for the first time.
const APPLY_WITHIN: SignedDuration = SignedDuration::from_hours(72);
/// How long a record holds.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 90);
/// A clock may be so much behind.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// What becomes of a release that the channel named before and left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// It is refused: a channel goes back only on purpose.
    Refuse,
    /// The channel goes back to it by a rollback.
    ComeBack,
    /// A person says that it was named before: a rollback, however long ago that was.
    Certain,
}

/// What a channel is to run.
#[derive(Debug)]
pub(crate) struct Promotion<'a> {
    pub(crate) channel: Channel,
    pub(crate) release: &'a Release,
    pub(crate) environment: EnvironmentName,
    pub(crate) root: &'a RootFile,
    pub(crate) proposed_by: Owner,
    pub(crate) earlier: Earlier,
    pub(crate) reason: String,
    pub(crate) now: Timestamp,
}

impl Promotion<'_> {
    /// What can be refused without a registry and without a key.
    fn check(&self) -> Result<(), CommandError> {
        let root = self.root.trusted.root();
        if root.product() != self.release.product() {
            let (expected, found) = (self.release.product().clone(), root.product().clone());
            return Err(of_refusal(Reason::WrongProduct { expected, found }));
        }
        if self.release.environment(&self.environment).is_none() {
            let known: Vec<_> =
                self.release.environments().iter().map(|known| known.name().to_string()).collect();
            let message =
                format!("the release has no environment {}; it has {}", self.environment, known.join(", "));
            let hint = format!("--environment {}", known.first().map_or("NAME", String::as_str));
            return Err(CommandError::new(Kind::Input, message).hint(hint));
        }
        let role = Role::Channel(self.channel.clone());
        if root.role(&role).is_none() {
            return Err(of_refusal(Reason::NoRole { role }));
        }
        let mut owners: Vec<_> = root.keys().values().map(|key| key.owner.to_string()).collect();
        owners.sort();
        owners.dedup();
        if !owners.iter().any(|owner| owner == self.proposed_by.as_str()) {
            let message =
                format!("the trust root has no owner {}; it has {}", self.proposed_by, owners.join(", "));
            return Err(CommandError::new(Kind::Trust, message).hint("--by OWNER, one of those"));
        }
        Ok(())
    }

    /// Whether `record` says already what is wanted.
    fn is_said_by(&self, record: &SignedRecord) -> bool {
        let document = record.document();
        document.release.digest == self.release.digest()
            && document.environment == self.environment
            && document.action != Action::Hold
    }

    fn record(
        &self,
        previous: Option<&SignedRecord>,
        action: Action,
        evidence: Vec<Evidence>,
    ) -> ChannelRecord {
        let manifest = self.release.manifest();
        ChannelRecord {
            channel: self.channel.clone(),
            version: version_of(previous) + 1,
            previous: previous.map(Signed::digest),
            action,
            release: ReleaseMark {
                version: self.release.version().clone(),
                digest: manifest.digest(),
                size: manifest.bytes().len() as u64,
            },
            environment: self.environment.clone(),
            root: self.root.trusted.mark(),
            evidence,
            proposed_by: self.proposed_by.clone(),
            proposed_at: self.now,
            not_before: self.now - CLOCK_TOLERANCE,
            apply_by: self.now + APPLY_WITHIN,
            expires: self.now + LIFETIME,
            reason: self.reason.clone(),
        }
    }
}

/// Whether somebody who sees the record for the first time still takes it: a cluster that joins late needs a new one.
fn is_taken_at(record: &ChannelRecord, now: Timestamp) -> bool {
    now <= record.apply_by
}

fn promoted_meanwhile(version_tag: &Reference) -> CommandError {
    let message = format!("{version_tag} is another's record: someone else promoted at the same time");
    CommandError::new(Kind::Trust, message).hint("the same command once more")
}

fn version_of(record: Option<&SignedRecord>) -> u64 {
    record.map_or(0, |record| record.document().version)
}

impl Target<'_> {
    /// Moves a channel to a release, unless it is there. The keys are opened only when a record has to be signed.
    ///
    /// Atomicity: the channel's tag moves last and in one step; before that nobody sees a change.
    pub(crate) async fn promote(
        &self,
        promotion: &Promotion<'_>,
        open_keys: impl FnOnce() -> Result<Vec<PrivateKey>, CommandError>,
    ) -> Result<(SignedRecord, Change), CommandError> {
        let Promotion { channel, release, root, now, .. } = promotion;
        promotion.check()?;
        let root_change = self.look_for_root(&root.signed).await?;
        let tag = channel.tag();
        let tagged = self.record_at(promotion, &tag).await?;
        let newest = self.newest_record(promotion, tagged.clone()).await?;
        let is_behind = version_of(newest.as_ref()) > version_of(tagged.as_ref());
        if let Some(record) = &newest {
            if promotion.is_said_by(record)
                && standing(record, &root.trusted, *now).is_ok()
                && is_taken_at(record.document(), *now)
            {
                if !is_behind {
                    return Ok((record.clone(), Change::Unchanged));
                }
                // A promotion that was cut off before the tag moved.
                self.put_manifest(self.repository, &Reference::Tag(tag), &record.manifest()).await?;
                return Ok((record.clone(), Change::Made));
            }
            if is_behind && !promotion.is_said_by(record) {
                return Err(self.moved_back(channel, tagged.as_ref(), record));
            }
        }
        let signatures = self.signatures(&release.digest()).await?;
        let tally = verify_release(release.digest(), &signatures, &root.trusted, *now)
            .map_err(|reason| self.unsigned(reason, release))?;
        // Listed by digest, so that a cluster needs no list of referrers.
        let evidence =
            signatures.iter().filter(|bundle| tally.counted.contains(&bundle.hint())).map(|bundle| {
                Evidence {
                    predicate_type: SIGNATURE_PREDICATE.to_owned(),
                    bundle: bundle.digest(),
                    size: bundle.bytes().len() as u64,
                }
            });
        let action = self.action(promotion, newest.as_ref()).await?;
        let record = promotion.record(newest.as_ref(), action, evidence.collect());
        let payload = Payload::new(&record).of_kind(Kind::Input)?;
        let mut bundles: Vec<_> = open_keys()?.iter().map(|key| payload.sign(key)).collect();
        // A key that was named twice signs once: signatures are deterministic.
        bundles.sort_by_key(SignatureBundle::hint);
        bundles.dedup();
        let signed = Signed::new(payload, bundles).of_kind(Kind::Trust)?;
        standing(&signed, &root.trusted, *now).map_err(|reason| too_few(reason, root.trusted.root()))?;
        let version_tag = Reference::Tag(channel.version_tag(record.version));
        if self.resolve(&version_tag).await?.is_some() {
            return Err(promoted_meanwhile(&version_tag));
        }
        if root_change == Change::Made {
            self.push_root(&root.signed).await?;
        }
        let mut moved = Moved::default();
        for (descriptor, bytes) in signed.blobs() {
            self.put(self.repository, &descriptor, bytes.into(), &mut moved).await?;
        }
        let manifest = signed.manifest();
        self.put_manifest(self.repository, &version_tag, &manifest).await?;
        // Registries overwrite tags, so two who promote at once may both come this far. The channel's tag is moved by the
        // one whose record is there afterwards, or a cluster could take a record that the chain does not go on from.
        match self.resolve(&version_tag).await? {
            Some(there) if there == manifest.digest() => {}
            _ => return Err(promoted_meanwhile(&version_tag)),
        }
        self.put_manifest(self.repository, &Reference::Tag(tag), &manifest).await?;
        Ok((signed, Change::Made))
    }

    /// The record at a tag, whoever signed it.
    async fn read_record(&self, tag: &Tag) -> Result<Option<SignedRecord>, CommandError> {
        let reference = Reference::Tag(tag.clone());
        let manifest = self.registry.get_manifest(self.repository, &reference).await.map_err(of_registry)?;
        let record = manifest.as_ref().map(SignedRecord::parse).transpose();
        record.of_kind(Kind::Trust).map_err(|error| error.hint(who_wrote(tag)))
    }

    /// The record at a tag, with enough signatures under the root.
    async fn record_at(
        &self,
        promotion: &Promotion<'_>,
        tag: &Tag,
    ) -> Result<Option<SignedRecord>, CommandError> {
        let Some(record) = self.read_record(tag).await? else { return Ok(None) };
        let (made_under, ours) = (record.document().root, promotion.root.trusted.mark());
        verify_record(&record, &promotion.channel, promotion.root.of(&made_under)).map_err(|reason| {
            let message = format!("the record at {tag} is refused: {reason}");
            let version = made_under.version;
            CommandError::new(Kind::Trust, message).hint(match version.cmp(&ours.version) {
                Ordering::Less => format!(
                    "it was made under version {version} of the trust root: name that before yours, --trust-root FILE \
                     --trust-root FILE"
                ),
                Ordering::Equal => who_wrote(tag),
                Ordering::Greater => {
                    format!("it was made under version {version} of the trust root: get that from its owners")
                }
            })
        })?;
        Ok(Some(record))
    }

    /// The last record of the chain that goes on from `tagged`, by the tags that never move.
    async fn newest_record(
        &self,
        promotion: &Promotion<'_>,
        tagged: Option<SignedRecord>,
    ) -> Result<Option<SignedRecord>, CommandError> {
        let mut newest = tagged;
        loop {
            let tag = promotion.channel.version_tag(version_of(newest.as_ref()) + 1);
            let Some(next) = self.record_at(promotion, &tag).await? else { break };
            let expected = newest.as_ref().map(Signed::digest);
            let document = next.document();
            if document.previous != expected {
                let (version, found) = (document.version, document.previous);
                return Err(match expected {
                    Some(expected) => of_refusal(Reason::BrokenChain { version, expected, found }),
                    None => of_refusal(Reason::Gap { from: 1, to: version - 1 }),
                });
            }
            newest = Some(next);
        }
        Ok(newest)
    }

    /// What the record does: goes on, or goes back to a release that the channel has left.
    async fn action(
        &self,
        promotion: &Promotion<'_>,
        newest: Option<&SignedRecord>,
    ) -> Result<Action, CommandError> {
        let release = promotion.release.digest();
        let Some(newest) = newest.filter(|newest| newest.document().release.digest != release) else {
            return Ok(Action::Promote);
        };
        if promotion.earlier == Earlier::Certain {
            return Ok(Action::Rollback);
        }
        if !self.named_before(&promotion.channel, newest, release).await? {
            return Ok(Action::Promote);
        }
        match promotion.earlier {
            Earlier::Certain | Earlier::ComeBack => Ok(Action::Rollback),
            Earlier::Refuse => Err(CommandError::new(Kind::Trust, Reason::OldRelease { release })
                .hint("the same command with --rollback")),
        }
    }

    /// Whether the channel named a release before `newest`, as far back as those who follow it remember.
    async fn named_before(
        &self,
        channel: &Channel,
        newest: &SignedRecord,
        release: Digest,
    ) -> Result<bool, CommandError> {
        let mut expected = newest.document().previous;
        let mut named = BTreeSet::from([newest.document().release.digest]);
        for version in (1..newest.document().version).rev() {
            let tag = channel.version_tag(version);
            let Some(record) = self.read_record(&tag).await? else { break };
            // Each is named by the next one up to the newest, which is signed: their own signatures add nothing.
            if let Some(expected) = expected.filter(|expected| *expected != record.digest()) {
                let message =
                    format!("the record at {tag} is {}, the next one names {expected}", record.digest());
                return Err(CommandError::new(Kind::Trust, message).hint(who_wrote(&tag)));
            }
            if record.document().release.digest == release {
                return Ok(true);
            }
            named.insert(record.document().release.digest);
            // The newest is not among those that were left.
            if named.len() > TrustFloor::MOST_RELEASES {
                break;
            }
            expected = record.document().previous;
        }
        Ok(false)
    }

    fn moved_back(
        &self,
        channel: &Channel,
        tagged: Option<&SignedRecord>,
        newest: &SignedRecord,
    ) -> CommandError {
        let names = match tagged {
            Some(record) => format!("names record {}", record.document().version),
            None => "is gone".to_owned(),
        };
        let document = newest.document();
        let message = format!(
            "the tag {} {names}, but record {} is there and signed: an older record is replayed, or a promotion was \
             cut off",
            channel.tag(),
            document.version
        );
        let reference = self.typed_reference(&document.release.digest);
        let hint = format!(
            "bundle promote {} {reference} --environment {} … puts record {} back; then promote again",
            channel.name, document.environment, document.version
        );
        CommandError::new(Kind::Trust, message).hint(hint)
    }

    /// A release without the signatures that it needs, and how to sign it.
    pub(crate) fn unsigned(&self, reason: Reason, release: &Release) -> CommandError {
        match reason {
            Reason::Unsigned { .. } | Reason::TooFewSignatures { .. } | Reason::WrongKey { .. } => {
                let hint = format!("bundle sign {} --key FILE", self.typed_reference(&release.digest()));
                CommandError::new(Kind::Trust, reason).hint(hint)
            }
            other => of_refusal(other),
        }
    }
}

fn who_wrote(tag: &Tag) -> String {
    format!("look who wrote the tag {tag}, and put the record of the channel there that belongs there")
}

/// A record that too few owners signed, and who could.
fn too_few(reason: Reason, root: &TrustRoot) -> CommandError {
    let (Reason::TooFewSignatures { tally } | Reason::WrongKey { tally }) = &reason else {
        return of_refusal(reason);
    };
    let mut missing = root.owners(&tally.role);
    for key in tally.counted.iter().filter_map(|hint| root.key(*hint)) {
        missing.remove(&key.owner);
    }
    let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
    let hint = format!("the same command with --key FILE of {}", missing.join(" or "));
    CommandError::new(Kind::Trust, reason).hint(hint)
}

#[cfg(test)]
mod tests {
    use bundles_trust::SystemRandomness;
    use registry_client::{Registry, Scheme};
    use registry_server::{Server, ServerOptions};

    use super::*;

    fn record(previous: Option<&SignedRecord>, release: Digest) -> ChannelRecord {
        let made: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        ChannelRecord {
            channel: "shop/dev".parse().unwrap(),
            version: version_of(previous) + 1,
            previous: previous.map(Signed::digest),
            action: Action::Promote,
            release: ReleaseMark { version: "1".parse().unwrap(), digest: release, size: 1 },
            environment: "test".parse().unwrap(),
            root: bundles_trust::RootMark { version: 1, digest: Digest::of(b"root") },
            evidence: Vec::new(),
            proposed_by: Owner::development(),
            proposed_at: made,
            not_before: made,
            apply_by: made + APPLY_WITHIN,
            expires: made + LIFETIME,
            reason: "test".to_owned(),
        }
    }

    #[test]
    fn a_record_that_newcomers_refuse_is_made_anew() {
        let record = record(None, Digest::of(b"x"));
        assert!(is_taken_at(&record, record.apply_by));
        // The record holds for weeks, but a cluster that sees it now for the first time does not take it.
        assert!(!is_taken_at(&record, record.apply_by + SignedDuration::from_secs(1)));
    }

    /// Clusters remember so many releases that a channel left; a record that comes back to one of them has to say so.
    #[tokio::test]
    async fn a_release_that_clusters_remember_was_named_before() {
        const NAMED: u64 = 80;
        let folder = tempfile::tempdir().unwrap();
        let options = ServerOptions::new(([127, 0, 0, 1], 0).into(), folder.path().to_owned());
        let server = Server::start(options).await.unwrap();
        let address = server.address().to_string().parse().unwrap();
        let registry = Registry::new(address, Scheme::Http).unwrap();
        let repository = "shop".parse().unwrap();
        let target = Target { registry: &registry, repository: &repository };
        let key = PrivateKey::generate(&mut SystemRandomness).unwrap();
        let release = |number: u64| Digest::of(&number.to_be_bytes());
        let mut newest: Option<SignedRecord> = None;
        for number in 1..=NAMED {
            let payload = Payload::new(&record(newest.as_ref(), release(number))).unwrap();
            let bundle = payload.sign(&key);
            let signed = Signed::new(payload, vec![bundle]).unwrap();
            let mut moved = Moved::default();
            for (descriptor, bytes) in signed.blobs() {
                target.put(&repository, &descriptor, bytes.into(), &mut moved).await.unwrap();
            }
            let tag = Reference::Tag(signed.document().channel.version_tag(number));
            target.put_manifest(&repository, &tag, &signed.manifest()).await.unwrap();
            newest = Some(signed);
        }
        let newest = newest.unwrap();
        let channel = &newest.document().channel;
        for (number, is_named) in [(1, true), (NAMED - 1, true), (NAMED + 1, false)] {
            let found = target.named_before(channel, &newest, release(number)).await.unwrap();
            assert_eq!(found, is_named, "release {number}");
        }
        server.stop().await.unwrap();
    }
}
