use proptest::prelude::*;
use registry_wire::Digest;

use super::*;
use crate::lock::{
    Architecture, LockedIndex, PackageName, PackageRequest, Priority, Satisfied, SourcePackage, Version,
};

const GOLDEN: &str = r#"# Written by `bundle lock`; commit it, do not edit it.
# Every package by hash, and the signed Release that vouches for it. Where to fetch from is not part of it.
format = 1

[encoders]
tar = "tar1"
gzip = "gz1"

[[suite]]
name = "bookworm"
origin = "Debian"
label = "Debian \"12\""
codename = "bookworm"
components = ["main"]
architectures = ["amd64"]
date = "2025-05-17T09:15:04Z"
release = "sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865"
keys = [
    "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8",
]

[[suite.index]]
path = "main/binary-amd64/Packages.xz"
sha256 = "sha256:53c234e5e8472b6ac51c1ae1cab3fe06fad053beb8ebfd8977b010655bfdd3c3"
size = 8792132

[recipe.cache]
suite = "bookworm"
request = "sha256:1121cfccd5913f0a63fec40a6ffd44ea64f9dc135c66634ba001d10bcf4302a2"
packages = [
    "bookworm/libc6:amd64",
    "bookworm/redis-server:amd64",
]

[[recipe.cache.satisfied]]
package = "adduser"
needed-by = ["redis-server"]
reason = "the lock allocates ids"

[[accounts.user]]
name = "redis"
id = 100
group = 100

[[accounts.group]]
name = "redis"
id = 100

[[package]]
name = "libc6"
version = "2.36-9+deb12u10"
architecture = "amd64"
suite = "bookworm"
component = "main"
source = { name = "glibc", version = "2.36-9+deb12u10" }
essential = true
priority = "optional"
size = 2757452
sha256 = "sha256:7de1555df0c2700329e815b93b32c571c3ea54dc967b89e81ab73b9972b72d1d"
path = "pool/main/g/glibc/libc6_2.36-9+deb12u10_amd64.deb"

[[package]]
name = "redis-server"
version = "5:7.0.15-1~deb12u4"
architecture = "amd64"
suite = "bookworm"
component = "main"
source = { name = "redis", version = "5:7.0.15-1~deb12u4" }
priority = "optional"
size = 72240
sha256 = "sha256:f0b5c2c2211c8d67ed15e75e656c7862d086e9245420892a7de62cd9ec582a06"
path = "pool/main/r/redis/redis-server_7.0.15-1~deb12u4_amd64.deb"
"#;

#[test]
fn golden_bytes() {
    let lock = Lock::parse(GOLDEN).unwrap();
    assert_eq!(lock.to_toml(), GOLDEN);
    assert_eq!(lock.digest(), Digest::of(GOLDEN.as_bytes()));
    let cache = "cache".parse().unwrap();
    let names: Vec<&str> = lock.recipe_packages(&cache).map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["libc6", "redis-server"]);
    assert_eq!(lock.recipe_epoch(&cache), Some(1_747_473_304));
    assert_eq!(lock.epoch(), Some(1_747_473_304));
    assert_eq!(lock.accounts.user("redis").map(|user| user.id), Some(100));
    assert!(lock.package(&"bookworm/libc6:arm64".parse().unwrap()).is_none());
}

