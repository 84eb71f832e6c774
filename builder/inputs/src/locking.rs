//! From what recipes ask to a lock.

mod index;
mod suite;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bundles_release::lock::{
    Architecture, Encoders, Lock, LockedPackage, LockedRecipe, LockedSuite, PackageKey, PackageName,
    PackageRequest, RecipeName, SuiteName, Version,
};
use jiff::Timestamp;

use crate::{
    apt::Locations,
    cache::{CacheError, PackageCache},
    in_release::{ReleaseError, SuitePolicy},
    keyring::{Keyring, SignatureError},
    packages::PackagesError,
    progress::Progress,
    solve::{Kept, SolveError},
    transport::{BaseUri, Transport, TransportError},
};
pub use index::IndexError;

/// What a lock is made with.
#[derive(Debug, Clone, Copy)]
pub struct LockOptions<'a> {
    /// Where archives may be.
    pub locations: &'a Locations,
    /// How bytes come from there.
    pub transport: &'a Transport,
    /// Keys that may vouch for a suite.
    pub keyring: &'a Keyring,
    /// Verified indices are kept here.
    pub cache: &'a PackageCache,
    /// What is accepted as a suite. A suite without a policy must be `main` of Debian.
    pub policies: &'a [SuitePolicy],
    /// The encoders that images will be made with.
    pub encoders: &'a Encoders,
    /// The time now.
    pub now: Timestamp,
    /// How far it moves on from the existing lock.
    pub update: Update<'a>,
}

/// How far a lock moves on from an existing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update<'a> {
    /// A suite stays where it is while the cache still has its Release and indices, and packages keep their versions
    /// where that can be.
    Nothing,
    /// Suites move on to the newest Release. These packages move on, and others as far as they make it necessary or as
    /// their old version is in no index any more.
    Only(&'a [PackageName]),
    /// Suites move on to the newest Release, packages to the newest version.
    Everything,
}

/// A lock, and how long it took.
#[derive(Debug)]
pub struct Locked {
    /// The lock, with the accounts of the existing one.
    pub lock: Lock,
    /// Packages that are older than they could be on their architecture.
    pub held_back: Vec<HeldBack>,
    /// How long it took.
    pub times: LockTimes,
}

/// A package that is older than its architecture's newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBack {
    /// The recipe.
    pub recipe: RecipeName,
    /// The package.
    pub package: String,
    /// The architecture.
    pub architecture: Architecture,
    /// The version that is taken.
    pub taken: Version,
    /// The newest version.
    pub newest: Version,
    /// Why that is not taken.
    pub cause: HeldBackBy,
}

/// Why a newer version is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldBackBy {
    /// A recipe has one version on all of its architectures, and these lack it.
    Lacking(Vec<Architecture>),
    /// The recipe holds the package.
    Hold,
}

impl fmt::Display for HeldBack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { recipe, package, architecture, taken, newest, cause } = self;
        match cause {
            HeldBackBy::Lacking(lacking) => {
                let lacking: Vec<&str> = lacking.iter().map(Architecture::as_str).collect();
                let lacking = lacking.join(", ");
                write!(
                    formatter,
                    "recipe {recipe} takes {package} {taken} on {architecture}: {lacking} has no {newest}"
                )
            }
            HeldBackBy::Hold => {
                write!(
                    formatter,
                    "recipe {recipe} holds {package} at {taken} on {architecture}: {newest} is there"
                )
            }
        }
    }
}

