//! Locks and fetches from small signed archives.

use std::sync::Mutex;

use crate::support::{Archive, Bench, GOOD, PACKAGES, Package, ReleaseText, Server, Signer, request, told};
use anyhow::Result;
use builder_inputs::{FetchError, Freshness, Locations, Lock, LockingError, PackageCache, Progress};

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn begin(&self, _files: usize, _bytes: u64) {}

    fn advance(&self, _bytes: u64) {}

    fn done(&self, _name: &str) {}

    fn note(&self, text: &str) {
        self.0.lock().expect("no test thread panicked").push(text.to_owned());
    }
}

#[tokio::test]
async fn locks_and_fetches_through_http_and_asks_only_for_what_is_new() -> Result<()> {
    let signer = Signer::new()?;
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    let server = Server::start(archive.folder.path().to_owned()).await?;
    let mut bench = Bench::new(Locations::explicit([server.base.parse()?]), &[&signer])?;
    let requests = [request("stable", &["redis-server"], false)];

    let first = bench.lock(&requests, None).await?.lock;
    let index = server.asked();
    assert_eq!(index.len(), 2, "{index:?}");
    assert!(index[1].contains("/by-hash/SHA256/"), "{index:?}");
    let names: Vec<&str> =
        first.recipe_packages(&requests[0].recipe).map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["base-files", "libc6", "base-passwd", "redis-server"]);
    let without: Vec<&str> = first.recipes[&requests[0].recipe]
        .selections()
        .flat_map(|selection| &selection.satisfied)
        .map(|left_out| left_out.package.as_str())
        .collect();
    assert_eq!(without, ["adduser", "awk"]);
    assert_eq!(first.suites[0].keys[0].as_str(), signer.fingerprint());
    assert_eq!(first.suites[0].date, "2025-05-17T09:15:04Z".parse()?);
    let libc =
        first.packages.iter().find(|package| package.name.as_str() == "libc6").expect("libc6 is locked");
    assert_eq!((libc.source.name.as_str(), libc.source.version.as_str()), ("glibc", "2.36"));
    assert_eq!(first.check(&requests), Freshness::Fresh);
    assert_eq!(Lock::parse(&first.to_toml())?, first);
    assert!(!first.to_toml().contains("127.0.0.1"), "a location is in the lock");

    let second = bench.lock(&requests, Some(&first)).await?.lock;
    assert_eq!(
        (second.to_toml(), server.asked()),
        (first.to_toml(), vec!["dists/stable/InRelease".to_owned()])
    );
    bench.update = false;
    let third = bench.lock(&requests, Some(&first)).await?.lock;
    assert_eq!((third.to_toml(), server.asked().len()), (first.to_toml(), 0));

    let fetched = bench.fetch(&first, &()).await?;
    assert_eq!((fetched.files, fetched.reused), (4, 0));
    assert_eq!(server.asked().len(), 4);
    let fetched = bench.fetch(&first, &()).await?;
    assert_eq!((fetched.files, fetched.reused), (0, 4));
    assert_eq!(server.asked().len(), 0);
    for package in &first.packages {
        assert_eq!(bench.cache.read_package(package)?.len() as u64, package.size);
    }
    Ok(())
}