#[test]
fn refuses_what_is_unknown_missing_or_contradictory() {
    let changed = |from: &str, to: &str| {
        assert!(GOLDEN.contains(from), "{from}");
        GOLDEN.replace(from, to)
    };
    let user = "[[accounts.user]]\nname = \"redis\"\nid = 100\ngroup = 100\n";
    let libc = GOLDEN.split("[[package]]").nth(1).unwrap();
    let redis = GOLDEN.split("[[package]]").nth(2).unwrap();
    for (text, expected) in [
        (changed("format = 1", "format = 2"), "the lock has format 2, this program reads format 1"),
        (format!("{}novelty = 3\n", changed("format = 1", "format = 7")), "the lock has format 7"),
        (changed("gzip = \"gz1\"\n", ""), "cannot be read"),
        (changed("size = 72240", "size = 72240\nurl = \"http://mirror.example\""), "cannot be read"),
        (changed("[encoders]", "[encoder]"), "cannot be read"),
        (changed("sha256:f0b5", "sha256:F0B5"), "cannot be read"),
        (changed("pool/main/r/redis", "../r/redis"), "cannot be read"),
        (changed("pool/main/r/redis", "http://mirror.example/r"), "cannot be read"),
        (changed("\"5:7.0.15-1~deb12u4\"\narch", "\"5_7\"\narch"), "cannot be read"),
        (changed("size = 72240", "size = -1"), "cannot be read"),
        (
            changed("    \"bookworm/redis-server:amd64\",\n", ""),
            "no recipe needs package bookworm/redis-server:amd64",
        ),
        (
            changed(
                "    \"bookworm/libc6:amd64\",",
                "    \"bookworm/libc6:amd64\",\n    \"bookworm/libc6:amd64\",",
            ),
            "lists package bookworm/libc6:amd64",
        ),
        (
            changed("    \"bookworm/libc6:amd64\",", "    \"bookworm/libc7:amd64\","),
            "lists package bookworm/libc7:amd64",
        ),
        (
            changed("redis-server:amd64", "redis-server:arm64")
                .replace(redis, &redis.replace("amd64", "arm64")),
            "recipe cache lists package bookworm/redis-server:arm64 for amd64",
        ),
        (
            changed("[recipe.cache]\nsuite = \"bookworm\"", "[recipe.cache]\nsuite = \"trixie\""),
            "uses suite trixie",
        ),
        (changed(user, &user.repeat(2)), "the name or id of redis is allocated twice"),
        (format!("{GOLDEN}\n[[package]]{libc}"), "package bookworm/libc6:amd64 is listed twice"),
    ] {
        let error = Lock::parse(&text).expect_err(expected);
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(error.hint().contains("bundle"), "{error}");
    }
    assert!(Lock::parse("").is_err());
}

/// The golden lock with the recipe for two architectures; redis-server is of another version on the second.
fn on_two_architectures() -> String {
    let (head, rest) = GOLDEN.split_once("request = ").unwrap();
    let (selection, rest) = rest.split_once("[[recipe.cache.satisfied]]").unwrap();
    let table = |architecture: &str| {
        let selection = selection.replace("amd64", architecture);
        format!("\n[recipe.cache.architecture.{architecture}]\nrequest = {selection}")
    };
    let [_, libc, redis] = &GOLDEN.split("[[package]]").collect::<Vec<_>>()[..] else {
        panic!("two packages")
    };
    let [libc, redis] = [libc, redis].map(|package| package.trim_end());
    let arm_libc = libc.replace("amd64", "arm64");
    let arm_redis = redis.replace("amd64", "arm64").replace("deb12u4", "deb12u3");
    let packages = [libc, &arm_libc, redis, &arm_redis].map(|package| format!("[[package]]{package}\n"));
    let accounts = rest.split_once("[[accounts.user]]").unwrap().1.split_once("[[package]]").unwrap().0;
    let tables = [
        table("amd64"),
        format!("[[recipe.cache.architecture.amd64.satisfied]]{}", rest.split("\n[[").next().unwrap()),
        table("arm64"),
        format!("[[accounts.user]]{accounts}"),
    ];
    format!("{head}{}{}", tables.concat(), packages.join("\n"))
}

