//! The real archive of Debian, found through the apt configuration of this machine.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use crate::{
    peer::Apt,
    support::{Bench, Signer, named, packages, request, told},
};
use anyhow::{Context as _, Result, ensure};
use builder_inputs::{DEBIAN_KEYRING, Keyring, Lock, LockTimes, Progress};

#[derive(Default)]
struct Count(AtomicUsize);

impl Progress for Count {
    fn begin(&self, files: usize, _bytes: u64) {
        self.0.fetch_add(files, Ordering::Relaxed);
    }

    fn advance(&self, _bytes: u64) {}

    fn done(&self, _name: &str) {}

    fn note(&self, _text: &str) {}
}

#[allow(clippy::print_stdout)]
fn say(what: &str, times: &LockTimes, wall: Instant) {
    println!("{what}: {:?} in all, {times:?}", wall.elapsed());
}

/// Locks with nothing cached, with indices cached and with all cached; then asks apt what it would install from the
/// same indices.
#[tokio::test(flavor = "multi_thread")]
async fn locks_what_apt_would_install() -> Result<()> {
    let mut bench = Bench::of_debian()?;
    let api = ["nodejs", "node-express", "node-redis"];
    let requests = [
        named("cache", request("bookworm", &["redis-server"], false)),
        named("api", request("trixie", &api, false)),
        named("base", request("bookworm", &[], true)),
        named("cache-full", request("bookworm", &["redis-server"], true)),
        named("api-full", request("trixie", &api, true)),
    ];
    let wall = Instant::now();
    let first = bench.lock(&requests, None).await?;
    say("nothing cached", &first.times, wall);
    let first = first.lock;
    let wall = Instant::now();
    let again = bench.lock(&requests, Some(&first)).await?;
    say("indices cached", &again.times, wall);
    ensure!(again.lock.to_toml() == first.to_toml(), "the same archive gave another lock");
    bench.update = false;
    let count = Count::default();
    let wall = Instant::now();
    let kept = bench.lock(&requests, Some(&first)).await?;
    say("all cached", &kept.times, wall);
    ensure!(kept.lock.to_toml() == first.to_toml(), "a kept suite gave another lock");
    ensure!(Lock::parse(&first.to_toml())? == first, "the lock reads differently");

    for name in ["bookworm", "trixie"] {
        let suite = first.suite(&name.parse()?).context("a suite")?;
        ensure!((suite.codename.as_str(), suite.origin.as_str()) == (name, "Debian"), "{suite:?}");
        ensure!(!suite.keys.is_empty(), "nobody vouches for {name}");
    }
    // Archives sign with several keys, old and new, and keys do not live for ever.
    let trixie = first.suite(&"trixie".parse()?).context("trixie")?;
    ensure!(trixie.keys.len() > 1, "{:?}", trixie.keys);
    let later = Bench {
        now: "2069-01-01T00:00:00Z".parse()?,
        keyring: Keyring::load(Path::new(DEBIAN_KEYRING))?,
        ..Bench::new(bench.locations.clone(), &[&Signer::new()?])?
    };
    let error = later.lock(&requests[1..2], None).await.expect_err("all keys are expired by then");
    ensure!(told(&error).contains("it is expired"), "{}", told(&error));
    // Without the essential set, nothing but what is needed: no shell, no package manager.
    for (recipe, wanted, unwanted) in [
        (
            "cache",
            &["redis-server", "redis-tools", "libc6", "base-files", "base-passwd"][..],
            &["dash", "dpkg", "adduser", "perl-base"][..],
        ),
        (
            "api",
            &["nodejs", "node-express", "node-redis", "base-files"],
            &["dash", "dpkg", "adduser", "debconf"],
        ),
    ] {
        let names: BTreeSet<String> = packages(&first, recipe)
            .iter()
            .map(|package| package.split(' ').next().unwrap_or_default().to_owned())
            .collect();
        ensure!(wanted.iter().all(|name| names.contains(*name)), "{recipe}: {names:?}");
        ensure!(!unwanted.iter().any(|name| names.contains(*name)), "{recipe}: {names:?}");
        ensure!(
            first.recipes[recipe].selections().any(|selection| !selection.satisfied.is_empty()),
            "{recipe} leaves something out"
        );
    }
    for (recipe, suite, asked) in [
        ("base", "bookworm", &[][..]),
        ("cache-full", "bookworm", &["redis-server"]),
        ("api-full", "trixie", &api),
    ] {
        let apts = Apt::of(&bench.cache, &first, suite)?.simulates(asked)?.map_err(anyhow::Error::msg)?;
        let ours = packages(&first, recipe);
        let only_ours: Vec<&String> = ours.difference(&apts).collect();
        let only_apt: Vec<&String> = apts.difference(&ours).collect();
        ensure!(ours == apts, "{recipe}: only we have {only_ours:?}, only apt has {only_apt:?}");
    }
    let wall = Instant::now();
    let fetched = bench.fetch(&first, &count).await?;
    say(&format!("{fetched:?}"), &LockTimes::default(), wall);
    let wall = Instant::now();
    let again = bench.fetch(&first, &count).await?;
    say(&format!("{again:?}"), &LockTimes::default(), wall);
    ensure!((again.files, again.reused) == (0, first.packages.len()), "{again:?}");
    Ok(())
}
