//! The real archive of Debian, found through the apt configuration of this machine.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use crate::support::{Bench, Signer, request, told};
use anyhow::{Context as _, Result, ensure};
use builder_inputs::{
    APT_FOLDER, DEBIAN_KEYRING, Keyring, Locations, Lock, LockTimes, PackageRequest, Progress, Transport,
};
use bundles_release::lock::RecipeName;
use jiff::Timestamp;

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

fn named(recipe: &str, request: PackageRequest) -> PackageRequest {
    PackageRequest { recipe: recipe.parse().expect("a recipe name"), ..request }
}

/// Names and versions of a recipe.
fn packages(lock: &Lock, recipe: &str) -> BTreeSet<String> {
    let recipe: RecipeName = recipe.parse().expect("a recipe name");
    lock.recipe_packages(&recipe).map(|package| format!("{} {}", package.name, package.version)).collect()
}

#[allow(clippy::print_stdout)]
fn say(what: &str, times: &LockTimes, wall: Instant) {
    println!("{what}: {:?} in all, {times:?}", wall.elapsed());
}

/// Locks with nothing cached, with indices cached and with all cached; then asks apt what it would install from the
/// same indices.
#[tokio::test(flavor = "multi_thread")]
async fn locks_what_apt_would_install() -> Result<()> {
    let locations = Locations::of_apt(Path::new(APT_FOLDER))?;
    let mut bench = Bench::new(locations, &[&Signer::new()?])?;
    bench.keyring = Keyring::load(Path::new(DEBIAN_KEYRING))?;
    bench.transport = Transport::new(bench.locations.proxies())?;
    bench.now = Timestamp::now();
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
        ensure!(!first.recipes[recipe].satisfied.is_empty(), "{recipe} leaves something out");
    }
    for (recipe, suite, asked) in [
        ("base", "bookworm", &[][..]),
        ("cache-full", "bookworm", &["redis-server"]),
        ("api-full", "trixie", &api),
    ] {
        let (ours, apts) = (packages(&first, recipe), simulated(&bench, &first, suite, asked)?);
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

/// What apt would install into an empty system from the indices that the lock was made of.
fn simulated(bench: &Bench, lock: &Lock, suite: &str, asked: &[&str]) -> Result<BTreeSet<String>> {
    let root = tempfile::tempdir()?;
    let archive = root.path().join("archive");
    let locked = lock.suite(&suite.parse()?).context("a suite")?;
    let release = std::fs::read(bench.cache.path(&locked.release))?;
    let dists = archive.join("dists").join(suite);
    std::fs::create_dir_all(&dists)?;
    std::fs::write(dists.join("InRelease"), &release)?;
    for index in &locked.indices {
        let path = dists.join(index.path.as_str());
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        std::fs::copy(bench.cache.path(&index.sha256), &path)?;
    }
    for folder in ["etc/apt.conf.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(root.path().join(folder))?;
    }
    std::fs::write(root.path().join("status"), b"")?;
    let source =
        format!("deb [arch=amd64 signed-by={DEBIAN_KEYRING}] file:{} {suite} main\n", archive.display());
    std::fs::write(root.path().join("etc/sources.list"), source)?;
    let mut configuration = String::new();
    for (key, path) in [
        ("Dir::Etc", "etc"),
        ("Dir::State", "state"),
        ("Dir::State::status", "status"),
        ("Dir::Cache", "cache"),
        ("Dir::Log", "cache"),
    ] {
        writeln!(configuration, "{key} \"{}\";", root.path().join(path).display())?;
    }
    configuration += "APT::Architecture \"amd64\";\nAPT::Install-Recommends \"false\";\npkgCacheGen::ForceEssential \",\";\n\
                      APT::Sandbox::User \"root\";\n\
                      Acquire::Languages \"none\";\nAcquire::Check-Date \"false\";\n";
    let file = root.path().join("apt.conf");
    std::fs::write(&file, configuration)?;
    let apt = |arguments: &[&str]| -> Result<String> {
        let output =
            Command::new("apt-get").env("APT_CONFIG", &file).env("LC_ALL", "C").args(arguments).output();
        let output = output.context("apt-get install apt")?;
        ensure!(
            output.status.success(),
            "apt-get {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    };
    apt(&["update", "--quiet"])?;
    let told = apt(&[&["install", "--simulate", "?essential"][..], asked].concat())?;
    let installed = told.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
        Some(format!("{name} {}", rest.split(' ').next()?))
    });
    Ok(installed.collect())
}