#[test]
fn a_recipe_for_several_architectures() {
    let text = on_two_architectures();
    let lock = Lock::parse(&text).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    assert_eq!(lock.to_toml(), text);
    let cache = "cache".parse().unwrap();
    let keys = |architecture: &str| -> Vec<String> {
        let packages = lock.selected_packages(&cache, &architecture.parse().unwrap());
        packages.map(|package| package.key().to_string()).collect()
    };
    assert_eq!(keys("arm64"), ["bookworm/libc6:arm64", "bookworm/redis-server:arm64"]);
    assert!(keys("riscv64").is_empty());
    assert_eq!(lock.recipe_packages(&cache).count(), 4);
    let divergences = lock.divergences();
    let told: Vec<String> =
        divergences.iter().map(|one| format!("{} {} {:?}", one.recipe, one.source, one.versions)).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("cache redis"), "{told:?}");
    assert!(Lock::parse(GOLDEN).unwrap().divergences().is_empty());

    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    for (text, expected) in [
        (
            changed("architecture.arm64]", "architecture.riscv64]"),
            "lists package bookworm/libc6:arm64 for riscv64",
        ),
        (changed("architecture.arm64]", "architecture.all]"), "lists package bookworm/libc6:arm64 for all"),
        (changed("architecture.arm64]\n", "architecture.arm64]\nsuite = \"x\"\n"), "cannot be read"),
        (changed("[recipe.cache]\n", "[recipe.cache]\npackages = []\n"), "cannot be read"),
        (changed("[recipe.cache.architecture.arm64]", "[recipe.other.architecture.arm64]"), "cannot be read"),
    ] {
        let error = Lock::parse(&text).expect_err(expected);
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[test]
fn a_recipe_answers_the_architectures_that_are_asked_for() {
    let request = |architecture: &str| {
        PackageRequest::new(
            "cache".parse().unwrap(),
            "bookworm".parse().unwrap(),
            architecture.parse().unwrap(),
            vec!["redis-server".parse().unwrap()],
        )
    };
    let of = |text: &str, requests: &[PackageRequest]| {
        let mut lock = Lock::parse(text).unwrap();
        let recipe = lock.recipes.get_mut("cache").unwrap();
        match &mut recipe.selections {
            Selections::One(selection) => selection.request = request("amd64").digest(),
            Selections::Several(selections) => {
                for (architecture, selection) in selections {
                    selection.request = request(architecture.as_str()).digest();
                }
            }
        }
        lock.check(requests) == crate::lock::Freshness::Fresh
    };
    let [amd, arm] = ["amd64", "arm64"].map(request);
    let several = on_two_architectures();
    assert!(of(GOLDEN, std::slice::from_ref(&amd)));
    assert!(!of(GOLDEN, std::slice::from_ref(&arm)));
    assert!(!of(GOLDEN, &[amd.clone(), arm.clone()]));
    assert!(of(&several, &[amd.clone(), arm]));
    assert!(!of(&several, &[amd]));
}

#[test]
fn says_what_is_stale() {
    use crate::lock::{Freshness, Staleness};
    let package = |text: &str| text.parse::<PackageName>().unwrap();
    let request = |recipe: &str, packages: &[&str]| {
        PackageRequest::new(
            recipe.parse().unwrap(),
            "bookworm".parse().unwrap(),
            "amd64".parse().unwrap(),
            packages.iter().map(|text| package(text)).collect(),
        )
    };
    let mut lock = Lock::parse(GOLDEN).unwrap();
    let asked = request("cache", &["redis-server", "bash"]);
    if let Selections::One(selection) = &mut lock.recipes.get_mut("cache").unwrap().selections {
        selection.request = asked.digest();
    }
    assert_eq!(lock.check(&[asked]), Freshness::Fresh);
    assert_eq!(lock.check(&[request("cache", &["bash", "redis-server", "bash"])]), Freshness::Fresh);
    let full = PackageRequest { essential: true, ..request("cache", &["redis-server", "bash"]) };
    let other_suite =
        PackageRequest { suite: "trixie".parse().unwrap(), ..request("cache", &["redis-server", "bash"]) };
    let same = || request("cache", &["redis-server", "bash"]);
    let held = PackageRequest { holds: vec![package("bash")], ..same() };
    assert_eq!(lock.check(&[held]), Freshness::Fresh, "a hold asks for nothing");
    let pin = |text: &str| [(package("bash"), text.parse().unwrap())].into();
    for changed in [
        request("cache", &["redis-server"]),
        request("cache", &["redis-serverbash"]),
        full,
        other_suite,
        PackageRequest { updates: vec!["bookworm-security".parse().unwrap()], ..same() },
        PackageRequest { recommends: vec![package("bash")], ..same() },
        PackageRequest { pins: pin("= 5"), ..same() },
    ] {
        assert_eq!(
            lock.check(&[changed]),
            Freshness::Stale(vec![Staleness::Changed { recipe: "cache".parse().unwrap() }])
        );
    }
    // What a hand changed besides the hash.
    let mut elsewhere = lock.clone();
    elsewhere.recipes.get_mut("cache").unwrap().suite = "trixie".parse().unwrap();
    let mut foreign = lock.clone();
    if let Selections::One(selection) = &mut foreign.recipes.get_mut("cache").unwrap().selections {
        for key in &mut selection.packages {
            key.architecture = "arm64".parse().unwrap();
        }
    }
    for edited in [elsewhere, foreign] {
        assert!(matches!(edited.check(&[same()]), Freshness::Stale(_)), "{edited:?}");
    }
    let digests = ["= 5", "= 6", ">= 5"].map(|text| PackageRequest { pins: pin(text), ..same() }.digest());
    assert!(digests[0] != digests[1] && digests[0] != digests[2], "a pin is asked for");
    let Freshness::Stale(reasons) = lock.check(&[request("api", &["nodejs"])]) else {
        panic!("api is not locked")
    };
    let texts: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "recipe api is not in bundle.lock; `bundle lock` adds it",
            "bundle.lock still holds recipe cache, which is gone; `bundle lock` removes it"
        ]
    );
}

