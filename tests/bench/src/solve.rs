//! `solve`: what a request of some hundred packages installs, from cached indices.

use std::{path::Path, time::Instant};

use anyhow::{Result, ensure};
use builder_inputs::{
    APT_FOLDER, DEBIAN_KEYRING, Keyring, Locations, Lock, LockOptions, PackageCache, PackageRequest,
    Transport, Update,
};
use bundles_release::lock::{Encoders, PackageName};
use jiff::Timestamp;

use crate::{
    apt::Apt,
    figures::{Goal, Pair, Report, Unit},
    measure::{note, run},
    workshop::Workshop,
};

const LIMIT: f64 = 1.0;
const SUITE: &str = "bookworm";
/// With what they need and the essential set, some 600 packages.
const PACKAGES: [&str; 2] = ["libreoffice", "gnome-session"];

pub(crate) fn run_bench(workshop: &Workshop, rounds: u32) -> Result<Report> {
    let folder = workshop.empty("solve")?;
    let locations = Locations::of_apt(Path::new(APT_FOLDER))?;
    let transport = Transport::new(locations.proxies())?;
    let keyring = Keyring::load(Path::new(DEBIAN_KEYRING))?;
    let cache = PackageCache::new(folder.join("downloads"));
    let encoders = Encoders { tar: "tar1".parse()?, gzip: "gz1".parse()? };
    let options = LockOptions {
        locations: &locations,
        transport: &transport,
        keyring: &keyring,
        cache: &cache,
        policies: &[],
        encoders: &encoders,
        now: Timestamp::now(),
        update: Update::Nothing,
    };
    let asked = PACKAGES.iter().map(|package| package.parse::<PackageName>()).collect::<Result<_, _>>()?;
    let request = PackageRequest::new("bench".parse()?, SUITE.parse()?, "amd64".parse()?, asked);
    let request = PackageRequest { essential: true, ..request };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let lock = |existing: Option<&Lock>| {
        runtime.block_on(builder_inputs::lock(&options, std::slice::from_ref(&request), existing, &()))
    };
    note("fetching the indices");
    let first = lock(None)?.lock;
    let apt = Apt::of(&cache, &first, SUITE)?;
    let theirs = apt.chooses(&PACKAGES)?.map_err(anyhow::Error::msg)?.len();
    ensure!(theirs == first.packages.len(), "apt installs {theirs} packages, we {}", first.packages.len());
    let reading = || {
        let mut command = apt.choice(&PACKAGES);
        command.args(["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]);
        command
    };
    run(&mut reading())?;
    let (mut with_cache, mut with_lists, mut solving) = (Pair::default(), Pair::default(), Pair::default());
    for round in 1..=rounds {
        let begun = Instant::now();
        let locked = lock(Some(&first))?;
        let ours = begun.elapsed().as_secs_f64();
        ensure!(locked.lock == first, "the same indices gave another lock");
        let (cached, read) = (run(&mut apt.choice(&PACKAGES))?.seconds, run(&mut reading())?.seconds);
        note(&format!(
            "round {round} of {rounds}: ours {:.0} ms, apt {:.0} ms, apt from its lists {:.0} ms",
            ours * 1e3,
            cached * 1e3,
            read * 1e3
        ));
        with_cache.push(ours, cached);
        with_lists.push(ours, read);
        solving.push(locked.times.solve.as_secs_f64(), cached);
    }
    let count = first.packages.len();
    let limit = vec![Goal::AtMost(LIMIT)];
    Ok(Report {
        ours: format!(
            "the lock of {} with the essential set, {count} packages of Debian 12, in this process: Release and index \
             are read from the cache, the signature is checked, the index is unpacked and parsed, the request solved",
            PACKAGES.join(" and ")
        ),
        peers: vec![
            "apt-get install --print-uris ?essential and the same packages, into an empty system, with the binary cache \
             that apt keeps of the parsed index (--simulate asks the same solver and then takes minutes to print)"
                .to_owned(),
            "the same without the binary cache: apt unpacks and parses the index, as we do".to_owned(),
        ],
        rows: vec![
            with_cache.row("time", Unit::Seconds, "apt, binary cache", limit),
            with_lists.row("time, with parsing on both sides", Unit::Seconds, "apt, from its lists", Vec::new()),
            solving.row("our solver alone, without parsing", Unit::Seconds, "apt, binary cache", Vec::new()),
        ],
    })
}
