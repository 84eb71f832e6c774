//! cosign accepts the signature of our release, and nothing else.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use registry_wire::Digest;
use serde_json::Value;
use test_interop::{
    program::{built, refused, run},
    served::{Served, text},
};

use crate::scratch;

fn cosign(home: &Path, key: &Path, reference: &str) -> Result<Command> {
    let mut cosign = built("cosign", home)?;
    cosign
        .args(["verify", "--insecure-ignore-tlog=true", "--allow-http-registry", "--key"])
        .arg(key)
        .arg(reference);
    Ok(cosign)
}

/// Puts a manifest under a tag; returns its digest.
fn push_manifest(served: &Served, home: &Path, tag: &str, bytes: &[u8]) -> Result<Digest> {
    let file = home.join(tag);
    fs::write(&file, bytes)?;
    let target = format!("{}/{}:{tag}", served.address, served.repository);
    run(built("oras", home)?.args(["manifest", "push", "--plain-http", &target]).arg(&file))?;
    Ok(Digest::of(bytes))
}

#[test]
fn cosign_accepts_our_release_and_refuses_another_key_and_changed_bytes() -> Result<()> {
    let served = Served::shared(scratch())?;
    let folder = tempfile::tempdir()?;
    let home = folder.path();
    let key = served.release_key();
    let reference = served.release_reference();
    let accepted: Value = serde_json::from_slice(&run(&mut cosign(home, &key, &reference)?)?)?;
    let verified = &accepted[0]["critical"]["image"]["docker-manifest-digest"];
    ensure!(*verified == served.release.to_string(), "cosign verified {verified}");

    // Another key, made by us as well.
    let other = home.join("other");
    let mut generate = served.bundle.command(["key", "generate", text(&other)?]);
    run(generate.env("BUNDLE_PASSWORD", "of no worth"))?;
    let said = refused(&mut cosign(home, &other.with_extension("pub"), &reference)?)?;
    ensure!(said.contains("failed to verify signature"), "refused for another reason: {said}");

    // One changed byte makes another release, which nobody signed.
    let fetch = |digest: Digest| {
        let reference = format!("{}/{}@{digest}", served.address, served.repository);
        run(built("oras", home)?.args(["manifest", "fetch", "--plain-http", &reference]))
    };
    let release = String::from_utf8(fetch(served.release)?)?;
    ensure!(Digest::of(release.as_bytes()) == served.release, "oras fetched other bytes");
    let version = release.rfind("0.1.0").context("a release says its version")?;
    let mut changed = release.clone().into_bytes();
    changed[version] = b'9';
    let changed = push_manifest(&served, home, "changed", &changed)?;
    let changed_reference = format!("{}/{}@{changed}", served.address, served.repository);
    let said = refused(&mut cosign(home, &key, &changed_reference)?)?;
    ensure!(said.contains("no signatures found"), "refused for another reason: {said}");

    // The signature of the true release, attached to the changed one.
    let mut discover = built("oras", home)?;
    let found = run(discover.args(["discover", "--plain-http", "--format", "json", &reference]))?;
    let found: Value = serde_json::from_slice(&found)?;
    let referrers = found["referrers"].as_array().context("oras lists what refers to the release")?;
    ensure!(referrers.len() == 1, "one signature, not {}", referrers.len());
    let signature: Digest = referrers[0]["digest"].as_str().context("a referrer has a digest")?.parse()?;
    let signature = String::from_utf8(fetch(signature)?)?;
    ensure!(signature.contains(&served.release.to_string()), "the signature names its subject");
    let moved = signature.replace(&served.release.to_string(), &changed.to_string());
    push_manifest(&served, home, "moved", moved.as_bytes())?;
    let said = refused(&mut cosign(home, &key, &changed_reference)?)?;
    ensure!(said.contains("does not match any digest"), "refused for another reason: {said}");

    // The true one is still accepted beside all that.
    run(&mut cosign(home, &key, &reference)?).map(drop)
}

#[test]
fn cosign_accepts_what_bundle_sign_made_with_a_key_of_ours_and_no_other_key() -> Result<()> {
    let served = Served::shared(scratch())?;
    let folder = tempfile::tempdir()?;
    let home = folder.path();
    // A copy of its own: other tests count the signatures of the first.
    let copy = format!("{}/copies/signed", served.address);
    run(built("crane", home)?.args([
        "copy",
        "--insecure",
        &served.release_reference(),
        &format!("{copy}:copy"),
    ]))?;
    let reference = format!("{copy}@{}", served.release);
    let make = |name: &str| -> Result<std::path::PathBuf> {
        let path = home.join(name);
        let mut generate = served.bundle.command(["key", "generate", text(&path)?]);
        run(generate.env("BUNDLE_PASSWORD", "of no worth"))?;
        Ok(path)
    };
    let (manager, other) = (make("manager")?, make("other")?);
    let sign = || -> Result<Value> {
        let key = manager.with_extension("key");
        let mut sign = served.bundle.command(["sign", &reference, "--scheme", "http", "--key", text(&key)?]);
        Ok(serde_json::from_slice(&run(sign.env("BUNDLE_PASSWORD", "of no worth"))?)?)
    };
    let key = manager.with_extension("pub");
    let said = refused(&mut cosign(home, &key, &reference)?)?;
    ensure!(said.contains("no signatures found"), "refused for another reason: {said}");
    ensure!(sign()?["changed"] == true, "it was not signed with this key before");
    ensure!(sign()?["changed"] == false, "it is not signed twice");
    let accepted: Value = serde_json::from_slice(&run(&mut cosign(home, &key, &reference)?)?)?;
    let verified = &accepted[0]["critical"]["image"]["docker-manifest-digest"];
    ensure!(*verified == served.release.to_string(), "cosign verified {verified}");
    let said = refused(&mut cosign(home, &other.with_extension("pub"), &reference)?)?;
    ensure!(said.contains("failed to verify signature"), "refused for another reason: {said}");
    Ok(())
}
