//! The oracle: our trees equal those of the real dpkg, which mmdebstrap drives with the same versions, path by path:
//! kind, mode, owner by name, link target, content. What may differ is listed, each path with its reason.
//!
//! Needs root or user namespaces, and the machine's apt configuration. Debian packages: mmdebstrap, apt, libc-bin.

mod compare;
mod debian;
mod listing;

use std::collections::BTreeMap;

use builder_tree::{Owner, Tree};
use compare::{Differences, differences};
use debian::{Archive, Installed};
use listing::{Listing, Node};

/// Time of generated files and of the oracle's clock.
const EPOCH: i64 = 1_700_000_000;

struct Case {
    suite: &'static str,
    include: &'static [&'static str],
    /// Paths at least, so that nothing was compared by mistake.
    floor: usize,
}

fn check(case: &Case) {
    let archive = Archive::new(case.suite);
    let oracle = archive.mmdebstrap(case.include, EPOCH);
    let installed = archive.download(&oracle);
    let ours = installed.tree(&oracle, EPOCH);
    let listing = Listing::of_tree(&ours, &installed.payloads);
    assert!(oracle.len() > case.floor, "the oracle has only {} paths", oracle.len());
    let Differences { unexpected, unused } = differences(&listing, &oracle, &ours);
    assert!(unexpected.is_empty(), "{} differences:\n{}", unexpected.len(), unexpected.join("\n"));
    assert!(unused.is_empty(), "reasons without a difference: {unused:?}");
    every_package_owns_something(&ours, &installed);
    loader_cache_is_read_by_ldconfig(&listing, &oracle);
    assert_eq!(diversions(&listing), diversions(&oracle));
}

/// Diverted path, where to, for whom; without order.
fn diversions(listing: &Listing) -> std::collections::BTreeSet<Vec<String>> {
    let text = listing.text("var/lib/dpkg/diversions");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.len() % 3, 0);
    lines.chunks(3).map(<[String]>::to_vec).collect()
}

fn every_package_owns_something(tree: &Tree, installed: &Installed) {
    let owners: std::collections::BTreeSet<String> = tree
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

/// The real ldconfig lists the same libraries, in the same order, in both caches.
fn loader_cache_is_read_by_ldconfig(ours: &Listing, oracle: &Listing) {
    let read = |listing: &Listing| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let Some(Node::File { content, .. }) = listing.nodes.get("etc/ld.so.cache") else {
            panic!("no cache")
        };
        std::fs::write(file.path(), content).unwrap();
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

#[test]
fn bookworm_redis_and_the_essential_set() {
    check(&Case { suite: "bookworm", include: &["redis-server"], floor: 6_000 });
}

#[test]
fn trixie_node_and_the_essential_set() {
    let include = &["nodejs", "node-express", "node-redis", "ca-certificates"];
    check(&Case { suite: "trixie", include, floor: 15_000 });
}

/// Without the essential set the tree is the oracle's restricted to its packages, and what we generate is known.
#[test]
fn shipped_redis_equals_the_oracle_on_its_packages() {
    let archive = Archive::new("bookworm");
    let oracle = archive.mmdebstrap(&["redis-server"], EPOCH);
    let mut installed = archive.download(&oracle);
    let kept = [
        "base-files",
        "base-passwd",
        "gcc-12-base",
        "libatomic1",
        "libc6",
        "libcap2",
        "libcrypt1",
        "libgcc-s1",
        "libgcrypt20",
        "libgpg-error0",
        "libjemalloc2",
        "liblz4-1",
        "liblzf1",
        "liblzma5",
        "libssl3",
        "libstdc++6",
        "libsystemd0",
        "libzstd1",
        "redis-server",
        "redis-tools",
    ];
    installed.packages.retain(|package| kept.contains(&package.name.as_str()));
    assert_eq!(installed.packages.len(), kept.len());
    let ours = installed.tree(&oracle, EPOCH);
    let listing = Listing::of_tree(&ours, &installed.payloads);
    let mut generated: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, entry) in ours.iter() {
        let name = path.as_str();
        match &entry.owner {
            Owner::Package(_) => {
                let expected =
                    oracle.nodes.get(name).unwrap_or_else(|| panic!("{path} is not in the oracle"));
                assert_eq!(listing.nodes.get(name), Some(expected), "{path}");
            }
            Owner::Generated(by) => generated.entry(by.to_string()).or_default().push(name.to_owned()),
            Owner::Source => panic!("{path} is of a recipe"),
        }
    }
    generated.remove("root");
    let status: Vec<String> = generated.remove("status.d").unwrap();
    assert_eq!(status.iter().filter(|path| path.ends_with(".md5sums")).count(), kept.len());
    let names: Vec<(&str, Vec<&str>)> = generated
        .iter()
        .map(|(by, paths)| (by.as_str(), paths.iter().map(String::as_str).collect()))
        .collect();
    let expected = include_str!("generated.txt");
    let found: String = names.iter().map(|(by, paths)| format!("{by}: {}\n", paths.join(" "))).collect();
    assert_eq!(found, expected);
    // What is generated is the oracle's too, but for what depends on the packages that are not here.
    for path in names.iter().flat_map(|(_, paths)| paths) {
        if !["etc/passwd", "etc/group", "etc/ld.so.cache"].contains(path) {
            assert_eq!(listing.nodes.get(*path), oracle.nodes.get(*path), "{path}");
        }
    }
    let Some(Node::File { content, .. }) = listing.nodes.get("etc/passwd") else { panic!("no passwd") };
    assert!(String::from_utf8_lossy(content).contains("redis:x:100:"));
}