#[test]
fn says_what_changed() {
    let old = Lock::parse(GOLDEN).unwrap();
    assert!(old.changes_since(&old).is_empty());
    let mut new = old.clone();
    let named = |lock: &Lock, name: &str| {
        lock.packages.iter().position(|package| package.name.as_str() == name).expect("it is locked")
    };
    let (libc, redis) = (named(&new, "libc6"), named(&new, "redis-server"));
    new.packages[libc].version = "99".parse().unwrap();
    // Taken from a suite of updates from now on: still the same package.
    new.packages[redis].suite = "bookworm-security".parse().unwrap();
    new.packages[redis].version = "5:99".parse().unwrap();
    let mut added = new.packages[libc].clone();
    added.name = "libnew".parse().unwrap();
    new.packages.push(added);
    let changes = new.changes_since(&old);
    let moved: Vec<String> = changes
        .moved
        .iter()
        .map(|(old, new)| format!("{}: {} {} -> {}", new.source.name, new.name, old.version, new.version))
        .collect();
    let (libc, redis) = (&old.packages[libc], &old.packages[redis]);
    assert_eq!(
        moved,
        [
            format!("{}: libc6 {} -> 99", libc.source.name, libc.version),
            format!("{}: redis-server {} -> 5:99", redis.source.name, redis.version)
        ]
    );
    assert_eq!(changes.added.len(), 1);
    assert!(changes.removed.is_empty());
    assert_eq!(old.changes_since(&new).removed.len(), 1);
}

