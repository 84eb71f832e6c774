//! The oracle: our trees equal those of the real dpkg, which mmdebstrap drives with the same versions, path by path:
//! kind, mode, owner by name, capabilities, link target, content. What may differ is listed, each path with its reason.
//!
//! Needs root, which mounts copies of a system, and the machine's apt configuration. Debian packages: mmdebstrap, apt,
//! libc-bin, mount.

#![allow(clippy::unwrap_used, reason = "the functions that the tests share may panic too")]

mod compare;
mod debian;
mod listing;
mod popular;
mod system;
#[cfg(feature = "popular")]
mod whole;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use builder_tree::{Owner, Tree};
use bundles_release::lock::Lock;
use compare::{Differences, differences};
use debian::{Archive, Installed};
use listing::{Listing, Node};
use popular::Outcome;
use system::System;

/// Time of generated files and of the oracle's clock.
const EPOCH: i64 = 1_700_000_000;

struct Case {
    suite: &'static str,
    include: &'static [&'static str],
    /// Paths at least, so that nothing was compared by mistake.
    floor: usize,
    /// The packages of the image that is shipped, without the essential set.
    shipped: BTreeSet<String>,
    /// What our generators make in that image: generator, then paths.
    generated: &'static str,
}

fn check(case: &Case) {
    let archive = Archive::new(case.suite);
    let oracle = archive.mmdebstrap(case.include, EPOCH);
    let mut installed = archive.download(&oracle);
    let ours = installed.tree(&oracle, EPOCH);
    let listing = Listing::of_tree(&ours, &installed.payloads);
    assert!(oracle.len() > case.floor, "the oracle has only {} paths", oracle.len());
    let Differences { unexpected, unused } = differences(&listing, &oracle, &ours);
    assert!(unexpected.is_empty(), "{} differences:\n{}", unexpected.len(), unexpected.join("\n"));
    assert!(unused.is_empty(), "reasons without a difference: {unused:?}");
    every_package_owns_something(&ours, &installed);
    loader_cache_is_read_by_ldconfig(&listing, &oracle);
    fixed_users_are_debian_s(&oracle);
    assert_eq!(diversions(&listing), diversions(&oracle));
    installed.packages.retain(|package| case.shipped.contains(package.name.as_str()));
    assert_eq!(installed.packages.len(), case.shipped.len(), "the oracle has what the lock names");
    shipped_equals_the_oracle(case, &oracle, &installed);
}

/// Without the essential set the tree is the oracle's restricted to its packages, and what we generate is known.
fn shipped_equals_the_oracle(case: &Case, oracle: &Listing, installed: &Installed) {
    let ours = installed.tree(oracle, EPOCH);
    let listing = Listing::of_tree(&ours, &installed.payloads);
    let mut generated: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (path, entry) in ours.iter().filter(|(path, _)| !path.is_root()) {
        let name = path.as_str();
        match &entry.owner {
            Owner::Package(_) => {
                let same = listing.nodes.get(name) == oracle.nodes.get(name);
                let describe = |listing: &Listing| listing.nodes.get(name).map(Node::describe);
                assert!(same, "{path}: {:?}, dpkg's {:?}", describe(&listing), describe(oracle));
            }
            Owner::Generated(by) => generated.entry(by.to_string()).or_default().push(name),
            Owner::Source => panic!("{path} is of a recipe"),
        }
    }
    let status = generated.remove("status.d").unwrap();
    let sums = status.iter().filter(|path| path.ends_with(".md5sums")).count();
    assert_eq!(sums, installed.packages.len());
    let found: Vec<String> =
        generated.iter().map(|(by, paths)| format!("{by}: {}", paths.join(" "))).collect();
    assert_eq!(found.join("\n"), case.generated.trim_end());
    // What is generated is the oracle's too, but for what tells of packages that are not here.
    for path in generated.values().flatten() {
        if !["etc/passwd", "etc/group", "etc/ld.so.cache"].contains(path) {
            assert_eq!(listing.nodes.get(*path), oracle.nodes.get(*path), "{path}");
        }
    }
}

