//! What a follower of a channel accepts, and why it refuses the rest.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use bundles_trust::{
    Action, ChannelRecord, Decision, Ignored, Reason, RecordLink, ReleaseMark, Role, SignedRecord,
    TrustFloor, TrustedKey, TrustedRoot, check_release, decide, standing, verify_record,
};
use jiff::Timestamp;
use proptest::{prelude::*, test_runner::TestRunner};

use crate::fixture::{
    approved, channel, floor, hours, key, now, record, release, root, root_parts, signed, signed_root,
    trusted,
};

fn accept(record: &SignedRecord, floor: &TrustFloor) -> TrustFloor {
    match decide(record, &[], &root(), floor, now()) {
        Decision::Accept(floor) => floor,
        other => panic!("{other:?}"),
    }
}

fn refuse(record: &SignedRecord, floor: &TrustFloor) -> Reason {
    refuse_at(record, &root(), floor, now())
}

fn refuse_at(record: &SignedRecord, root: &TrustedRoot, floor: &TrustFloor, now: Timestamp) -> Reason {
    match decide(record, &[], root, floor, now) {
        Decision::Refuse(reason) => {
            assert!(!reason.hint().is_empty() && !reason.word().contains(' '));
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_channel_goes_on() {
    let first = approved(&record(None, "r1"));
    let floor = accept(&first, &floor());
    assert_eq!(floor.record.as_ref().unwrap().release, release("r1"));
    assert_eq!(decide(&first, &[], &root(), &floor, now()), Decision::Unchanged);
    let second = signed(&record(Some(&first), "r2"), &["bob", "carol-2"]);
    let floor = accept(&second, &floor);
    assert_eq!((floor.record.as_ref().unwrap().version, &floor.releases[..]), (2, &[release("r1")][..]));
    // The floor survives storage.
    let stored = serde_json::to_string(&floor).unwrap();
    assert_eq!(serde_json::from_str::<TrustFloor>(&stored).unwrap(), floor);
}

#[test]
fn what_a_new_record_may_be_built_on() {
    let good = approved(&record(None, "r1"));
    let tally = verify_record(&good, &channel(), &root()).unwrap();
    assert_eq!(tally.counted, BTreeSet::from([key("alice").hint(), key("bob").hint()]));
    let alone = signed(&record(None, "r1"), &["alice"]);
    assert!(matches!(verify_record(&alone, &channel(), &root()), Err(Reason::TooFewSignatures { .. })));
    let other = "shop/staging".parse().unwrap();
    assert!(matches!(verify_record(&good, &other, &root()), Err(Reason::WrongChannel { .. })));
    // A key that is out of date by now was good when it signed; what is built on it needs good keys of its own.
    let mut parts = root_parts(1);
    for key in &mut parts.keys {
        key.not_after = Some(now() - hours(1));
    }
    let aged = trusted(parts);
    assert!(verify_record(&good, &channel(), &aged).is_ok());
    assert!(matches!(standing(&good, &aged, now()), Err(Reason::TooFewSignatures { .. })));
}

#[test]
fn too_few_and_wrong_signatures() {
    let record = record(None, "r1");
    let alone = refuse(&signed(&record, &["alice"]), &floor());
    assert!(
        matches!(&alone, Reason::TooFewSignatures { tally }
            if tally.needed == 2 && tally.counted == [key("alice").hint()].into()),
        "{alone}"
    );
    assert_eq!(alone.to_string(), "1 of 2 signatures for channel:shop/production");
    let one_owner = refuse(&signed(&record, &["carol", "carol-2"]), &floor());
    assert!(
        matches!(&one_owner, Reason::TooFewSignatures { tally }
            if tally.counted.len() == 1 && tally.ignored.len() == 1 && tally.ignored[0].1 == Ignored::SameOwner),
        "{one_owner}"
    );
    let wrong_role = refuse(&signed(&record, &["ci", "mallory"]), &floor());
    assert!(matches!(&wrong_role, Reason::WrongKey { tally } if tally.ignored.len() == 2), "{wrong_role}");
    let with_noise = signed(&record, &["alice", "bob", "ci", "mallory"]);
    accept(&with_noise, &floor());

    let mut parts = root_parts(1);
    parts.roles.remove(&Role::Channel(channel()));
    let root = trusted(parts);
    let mut foreign = record;
    foreign.root = root.mark();
    let refused = refuse_at(&approved(&foreign), &root, &TrustFloor::new(channel(), &root), now());
    assert!(matches!(refused, Reason::NoRole { .. }));
}

#[test]
fn older_records_and_second_versions_of_one_record() {
    let first = approved(&record(None, "r1"));
    let second = approved(&record(Some(&first), "r2"));
    let floor = accept(&second, &accept(&first, &floor()));
    assert_eq!(refuse(&first, &floor), Reason::Replayed { have: 2, found: 1 });

    let other = approved(&record(Some(&first), "r3"));
    assert_eq!(
        refuse(&other, &floor),
        Reason::Equivocation { version: 2, first: second.digest(), second: other.digest() }
    );
    let unsigned = signed(&record(Some(&first), "r3"), &["mallory"]);
    assert!(matches!(refuse(&unsigned, &floor), Reason::WrongKey { .. }), "nobody is blamed for a forgery");
}

#[test]
fn the_chain_must_be_whole() {
    let first = approved(&record(None, "r1"));
    let second = signed(&record(Some(&first), "r2"), &["mallory"]);
    let third = approved(&record(Some(&second), "r3"));
    let fourth = approved(&record(Some(&third), "r4"));
    let floor = accept(&first, &floor());
    let decide = |between: &[SignedRecord]| {
        let between: Vec<_> = between.iter().map(RecordLink::from).collect();
        decide(&fourth, &between, &root(), &floor, now())
    };
    assert_eq!(decide(&[]), Decision::Refuse(Reason::Gap { from: 2, to: 3 }));
    assert_eq!(decide(std::slice::from_ref(&second)), Decision::Refuse(Reason::Gap { from: 3, to: 3 }));
    assert_eq!(decide(std::slice::from_ref(&third)), Decision::Refuse(Reason::Gap { from: 2, to: 2 }));
    assert_eq!(decide(&[third.clone(), second.clone()]), Decision::Refuse(Reason::Gap { from: 2, to: 2 }));
    assert!(
        matches!(decide(&[second, third.clone()]), Decision::Accept(floor) if floor.record.clone().unwrap().version == 4)
    );

    let foreign = approved(&record(Some(&first), "other"));
    let broken = decide(&[foreign.clone(), third]);
    assert!(
        matches!(broken, Decision::Refuse(Reason::BrokenChain { version: 3, expected, .. })
            if expected == foreign.digest()),
        "{broken:?}"
    );
    let elsewhere = approved(&record(Some(&foreign), "r3"));
    let mut alone = record(Some(&first), "r2");
    alone.previous = Some(elsewhere.digest());
    assert!(matches!(refuse(&approved(&alone), &floor), Reason::BrokenChain { version: 2, .. }));
}

#[test]
fn times() {
    let at = |record: &SignedRecord, now| match decide(record, &[], &root(), &floor(), now) {
        Decision::Refuse(reason) => reason.word(),
        Decision::Accept(_) => "Accept",
        Decision::Unchanged => "Unchanged",
        Decision::Weaker(_) => "Weaker",
    };
    let document = record(None, "r1");
    let signed = approved(&document);
    for (name, now, word) in [
        ("before it may be taken", document.not_before - hours(1), "NotYet"),
        ("when it may be taken", document.not_before, "Accept"),
        ("at the last moment", document.apply_by, "Accept"),
        ("seen first too late", document.apply_by + hours(1), "TooLate"),
        ("out of date", document.expires, "Expired"),
        ("after the root", root().root().expires(), "RootExpired"),
    ] {
        assert_eq!(at(&signed, now), word, "{name}");
    }
    // Once accepted, the record stays the accepted one, and its standing says what time does to it.
    let floor = accept(&signed, &floor());
    let late = document.expires + hours(1);
    let expired = Reason::Expired { expires: document.expires };
    assert_eq!(decide(&signed, &[], &root(), &floor, late), Decision::Weaker(expired.clone()));
    assert_eq!(standing(&signed, &root(), now()), Ok(()));
    assert_eq!(standing(&signed, &root(), document.apply_by + hours(1)), Ok(()));
    assert_eq!(standing(&signed, &root(), late), Err(expired));
    // A clock far behind what was accepted is wrong; a small difference is none.
    let mut next = record(Some(&signed), "r2");
    next.not_before = document.not_before - hours(24);
    let next = approved(&next);
    let behind = refuse_at(&next, &root(), &floor, document.proposed_at - hours(1));
    assert!(matches!(behind, Reason::ClockBehind { .. }));
    let nearly = document.proposed_at - jiff::SignedDuration::from_mins(4);
    assert!(matches!(decide(&next, &[], &root(), &floor, nearly), Decision::Accept(_)));
}

#[test]
fn a_channel_goes_back_only_by_a_rollback_and_stands_while_held() {
    let first = approved(&record(None, "r1"));
    let second = approved(&record(Some(&first), "r2"));
    let floor = accept(&second, &accept(&first, &floor()));

    let mut back = record(Some(&second), "r1");
    assert_eq!(refuse(&approved(&back), &floor), Reason::OldRelease { release: release("r1") });
    back.action = Action::Rollback;
    let back = approved(&back);
    let returned = accept(&back, &floor);
    assert_eq!(returned.releases, [release("r2")], "now the other one is the old one");
    accept(&approved(&record(Some(&back), "r3")), &returned);

    let renewed = approved(&record(Some(&second), "r2"));
    assert_eq!(accept(&renewed, &floor).releases, [release("r1")], "the same release again is a renewal");

    let mut hold = record(Some(&second), "r3");
    hold.action = Action::Hold;
    assert_eq!(
        refuse(&approved(&hold), &floor),
        Reason::HoldMoves { stands: release("r2"), named: release("r3") }
    );
    hold.release.digest = release("r2");
    accept(&approved(&hold), &floor);
}

#[test]
fn revoked_releases() {
    let mut parts = root_parts(1);
    parts.revoked.releases.insert(release("r1"));
    let root = trusted(parts);
    let mut record = record(None, "r1");
    record.root = root.mark();
    let record = approved(&record);
    let refused = refuse_at(&record, &root, &TrustFloor::new(channel(), &root), now());
    assert_eq!(refused, Reason::Revoked { release: release("r1") });
    assert_eq!(standing(&record, &root, now()), Err(refused));
}

#[test]
fn other_channels_and_products() {
    let mut staging = record(None, "r1");
    staging.channel = "shop/staging".parse().unwrap();
    assert!(matches!(refuse(&approved(&staging), &floor()), Reason::WrongChannel { .. }));
    let mut parts = root_parts(1);
    parts.product = "other".parse().unwrap();
    parts.roles.remove(&Role::Channel(channel()));
    let refused = refuse_at(&approved(&record(None, "r1")), &trusted(parts), &floor(), now());
    assert!(matches!(refused, Reason::WrongProduct { .. }));
}

#[test]
fn a_release_is_what_the_channel_says() {
    let record = record(None, "r1");
    let found = record.release.clone();
    let check = |product: &str, found: &ReleaseMark| {
        check_release(&product.parse().unwrap(), found, &channel(), Some(&record))
    };
    assert_eq!(check("shop", &found), Ok(()));
    let refused = check("warehouse", &found).unwrap_err();
    assert_eq!(refused.word(), "OtherProduct");
    assert!(refused.to_string().ends_with("is of the product warehouse, the channel of shop"), "{refused}");
    for other in [
        ReleaseMark { version: "1.4.3".parse().unwrap(), ..found.clone() },
        ReleaseMark { size: found.size + 1, ..found.clone() },
    ] {
        let refused = check("shop", &other).unwrap_err();
        assert!(matches!(refused, Reason::OtherRelease { record: 1, .. }), "{refused}");
    }
    // A pin may name a release that the record does not; its product counts all the same.
    let pinned = ReleaseMark { digest: release("r2"), size: 1, ..found };
    assert_eq!(check("shop", &pinned), Ok(()));
    assert!(check("warehouse", &pinned).is_err());
}

#[test]
fn roots_of_records() {
    let first = root();
    let second = first.advance(&signed_root(root_parts(2), &["alice", "bob"])).unwrap();
    let old = approved(&record(None, "r1"));
    let floor_before = floor();
    let floor_after = floor().with_root(&second);
    assert_eq!(floor_after.clone().with_root(&first), floor_after, "a root never goes back");

    // A record that was made under the root before counts as long as its signers do under the root now.
    match decide(&old, &[], &second, &floor_after, now()) {
        Decision::Accept(floor) => assert_eq!(floor.root, second.mark()),
        other => panic!("{other:?}"),
    }
    assert_eq!(refuse_at(&old, &first, &floor_after, now()), Reason::RootReplayed { have: 2, found: 1 });
    let mut new = record(None, "r1");
    new.root = second.mark();
    let new = approved(&new);
    assert_eq!(refuse_at(&new, &first, &floor_before, now()), Reason::RootBehind { have: 1, need: 2 });

    let mut parts = root_parts(1);
    parts.expires = now() + hours(1);
    let other = trusted(parts);
    assert!(matches!(refuse_at(&old, &other, &floor_before, now()), Reason::RootMismatch { version: 1, .. }));
    let mut foreign = record(None, "r1");
    foreign.root = other.mark();
    assert!(matches!(refuse(&approved(&foreign), &floor_before), Reason::RootMismatch { version: 1, .. }));

    // The signers lose their role: what runs stays, its standing says so, a new record is needed.
    let mut parts = root_parts(2);
    for name in ["dave", "erin"] {
        parts.keys.push(TrustedKey {
            owner: name.parse().unwrap(),
            key: key(name).public().clone(),
            not_after: None,
        });
    }
    let role = parts.roles.get_mut(&Role::Channel(channel())).unwrap();
    role.keys = ["carol", "dave", "erin"].iter().map(|name| key(name).hint()).collect();
    let rotated = first.advance(&signed_root(parts, &["alice", "bob"])).unwrap();
    let held = accept(&old, &floor_before).with_root(&rotated);
    assert!(matches!(decide(&old, &[], &rotated, &held, now()), Decision::Weaker(Reason::WrongKey { .. })));
    assert!(matches!(standing(&old, &rotated, now()), Err(Reason::WrongKey { .. })));
    // The same record signed by those who may sign now is in order, and takes the place of the old signatures.
    let signed_anew = signed(old.document(), &["dave", "erin"]);
    assert_eq!(decide(&signed_anew, &[], &rotated, &held, now()), Decision::Unchanged);
    let mut next = record(Some(&old), "r2");
    next.root = rotated.mark();
    assert!(matches!(refuse_at(&approved(&next), &rotated, &held, now()), Reason::WrongKey { .. }));
    let next = signed(&next, &["dave", "erin"]);
    assert!(matches!(decide(&next, &[], &rotated, &held, now()), Decision::Accept(_)));
}

#[test]
fn signatures_cannot_be_taken_away() {
    let first = record(None, "r1");
    let floor = accept(&approved(&first), &floor());
    for (signers, takes) in [
        (&["alice", "carol"][..], true),
        (&["alice", "bob", "carol"], true),
        (&["alice"], false),
        (&["mallory", "ci"], false),
        (&["carol", "carol-2"], false),
    ] {
        let decision = decide(&signed(&first, signers), &[], &root(), &floor, now());
        assert_eq!(decision == Decision::Unchanged, takes, "{signers:?}: {decision:?}");
        assert_eq!(matches!(decision, Decision::Weaker(_)), !takes, "{signers:?}");
    }
}

#[test]
fn keys_that_are_out_of_date_do_not_count() {
    let mut parts = root_parts(1);
    parts.keys[1].not_after = Some(now());
    let root = trusted(parts);
    let mut record = record(None, "r1");
    record.root = root.mark();
    let floor = TrustFloor::new(channel(), &root);
    let refused = refuse_at(&approved(&record), &root, &floor, now());
    assert!(
        matches!(&refused, Reason::TooFewSignatures { tally }
        if tally.ignored == [(key("bob").hint(), Ignored::ExpiredKey { since: now() })]),
        "{refused}"
    );
    assert!(matches!(
        decide(&approved(&record), &[], &root, &floor, now() - jiff::SignedDuration::from_mins(1)),
        Decision::Accept(_)
    ));
}

/// What an adversary who holds the registry and some keys puts under the tag.
#[derive(Debug, Clone)]
struct Move {
    /// Follows the last accepted record, as honest people would make it follow.
    follows: bool,
    version: u64,
    previous: usize,
    release: u8,
    signers: Vec<&'static str>,
    hours: i64,
    action: Action,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let signer = prop::sample::select(vec!["alice", "bob", "carol", "carol-2", "ci", "mallory"]);
    let action = prop::sample::select(vec![Action::Promote, Action::Rollback, Action::Hold]);
    let signers = prop::collection::btree_set(signer, 1..4);
    let one = (any::<bool>(), 1..6_u64, 0..8_usize, 0..4_u8, signers, -2..30_i64, action).prop_map(
        |(follows, version, previous, release, signers, hours, action)| Move {
            follows,
            version,
            previous,
            release,
            signers: signers.into_iter().collect(),
            hours,
            action,
        },
    );
    prop::collection::vec(one, 1..12)
}

impl Move {
    fn record(&self, floor: &TrustFloor, seen: &[SignedRecord]) -> ChannelRecord {
        let mut document = record(None, &self.release.to_string());
        document.action = self.action;
        match &floor.record {
            Some(last) if self.follows => {
                document.version = last.version + 1;
                document.previous = Some(last.digest);
            }
            _ => {
                document.version = self.version;
                let previous = seen.get(self.previous).map_or_else(|| release("none"), SignedRecord::digest);
                document.previous = (self.version > 1).then_some(previous);
            }
        }
        document
    }

    /// Owners who may approve and did.
    fn owners(&self) -> BTreeSet<&'static str> {
        let may = |name: &&&str| ["alice", "bob", "carol", "carol-2"].contains(*name);
        self.signers.iter().filter(may).map(|name| name.trim_end_matches("-2")).collect()
    }
}

/// Whatever stands under the tag, the follower never goes back and never moves without two owners.
#[test]
fn no_history_leads_a_follower_astray() {
    let root = root();
    let longest = Cell::new(0);
    let accepted = Cell::new(0);
    let refused = RefCell::new(BTreeSet::new());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(1000));
    let outcome = runner.run(&moves(), |moves| {
        let mut floor = floor();
        let mut seen: Vec<SignedRecord> = Vec::new();
        for step in moves {
            let document = step.record(&floor, &seen);
            let record = signed(&document, &step.signers);
            let at = now() + hours(step.hours);
            match decide(&record, &[], &root, &floor, at) {
                Decision::Accept(next) => {
                    prop_assert!(step.owners().len() >= 2, "{:?}", step.signers);
                    prop_assert!(
                        at >= document.not_before && at <= document.apply_by && at < document.expires
                    );
                    if let Some(last) = &floor.record {
                        prop_assert_eq!(document.version, last.version + 1);
                        prop_assert_eq!(document.previous, Some(last.digest));
                        let release = document.release.digest;
                        let is_old = release != last.release && floor.releases.contains(&release);
                        prop_assert!(!is_old || step.action == Action::Rollback);
                        prop_assert!(release == last.release || step.action != Action::Hold);
                    }
                    prop_assert_eq!(next.record.as_ref().map(|last| last.digest), Some(record.digest()));
                    longest.set(longest.get().max(document.version));
                    accepted.set(accepted.get() + 1);
                    floor = next;
                }
                Decision::Unchanged => {
                    prop_assert!(step.owners().len() >= 2, "{:?}", step.signers);
                    prop_assert_eq!(floor.record.as_ref().map(|last| last.digest), Some(record.digest()));
                }
                Decision::Weaker(_) => {
                    prop_assert_eq!(floor.record.as_ref().map(|last| last.digest), Some(record.digest()));
                }
                Decision::Refuse(reason) => drop(refused.borrow_mut().insert(reason.word())),
            }
            seen.push(record);
        }
        Ok(())
    });
    outcome.unwrap();
    // The histories must have been worth looking at.
    assert!(
        accepted.get() > 500 && longest.get() > 5,
        "{} accepted, longest {}",
        accepted.get(),
        longest.get()
    );
    let refused = refused.into_inner();
    for word in [
        "TooFewSignatures",
        "WrongKey",
        "Replayed",
        "Equivocation",
        "RecordsMissing",
        "BrokenChain",
        "NotYet",
        "TooLate",
        "OldRelease",
        "HoldMoves",
    ] {
        assert!(refused.contains(word), "no history led to {word}: {refused:?}");
    }
}
