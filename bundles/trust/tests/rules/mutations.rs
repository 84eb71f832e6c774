//! Nothing that was changed after it was signed is accepted: mutated manifests, bundles and payloads of a good record,
//! and mutated bundles of a good release.

use std::sync::OnceLock;

use bundles_trust::{Decision, SignatureBundle, SignedRecord, decide, sign_release, verify_release};
use proptest::prelude::*;
use registry_wire::{Digest, MediaType, StoredManifest};
use serde_json::{Value, json};

use crate::fixture::{approved, floor, key, now, record, release, root};

/// One change of some bytes. White space is never put in: JSON does not see it between tokens.
#[derive(Debug, Clone)]
enum Mutation {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Swap(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Truncate(prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    let byte = || any::<u8>().prop_filter("no white space", |byte| !b" \t\r\n".contains(byte));
    prop_oneof![
        (index(), byte()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (index(), byte()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        index().prop_map(Mutation::Remove),
        index().prop_map(Mutation::Swap),
        (index(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        index().prop_map(Mutation::Truncate),
    ]
}

fn mutated(bytes: &[u8], mutation: &Mutation) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let length = bytes.len();
    match mutation {
        Mutation::Replace(at, byte) => bytes[at.index(length)] = *byte,
        Mutation::Insert(at, byte) => bytes.insert(at.index(length + 1), *byte),
        Mutation::Remove(at) => drop(bytes.remove(at.index(length))),
        Mutation::Swap(at) => bytes.swap(at.index(length - 1), at.index(length - 1) + 1),
        Mutation::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
        Mutation::Truncate(at) => bytes.truncate(at.index(length)),
    }
    bytes
}

/// Whether two texts are one JSON document: `\/` and `/` are the same character.
fn says_the_same(left: &[u8], right: &[u8]) -> bool {
    let read = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    left == right || read(left).is_some_and(|left| Some(left) == read(right))
}

fn good() -> &'static SignedRecord {
    static RECORD: OnceLock<SignedRecord> = OnceLock::new();
    RECORD.get_or_init(|| approved(&record(None, "r1")))
}

fn is_accepted(manifest: Vec<u8>) -> bool {
    static WORLD: OnceLock<(bundles_trust::TrustedRoot, bundles_trust::TrustFloor)> = OnceLock::new();
    let (root, floor) = WORLD.get_or_init(|| (root(), floor()));
    StoredManifest::parse(MediaType::IMAGE_MANIFEST, manifest)
        .ok()
        .and_then(|manifest| SignedRecord::parse(&manifest).ok())
        .is_some_and(|record| matches!(decide(&record, &[], root, floor, now()), Decision::Accept(_)))
}

/// A manifest whose digests and sizes fit these bundles, so that only what is inside can be refused.
fn rewrapped(bundles: &[Vec<u8>]) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let mut manifest: Value = serde_json::from_slice(good().manifest().bytes()).unwrap();
    let layers: Vec<_> = bundles
        .iter()
        .map(|bundle| {
            json!({
                "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "digest": Digest::of(bundle).to_string(),
                "size": bundle.len(),
                "data": STANDARD.encode(bundle),
            })
        })
        .collect();
    manifest["layers"] = layers.into();
    serde_json::to_vec(&manifest).unwrap()
}

/// The bundles of the good record around another payload, with the good signatures.
fn with_payload(payload: &[u8]) -> Vec<Vec<u8>> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let rewrap = |bundle: &SignatureBundle| {
        let mut document: Value = serde_json::from_slice(bundle.bytes()).unwrap();
        document["dsseEnvelope"]["payload"] = STANDARD.encode(payload).into();
        serde_json::to_vec(&document).unwrap()
    };
    good().bundles().iter().map(rewrap).collect()
}

#[test]
fn what_is_not_changed_is_accepted() {
    let bundles: Vec<_> = good().bundles().iter().map(|bundle| bundle.bytes().to_vec()).collect();
    assert!(is_accepted(good().manifest().bytes().to_vec()));
    assert!(is_accepted(rewrapped(&bundles)));
    assert!(is_accepted(rewrapped(&with_payload(good().payload().bytes()))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_mutated_manifest_is_accepted(mutation in mutation()) {
        let manifest = good().manifest();
        let bytes = mutated(manifest.bytes(), &mutation);
        prop_assume!(!says_the_same(&bytes, manifest.bytes()));
        prop_assert!(!is_accepted(bytes));
    }

    #[test]
    fn no_mutated_bundle_is_accepted(mutation in mutation(), which in 0..2_usize) {
        let mut bundles: Vec<_> = good().bundles().iter().map(|bundle| bundle.bytes().to_vec()).collect();
        let bytes = mutated(&bundles[which], &mutation);
        prop_assume!(!says_the_same(&bytes, &bundles[which]));
        bundles[which] = bytes;
        prop_assert!(!is_accepted(rewrapped(&bundles)));
    }

    #[test]
    fn no_mutated_payload_is_accepted(mutation in mutation()) {
        let payload = good().payload().bytes();
        let bytes = mutated(payload, &mutation);
        prop_assume!(bytes != payload);
        prop_assert!(!is_accepted(rewrapped(&with_payload(&bytes))));
    }

    #[test]
    fn no_mutated_signature_on_a_release_is_accepted(mutation in mutation()) {
        static WORLD: OnceLock<(SignatureBundle, bundles_trust::TrustedRoot)> = OnceLock::new();
        let (bundle, root) = WORLD.get_or_init(|| (sign_release(&key("ci"), release("r")), root()));
        let bytes = mutated(bundle.bytes(), &mutation);
        prop_assume!(!says_the_same(&bytes, bundle.bytes()));
        if let Ok(bundle) = SignatureBundle::parse(bytes) {
            prop_assert!(verify_release(release("r"), &[bundle], root, now()).is_err());
        }
    }
}
