//! The model of the lock and its look-ups.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use registry_wire::{Digest, checked_text, serde_as_text};
use serde::{Deserialize, Serialize};

use super::{
    account::Accounts,
    name::{
        Architecture, Codename, Component, EncoderId, Fingerprint, PackageName, Priority, RecipeName,
        ReleaseField, SuiteName,
    },
    recipe::LockedRecipe,
    version::Version,
};

/// Every input of a platform by hash, and how it was authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The encoders whose bytes the images are made of.
    pub encoders: Encoders,
    /// The suites that packages come from, by name.
    pub suites: Vec<LockedSuite>,
    /// What each recipe installs.
    pub recipes: BTreeMap<RecipeName, LockedRecipe>,
    /// All packages of all recipes, by key.
    pub packages: Vec<LockedPackage>,
    /// User and group ids.
    pub accounts: Accounts,
}

/// The encoders whose bytes the images are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoders {
    /// Of the tar archives.
    pub tar: EncoderId,
    /// Of the compressed layers.
    pub gzip: EncoderId,
}

/// A suite as its signed Release told it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedSuite {
    /// Name under which recipes ask for it.
    pub name: SuiteName,
    /// Who publishes it, such as `Debian`.
    pub origin: ReleaseField,
    /// What it calls itself, such as `Debian`.
    pub label: ReleaseField,
    /// Its code name.
    pub codename: Codename,
    /// Components that packages were taken from.
    pub components: Vec<Component>,
    /// Architectures that packages were taken for, without `all`.
    pub architectures: Vec<Architecture>,
    /// Date of the Release. Also the time that generated files of an image carry.
    pub date: Timestamp,
    /// SHA-256 of the `InRelease` file.
    pub release: Digest,
    /// Primary fingerprints of the keys whose signatures on it are good.
    pub keys: Vec<Fingerprint>,
    /// The indices of packages that it vouches for.
    #[serde(default, rename = "index")]
    pub indices: Vec<LockedIndex>,
}

/// An index of packages that a Release vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedIndex {
    /// Path relative to the Release.
    pub path: ArchivePath,
    /// Hash of the file.
    pub sha256: Digest,
    /// Length of the file.
    pub size: u64,
}

/// Names one package of a lock. There is one version for each key. Written as `bookworm/redis-server:amd64`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageKey {
    /// The suite.
    pub suite: SuiteName,
    /// The package.
    pub name: PackageName,
    /// Its architecture, `all` included.
    pub architecture: Architecture,
}

/// A package by hash.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// Its architecture, `all` included.
    pub architecture: Architecture,
    /// The suite that it comes from.
    pub suite: SuiteName,
    /// The component of that suite.
    pub component: Component,
    /// The source package that it was built from.
    pub source: SourcePackage,
    /// Whether it is marked as essential.
    #[serde(default)]
    pub essential: bool,
    /// Its priority.
    pub priority: Priority,
    /// Length of the file.
    pub size: u64,
    /// Hash of the file.
    pub sha256: Digest,
    /// Path of the file relative to the archive's base.
    pub path: ArchivePath,
}

/// A source package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePackage {
    /// Its name.
    pub name: PackageName,
    /// Its version, which differs from the binary's after a rebuild.
    pub version: Version,
}

impl Lock {
    /// Number of the format that this program reads and writes.
    pub const FORMAT: u32 = 1;

    /// The package of that key.
    pub fn package(&self, key: &PackageKey) -> Option<&LockedPackage> {
        // Few enough for a scan in a lock that was put together by hand; sorted when it was parsed or made.
        match self.packages.binary_search_by(|package| package.cmp_key(key)) {
            Ok(at) => self.packages.get(at),
            Err(_) => self.packages.iter().find(|package| package.cmp_key(key).is_eq()),
        }
    }

    /// The suite of that name.
    pub fn suite(&self, name: &SuiteName) -> Option<&LockedSuite> {
        self.suites.iter().find(|suite| suite.name == *name)
    }

    /// The whole seconds that generated files of a recipe's image carry: the date of its suite's Release.
    pub fn recipe_epoch(&self, recipe: &RecipeName) -> Option<i64> {
        let suite = &self.recipes.get(recipe)?.suite;
        self.suite(suite).map(|suite| suite.date.as_second())
    }

    /// The newest date of all suites: the time of documents about the whole platform.
    pub fn epoch(&self) -> Option<i64> {
        self.suites.iter().map(|suite| suite.date.as_second()).max()
    }

    /// Hash of the canonical bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_toml().as_bytes())
    }
}

impl LockedPackage {
    /// Its key.
    pub fn key(&self) -> PackageKey {
        PackageKey {
            suite: self.suite.clone(),
            name: self.name.clone(),
            architecture: self.architecture.clone(),
        }
    }

    pub(super) fn cmp_key(&self, key: &PackageKey) -> std::cmp::Ordering {
        (&self.suite, &self.name, &self.architecture).cmp(&(&key.suite, &key.name, &key.architecture))
    }
}

impl fmt::Display for PackageKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}:{}", self.suite, self.name, self.architecture)
    }
}

impl fmt::Debug for PackageKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}

checked_text!(
    /// A path inside an archive: relative, without `..`, without anything that a shell or URL would change.
    ArchivePath,
    ArchivePathError,
    "a path inside an archive: relative, without `..`, of letters, digits and /._+~:%=-",
    |text| {
        text.len() <= 1024
            && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._+~:%=-".contains(&byte))
    }
);

/// A text that is not a package key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a package key such as bookworm/redis-server:amd64")]
pub struct PackageKeyError {
    text: String,
}

impl FromStr for PackageKey {
    type Err = PackageKeyError;

    fn from_str(text: &str) -> Result<Self, PackageKeyError> {
        let read = || {
            let (suite, rest) = text.rsplit_once('/')?;
            let (name, architecture) = rest.split_once(':')?;
            Some(Self {
                suite: suite.parse().ok()?,
                name: name.parse().ok()?,
                architecture: architecture.parse().ok()?,
            })
        };
        read().ok_or_else(|| PackageKeyError { text: text.to_owned() })
    }
}

serde_as_text!(PackageKey);
