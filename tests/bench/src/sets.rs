//! `sets`: images of what people install, the second image that shares packages with the first, and one package upgraded.

use std::path::Path;

use anyhow::{Result, ensure};
use bundles_release::lock::{Lock, LockedPackage};

use crate::{
    debian::{Archive, Relations, installed_versions, locked_versions, without_network},
    essential::{built, remove},
    figures::{Goal, Pair, Report, Unit},
    measure::{note, run_with_usage},
    workshop::{PLATFORM, Recipe, Stocked, Workshop, warm, wrapped},
};

const RATIO: f64 = 4.0;

const TOOLCHAIN: Recipe = ("toolchain", include_str!("../platforms/toolchain/recipe.toml"));
const SERVICES: Recipe = ("services", include_str!("../platforms/services/recipe.toml"));
const WEB: Recipe = ("web", include_str!("../platforms/web/recipe.toml"));

/// The package that is upgraded. Python needs it, and security updates of it are frequent.
const UPGRADED: &str = "libexpat1";

/// What brings its newer version: security updates of Debian 12.
const SECURITY: &str = r#"updates = ["bookworm-security"]

[suites.bookworm-security]
origin = "Debian"
label = "Debian-Security"
codename = "bookworm-security"
components = ["main"]
keys = ["05AB90340C0C5E797F44A8C8254CF3B5AEC0A8F0"]
"#;

/// One line of the table: an image, and what was built before it.
struct Case<'a> {
    what: &'static str,
    /// An image that is in the store already.
    before: Option<(&'a Stocked, &'static str)>,
    platform: &'a Stocked,
    recipe: &'static str,
}

pub(crate) fn run_bench(workshop: &Workshop, rounds: u32) -> Result<Report> {
    let current = workshop.platform("sets", &[TOOLCHAIN, SERVICES, WEB])?;
    let manifest = format!("{PLATFORM}{SECURITY}");
    let upgraded =
        workshop.updated("sets-upgraded", &manifest, &[TOOLCHAIN, SERVICES, WEB], &current, &[UPGRADED])?;
    let changed = moved(&current.lock, &upgraded.lock);
    ensure!(!changed.is_empty(), "no newer {UPGRADED} in the security updates: nothing to measure");
    let cases = [
        Case {
            what: "time: essential and build-essential",
            before: None,
            platform: &current,
            recipe: "toolchain",
        },
        Case {
            what: "time: essential, python3, nodejs, postgresql-15",
            before: None,
            platform: &current,
            recipe: "services",
        },
        Case {
            what: "time: python3, nodejs, nginx after the image above",
            before: Some((&current, "services")),
            platform: &current,
            recipe: "web",
        },
        Case {
            what: "time: python3, nodejs, postgresql-15 again with one package upgraded",
            before: Some((&current, "services")),
            platform: &upgraded,
            recipe: "services",
        },
    ];
    let mut rows = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let folder = workshop.empty(&format!("sets-peer-{number}"))?;
        let pair = measured(case, &folder, rounds)?;
        rows.push(pair.row(case.what, Unit::Seconds, "mmdebstrap", vec![Goal::TimesLess(RATIO)]));
    }
    Ok(Report {
        ours: format!(
            "bundle build of one image with the essential set from cached .debs → an OCI image whose layers are \
             compressed with gzip, each blob synced to disk; no network; the store is empty but for what a line names; \
             upgraded: {}",
            changed.join(", ")
        ),
        peers: vec![
            "mmdebstrap --variant=essential --include=… tree.tar.gz with dpkg spared its syncs: the same .debs and \
             versions, dpkg in a new tree each time, tar, gzip; it has no store, so what was built before does not help it; \
             no data cluster of PostgreSQL is made"
                .to_owned(),
        ],
        rows,
    })
}

fn measured(case: &Case<'_>, folder: &Path, rounds: u32) -> Result<Pair> {
    let recipe = case.recipe.parse()?;
    let (lock, downloads) = (&case.platform.lock, case.platform.downloads());
    let archive = Archive::make(&folder.join("archive"), lock, &recipe, &downloads, Relations::Kept)?;
    let target = folder.join("tree.tar.gz");
    let locked = locked_versions(lock, &recipe);
    note(&format!("{}: {} packages", case.what, archive.len()));
    let mut times = Pair::default();
    warm("mmdebstrap", &mut archive.whole(&target)?)?;
    for round in 1..=rounds {
        case.platform.empty_store()?;
        if let Some((platform, recipe)) = case.before {
            built(&warm(recipe, &mut platform.build_one(recipe)?)?.output)?;
        }
        let ours =
            run_with_usage(&wrapped(without_network()?, &case.platform.build_one(case.recipe)?), folder)?;
        built(&ours.output)?;
        remove(&target)?;
        let peer = run_with_usage(&archive.whole(&target)?, folder)?;
        let installed = installed_versions(&target)?;
        ensure!(installed == locked, "mmdebstrap installs the locked versions and no others: {installed:?}");
        note(&format!("round {round} of {rounds}: ours {:.2} s, peer {:.2} s", ours.seconds, peer.seconds));
        times.push(ours.seconds, peer.seconds);
    }
    Ok(times)
}

/// `NAME OLD → NEW` of each package that is in both locks with another version.
fn moved(before: &Lock, after: &Lock) -> Vec<String> {
    let old = |new: &LockedPackage| before.packages.iter().find(|old| old.name == new.name);
    let line = |new: &LockedPackage| {
        let old = old(new).filter(|old| old.version != new.version)?;
        Some(format!("{} {} → {}", new.name, old.version, new.version))
    };
    after.packages.iter().filter_map(line).collect()
}
