//! Fetches that break and go on.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use builder_inputs::{FetchError, Locations, Progress};

use crate::support::{Archive, Bench, GOOD, Manner, PACKAGES, Server, Signer, request, told};

/// Counts bytes.
#[derive(Default)]
struct Bytes(AtomicU64);

impl Progress for Bytes {
    fn begin(&self, _files: usize, _bytes: u64) {}

    fn advance(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn done(&self, _name: &str) {}

    fn note(&self, _text: &str) {}
}

/// A lock of an archive, and a bench that fetches it from somewhere else.
async fn locked(
    server: &Server,
    archive: &Archive,
    signer: &Signer,
) -> Result<(Bench, builder_inputs::Lock)> {
    let bench = Bench::of(archive, &[signer])?;
    let lock = bench.lock(&[request("stable", &["redis-server"], false)], None).await?.lock;
    Ok((Bench { locations: Locations::explicit([server.base.parse()?]), ..bench }, lock))
}

/// Names in the cache that are no hashes.
fn unfinished(bench: &Bench) -> Result<Vec<String>> {
    let names = std::fs::read_dir(bench.folder.path().join("cache/sha256"))?;
    let names = names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<Result<Vec<_>>>()?;
    Ok(names.into_iter().filter(|name| name.len() != 64).collect())
}

#[tokio::test]
async fn goes_on_where_a_connection_broke() -> Result<()> {
    let signer = Signer::new()?;
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    let server = Server::with_manner(archive.folder.path().to_owned(), Manner::Breaking(200)).await?;
    let (bench, lock) = locked(&server, &archive, &signer).await?;
    assert!(
        lock.packages.iter().all(|package| (401..=800).contains(&package.size)),
        "three or four pieces each"
    );
    bench.fetch(&lock, &()).await?;
    let asked = server.asked();
    for package in &lock.packages {
        let of_package: Vec<&str> = asked
            .iter()
            .filter_map(|asked| asked.strip_prefix(package.path.as_str()).map(str::trim_ascii_start))
            .collect();
        let expected = ["", "from 200", "from 400", "from 600"];
        assert_eq!(of_package, expected[..usize::try_from(package.size.div_ceil(200))?], "{}", package.name);
        assert_eq!(bench.cache.read_package(package)?.len() as u64, package.size);
    }
    assert_eq!(unfinished(&bench)?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_later_fetch_takes_the_rest_from_elsewhere() -> Result<()> {
    let signer = Signer::new()?;
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    // So little at a time that no file arrives in all tries.
    let breaking = Server::with_manner(archive.folder.path().to_owned(), Manner::Breaking(50)).await?;
    let (bench, lock) = locked(&breaking, &archive, &signer).await?;
    let error = bench.fetch(&lock, &()).await.expect_err("no file is whole");
    assert!(matches!(error, FetchError::Transport { .. }), "{}", told(&error));
    let left: Vec<String> = unfinished(&bench)?;
    assert!(!left.is_empty(), "what arrived is kept");
    for name in &left {
        let hex = name.strip_prefix(".partial-").expect("the name of an unfinished file");
        let package = lock.packages.iter().find(|package| package.sha256.hex() == hex);
        assert!(package.is_some(), "{name} is of no locked package");
    }
    let server = Server::start(archive.folder.path().to_owned()).await?;
    let bench = Bench { locations: Locations::explicit([server.base.parse()?]), ..bench };
    let bytes = Bytes::default();
    bench.fetch(&lock, &bytes).await?;
    assert!(server.asked().iter().any(|asked| asked.contains(" from ")), "only the rest is fetched");
    let sum: u64 = lock.packages.iter().map(|package| package.size).sum();
    assert_eq!(bytes.0.into_inner(), sum, "what was there counts too");
    assert_eq!(unfinished(&bench)?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn what_was_left_and_is_wrong_is_fetched_anew() -> Result<()> {
    let signer = Signer::new()?;
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    let server = Server::start(archive.folder.path().to_owned()).await?;
    let (bench, lock) = locked(&server, &archive, &signer).await?;
    let cache = bench.folder.path().join("cache/sha256");
    let package = &lock.packages[0];
    let size = usize::try_from(package.size)?;
    for left in [b"x".to_vec(), vec![b'x'; size - 1], vec![b'x'; size], vec![b'x'; size + 9], Vec::new()] {
        bench.fetch(&lock, &()).await?;
        std::fs::remove_file(bench.cache.path(&package.sha256))?;
        std::fs::write(cache.join(format!(".partial-{}", package.sha256.hex())), &left)?;
        let fetched = bench.fetch(&lock, &()).await?;
        assert_eq!(fetched.files, 1);
        assert_eq!(bench.cache.read_package(package)?.len(), size, "{} bytes were left", left.len());
        assert_eq!(unfinished(&bench)?, Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test]
async fn a_source_that_always_begins_anew_is_left_for_another() -> Result<()> {
    let signer = Signer::new()?;
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    let forgetful = Server::with_manner(archive.folder.path().to_owned(), Manner::Forgetful(200)).await?;
    let (bench, lock) = locked(&forgetful, &archive, &signer).await?;
    assert!(bench.fetch(&lock, &()).await.is_err(), "it never gives a whole file");
    let good = Server::start(archive.folder.path().to_owned()).await?;
    let bases = [forgetful.base.parse()?, good.base.parse()?];
    let bench = Bench { locations: Locations::explicit(bases), ..bench };
    bench.fetch(&lock, &()).await?;
    assert!(!good.asked().is_empty());
    Ok(())
}

/// Two processes at once fetch into one cache: neither spoils what the other does.
#[tokio::test(flavor = "multi_thread")]
async fn two_fetches_at_once_share_a_cache() -> Result<()> {
    let signer = Signer::new()?;
    let archive = Archive::write(&signer, &GOOD, PACKAGES)?;
    let server = Server::start(archive.folder.path().to_owned()).await?;
    let (bench, lock) = locked(&server, &archive, &signer).await?;
    for _ in 0..10 {
        let fetches = (0..4).map(|_| bench.fetch(&lock, &()));
        for fetched in futures_util::future::join_all(fetches).await {
            fetched?;
        }
        for package in &lock.packages {
            assert_eq!(bench.cache.read_package(package)?.len() as u64, package.size);
            std::fs::remove_file(bench.cache.path(&package.sha256))?;
        }
        assert_eq!(unfinished(&bench)?, Vec::<String>::new());
    }
    Ok(())
}