#[tokio::test]
async fn refuses_a_release_that_is_not_vouched_for() -> Result<()> {
    let (signer, other) = (Signer::new()?, Signer::new()?);
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    let good = std::fs::read_to_string(archive.in_release())?;
    let body = good
        .split("\n\n")
        .nth(1)
        .expect("a signed text")
        .split("\n-----BEGIN")
        .next()
        .expect("a text")
        .to_owned();
    let flipped = good.replace("Components: main", "Components: mein");
    let resigned = other.sign(&body)?;
    let truncated = good[..good.len() / 2].to_owned();
    let prefixed = format!("Origin: Evil\n\n{good}");
    let (created, day) = ("2025-05-17T09:15:04Z".parse()?, 24 * 60 * 60);
    let outlived = signer.sign_for(&body, created, day)?;
    for (case, text, expected) in [
        ("wrong key", resigned.as_str(), "none of these keys is in the keyring"),
        ("no signature", body.as_str(), "it is not signed"),
        ("tampered", &flipped, "the text was changed after it was signed"),
        ("truncated", &truncated, "its signature cannot be read"),
        ("text before", &prefixed, "it is not signed"),
        ("expired signature", &outlived, "its signature is expired"),
        ("empty", "", "it is not signed"),
    ] {
        std::fs::write(archive.in_release(), text)?;
        let bench = Bench::of(&archive, &[&signer])?;
        let error = bench.lock(&[request("stable", &[], false)], None).await.err();
        let error = error.unwrap_or_else(|| panic!("{case} was accepted"));
        assert!(told(&error).contains(expected), "{case}: {}", told(&error));
        assert!(error.hint().is_some_and(|hint| hint.contains("bundle lock")), "{case}");
    }
    // The same signature is good for as long as it says.
    std::fs::write(archive.in_release(), signer.sign_for(&body, created, 30 * day)?)?;
    Bench::of(&archive, &[&signer])?.lock(&[request("stable", &[], false)], None).await?;
    Ok(())
}

#[tokio::test]
async fn accepts_one_of_several_signatures_and_only_pinned_keys() -> Result<()> {
    let (signer, other) = (Signer::new()?, Signer::new()?);
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    let requests = [request("stable", &[], false)];
    let mut bench = Bench::of(&archive, &[&other, &signer])?;
    bench.policies[0].fingerprints = vec![other.fingerprint().parse()?];
    let error = bench.lock(&requests, None).await.expect_err("the key is not pinned");
    assert!(told(&error).contains("none of these keys is pinned"), "{}", told(&error));
    bench.policies[0].fingerprints.push(signer.fingerprint().parse()?);
    bench.lock(&requests, None).await?;
    Ok(())
}

#[tokio::test]
async fn refuses_a_release_of_the_wrong_time_or_name() -> Result<()> {
    let signer = Signer::new()?;
    let requests = [request("stable", &[], false)];
    for (release, expected) in [
        (
            ReleaseText { more: "Valid-Until: Sat, 31 May 2025 09:15:04 UTC\n", ..GOOD },
            "expired at 2025-05-31T09:15:04Z",
        ),
        (ReleaseText { date: "Sat, 14 Jun 2025 09:15:04 UTC", ..GOOD }, "the clock of this machine is wrong"),
        (ReleaseText { date: "yesterday", ..GOOD }, "has no usable Date: `yesterday`"),
        (
            ReleaseText { origin: "Evil", ..GOOD },
            "is wanted with Origin Test, but its signed Release says Evil",
        ),
    ] {
        let archive = Archive::write(&signer, &release, PACKAGES)?;
        let error = Bench::of(&archive, &[&signer])?.lock(&requests, None).await.err();
        let error = error.unwrap_or_else(|| panic!("accepted, but should say: {expected}"));
        assert!(told(&error).contains(expected), "{}", told(&error));
    }
    // Good for a while longer is good.
    let release = ReleaseText { more: "Valid-Until: Mon, 02 Jun 2025 00:00:00 UTC\n", ..GOOD };
    let archive = Archive::write(&signer, &release, PACKAGES)?;
    Bench::of(&archive, &[&signer])?.lock(&requests, None).await?;
    // Another suite under the name that is asked for.
    std::fs::rename(archive.path("dists/stable"), archive.path("dists/testing"))?;
    let error = Bench::of(&archive, &[&signer])?.lock(&[request("testing", &[], false)], None).await;
    let error = error.expect_err("it is the Release of stable");
    assert!(told(&error).contains("wanted with Codename testing"), "{}", told(&error));
    Ok(())
}

