//! Channel records: what one may say, and how it is stored.

use bundles_trust::{
    Action, ArtifactError, ChannelRecord, DocumentError, Evidence, Payload, RecordFault, SignedRecord,
    SignedRoot,
};
use registry_wire::{Digest, MediaType, StoredManifest};
use serde_json::Value;

use crate::fixture::{approved, hours, now, record, release, signed};

#[test]
fn golden_bytes() {
    let first = approved(&record(None, "r1"));
    let mut second = record(Some(&first), "r2");
    second.evidence.push(Evidence {
        predicate_type: "https://sigstore.dev/cosign/sign/v1".to_owned(),
        bundle: Digest::of(b"bundle"),
        size: 635,
    });
    let payload = Payload::new(&second).unwrap();
    assert_eq!(
        String::from_utf8(payload.bytes().to_vec()).unwrap(),
        include_str!("../vectors/record.golden.json").trim_end(),
        "the form of the channel record changed: that is a new format version"
    );
    assert_eq!(*payload.document(), second);
    assert_eq!(Payload::<ChannelRecord>::parse(payload.bytes().to_vec()).unwrap(), payload);
}

#[test]
fn one_request_brings_the_record_with_all_signatures() {
    let record = record(None, "r1");
    let one = signed(&record, &["alice", "bob", "carol"]);
    let manifest = one.manifest();
    assert_eq!(SignedRecord::parse(&manifest).unwrap(), one);
    assert_eq!(manifest, signed(&record, &["carol", "bob", "alice"]).manifest());
    assert!(manifest.bytes().len() < 12 * 1024, "{} bytes with three approvers", manifest.bytes().len());
    assert_eq!(one.blobs().len(), 4);
    for (descriptor, bytes) in one.blobs() {
        assert_eq!((descriptor.digest, descriptor.size), (Digest::of(&bytes), bytes.len() as u64));
    }
    assert!(matches!(SignedRoot::parse(&manifest), Err(ArtifactError::Kind { .. })), "a record is no root");
}

