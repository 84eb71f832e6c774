//! Sigstore bundles: ours and cosign's are read, everything else is refused.

use bundles_trust::{
    BundleError, PublicKey, SignatureBundle, SignatureError, referrer, sign_release, verify_signature,
};
use registry_wire::{Descriptor, Digest, MediaType};

use crate::fixture::{key, release};

const COSIGN_BUNDLE: &[u8] = include_bytes!("../vectors/cosign.bundle.json");
const COSIGN_ATTESTATION: &[u8] = include_bytes!("../vectors/cosign.attestation.json");
const COSIGN_PUBLIC: &str = include_str!("../vectors/cosign.pub");
/// What `cosign sign` signed.
const COSIGN_SUBJECT: &str = "sha256:2fdf25df27eee2242db12ace50b94082f399fe4eac0e3fbc95a7477dea098205";

#[test]
fn golden_bytes() {
    let bundle = sign_release(&key("ci"), release("r"));
    assert_eq!(
        String::from_utf8(bundle.bytes().to_vec()).unwrap(),
        include_str!("../vectors/release.bundle.golden.json").trim_end()
    );
    let payload = String::from_utf8(bundle.unverified_payload().to_vec()).unwrap();
    assert_eq!(
        payload,
        format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{{}}}}"#,
            release("r").hex()
        )
    );
    assert_eq!(sign_release(&key("ci"), release("r")), bundle, "signing is deterministic");
    assert_eq!(SignatureBundle::parse(bundle.bytes().to_vec()).unwrap(), bundle);
}

#[test]
fn a_signature_by_cosign_is_read_and_verified() {
    let bundle = SignatureBundle::parse(COSIGN_BUNDLE.to_vec()).unwrap();
    let public = PublicKey::from_pem(COSIGN_PUBLIC).unwrap();
    verify_signature(&bundle, &public, COSIGN_SUBJECT.parse().unwrap()).unwrap();

    let about_other = verify_signature(&bundle, &public, release("r"));
    assert!(matches!(about_other, Err(SignatureError::Statement { .. })));
    let by_other = verify_signature(&bundle, key("ci").public(), COSIGN_SUBJECT.parse().unwrap());
    assert!(matches!(by_other, Err(SignatureError::Bundle { .. })));
}

#[test]
fn an_attestation_by_the_same_key_is_no_signature() {
    let bundle = SignatureBundle::parse(COSIGN_ATTESTATION.to_vec()).unwrap();
    let public = PublicKey::from_pem(COSIGN_PUBLIC).unwrap();
    bundle.verify(&public).unwrap();
    let subject = Digest::of(b"hello\n");
    assert!(matches!(verify_signature(&bundle, &public, subject), Err(SignatureError::Statement { .. })));
    // The same statement but for its kind, signed by the right key, about the right release.
    for (kind, predicate) in
        [("https://slsa.dev/provenance/v1", "{}"), ("https://sigstore.dev/cosign/sign/v1", r#"{"a":1}"#)]
    {
        let payload = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],"predicateType":"{kind}","predicate":{predicate}}}"#,
            release("r").hex()
        );
        let bundle = SignatureBundle::sign(&key("ci"), payload.as_bytes());
        let refused = verify_signature(&bundle, key("ci").public(), release("r"));
        assert!(matches!(refused, Err(SignatureError::Statement { .. })), "{kind}");
    }
}

#[test]
fn other_forms_are_refused() {
    let text = String::from_utf8(sign_release(&key("ci"), release("r")).bytes().to_vec()).unwrap();
    let cases = [
        ("a key id", r#"{"sig":"#, r#"{"keyid":"","sig":"#),
        ("a second signature", r#""signatures":["#, r#""signatures":[{"sig":"AA=="},"#),
        ("log entries", r#""verificationMaterial":{"#, r#""verificationMaterial":{"tlogEntries":[],"#),
        (
            "time stamps",
            r#""verificationMaterial":{"#,
            r#""verificationMaterial":{"timestampVerificationData":{},"#,
        ),
        ("a certificate", r#""publicKey":{"hint":"#, r#""certificate":{"rawBytes":"#),
        ("an unknown member", r#"{"mediaType":"#, r#"{"x":1,"mediaType":"#),
        ("a member twice", r#"{"mediaType":"#, r#"{"mediaType":"a/b","mediaType":"#),
        ("another version", "bundle.v0.3+json", "bundle.v0.2+json"),
        ("another payload type", "application/vnd.in-toto+json", "text/plain"),
        ("text after the end", r#""}]}}"#, r#""}]}}x"#),
        ("loose base64", r#""payload":""#, r#""payload":" "#),
        ("a short hint", r#""hint":""#, r#""hint":"A"#),
    ];
    for (name, from, to) in cases {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{name}");
        assert!(SignatureBundle::parse(changed.into_bytes()).is_err(), "{name}");
    }
    let none = text.replacen(&text[text.find(r#"{"sig""#).unwrap()..text.len() - 3], "", 1);
    assert!(matches!(
        SignatureBundle::parse(none.into_bytes()),
        Err(BundleError::SignatureCount { count: 0, .. })
    ));
    let large = format!("{text}{}", " ".repeat(SignatureBundle::LARGEST));
    assert!(matches!(SignatureBundle::parse(large.into_bytes()), Err(BundleError::TooLarge { .. })));
}

#[test]
fn a_hint_selects_and_proves_nothing() {
    let text = String::from_utf8(sign_release(&key("mallory"), release("r")).bytes().to_vec()).unwrap();
    let claimed = text.replace(&key("mallory").hint().to_string(), &key("ci").hint().to_string());
    let bundle = SignatureBundle::parse(claimed.into_bytes()).unwrap();
    assert_eq!(bundle.hint(), key("ci").hint());
    assert!(verify_signature(&bundle, key("ci").public(), release("r")).is_err());
    assert!(
        verify_signature(&bundle, key("mallory").public(), release("r")).is_err(),
        "the hint must fit too"
    );
}

#[test]
fn the_referrer_is_the_one_that_cosign_writes_without_its_clock() {
    let bundle = sign_release(&key("ci"), release("r"));
    let subject = Descriptor {
        artifact_type: Some(MediaType::EMPTY),
        ..Descriptor::of(MediaType::IMAGE_MANIFEST, b"m")
    };
    let (manifest, blobs) = referrer(&subject, &bundle, "https://sigstore.dev/cosign/sign/v1");
    assert_eq!(
        String::from_utf8(manifest.bytes().to_vec()).unwrap(),
        format!(
            concat!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
                r#""artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json","#,
                r#""config":{{"mediaType":"application/vnd.oci.empty.v1+json","#,
                r#""digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}},"#,
                r#""layers":[{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","digest":"{}","size":{}}}],"#,
                r#""subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":1}},"#,
                r#""annotations":{{"dev.sigstore.bundle.content":"dsse-envelope","#,
                r#""dev.sigstore.bundle.predicateType":"https://sigstore.dev/cosign/sign/v1"}}}}"#
            ),
            bundle.digest(),
            bundle.bytes().len(),
            subject.digest
        )
    );
    for (descriptor, bytes) in blobs {
        assert_eq!((descriptor.digest, descriptor.size), (Digest::of(&bytes), bytes.len() as u64));
    }
}
