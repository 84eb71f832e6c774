//! Trust roots: what one may say, and how one follows another.

use bundles_trust::{
    Document, DocumentError, Owner, Payload, Reason, Role, RootFault, RootRefusal, Signed, SignedRoot,
    TrustFloor, TrustRoot, TrustRootParts, TrustedKey, TrustedRoot,
};
use registry_wire::Digest;

use crate::fixture::{channel, hours, key, now, root_parts, signed_root, trusted};

#[test]
fn golden_bytes() {
    let signed = signed_root(root_parts(1), &["alice", "bob"]);
    assert_eq!(
        String::from_utf8(signed.payload().bytes().to_vec()).unwrap(),
        include_str!("../vectors/root.golden.json").trim_end(),
        "the form of the trust root changed: that is a new format version"
    );
    assert_eq!(TrustRoot::new(signed.document().to_parts()).unwrap(), *signed.document());
    assert_eq!(TrustRoot::tag(signed.document().product(), 4).as_str(), "trust-root-shop-4");
}

#[test]
fn the_artifact_carries_the_root_with_all_signatures() {
    let signed = signed_root(root_parts(1), &["bob", "alice", "carol"]);
    let manifest = signed.manifest();
    let read = SignedRoot::parse(&manifest).unwrap();
    assert_eq!(read, signed);
    assert_eq!(read.manifest(), manifest, "whoever signed first plays no role");
    assert_eq!(manifest, signed_root(root_parts(1), &["carol", "alice", "bob"]).manifest());
    for (descriptor, bytes) in signed.blobs() {
        assert_eq!((descriptor.digest, descriptor.size), (Digest::of(&bytes), bytes.len() as u64));
    }
}

#[test]
fn roots_that_break_a_rule() {
    type Change = fn(&mut TrustRootParts);
    type Check = fn(&RootFault) -> bool;
    let cases: [(&str, Change, Check); 14] = [
        ("version 0", |parts| parts.version = 0, |fault| *fault == RootFault::Version),
        (
            "a key twice",
            |parts| parts.keys.push(parts.keys[0].clone()),
            |fault| matches!(fault, RootFault::Twice { .. }),
        ),
        (
            "no root role",
            |parts| drop(parts.roles.remove(&Role::Root)),
            |fault| matches!(fault, RootFault::NoRole { role: Role::Root }),
        ),
        (
            "no release role",
            |parts| drop(parts.roles.remove(&Role::Release)),
            |fault| matches!(fault, RootFault::NoRole { role: Role::Release }),
        ),
        (
            "a role of an unknown key",
            |parts| drop(parts.keys.remove(4)),
            |fault| matches!(fault, RootFault::UnknownKey { role: Role::Release, .. }),
        ),
        (
            "threshold 0",
            |parts| parts.roles.get_mut(&Role::Root).unwrap().threshold = 0,
            |fault| matches!(fault, RootFault::Threshold { role: Role::Root, .. }),
        ),
        (
            "a threshold above all owners",
            |parts| parts.roles.get_mut(&Role::Root).unwrap().threshold = 4,
            |fault| matches!(fault, RootFault::Threshold { role: Role::Root, .. }),
        ),
        (
            "a threshold that only two keys of one owner reach",
            |parts| parts.roles.get_mut(&Role::Channel(channel())).unwrap().threshold = 4,
            |fault| matches!(fault, RootFault::Threshold { owners: 3, .. }),
        ),
        (
            "a channel that two groups could fork",
            |parts| parts.roles.get_mut(&Role::Channel(channel())).unwrap().threshold = 1,
            |fault| matches!(fault, RootFault::Fork { threshold: 1, owners: 3, .. }),
        ),
        (
            "a channel of another product",
            |parts| {
                let role = parts.roles[&Role::Channel(channel())].clone();
                parts.roles.insert("channel:other/production".parse().unwrap(), role);
            },
            |fault| matches!(fault, RootFault::ForeignChannel { .. }),
        ),
        (
            "a revoked key",
            |parts| parts.revoked.keys.extend([key("ci").hint()]),
            |fault| matches!(fault, RootFault::RevokedKey { .. }),
        ),
        (
            "a development key in a root that is not marked",
            |parts| parts.keys[4].owner = Owner::development(),
            |fault| matches!(fault, RootFault::DevelopmentKey { .. }),
        ),
        (
            "too many keys",
            |parts| {
                parts.keys.extend((0..TrustRoot::MOST_KEYS).map(|index| TrustedKey {
                    owner: "x".parse().unwrap(),
                    key: key(&index.to_string()).public().clone(),
                    not_after: None,
                }));
            },
            |fault| matches!(fault, RootFault::TooMany { what: "keys", .. }),
        ),
        (
            "too many revoked releases",
            |parts| {
                parts.revoked.releases =
                    (0..=TrustRoot::MOST_REVOKED).map(|index| Digest::of(&index.to_le_bytes())).collect();
            },
            |fault| matches!(fault, RootFault::TooMany { what: "revoked releases", .. }),
        ),
    ];
    for (name, change, check) in cases {
        let mut parts = root_parts(1);
        change(&mut parts);
        let fault = TrustRoot::new(parts).unwrap_err();
        assert!(check(&fault), "{name}: {fault}");
    }
}