/// How long the parts of locking took.
#[derive(Debug, Clone, Copy, Default)]
pub struct LockTimes {
    /// Releases and indices.
    pub fetch: Duration,
    /// Unpacking of the indices, all suites added up.
    pub unpack: Duration,
    /// Reading of the indices, all suites added up.
    pub parse: Duration,
    /// Solving of the recipes, all recipes added up.
    pub solve: Duration,
    /// Packages in the indices.
    pub packages: usize,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockingError {
    /// No place is known, or none has the suite.
    #[error("suite {suite} is not at any of the places that were looked at: {}", list(looked_at))]
    NoSuite {
        /// The suite.
        suite: SuiteName,
        /// Where it was sought.
        looked_at: Vec<BaseUri>,
    },
    /// A place has the suite, but its Release is not accepted.
    #[error("cannot lock from {base}")]
    Release {
        /// The place.
        base: BaseUri,
        /// Why it is not accepted.
        source: Box<ReleaseError>,
    },
    /// A place cannot be reached.
    #[error("cannot fetch {what} of suite {suite}")]
    Transport {
        /// The suite.
        suite: SuiteName,
        /// What was fetched.
        what: String,
        /// Why.
        source: TransportError,
    },
    /// The Release names no index for a component and architecture.
    #[error("the Release of suite {suite} has no index of component {component} for {architecture}")]
    NoIndex {
        /// The suite.
        suite: SuiteName,
        /// The component.
        component: String,
        /// The architecture.
        architecture: String,
    },
    /// An index that the Release vouches for is not there.
    #[error(
        "{path} of suite {suite} is not where its Release is; the source may be in the middle of an update, or not carry \
         that architecture"
    )]
    IndexGone {
        /// The suite.
        suite: SuiteName,
        /// The index.
        path: String,
    },
    /// An index is not what the Release vouches for, or cannot be unpacked.
    #[error("{path} of suite {suite} cannot be used")]
    Index {
        /// The suite.
        suite: SuiteName,
        /// The index.
        path: String,
        /// Why.
        source: IndexError,
    },
    /// An index cannot be read.
    #[error("the packages of suite {suite} cannot be read")]
    Packages {
        /// The suite.
        suite: SuiteName,
        /// Why.
        source: Box<PackagesError>,
    },
    /// Recipes with other suites beside a suite take two versions of one package from it.
    #[error("recipe {recipe} takes {package} {version}, but another recipe takes {other} of the same suite")]
    Versions {
        /// The recipe.
        recipe: RecipeName,
        /// The package.
        package: PackageKey,
        /// Its version.
        version: Version,
        /// What the other takes.
        other: Version,
    },
    /// A package that was chosen cannot be locked.
    #[error("package {package} of suite {suite} has a wrong {field} in the index")]
    Package {
        /// The suite.
        suite: SuiteName,
        /// The package.
        package: String,
        /// The field.
        field: &'static str,
    },
    /// Recipes cannot be solved.
    #[error("{}", told(problems))]
    Unsolved {
        /// All of them, by name.
        problems: Vec<SolveError>,
    },
    /// Two requests for one recipe.
    #[error("recipe {recipe} asks twice")]
    Twice {
        /// The recipe.
        recipe: RecipeName,
    },
    /// The cache cannot be used.
    #[error("the cache cannot be used")]
    Cache(#[source] CacheError),
    /// A worker was cut short.
    #[error("the work on suite {} was cut short", suites.iter().map(SuiteName::as_str).collect::<Vec<_>>().join(", "))]
    Worker {
        /// The suites.
        suites: Vec<SuiteName>,
        /// Why.
        source: tokio::task::JoinError,
    },
}

fn told(problems: &[SolveError]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}

fn list(bases: &[BaseUri]) -> String {
    if bases.is_empty() {
        return "none is configured".to_owned();
    }
    bases.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl LockingError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoSuite { .. } => {
                Some("add a source of the same Origin to /etc/apt, or name one with `bundle lock --from URI`")
            }
            Self::Release { source, .. } => match **source {
                ReleaseError::Signature { source: SignatureError::NotPinned { .. }, .. } => {
                    Some("if one of them is right, add it to the suite's `keys` in bundle.toml")
                }
                ReleaseError::Signature { .. } => {
                    Some("if the key is right, name its keyring with `bundle lock --keyring FILE`")
                }
                ReleaseError::Expired { .. } | ReleaseError::Older { .. } => {
                    Some("use a source that is up to date, with `bundle lock --from URI`")
                }
                _ => None,
            },
            Self::Transport { .. } | Self::IndexGone { .. } => {
                Some("try again, or name another source with `bundle lock --from URI`")
            }
            Self::Unsolved { problems } => problems.first().and_then(SolveError::hint),
            Self::Versions { .. } => Some("pin the package in both recipes, then `bundle lock`"),
            _ => None,
        }
    }
}

/// What recipes of the same suites install.
struct Solved {
    recipes: Vec<(RecipeName, LockedRecipe, Vec<LockedPackage>)>,
    unsolved: Vec<SolveError>,
    held_back: Vec<HeldBack>,
    times: LockTimes,
}

