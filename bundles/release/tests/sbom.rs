//! The bill of materials lists what is locked, and equal locks give equal bytes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use bundles_release::{
    lock::{
        Accounts, Encoders, Lock, LockedPackage, LockedRecipe, LockedSuite, Priority, Selection, Selections,
        SourcePackage, SuiteName,
    },
    sbom::{self, SbomError, ScriptLevel, ScriptLevels},
};
use registry_wire::Digest;
use serde_json::Value;

fn package(suite: &str, name: &str, version: &str, source: (&str, &str)) -> LockedPackage {
    LockedPackage {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        architecture: "amd64".parse().unwrap(),
        suite: suite.parse().unwrap(),
        component: "main".parse().unwrap(),
        source: SourcePackage { name: source.0.parse().unwrap(), version: source.1.parse().unwrap() },
        essential: false,
        priority: Priority::Optional,
        size: 10,
        sha256: Digest::of(format!("{suite}/{name}").as_bytes()),
        path: format!("pool/main/x/{name}/{name}_1_amd64.deb").parse().unwrap(),
    }
}

fn suite(name: &str, date: &str) -> LockedSuite {
    LockedSuite {
        name: name.parse().unwrap(),
        origin: "Debian".parse().unwrap(),
        label: "Debian".parse().unwrap(),
        codename: name.parse().unwrap(),
        components: vec!["main".parse().unwrap()],
        architectures: vec!["amd64".parse().unwrap()],
        date: date.parse().unwrap(),
        release: Digest::of(name.as_bytes()),
        keys: Vec::new(),
        indices: Vec::new(),
    }
}

fn lock() -> Lock {
    let packages = vec![
        package("bookworm", "libstdc++6", "12.2.0-14", ("gcc-12", "12.2.0-14")),
        package("bookworm", "redis-server", "5:7.0.15-1~deb12u1", ("redis", "5:7.0.15-1~deb12u1")),
        package("trixie", "libc6", "2.41-12", ("glibc", "2.41-12")),
        package("trixie", "nodejs", "20.19.2+dfsg-1", ("nodejs", "20.19.2+dfsg-1")),
    ];
    let recipe = |suite: &str, packages: &[&str]| LockedRecipe {
        suite: suite.parse::<SuiteName>().unwrap(),
        selections: Selections::One(Selection {
            request: Digest::of(suite.as_bytes()),
            packages: packages.iter().map(|key| key.parse().unwrap()).collect(),
            satisfied: Vec::new(),
        }),
    };
    Lock {
        encoders: Encoders { tar: "tar1".parse().unwrap(), gzip: "gz1".parse().unwrap() },
        suites: vec![suite("bookworm", "2026-01-10T09:00:00Z"), suite("trixie", "2026-03-14T08:30:00Z")],
        recipes: [
            (
                "cache".parse().unwrap(),
                recipe("bookworm", &["bookworm/libstdc++6:amd64", "bookworm/redis-server:amd64"]),
            ),
            ("api".parse().unwrap(), recipe("trixie", &["trixie/libc6:amd64", "trixie/nodejs:amd64"])),
        ]
        .into(),
        packages,
        accounts: Accounts::default(),
    }
}

fn levels() -> ScriptLevels {
    let name = |text: &str| text.parse().unwrap();
    let cache = [(name("redis-server"), ScriptLevel::Declared), (name("libstdc++6"), ScriptLevel::None)];
    [("cache".parse().unwrap(), cache.into())].into()
}

fn written() -> Value {
    serde_json::from_slice(&sbom::spdx(&lock(), &"shop".parse().unwrap(), &levels()).unwrap()).unwrap()
}

#[test]
fn golden_bytes() {
    assert_eq!(
        String::from_utf8(sbom::spdx(&lock(), &"shop".parse().unwrap(), &levels()).unwrap()).unwrap(),
        include_str!("sbom.golden.json").trim_end(),
        "the bytes of the bill of materials changed, and with them every release"
    );
}