#[tokio::test]
async fn refuses_a_release_older_than_the_locks_and_moves_on_to_a_newer() -> Result<()> {
    let signer = Signer::new()?;
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    let requests = [request("stable", &["redis-server"], false)];
    let bench = Bench::of(&archive, &[&signer])?;
    let old = bench.lock(&requests, None).await?.lock;
    let newer = ReleaseText { date: "Sun, 18 May 2025 00:00:00 UTC", ..GOOD };
    let mut packages: Vec<Package> = PACKAGES.iter().map(|package| Package { ..*package }).collect();
    packages[2].version = "2.36-10";
    archive.update(&signer, &newer, &packages)?;
    let new = bench.lock(&requests, Some(&old)).await?.lock;
    assert_ne!(new.packages, old.packages);
    archive.update(&signer, &GOOD, PACKAGES)?;
    let error = bench.lock(&requests, Some(&new)).await.expect_err("it is a replay");
    assert!(
        told(&error).contains("older than the one of 2025-05-18T00:00:00Z in bundle.lock"),
        "{}",
        told(&error)
    );
    // A lock that is kept does not look at the archive at all.
    let kept = Bench { update: false, ..bench };
    assert_eq!(kept.lock(&requests, Some(&new)).await?.lock, new);
    Ok(())
}

#[tokio::test]
async fn refuses_an_index_that_the_release_does_not_vouch_for() -> Result<()> {
    let signer = Signer::new()?;
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    let requests = [request("stable", &[], false)];
    let folder = archive.path("dists/stable/main/binary-amd64/by-hash/SHA256");
    let path = std::fs::read_dir(&folder)?.next().expect("an index")?.path();
    let good = std::fs::read(&path)?;
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let longer = [&good[..], b"x"].concat();
    for (bytes, expected) in [
        (flipped, "but the signed Release vouches for"),
        (good[1..].to_vec(), "but the signed Release vouches for"),
        (longer, "is longer than"),
    ] {
        std::fs::write(&path, bytes)?;
        let bench = Bench::of(&archive, &[&signer])?;
        let error = bench.lock(&requests, None).await.expect_err("it is not what was signed");
        assert!(told(&error).contains(expected), "{}", told(&error));
    }
    std::fs::remove_file(&path)?;
    let error = Bench::of(&archive, &[&signer])?.lock(&requests, None).await.expect_err("there is no index");
    assert!(matches!(error, LockingError::IndexGone { .. }), "{}", told(&error));
    // A damaged index in the cache is fetched again.
    std::fs::write(&path, &good)?;
    let bench = Bench::of(&archive, &[&signer])?;
    let first = bench.lock(&requests, None).await?.lock;
    std::fs::write(bench.cache.path(&first.suites[0].indices[0].sha256), b"damaged")?;
    assert_eq!(bench.lock(&requests, Some(&first)).await?.lock, first);
    Ok(())
}

#[tokio::test]
async fn seeks_a_suite_that_no_source_lists_and_passes_by_other_origins() -> Result<()> {
    let (signer, stranger) = (Signer::new()?, Signer::new()?);
    let foreign = Archive::write(&stranger, &ReleaseText { codename: "testing", ..GOOD }, PACKAGES)?;
    let other =
        Archive::write(&signer, &ReleaseText { codename: "testing", origin: "Other", ..GOOD }, PACKAGES)?;
    let ours = Archive::write(&signer, &ReleaseText { codename: "testing", ..GOOD }, PACKAGES)?;
    let apt = tempfile::tempdir()?;
    let list = |archive: &Archive, suite: &str| {
        format!("deb file:{} {suite} main\n", archive.folder.path().display())
    };
    let text = [list(&foreign, "testing"), list(&other, "testing"), list(&ours, "stable")].concat();
    std::fs::write(apt.path().join("sources.list"), text)?;
    let bench = Bench::new(Locations::of_apt(apt.path())?, &[&signer])?;
    let locked = bench.lock(&[request("testing", &["redis-server"], false)], None).await?.lock;
    assert_eq!(locked.suites[0].codename.as_str(), "testing");
    let error = bench.lock(&[request("unheard", &[], false)], None).await.expect_err("no source has it");
    assert!(
        matches!(error, LockingError::NoSuite { ref looked_at, .. } if looked_at.len() == 3),
        "{}",
        told(&error)
    );
    Ok(())
}