/// The golden root with another predicate; the subject is made to fit, so that only the predicate can be refused.
fn fitted(change: impl Fn(&str) -> String) -> Result<Payload<TrustRoot>, DocumentError> {
    let text = include_str!("../vectors/root.golden.json").trim_end();
    let start = text.find(r#""predicate":"#).unwrap() + r#""predicate":"#.len();
    let predicate = &text[start..text.len() - 1];
    let changed = change(predicate);
    assert_ne!(changed, predicate);
    let text = text
        .replace(predicate, &changed)
        .replace(&Digest::of(predicate.as_bytes()).hex(), &Digest::of(changed.as_bytes()).hex());
    Payload::parse(text.into_bytes())
}

#[test]
fn payloads_that_are_no_root() {
    let next = fitted(|predicate| predicate.replacen(r#""version":1"#, r#""version":2"#, 1)).unwrap();
    assert_eq!(next.document().version(), 2, "the test can pass what is in order");
    let ci = key("ci").hint().to_string();
    let revoked = Digest::of(b"r");
    let cases = [
        ("an unknown field", r#""version":1"#, r#""version":1,"x":1"#.to_owned()),
        ("a later format", r#""formatVersion":1"#, r#""formatVersion":2"#.to_owned()),
        ("an unknown role", r#""release":{"#, r#""moon":{"keys":[],"threshold":1},"release":{"#.to_owned()),
        ("a role twice", r#""release":{"#, r#""root":{"keys":[],"threshold":1},"release":{"#.to_owned()),
        ("a time in another spelling", r#"T12:00:00Z""#, r#"T12:00:00+00:00""#.to_owned()),
        ("a name that is none", &format!(r#""{ci}":{{"#), r#""ci":{"#.to_owned()),
        ("a broken key", "-----BEGIN PUBLIC KEY-----", "-----BEGIN PUBLIC KEY----".to_owned()),
        ("a key of a role twice", &format!(r#"["{ci}"]"#), format!(r#"["{ci}","{ci}"]"#)),
        ("a release revoked twice", r#""releases":[]"#, format!(r#""releases":["{revoked}","{revoked}"]"#)),
    ];
    for (name, from, to) in cases {
        let refused = fitted(|predicate| predicate.replacen(from, &to, 1)).unwrap_err();
        let is_right = matches!(refused, DocumentError::Predicate { .. } | DocumentError::Root { .. });
        assert!(is_right, "{name}: {refused:?}");
    }
    let (alice, bob) = (key("alice").hint(), key("bob").hint());
    let swapped = fitted(|predicate| {
        let (alice, bob) = (format!(r#""{alice}":{{"#), format!(r#""{bob}":{{"#));
        predicate.replacen(&alice, "SWAP", 1).replacen(&bob, &alice, 1).replacen("SWAP", &bob, 1)
    });
    assert!(
        matches!(swapped, Err(DocumentError::Root { source: RootFault::Hint { .. }, .. })),
        "a key under the name of another one"
    );
    let text = include_str!("../vectors/root.golden.json").trim_end();
    let unfitted = text.replacen(r#""version":1"#, r#""version":2"#, 1);
    let refused = Payload::<TrustRoot>::parse(unfitted.into_bytes());
    assert!(matches!(refused, Err(DocumentError::Subject { .. })), "the subject is the contents");
}

#[test]
fn a_pinned_root_needs_its_digest_and_its_own_signatures() {
    let signed = signed_root(root_parts(1), &["alice", "bob"]);
    let trusted = TrustedRoot::pin(&signed, signed.digest()).unwrap();
    assert_eq!((trusted.mark().version, trusted.mark().digest), (1, signed.digest()));
    assert!(matches!(TrustedRoot::pin(&signed, Digest::of(b"other")), Err(RootRefusal::NotPinned { .. })));
    let alone = signed_root(root_parts(1), &["alice"]);
    assert!(matches!(TrustedRoot::pin(&alone, alone.digest()), Err(RootRefusal::OwnSignatures { tally, .. })
        if tally.counted.len() == 1 && tally.needed == 2));
    let foreign = signed_root(root_parts(1), &["alice", "ci", "mallory"]);
    assert!(TrustedRoot::pin(&foreign, foreign.digest()).is_err(), "keys without the role do not count");
}

/// The next version, in which dave and erin take the place of alice and bob.
fn rotated() -> TrustRootParts {
    let mut parts = root_parts(2);
    for name in ["dave", "erin"] {
        parts.keys.push(TrustedKey {
            owner: name.parse().unwrap(),
            key: key(name).public().clone(),
            not_after: None,
        });
    }
    let role = parts.roles.get_mut(&Role::Root).unwrap();
    role.keys = ["carol", "dave", "erin"].iter().map(|name| key(name).hint()).collect();
    parts
}

#[test]
fn the_next_root_needs_a_threshold_of_the_old_and_of_the_new_keys() {
    let first = signed_root(root_parts(1), &["alice", "bob"]);
    let first = TrustedRoot::pin(&first, first.digest()).unwrap();
    for (signers, outcome) in [
        (&["alice", "bob", "dave", "erin"][..], "accepted"),
        (&["alice", "carol", "dave"], "accepted"),
        (&["alice", "bob"], "own"),
        (&["alice", "bob", "dave"], "own"),
        (&["dave", "erin"], "previous"),
        (&["alice", "dave", "erin"], "previous"),
        (&["carol", "mallory"], "previous"),
    ] {
        let found = match first.advance(&signed_root(rotated(), signers)) {
            Ok(root) => {
                assert_eq!(root.mark().version, 2);
                "accepted"
            }
            Err(RootRefusal::OwnSignatures { .. }) => "own",
            Err(RootRefusal::PreviousSignatures { .. }) => "previous",
            Err(other) => panic!("{other}"),
        };
        assert_eq!(found, outcome, "{signers:?}");
    }
}

#[test]
fn the_next_root_is_exactly_the_next_one_of_the_same_product_and_kind() {
    let signers = &["alice", "bob", "carol"];
    let first = signed_root(root_parts(3), signers);
    let first = TrustedRoot::pin(&first, first.digest()).unwrap();
    for version in [1, 2, 3, 5] {
        let refused = first.advance(&signed_root(root_parts(version), signers));
        assert!(matches!(refused, Err(RootRefusal::Version { expected: 4, found, .. }) if found == version));
    }
    first.advance(&signed_root(root_parts(4), signers)).unwrap();
    let mut marked = root_parts(4);
    marked.development = true;
    assert!(matches!(first.advance(&signed_root(marked, signers)), Err(RootRefusal::Development { .. })));
    let mut foreign = root_parts(4);
    foreign.product = "other".parse().unwrap();
    let role = foreign.roles.remove(&Role::Channel(channel())).unwrap();
    foreign.roles.insert("channel:other/production".parse().unwrap(), role);
    assert!(matches!(first.advance(&signed_root(foreign, signers)), Err(RootRefusal::Product { .. })));
    let mut expired = root_parts(4);
    expired.expires = now() - hours(1);
    assert!(first.advance(&signed_root(expired, signers)).is_ok(), "only the last root must be in date");
}

#[test]
fn signers_of_other_bytes_are_not_put_together() {
    let one = Payload::new(&TrustRoot::new(root_parts(1)).unwrap()).unwrap();
    let other = Payload::new(&TrustRoot::new(root_parts(2)).unwrap()).unwrap();
    let bundles = vec![one.sign(&key("alice")), other.sign(&key("bob"))];
    assert!(Signed::new(one.clone(), bundles).is_err());
    assert!(Signed::new(one.clone(), vec![]).is_err());
    assert!(Signed::new(one.clone(), vec![one.sign(&key("alice")), one.sign(&key("alice"))]).is_err());
    let record = Payload::<bundles_trust::ChannelRecord>::parse(one.bytes().to_vec());
    assert!(matches!(record, Err(DocumentError::Statement { .. })), "a root is no record");
}

#[test]
fn development_roots_are_marked() {
    let mut parts = root_parts(1);
    parts.development = true;
    for key in &mut parts.keys {
        key.owner = Owner::development();
    }
    for role in parts.roles.values_mut() {
        role.threshold = 1;
    }
    let root = TrustRoot::new(parts).unwrap();
    assert!(root.is_development());
    let text = String::from_utf8(Payload::new(&root).unwrap().bytes().to_vec()).unwrap();
    assert!(text.contains(r#""development":true"#) && text.contains(r#""owner":"development""#));
}

/// A person who pins another root means it: the floor follows or refuses, and never goes on with the old one unsaid.
#[test]
fn another_pinned_root() {
    let roots = |expires| {
        let parts = |version| TrustRootParts { expires: now() + hours(expires), ..root_parts(version) };
        let first = trusted(parts(1));
        let second = first.advance(&signed_root(parts(2), &["alice", "bob"])).unwrap();
        let third = second.advance(&signed_root(parts(3), &["alice", "bob"])).unwrap();
        [first, second, third]
    };
    let ([one, two, three], foreign) = (roots(1000), roots(2000));
    let floor = TrustFloor::new(channel(), &one).with_root(&two).with_root(&three);
    let stored = serde_json::to_string(&floor).unwrap();
    assert_eq!(serde_json::from_str::<TrustFloor>(&stored).unwrap(), floor);
    for ours in [&one, &two, &three] {
        assert_eq!(floor.clone().with_pinned(ours).unwrap(), floor, "it led here");
    }
    assert_eq!(
        floor.clone().with_pinned(&foreign[0]).unwrap_err(),
        Reason::RootReplayed { have: 3, found: 1 }
    );
    let refused = floor.with_pinned(&foreign[2]).unwrap_err();
    assert!(matches!(refused, Reason::RootMismatch { version: 3, .. }), "{refused}");
    // A newer one is followed, and what led to the old one leads there no more.
    let jumped = TrustFloor::new(channel(), &one).with_pinned(&foreign[1]).unwrap();
    assert_eq!(jumped.root, foreign[1].mark());
    assert_eq!(jumped.with_pinned(&one).unwrap_err(), Reason::RootReplayed { have: 2, found: 1 });
}