#[test]
fn every_locked_package_is_listed_once_with_name_hash_and_source() {
    let document = written();
    let debian: Vec<&Value> = document["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| !package["externalRefs"].is_null())
        .collect();
    assert_eq!(debian.len(), lock().packages.len());
    for (package, locked) in debian.iter().zip(lock().packages) {
        assert_eq!(package["name"], locked.name.as_str());
        assert_eq!(package["versionInfo"], locked.version.as_str());
        assert_eq!(package["checksums"][0]["algorithm"], "SHA256");
        assert_eq!(package["checksums"][0]["checksumValue"], locked.sha256.hex());
        assert!(package["sourceInfo"].as_str().unwrap().contains(locked.source.name.as_str()));
    }
    let purls: Vec<_> = debian
        .iter()
        .map(|package| package["externalRefs"][0]["referenceLocator"].as_str().unwrap())
        .collect();
    assert_eq!(
        purls,
        [
            "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64&distro=bookworm",
            "pkg:deb/debian/redis-server@5:7.0.15-1~deb12u1?arch=amd64&distro=bookworm",
            "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=trixie",
            "pkg:deb/debian/nodejs@20.19.2%2Bdfsg-1?arch=amd64&distro=trixie",
        ]
    );
}

#[test]
fn identifiers_are_unique_and_relationships_lead_to_them() {
    let document = written();
    let mut ids = BTreeSet::from(["SPDXRef-DOCUMENT"]);
    for package in document["packages"].as_array().unwrap() {
        let id = package["SPDXID"].as_str().unwrap();
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)), "{id}");
        assert!(ids.insert(id), "{id}");
    }
    let relationships = document["relationships"].as_array().unwrap();
    let mut reached = BTreeSet::from(["SPDXRef-DOCUMENT"]);
    for relationship in relationships {
        assert!(ids.contains(relationship["spdxElementId"].as_str().unwrap()));
        reached.insert(relationship["relatedSpdxElement"].as_str().unwrap());
    }
    assert_eq!(reached, ids, "everything is described by or contained in something");
}

#[test]
fn names_and_times_come_from_the_lock() {
    let lock = lock();
    let product = "shop".parse().unwrap();
    let bytes = sbom::spdx(&lock, &product, &levels()).unwrap();
    let document = written();
    assert_eq!(
        document["creationInfo"]["created"], "2026-03-14T08:30:00Z",
        "the newest suite dates the document"
    );
    assert!(document["documentNamespace"].as_str().unwrap().ends_with(&lock.digest().hex()));
    assert_eq!(document["spdxVersion"], "SPDX-2.3");

    let mut reordered = lock.clone();
    reordered.packages.reverse();
    assert_eq!(sbom::spdx(&Lock::parse(&reordered.to_toml()).unwrap(), &product, &levels()).unwrap(), bytes);

    let mut changed = lock;
    changed.packages[0].version = "12.2.0-15".parse().unwrap();
    assert_ne!(sbom::spdx(&changed, &product, &levels()).unwrap(), bytes);
}

#[test]
fn locks_that_contradict_themselves() {
    let product = "shop".parse().unwrap();
    let mut undated = lock();
    undated.suites.clear();
    assert!(matches!(sbom::spdx(&undated, &product, &levels()), Err(SbomError::NoDate { .. })));
    let mut homeless = lock();
    homeless.suites.remove(0);
    let error = sbom::spdx(&homeless, &product, &levels()).unwrap_err();
    assert!(
        matches!(&error, SbomError::NoSuite { package, .. } if package.name.as_str() == "libstdc++6"),
        "{error}"
    );
    let mut short = lock();
    short.packages.pop();
    let error = sbom::spdx(&short, &product, &levels()).unwrap_err();
    assert!(
        matches!(&error, SbomError::NoPackage { package, .. } if package.name.as_str() == "nodejs"),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        format!(
            "the recipe api lists the package trixie/nodejs:amd64, which the lock {} does not have",
            short.digest()
        )
    );
}