fn any_lock() -> impl Strategy<Value = Lock> {
    let package =
        ("[a-z0-9][a-z0-9+.-]{1,12}", "[0-9]:[0-9][a-zA-Z0-9.+~]{0,9}", any::<(bool, u64, [u8; 32])>());
    let text = "[ -~\u{e9}\t]{0,12}";
    (
        prop::collection::btree_map("[a-z][a-z0-9]{0,8}", prop::collection::vec(package, 0..5), 0..4),
        prop::collection::btree_map("[a-z_][a-z0-9_-]{0,8}", 0..3_u32, 0..5),
        text,
        -10_000_000_000..100_000_000_000_i64,
        any::<bool>(),
    )
        .prop_map(|(recipes, accounts, reason, seconds, is_one)| {
            let digest = Digest::of(reason.as_bytes());
            let architecture: Architecture = "amd64".parse().unwrap();
            let mut lock = Lock {
                encoders: Encoders { tar: "tar1".parse().unwrap(), gzip: "gz1".parse().unwrap() },
                suites: Vec::new(),
                recipes: BTreeMap::new(),
                packages: Vec::new(),
                accounts: Accounts::default(),
            };
            for (name, packages) in recipes {
                let suite: SuiteName = name.parse().unwrap();
                lock.suites.push(LockedSuite {
                    name: suite.clone(),
                    origin: "A \"quoted\" \\ origin".parse().unwrap(),
                    label: "Label".parse().unwrap(),
                    codename: name.parse().unwrap(),
                    components: vec!["main".parse().unwrap(), "contrib".parse().unwrap()],
                    architectures: vec![architecture.clone()],
                    date: jiff::Timestamp::from_second(seconds).unwrap(),
                    release: digest,
                    keys: vec!["AB".repeat(20).parse().unwrap()],
                    indices: vec![LockedIndex {
                        path: "a/b+c".parse().unwrap(),
                        sha256: digest,
                        size: u64::from(u32::MAX),
                    }],
                });
                let mut keys = Vec::new();
                for (package, version, (essential, size, hash)) in packages {
                    let name: PackageName = package.parse().unwrap();
                    let version: Version = version.parse().unwrap();
                    let key = PackageKey {
                        suite: suite.clone(),
                        name: name.clone(),
                        architecture: architecture.clone(),
                    };
                    if keys.contains(&key) {
                        continue;
                    }
                    keys.push(key);
                    lock.packages.push(LockedPackage {
                        source: SourcePackage { name: name.clone(), version: version.clone() },
                        name,
                        version,
                        architecture: architecture.clone(),
                        suite: suite.clone(),
                        component: "main".parse().unwrap(),
                        essential,
                        priority: Priority::Required,
                        size: size >> 1,
                        sha256: Digest::from_sha256(hash),
                        path: "pool/x.deb".parse().unwrap(),
                    });
                }
                let left_out = Satisfied {
                    package: "adduser".parse().unwrap(),
                    needed_by: keys.iter().map(|key| key.name.clone()).collect(),
                    reason: reason.clone(),
                };
                let selection = Selection { request: digest, packages: keys, satisfied: vec![left_out] };
                let empty = || Selection { request: digest, packages: Vec::new(), satisfied: Vec::new() };
                let selections = if is_one {
                    Selections::One(selection)
                } else {
                    Selections::Several(
                        [(architecture.clone(), selection), ("arm64".parse().unwrap(), empty())].into(),
                    )
                };
                lock.recipes.insert(format!("r{name}").parse().unwrap(), LockedRecipe { suite, selections });
            }
            for (id, (name, group)) in (100..).zip(accounts) {
                lock.accounts.users.push(LockedUser { name: name.parse().unwrap(), id, group });
                lock.accounts.groups.push(LockedGroup { name: name.parse().unwrap(), id });
            }
            lock.normalize();
            lock
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// A lock with a few bytes changed, taken out or put in is read or refused, and what is read is written and read
    /// the same.
    #[test]
    fn a_broken_lock_is_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<char>()), 1..4)
    ) {
        let mut text: Vec<char> = GOLDEN.chars().collect();
        for (at, kind, character) in edits {
            if text.is_empty() {
                break;
            }
            let at = at.index(text.len());
            match kind {
                0 => text[at] = character,
                1 => drop(text.drain(at..(at + 7).min(text.len()))),
                _ => text.insert(at, character),
            }
        }
        if let Ok(lock) = Lock::parse(&text.into_iter().collect::<String>()) {
            prop_assert_eq!(Lock::parse(&lock.to_toml()).unwrap(), lock);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,200}|([\\[\\]a-z =\"{},.\n0-9#-]{0,120})") {
        let _result = Lock::parse(&text);
    }
}

proptest! {
    #[test]
    fn round_trip(lock in any_lock()) {
        let text = lock.to_toml();
        let read = Lock::parse(&text).unwrap();
        prop_assert_eq!(&read, &lock);
        prop_assert_eq!(read.to_toml(), text);
    }

    #[test]
    fn order_of_the_parts_does_not_matter(lock in any_lock()) {
        let mut turned = lock.clone();
        turned.suites.reverse();
        turned.packages.reverse();
        turned.accounts.users.reverse();
        turned.accounts.groups.reverse();
        prop_assert_eq!(turned.to_toml(), lock.to_toml());
        for package in &lock.packages {
            prop_assert_eq!(turned.package(&package.key()), Some(package));
        }
    }
}