/// Locks what all recipes of a platform ask, each once for each architecture of its image. `existing` keeps ids of
/// accounts, and refuses older Releases.
pub async fn lock(
    options: &LockOptions<'_>,
    requests: &[PackageRequest],
    existing: Option<&Lock>,
    progress: &dyn Progress,
) -> Result<Locked, LockingError> {
    let mut wanted: BTreeMap<&SuiteName, BTreeSet<&Architecture>> = BTreeMap::new();
    let mut recipes = BTreeSet::new();
    for request in requests {
        if !recipes.insert((&request.recipe, &request.architecture)) {
            return Err(LockingError::Twice { recipe: request.recipe.clone() });
        }
        for suite in request.suites() {
            wanted.entry(suite).or_default().insert(&request.architecture);
        }
    }
    let started = Instant::now();
    let found = wanted.iter().map(|(suite, architectures)| {
        let locked = existing.and_then(|lock| lock.suite(suite));
        suite::find(options, suite, architectures, locked, progress)
    });
    let found = futures_util::future::try_join_all(found).await?;
    let mut times = LockTimes { fetch: started.elapsed(), ..LockTimes::default() };

    let mut lock = Lock {
        encoders: options.encoders.clone(),
        suites: Vec::new(),
        recipes: BTreeMap::new(),
        packages: Vec::new(),
        accounts: existing.map(|lock| lock.accounts.clone()).unwrap_or_default(),
    };
    let mut indices = BTreeMap::new();
    for suite in found {
        for (architecture, of_architecture) in suite.indices {
            indices.insert((suite.locked.name.clone(), architecture), Arc::new(of_architecture));
        }
        lock.suites.push(suite.locked);
    }
    // Recipes of the same suites share what is read of the indices.
    let mut groups = BTreeMap::<Vec<SuiteName>, Vec<(PackageRequest, Kept)>>::new();
    for request in requests {
        let is_one_of_several =
            requests.iter().filter(|other| other.recipe == request.recipe).nth(1).is_some();
        let mut kept = kept(options.update, request, existing);
        if is_one_of_several {
            kept.sources = kept_sources(options.update, request, existing);
        }
        groups.entry(request.suites().cloned().collect()).or_default().push((request.clone(), kept));
    }
    let mut work = Vec::new();
    for (suites, mut asked) in groups {
        asked.sort_by(|(left, _), (right, _)| {
            (&left.recipe, &left.architecture).cmp(&(&right.recipe, &right.architecture))
        });
        let mut of_group: BTreeMap<Architecture, suite::Indices> = BTreeMap::new();
        for (request, _) in &asked {
            of_group.entry(request.architecture.clone()).or_insert_with_key(|architecture| {
                let of_suite = |suite: &SuiteName| {
                    let found = indices.get(&(suite.clone(), architecture.clone()));
                    found.map(|indices| (suite.clone(), Arc::clone(indices)))
                };
                suites.iter().filter_map(of_suite).collect()
            });
        }
        let cache = options.cache.clone();
        let task = tokio::task::spawn_blocking(move || suite::solve(&cache, &of_group, &asked));
        work.push((suites, task));
    }
    let mut packages: BTreeMap<PackageKey, LockedPackage> = BTreeMap::new();
    let (mut problems, mut held_back) = (Vec::new(), Vec::new());
    for (suites, task) in work {
        let solved = task.await.map_err(|source| LockingError::Worker { suites, source })??;
        for (recipe, locked, of_recipe) in solved.recipes {
            for package in of_recipe {
                let key = package.key();
                match packages.get(&key) {
                    Some(other) if other.version != package.version => {
                        let (version, other) = (package.version, other.version.clone());
                        return Err(LockingError::Versions { recipe, package: key, version, other });
                    }
                    _ => packages.insert(key, package),
                };
            }
            lock.recipes.insert(recipe, locked);
        }
        problems.extend(solved.unsolved);
        held_back.extend(solved.held_back);
        times.unpack += solved.times.unpack;
        times.parse += solved.times.parse;
        times.solve += solved.times.solve;
        times.packages += solved.times.packages;
    }
    if !problems.is_empty() {
        problems.sort_by(|left, right| left.recipe().cmp(right.recipe()));
        return Err(LockingError::Unsolved { problems });
    }
    lock.packages = packages.into_values().collect();
    lock.normalize();
    Ok(Locked { lock, held_back, times })
}

/// What the existing lock says about versions of a recipe's packages on one architecture.
fn kept(update: Update<'_>, request: &PackageRequest, existing: Option<&Lock>) -> Kept {
    let architecture = &request.architecture;
    let locked = existing.into_iter().flat_map(|lock| lock.selected_packages(&request.recipe, architecture));
    let versions: BTreeMap<PackageName, Version> = locked
        // A lock for one architecture does not say for which.
        .filter(|package| package.architecture == *architecture || package.architecture.is_all())
        .map(|package| (package.name.clone(), package.version.clone()))
        .collect();
    let mut held = versions.clone();
    held.retain(|name, _| request.holds.contains(name));
    let mut preferred = versions;
    preferred.retain(|name, _| update.keeps(name));
    Kept { preferred, held, sources: BTreeMap::new() }
}

/// Versions of source packages that the existing lock has for a recipe on any architecture.
fn kept_sources(
    update: Update<'_>,
    request: &PackageRequest,
    existing: Option<&Lock>,
) -> BTreeMap<PackageName, Version> {
    let mut sources: BTreeMap<PackageName, Version> = BTreeMap::new();
    let locked = existing.into_iter().flat_map(|lock| lock.recipe_packages(&request.recipe));
    for package in locked.filter(|package| update.keeps(&package.name)) {
        let version = sources.entry(package.source.name.clone());
        let version = version.or_insert_with(|| package.source.version.clone());
        if *version < package.source.version {
            version.clone_from(&package.source.version);
        }
    }
    sources
}

impl Update<'_> {
    /// Whether a package stays at its version where that can be.
    fn keeps(&self, name: &PackageName) -> bool {
        match self {
            Update::Nothing => true,
            Update::Only(names) => !names.contains(name),
            Update::Everything => false,
        }
    }
}

/// A suite with its unread indices.
struct Found {
    locked: LockedSuite,
    indices: Vec<(Architecture, Vec<index::Index>)>,
}
