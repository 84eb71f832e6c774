//! A product with its people, its keys and a channel.

use std::{collections::BTreeSet, sync::OnceLock};

use bundles_trust::{
    Action, Channel, ChannelRecord, Payload, PrivateKey, Randomness, RandomnessError, ReleaseMark, Revoked,
    Role, RoleKeys, Signed, SignedRecord, SignedRoot, TrustFloor, TrustRoot, TrustRootParts, TrustedKey,
    TrustedRoot,
};
use jiff::{SignedDuration, Timestamp};
use registry_wire::Digest;

/// Gives the bytes that were put in, so that a name always gives the same key.
pub(crate) struct Fixed(pub(crate) Vec<u8>);

impl Randomness for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = self.0[index % self.0.len()];
        }
        Ok(())
    }
}

/// The key of somebody.
pub(crate) fn key(name: &str) -> PrivateKey {
    PrivateKey::generate(&mut Fixed(Digest::of(name.as_bytes()).as_bytes().to_vec())).unwrap()
}

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The time of every test that does not say otherwise.
pub(crate) fn now() -> Timestamp {
    time("2026-06-01T12:00:00Z")
}

pub(crate) fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

pub(crate) fn channel() -> Channel {
    "shop/production".parse().unwrap()
}

pub(crate) fn release(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn role(names: &[&str], threshold: u32) -> RoleKeys {
    let keys: BTreeSet<_> = names.iter().map(|name| key(name).hint()).collect();
    RoleKeys { keys, threshold }
}

/// Root keys: 2 of alice, bob, carol. Releases: ci. Production: 2 of alice, bob, carol. Carol has two keys.
pub(crate) fn root_parts(version: u64) -> TrustRootParts {
    let trusted = |name: &str, owner: &str| TrustedKey {
        owner: owner.parse().unwrap(),
        key: key(name).public().clone(),
        not_after: None,
    };
    TrustRootParts {
        product: "shop".parse().unwrap(),
        version,
        expires: now() + hours(24 * 365),
        development: false,
        keys: vec![
            trusted("alice", "alice"),
            trusted("bob", "bob"),
            trusted("carol", "carol"),
            trusted("carol-2", "carol"),
            trusted("ci", "ci"),
        ],
        roles: [
            (Role::Root, role(&["alice", "bob", "carol"], 2)),
            (Role::Release, role(&["ci"], 1)),
            (Role::Channel(channel()), role(&["alice", "bob", "carol", "carol-2"], 2)),
        ]
        .into(),
        revoked: Revoked::default(),
    }
}

/// A root of these parts, signed by these people.
pub(crate) fn signed_root(parts: TrustRootParts, signers: &[&str]) -> SignedRoot {
    let payload = Payload::new(&TrustRoot::new(parts).unwrap()).unwrap();
    let bundles = signers.iter().map(|name| payload.sign(&key(name))).collect();
    Signed::new(payload, bundles).unwrap()
}

/// A trusted root of these parts.
pub(crate) fn trusted(parts: TrustRootParts) -> TrustedRoot {
    let signed = signed_root(parts, &["alice", "bob"]);
    TrustedRoot::pin(&signed, signed.digest()).unwrap()
}

pub(crate) fn root() -> TrustedRoot {
    static ROOT: OnceLock<TrustedRoot> = OnceLock::new();
    ROOT.get_or_init(|| trusted(root_parts(1))).clone()
}

pub(crate) fn floor() -> TrustFloor {
    TrustFloor::new(channel(), &root())
}

/// The record that names release `name` after `previous`.
pub(crate) fn record(previous: Option<&SignedRecord>, name: &str) -> ChannelRecord {
    ChannelRecord {
        channel: channel(),
        version: previous.map_or(1, |previous| previous.document().version + 1),
        previous: previous.map(SignedRecord::digest),
        action: Action::Promote,
        release: ReleaseMark { version: "1.4.2".parse().unwrap(), digest: release(name), size: 2310 },
        environment: "production".parse().unwrap(),
        root: root().mark(),
        evidence: Vec::new(),
        proposed_by: "alice".parse().unwrap(),
        proposed_at: now() - hours(2),
        not_before: now() - hours(1),
        apply_by: now() + hours(24),
        expires: now() + hours(24 * 30),
        reason: "CHG-1234".to_owned(),
    }
}

pub(crate) fn signed(record: &ChannelRecord, signers: &[&str]) -> SignedRecord {
    let payload = Payload::new(record).unwrap();
    let bundles = signers.iter().map(|name| payload.sign(&key(name))).collect();
    Signed::new(payload, bundles).unwrap()
}

/// Approved by two of three.
pub(crate) fn approved(record: &ChannelRecord) -> SignedRecord {
    signed(record, &["alice", "bob"])
}
