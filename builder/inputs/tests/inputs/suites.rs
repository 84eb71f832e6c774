//! Several suites together, pins, holds, partial updates, and every form that a suite may have.

use anyhow::Result;
use builder_inputs::{KeySource, Keyring, Locations, Lock, Locked, PackageRequest, SuitePolicy};

use crate::support::{Archive, Bench, Form, GOOD, PACKAGES, Package, ReleaseText, Signer, request, told};

const NEWER: [&str; 2] = ["Sun, 18 May 2025 00:00:00 UTC", "Mon, 19 May 2025 00:00:00 UTC"];

fn versions(lock: &Lock) -> Vec<String> {
    lock.packages.iter().map(|package| format!("{} {}", package.key(), package.version)).collect()
}

/// The archive's packages, some with other versions.
fn with(changes: &[(&str, &'static str)]) -> Vec<Package> {
    let altered = |package: &Package| {
        let change = changes.iter().find(|(name, _)| *name == package.name);
        Package { version: change.map_or(package.version, |(_, version)| version), ..*package }
    };
    PACKAGES.iter().map(altered).collect()
}

#[tokio::test]
async fn locks_from_every_form_of_index_and_release() -> Result<()> {
    let signer = Signer::new()?;
    let requests = [request("stable", &["redis-server"], false)];
    for form in [Form::Xz, Form::Zst, Form::Gz, Form::Plain] {
        for detached in [false, true] {
            let archive = Archive::write(&signer, &ReleaseText { form, detached, ..GOOD }, PACKAGES)?;
            let mut bench = Bench::of(&archive, &[&signer])?;
            let lock = bench.lock(&requests, None).await?.lock;
            assert_eq!(lock.packages.len(), 4, "{form:?}, detached: {detached}");
            assert_eq!(lock.suites[0].keys[0].as_str(), signer.fingerprint());
            bench.update = false;
            assert_eq!(bench.lock(&requests, Some(&lock)).await?.lock, lock, "kept");
        }
    }
    Ok(())
}

#[tokio::test]
async fn refuses_a_detached_signature_of_something_else() -> Result<()> {
    let (signer, other) = (Signer::new()?, Signer::new()?);
    let detached = ReleaseText { detached: true, ..GOOD };
    let archive = Archive::write(&signer, &detached, PACKAGES)?;
    let text = std::fs::read_to_string(archive.path("dists/stable/Release"))?;
    let good = std::fs::read_to_string(archive.path("dists/stable/Release.gpg"))?;
    let by_both = format!("{}{good}", other.sign_detached(&text)?);
    for (case, text, signature, expected) in [
        ("no signature", text.clone(), String::new(), "it is not signed"),
        ("other key", text.clone(), other.sign_detached(&text)?, "none of these keys is in the keyring"),
        ("tampered", text.replace("main", "mein"), good.clone(), "was changed after it was signed"),
        ("text behind", format!("{text}more\n"), good.clone(), "was changed after it was signed"),
        ("cut", text.clone(), good[..good.len() / 2].to_owned(), "cannot be read"),
        ("two, one of a known key", text.clone(), by_both, ""),
    ] {
        archive.put("dists/stable/Release", text.as_bytes())?;
        archive.put("dists/stable/Release.gpg", signature.as_bytes())?;
        let bench = Bench::of(&archive, &[&signer])?;
        match bench.lock(&[request("stable", &[], false)], None).await {
            Ok(_) => assert_eq!(expected, "", "{case} was accepted"),
            Err(error) => {
                let told = told(&error);
                assert!(!expected.is_empty() && told.contains(expected), "{case}: {told}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn takes_the_newest_of_several_suites() -> Result<()> {
    let signer = Signer::new()?;
    let stable = Archive::write(&signer, &GOOD, PACKAGES)?;
    let security = ReleaseText { codename: "stable-security", ..GOOD };
    let security =
        Archive::write(&signer, &security, &with(&[("libc6", "2.36-9+deb12u1"), ("mawk", "1.2")]))?;
    let mut bench = Bench::new(Locations::explicit([stable.base()?, security.base()?]), &[&signer])?;
    let policy = SuitePolicy { name: "stable-security".parse()?, ..bench.policies[0].clone() };
    bench.policies.push(policy);
    let updates = vec!["stable-security".parse()?];
    let asked = PackageRequest { updates, ..request("stable", &["redis-server", "mawk"], false) };
    let lock = bench.lock(std::slice::from_ref(&asked), None).await?.lock;
    assert_eq!(
        versions(&lock),
        [
            "stable/base-files:amd64 12",
            "stable/base-passwd:amd64 3.6",
            "stable/mawk:amd64 1.3",
            "stable/redis-server:amd64 5:7.0",
            "stable-security/libc6:amd64 2.36-9+deb12u1",
        ]
    );
    assert_eq!(Lock::parse(&lock.to_toml())?, lock);
    let changes = lock.changes_since(&lock).is_empty();
    assert!(changes);
    bench.fetch(&lock, &()).await?;

    // A recipe of the suite alone, beside it: both versions are locked, each under its own suite.
    let alone = PackageRequest { recipe: "alone".parse()?, ..request("stable", &["libc6"], false) };
    let both = bench.lock(&[asked.clone(), alone.clone()], Some(&lock)).await?.lock;
    assert!(versions(&both).contains(&"stable/libc6:amd64 2.36-9".to_owned()), "{:?}", versions(&both));
    assert!(versions(&both).contains(&"stable-security/libc6:amd64 2.36-9+deb12u1".to_owned()));

    // A pin reaches behind the newest.
    let pins = [("libc6".parse()?, "<< 2.36-9+".parse()?)].into();
    let pinned = PackageRequest { pins, ..asked.clone() };
    let lock = bench.lock(&[pinned], None).await?.lock;
    assert!(versions(&lock).contains(&"stable/libc6:amd64 2.36-9".to_owned()), "{:?}", versions(&lock));

    let pins = [("libc6".parse()?, "= 3".parse()?)].into();
    let error = bench.lock(&[PackageRequest { pins, ..asked }], None).await.expect_err("no version fits");
    assert_eq!(
        told(&error),
        "recipe cache pins libc6 to `= 3`, but suite stable, stable-security has 2.36-9, 2.36-9+deb12u1"
    );
    Ok(())
}

#[tokio::test]
async fn moves_only_what_is_named_and_nothing_that_is_held() -> Result<()> {
    let signer = Signer::new()?;
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    let mut bench = Bench::of(&archive, &[&signer])?;
    let asked = request("stable", &["redis-server", "mawk"], false);
    let old = bench.lock(std::slice::from_ref(&asked), None).await?.lock;
    // The newer suite still has the old versions beside the new.
    let mut packages = with(&[("libc6", "2.37"), ("mawk", "1.4"), ("redis-server", "5:8.0")]);
    packages.extend(
        with(&[]).into_iter().filter(|package| ["libc6", "mawk", "redis-server"].contains(&package.name)),
    );
    archive.update(&signer, &ReleaseText { date: NEWER[0], ..GOOD }, &packages)?;
    let moved = |lock: &Lock| -> Vec<String> {
        let changes = lock.changes_since(&old);
        assert!(changes.added.is_empty() && changes.removed.is_empty(), "{changes:?}");
        changes
            .moved
            .iter()
            .map(|(old, new)| format!("{} {} -> {}", new.name, old.version, new.version))
            .collect()
    };
    bench.only = vec!["mawk".parse()?];
    let lock = bench.lock(std::slice::from_ref(&asked), Some(&old)).await?.lock;
    assert_eq!(moved(&lock), ["mawk 1.3 -> 1.4"]);
    assert_ne!(lock.suites[0].date, old.suites[0].date, "the suite moves on all the same");
    bench.only.clear();
    let held = PackageRequest { holds: vec!["libc6".parse()?], ..asked.clone() };
    let Locked { lock, held_back, .. } = bench.lock(std::slice::from_ref(&held), Some(&old)).await?;
    assert_eq!(moved(&lock), ["mawk 1.3 -> 1.4", "redis-server 5:7.0 -> 5:8.0"]);
    let kept_back: Vec<String> = held_back.iter().map(ToString::to_string).collect();
    let is_libc = |lines: &[String]| matches!(lines, [one] if one.contains("holds libc6 at 2.36-9 on amd64"));
    assert!(is_libc(&kept_back), "{kept_back:?}");
    let lock = bench.lock(&[asked], Some(&old)).await?.lock;
    assert_eq!(moved(&lock).len(), 3);
    // What is held and is gone is said, not replaced.
    archive.update(&signer, &ReleaseText { date: NEWER[1], ..GOOD }, &with(&[("libc6", "2.37")]))?;
    let error = bench.lock(&[held], Some(&old)).await.expect_err("the held version is gone");
    let told = told(&error);
    assert!(told.contains("the recipe holds libc6 at 2.36-9"), "{told}");
    Ok(())
}

/// Keys of apt's sources vouch for a suite that pins them, and for no other.
#[tokio::test]
async fn keys_of_apts_sources_count_only_where_they_are_pinned() -> Result<()> {
    let (signer, other) = (Signer::new()?, Signer::new()?);
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    let apt = tempfile::tempdir()?;
    let armored = signer.armored()?.replace("\n\n", "\n.\n");
    let inline: String = armored.lines().flat_map(|line| ["\n ", line]).collect();
    let source = format!(
        "Types: deb\nURIs: file:{}\nSuites: stable\nSigned-By:{inline}\n",
        archive.folder.path().display()
    );
    std::fs::create_dir(apt.path().join("sources.list.d"))?;
    std::fs::write(apt.path().join("sources.list.d/test.sources"), source)?;
    let locations = Locations::of_apt(apt.path())?;
    let keys = locations.keys().to_vec();
    assert!(matches!(keys[..], [KeySource::Inline(_)]), "{keys:?}");
    let mut bench = Bench::new(locations, &[&other])?;
    bench.keyring = bench.keyring.with_pinned_only(Keyring::of_apt(&keys[0])?);
    let requests = [request("stable", &[], false)];
    let error = bench.lock(&requests, None).await.expect_err("nothing pins the key");
    assert!(told(&error).contains("none of these keys is in the keyring"), "{}", told(&error));
    bench.policies[0].fingerprints = vec![signer.fingerprint().parse()?];
    bench.lock(&requests, None).await?;
    // Several keyrings.
    let bench = Bench { keyring: bench.keyring.with(Keyring::of_apt(&keys[0])?), ..bench };
    bench.lock(&requests, None).await?;
    Ok(())
}

/// A signed Release with a few bytes changed, taken out or put in never brings the reader down and is never accepted.
#[tokio::test]
async fn a_broken_release_is_refused() -> Result<()> {
    use rand::{Rng as _, SeedableRng as _};
    let signer = Signer::new()?;
    let mut random = rand::rngs::StdRng::seed_from_u64(12);
    let detached = ReleaseText { detached: true, ..GOOD };
    for (release, file) in [(GOOD, "InRelease"), (detached, "Release"), (detached, "Release.gpg")] {
        let archive = Archive::write(&signer, &release, PACKAGES)?;
        let bench = Bench::of(&archive, &[&signer])?;
        let path = archive.path(&format!("dists/stable/{file}"));
        let good = std::fs::read(&path)?;
        let accepted = bench.lock(&[request("stable", &[], false)], None).await?.lock;
        for _ in 0..1500 {
            let mut bytes = good.clone();
            for _ in 0..random.gen_range(1..4) {
                let at = random.gen_range(0..bytes.len());
                match random.gen_range(0..3) {
                    0 => bytes[at] = random.r#gen(),
                    1 => drop(bytes.drain(at..(at + random.gen_range(1..40)).min(bytes.len()))),
                    _ => bytes.insert(at, random.r#gen()),
                }
            }
            std::fs::write(&path, &bytes)?;
            // A change of an armor's frame may leave text and signature what they were.
            if let Ok(locked) = bench.lock(&[request("stable", &[], false)], None).await {
                let (new, old) = (&locked.lock.suites[0], &accepted.suites[0]);
                assert_eq!(
                    (new.date, &new.indices),
                    (old.date, &old.indices),
                    "{}",
                    String::from_utf8_lossy(&bytes)
                );
            }
        }
    }
    Ok(())
}