#[tokio::test]
async fn replaces_a_damaged_package_and_never_gives_it_out() -> Result<()> {
    let signer = Signer::new()?;
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    let bench = Bench::of(&archive, &[&signer])?;
    let lock = bench.lock(&[request("stable", &["redis-server"], false)], None).await?.lock;
    let package = &lock.packages[0];
    let missing = bench.cache.read_package(package).expect_err("nothing is fetched yet");
    assert!(missing.to_string().contains("`bundle fetch` brings it"), "{missing}");
    bench.fetch(&lock, &()).await?;
    let path = bench.cache.path(&package.sha256);
    let good = std::fs::read(&path)?;
    let mut flipped = good.clone();
    flipped[7] ^= 1;
    for damaged in [flipped, good[..9].to_vec(), Vec::new(), [&good[..], b"x"].concat()] {
        std::fs::write(&path, damaged)?;
        let error = bench.cache.read_package(package).expect_err("it is damaged");
        let told = error.to_string();
        assert!(
            told.contains(&package.sha256.hex()) && told.contains("`bundle fetch` replaces it"),
            "{told}"
        );
        let notes = Notes::default();
        let fetched = bench.fetch(&lock, &notes).await?;
        assert_eq!((fetched.files, fetched.repaired, fetched.reused), (1, 1, lock.packages.len() - 1));
        let notes = notes.0.into_inner()?;
        assert_eq!(
            notes,
            [format!("{} {} in the cache is damaged: fetched again", package.name, package.version)]
        );
        assert_eq!(bench.cache.read_package(package)?, good);
    }
    Ok(())
}

#[tokio::test]
async fn says_when_a_package_left_the_archive_or_is_another() -> Result<()> {
    let signer = Signer::new()?;
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    let bench = Bench::of(&archive, &[&signer])?;
    let lock = bench.lock(&[request("stable", &["redis-server"], false)], None).await?.lock;
    let path = archive.path(&PACKAGES[4].path());
    std::fs::write(&path, b"something else")?;
    let error = bench.fetch(&lock, &()).await.expect_err("other bytes");
    assert!(matches!(error, FetchError::Wrong { .. }), "{}", told(&error));
    std::fs::remove_file(&path)?;
    let error = bench.fetch(&lock, &()).await.expect_err("it is gone");
    assert_eq!(
        error.to_string(),
        "package redis-server 5:7.0 of suite stable has left the archive: no source has it any more; \
         `bundle lock --update` locks what is there now"
    );
    // Another place that has it will do, whatever it is.
    let copy = tempfile::tempdir()?;
    std::fs::create_dir_all(copy.path().join("pool/main/redis-server"))?;
    std::fs::write(copy.path().join(PACKAGES[4].path()), PACKAGES[4].content())?;
    let bases = [archive.base()?, format!("file:{}", copy.path().display()).parse()?];
    let bench = Bench { locations: Locations::explicit(bases), ..bench };
    bench.fetch(&lock, &()).await?;
    // Other packages were on their way when the first one failed, and what they had was gone on with. A thread that was
    // about to begin one then may still let go of its empty file.
    let cache = bench.folder.path().join("cache/sha256");
    let begun = std::time::Instant::now();
    loop {
        let names = std::fs::read_dir(&cache)?.map(|entry| entry.map(|entry| entry.file_name()));
        let names = names.collect::<std::io::Result<Vec<_>>>()?;
        if names.iter().all(|name| name.len() == 64) {
            return Ok(());
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "left behind: {names:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn keeps_a_full_or_unwritable_cache_clean() -> Result<()> {
    let signer = Signer::new()?;
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    let bench = Bench::of(&archive, &[&signer])?;
    let lock = bench.lock(&[request("stable", &["redis-server"], false)], None).await?.lock;
    // A file where the folder should be: nothing can be kept there.
    let blocked = bench.folder.path().join("blocked");
    std::fs::write(&blocked, b"")?;
    let bench = Bench { cache: PackageCache::new(&blocked), ..bench };
    let error = bench.fetch(&lock, &()).await.expect_err("the cache is no folder");
    assert!(matches!(error, FetchError::Cache { .. }), "{}", told(&error));
    assert!(told(&error).contains("blocked"), "{}", told(&error));
    Ok(())
}