/// Diverted path, where to, for whom; without order.
fn diversions(listing: &Listing) -> BTreeSet<Vec<String>> {
    let text = listing.text("var/lib/dpkg/diversions");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.len() % 3, 0);
    lines.chunks(3).map(<[String]>::to_vec).collect()
}

fn every_package_owns_something(tree: &Tree, installed: &Installed) {
    let owners: BTreeSet<String> = tree
        .iter()
        .filter_map(|(_, entry)| match &entry.owner {
            Owner::Package(name) => Some(name.to_string()),
            _ => None,
        })
        .collect();
    for package in &installed.packages {
        let brings_files =
            package.members.iter().any(|member| !matches!(member.kind, builder_tree::MemberKind::Directory));
        assert!(owners.contains(package.name.as_str()) || !brings_files, "{} owns nothing", package.name);
    }
}

/// The users with ids for good: those below 100, and nobody.
fn fixed_users_are_debian_s(oracle: &Listing) {
    let passwd = oracle.text("etc/passwd");
    let users = passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        Some((fields[0], (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))
    });
    let fixed: Vec<(&str, (u32, u32))> =
        users.filter(|(_, (user, _))| *user < 100 || *user == 65534).collect();
    assert!(fixed.len() > 15, "{passwd}");
    for (name, ids) in fixed {
        assert_eq!(builder_tree::fixed_user(name), Some(ids), "{name}");
    }
}

/// The real ldconfig lists the same libraries, in the same order, in both caches.
fn loader_cache_is_read_by_ldconfig(ours: &Listing, oracle: &Listing) {
    let read = |listing: &Listing| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let Some(Node::File { content, .. }) = listing.nodes.get("etc/ld.so.cache") else {
            panic!("no cache")
        };
        std::fs::write(file.path(), &content.bytes).unwrap();
        let output =
            std::process::Command::new("/sbin/ldconfig").arg("-p").arg("-C").arg(file.path()).output();
        let text = String::from_utf8(output.expect("ldconfig is installed (Debian package libc-bin)").stdout)
            .unwrap();
        let lines: Vec<String> =
            text.lines().filter(|line| line.starts_with('\t')).map(str::to_owned).collect();
        lines
    };
    let (ours, oracle) = (read(ours), read(oracle));
    assert!(oracle.len() > 20);
    assert_eq!(ours, oracle);
}

/// The packages that the committed lock gives a recipe of the reference platform.
fn locked(recipe: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/bundle.lock");
    let lock = Lock::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    let recipe = recipe.parse().unwrap();
    lock.recipe_packages(&recipe).map(|package| package.name.to_string()).collect()
}

#[test]
fn the_cache_and_the_essential_set() {
    check(&Case {
        suite: "bookworm",
        include: &["redis-server"],
        floor: 6_000,
        shipped: locked("cache"),
        generated: include_str!("generated-cache.txt"),
    });
}

#[test]
fn the_api_and_the_essential_set() {
    check(&Case {
        suite: "trixie",
        // The recipe asks for the first three; certificates are a generator's hardest work.
        include: &["nodejs", "node-express", "node-redis", "ca-certificates"],
        floor: 15_000,
        shipped: locked("api"),
        generated: include_str!("generated-api.txt"),
    });
}

/// A fixed sample of the popular packages. The whole list is the test `popular`, with the feature of that name.
#[test]
fn a_sample_of_popular_packages() {
    const SAMPLE: [&[&str]; 6] = [
        &["nginx"],
        &["haproxy"],
        &["openssh-client"],
        &["python3"],
        // One program with capabilities; one with the setuid bit, since `setcap` is not there.
        &["iputils-ping"],
        &["mtr-tiny"],
    ];
    let system = System::new("bookworm", popular::kept(), EPOCH);
    for set in SAMPLE {
        let row = popular::compare(&system, "bookworm", set).unwrap();
        assert!(matches!(row.outcome, Outcome::Equal), "{set:?}: {}", row.outcome.cell());
        assert!(row.count > 70, "{set:?} came alone");
    }
}
