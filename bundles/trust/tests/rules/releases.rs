//! Signatures on releases against the role `release` of a root.

use bundles_trust::{Ignored, Reason, Role, SignatureBundle, TrustedRoot, sign_release, verify_release};

use crate::fixture::{hours, key, now, release, root, root_parts, signed_root, trusted};

fn verify(bundles: &[SignatureBundle], root: &TrustedRoot) -> Result<bundles_trust::Tally, Reason> {
    verify_release(release("r"), bundles, root, now())
}

#[test]
fn the_release_key_signs_releases_and_nobody_else_does() {
    let good = sign_release(&key("ci"), release("r"));
    let tally = verify(std::slice::from_ref(&good), &root()).unwrap();
    assert_eq!(tally.counted, [key("ci").hint()].into());

    let provenance = SignatureBundle::sign(
        &key("ci"),
        format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{{}}}}"#,
            release("r").hex()
        )
        .as_bytes(),
    );
    assert_eq!(verify(&[], &root()).unwrap_err(), Reason::Unsigned { release: release("r") });
    let unsigned = verify(std::slice::from_ref(&provenance), &root()).unwrap_err();
    assert_eq!(unsigned, Reason::Unsigned { release: release("r") }, "provenance is no signature");
    assert!(verify(&[provenance, good], &root()).is_ok(), "and does no harm");

    let wrong = verify(&[sign_release(&key("mallory"), release("r"))], &root()).unwrap_err();
    assert!(
        matches!(&wrong, Reason::WrongKey { tally }
            if tally.ignored == [(key("mallory").hint(), Ignored::UnknownKey)]),
        "{wrong}"
    );
    assert!(wrong.to_string().contains(&key("mallory").hint().to_string()), "{wrong}");
    let other_role = verify(&[sign_release(&key("alice"), release("r"))], &root()).unwrap_err();
    assert!(matches!(&other_role, Reason::WrongKey { tally } if tally.ignored[0].1 == Ignored::NotInRole));
    let other_release = verify(&[sign_release(&key("ci"), release("other"))], &root()).unwrap_err();
    assert_eq!(other_release, Reason::Unsigned { release: release("r") });
}

#[test]
fn a_signature_that_does_not_hold_is_named() {
    let text = String::from_utf8(sign_release(&key("mallory"), release("r")).bytes().to_vec()).unwrap();
    let claimed = text.replace(&key("mallory").hint().to_string(), &key("ci").hint().to_string());
    let bundle = SignatureBundle::parse(claimed.into_bytes()).unwrap();
    let refused = verify(&[bundle], &root()).unwrap_err();
    assert!(
        matches!(&refused, Reason::TooFewSignatures { tally } if tally.ignored[0].1 == Ignored::BadSignature),
        "{refused}"
    );
}

#[test]
fn revocation_expiry_and_thresholds() {
    let good = [sign_release(&key("ci"), release("r"))];
    let mut parts = root_parts(1);
    parts.revoked.releases.insert(release("r"));
    assert_eq!(verify(&good, &trusted(parts)).unwrap_err(), Reason::Revoked { release: release("r") });

    let mut parts = root_parts(1);
    parts.expires = now();
    assert!(matches!(verify(&good, &trusted(parts)).unwrap_err(), Reason::RootExpired { version: 1, .. }));

    let mut parts = root_parts(1);
    parts.keys[4].not_after = Some(now() - hours(1));
    let refused = verify(&good, &trusted(parts)).unwrap_err();
    assert!(
        matches!(&refused, Reason::TooFewSignatures { tally }
            if matches!(tally.ignored[0].1, Ignored::ExpiredKey { .. })),
        "{refused}"
    );

    // The key of ci is replaced and revoked.
    let mut parts = root_parts(1);
    let mut role = parts.roles[&Role::Release].clone();
    role.keys = [key("alice").hint(), key("bob").hint(), key("carol").hint()].into();
    role.threshold = 2;
    parts.roles.insert(Role::Release, role);
    parts.keys.remove(4);
    parts.revoked.keys.insert(key("ci").hint());
    let root = trusted(parts);
    let refused = verify(&good, &root).unwrap_err();
    assert!(
        matches!(&refused, Reason::WrongKey { tally } if tally.ignored[0].1 == Ignored::RevokedKey),
        "{refused}"
    );
    let one = [sign_release(&key("alice"), release("r"))];
    assert!(matches!(verify(&one, &root), Err(Reason::TooFewSignatures { tally }) if tally.needed == 2));
    let twice = [sign_release(&key("alice"), release("r")), sign_release(&key("alice"), release("r"))];
    assert!(matches!(verify(&twice, &root), Err(Reason::TooFewSignatures { tally })
        if tally.ignored == [(key("alice").hint(), Ignored::SameKey)]));
    let two = [sign_release(&key("alice"), release("r")), sign_release(&key("bob"), release("r"))];
    assert!(verify(&two, &root).is_ok());
}

#[test]
fn a_root_is_no_signature_on_a_release() {
    let signed = signed_root(root_parts(1), &["alice", "bob"]);
    let refused = verify_release(signed.digest(), signed.bundles(), &root(), now()).unwrap_err();
    assert!(matches!(refused, Reason::WrongKey { .. }), "{refused}");
}