#[test]
fn records_that_break_a_rule() {
    type Change = fn(&mut ChannelRecord);
    type Check = fn(&RecordFault) -> bool;
    let cases: [(&str, Change, Check); 9] = [
        (
            "version 0",
            |record| record.version = 0,
            |fault| matches!(fault, RecordFault::Chain { version: 0, .. }),
        ),
        (
            "a second record without a previous one",
            |record| record.version = 2,
            |fault| matches!(fault, RecordFault::Chain { has_previous: false, .. }),
        ),
        (
            "a first record with a previous one",
            |record| record.previous = Some(release("x")),
            |fault| matches!(fault, RecordFault::Chain { has_previous: true, .. }),
        ),
        (
            "applied before it may be",
            |record| record.apply_by = record.not_before,
            |fault| matches!(fault, RecordFault::Times { .. }),
        ),
        (
            "applied after it expires",
            |record| record.expires = now(),
            |fault| matches!(fault, RecordFault::Times { .. }),
        ),
        (
            "never",
            |record| record.not_before = now() + hours(48),
            |fault| matches!(fault, RecordFault::Times { .. }),
        ),
        (
            "a reason that is too long",
            |record| record.reason = "x".repeat(1001),
            |fault| matches!(fault, RecordFault::Reason { size: 1001 }),
        ),
        (
            "a reason that moves the cursor",
            |record| record.reason = "\u{1b}[2J".to_owned(),
            |fault| matches!(fault, RecordFault::Reason { .. }),
        ),
        (
            "too much evidence",
            |record| {
                let evidence = Evidence { predicate_type: "x".to_owned(), bundle: release("x"), size: 1 };
                record.evidence = vec![evidence; ChannelRecord::MOST_EVIDENCE + 1];
            },
            |fault| matches!(fault, RecordFault::Evidence { .. }),
        ),
    ];
    for (name, change, check) in cases {
        let mut record = record(None, "r1");
        change(&mut record);
        match Payload::new(&record) {
            Err(DocumentError::Record { source, .. }) => assert!(check(&source), "{name}: {source}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn payloads_that_are_no_record() {
    let text = String::from_utf8(Payload::new(&record(None, "r1")).unwrap().bytes().to_vec()).unwrap();
    let parse = |text: String| Payload::<ChannelRecord>::parse(text.into_bytes());
    parse(text.clone()).unwrap();
    for (name, from, to) in [
        ("an unknown field", r#""version":1"#, r#""version":1,"x":1"#),
        ("a field twice", r#""version":1"#, r#""version":1,"version":1"#),
        ("a later format", r#""formatVersion":1"#, r#""formatVersion":2"#),
        ("an unknown action", r#""promote""#, r#""delete""#),
        ("another kind of statement", "promotion/v1", "promotion/v2"),
        ("another kind of subject", r#""name":"release""#, r#""name":"config""#),
        ("a subject without a name", r#""name":"release","#, ""),
        ("a second subject", r#""subject":["#, r#""subject":[{"digest":{"sha256":"00"}},"#),
        ("another statement type", "Statement/v1", "Statement/v0.1"),
        ("no previous record but a word for it", r#""version":1"#, r#""version":1,"prev":null,"prev":null"#),
        ("a time in another spelling", r#"T11:00:00Z""#, r#"T11:00:00.0Z""#),
        ("text after the end", "}}", "}}x"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{name}");
        assert!(parse(changed).is_err(), "{name}");
    }
    let large = text.replacen("CHG-1234", &"x".repeat(20_000), 1);
    assert!(matches!(parse(large), Err(DocumentError::TooLarge { .. })));
}

type ManifestChange = fn(&mut Value);

#[test]
fn manifests_that_are_no_record() {
    let signed = approved(&record(None, "r1"));
    let parse = |change: fn(&mut Value)| {
        let mut manifest: Value = serde_json::from_slice(signed.manifest().bytes()).unwrap();
        change(&mut manifest);
        let bytes = serde_json::to_vec(&manifest).unwrap();
        SignedRecord::parse(&StoredManifest::parse(MediaType::IMAGE_MANIFEST, bytes).unwrap())
    };
    parse(|_| {}).unwrap();
    let cases: [(&str, ManifestChange); 10] = [
        ("an unknown field", |manifest| manifest["annotations"] = serde_json::json!({"a": "b"})),
        ("a subject", |manifest| manifest["subject"] = manifest["config"].clone()),
        ("another kind", |manifest| manifest["artifactType"] = "application/x".into()),
        ("no kind", |manifest| drop(manifest.as_object_mut().unwrap().shift_remove("artifactType"))),
        ("another configuration", |manifest| manifest["config"]["size"] = 3.into()),
        ("another schema", |manifest| manifest["schemaVersion"] = 1.into()),
        ("no signatures", |manifest| manifest["layers"] = serde_json::json!([])),
        ("a signature twice", |manifest| {
            let layers = manifest["layers"].as_array_mut().unwrap();
            layers.push(layers[0].clone());
        }),
        ("a signature that is not inlined", |manifest| {
            manifest["layers"][1].as_object_mut().unwrap().shift_remove("data").unwrap();
        }),
        ("other bytes than the digest says", |manifest| {
            manifest["layers"][0]["data"] = manifest["layers"][1]["data"].clone();
        }),
    ];
    for (name, change) in cases {
        assert!(parse(change).is_err(), "{name}");
    }
    let other = approved(&record(Some(&signed), "r1"));
    let mixed: Vec<_> = [&signed.bundles()[0], &other.bundles()[1]].into_iter().cloned().collect();
    let refused = SignedRecord::new(signed.payload().clone(), mixed);
    assert!(matches!(refused, Err(ArtifactError::Payload { .. })), "signers of different bytes");
}

#[test]
fn words() {
    for (action, word) in
        [(Action::Promote, "promote"), (Action::Rollback, "rollback"), (Action::Hold, "hold")]
    {
        assert_eq!(action.to_string(), word);
        assert_eq!(serde_json::to_value(action).unwrap(), word);
    }
}
