//! Both ways with cosign itself: it reads our keys and signatures, we read its.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use bundles_release::names::{PROMOTION_PREDICATE, SIGNATURE_PREDICATE};
use bundles_trust::{
    Action, ChannelRecord, Payload, PrivateKey, PublicKey, ReleaseMark, RootMark, SignatureBundle,
    SystemRandomness, sign_release, verify_signature,
};
use registry_wire::Digest;
use tempfile::TempDir;

const PASSWORD: &str = "correct horse";

/// The folder of programs that the tests use: `BUNDLE_PROGRAMS`, else the cache folder.
fn cosign() -> PathBuf {
    let folder = std::env::var_os("BUNDLE_PROGRAMS").map_or_else(
        || {
            let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
                || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"),
                PathBuf::from,
            );
            cache.join("bundle/programs")
        },
        PathBuf::from,
    );
    let program = folder.join("cosign");
    assert!(
        program.is_file(),
        "cosign is needed as {}: `tests/run` builds it, or set BUNDLE_PROGRAMS to a folder that has it",
        program.display()
    );
    program
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(cosign())
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("COSIGN_PASSWORD", PASSWORD)
        .output()
        .unwrap()
}

#[track_caller]
fn succeed(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = run(folder, arguments);
    assert!(output.status.success(), "cosign {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Refusals must be about what is refused, so that a wrong call does not pass for one.
#[track_caller]
fn fail(folder: &Path, arguments: &[&str], because: &str) {
    let output = run(folder, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "cosign {arguments:?} accepted it");
    assert!(
        text.contains(because),
        "cosign {arguments:?} refused it, but not because of `{because}`: {text}"
    );
}

fn folder_with(key: &PrivateKey, bundle: &SignatureBundle) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key.pub"), key.public().to_pem()).unwrap();
    fs::write(folder.path().join("bundle.json"), bundle.bytes()).unwrap();
    let other = PrivateKey::generate(&mut SystemRandomness).unwrap();
    fs::write(folder.path().join("other.pub"), other.public().to_pem()).unwrap();
    folder
}

fn verify<'a>(key: &'a str, predicate_type: &'a str, digest: &'a str) -> [&'a str; 12] {
    let ignore = "--insecure-ignore-tlog=true";
    let algorithm = "--digestAlg";
    [
        "verify-blob-attestation",
        "--bundle",
        "bundle.json",
        "--key",
        key,
        "--type",
        predicate_type,
        "--digest",
        digest,
        algorithm,
        "sha256",
        ignore,
    ]
}

#[test]
fn cosign_verifies_our_signature_on_a_release_and_nothing_else() {
    let key = PrivateKey::generate(&mut SystemRandomness).unwrap();
    let release = Digest::of(b"release");
    let (release, other) = (release.hex(), Digest::of(b"other").hex());
    let bundle = sign_release(&key, Digest::of(b"release"));
    let folder = folder_with(&key, &bundle);
    let path = folder.path();
    succeed(path, &verify("key.pub", SIGNATURE_PREDICATE, &release));
    fail(path, &verify("other.pub", SIGNATURE_PREDICATE, &release), "signature");
    fail(path, &verify("key.pub", SIGNATURE_PREDICATE, &other), "digest");
    fail(path, &verify("key.pub", PROMOTION_PREDICATE, &release), "predicate type");
    // One changed letter in the payload, which still is base64.
    let text = String::from_utf8(bundle.bytes().to_vec()).unwrap();
    let changed = text.replacen("eyJfdHlwZSI6", "eyJfdHlwZSI7", 1);
    assert_ne!(changed, text);
    fs::write(path.join("bundle.json"), changed).unwrap();
    fail(path, &verify("key.pub", SIGNATURE_PREDICATE, &release), "signature");
}

#[test]
fn cosign_verifies_an_approval_of_a_channel_record() {
    let key = PrivateKey::generate(&mut SystemRandomness).unwrap();
    let release = Digest::of(b"release");
    let time = |text: &str| text.parse().unwrap();
    let record = ChannelRecord {
        channel: "shop/production".parse().unwrap(),
        version: 1,
        previous: None,
        action: Action::Promote,
        release: ReleaseMark { version: "1.4.2".parse().unwrap(), digest: release, size: 2310 },
        environment: "production".parse().unwrap(),
        root: RootMark { version: 1, digest: Digest::of(b"root") },
        evidence: Vec::new(),
        proposed_by: "alice".parse().unwrap(),
        proposed_at: time("2026-06-01T10:00:00Z"),
        not_before: time("2026-06-01T10:00:00Z"),
        apply_by: time("2026-06-02T10:00:00Z"),
        expires: time("2026-07-01T10:00:00Z"),
        reason: "first release".to_owned(),
    };
    let folder = folder_with(&key, &Payload::new(&record).unwrap().sign(&key));
    succeed(folder.path(), &verify("key.pub", PROMOTION_PREDICATE, &release.hex()));
    fail(folder.path(), &verify("key.pub", SIGNATURE_PREDICATE, &release.hex()), "predicate type");
    fail(folder.path(), &verify("other.pub", PROMOTION_PREDICATE, &release.hex()), "signature");
}

#[test]
fn cosign_opens_our_key_file_and_we_verify_what_it_signs() {
    let key = PrivateKey::generate(&mut SystemRandomness).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let sealed = key.to_encrypted_pem(PASSWORD.as_bytes(), &mut SystemRandomness).unwrap();
    fs::write(path.join("ours.key"), sealed).unwrap();
    let public = succeed(path, &["public-key", "--key", "ours.key"]);
    assert_eq!(String::from_utf8(public).unwrap().trim_end(), key.public().to_pem().trim_end());

    // A whole statement, since `attest-blob --predicate` writes one of an older version.
    let release = Digest::of(b"release");
    let statement = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],"predicateType":"{SIGNATURE_PREDICATE}","predicate":{{}}}}"#,
        release.hex()
    );
    fs::write(path.join("statement.json"), statement).unwrap();
    succeed(
        path,
        &[
            "attest-blob",
            "--key",
            "ours.key",
            "--statement",
            "statement.json",
            "--bundle",
            "theirs.json",
            "--use-signing-config=false",
            "--tlog-upload=false",
            "--yes",
        ],
    );
    let bundle = SignatureBundle::parse(fs::read(path.join("theirs.json")).unwrap()).unwrap();
    verify_signature(&bundle, key.public(), release).unwrap();
    assert!(verify_signature(&bundle, key.public(), Digest::of(b"other")).is_err());
}

#[test]
fn we_open_the_key_files_that_cosign_makes_and_imports() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
    succeed(path, &["generate-key-pair"]);
    let generated = PrivateKey::from_encrypted_pem(&read("cosign.key"), PASSWORD.as_bytes()).unwrap();
    assert_eq!(*generated.public(), PublicKey::from_pem(&read("cosign.pub")).unwrap());
    assert!(PrivateKey::from_encrypted_pem(&read("cosign.key"), b"wrong").is_err());

    let key = PrivateKey::generate(&mut SystemRandomness).unwrap();
    fs::write(path.join("plain.pem"), key.to_pkcs8_pem().unwrap().as_bytes()).unwrap();
    succeed(path, &["import-key-pair", "--key", "plain.pem", "--output-key-prefix", "imported"]);
    let imported = PrivateKey::from_encrypted_pem(&read("imported.key"), PASSWORD.as_bytes()).unwrap();
    assert_eq!(imported.public(), key.public());
}
