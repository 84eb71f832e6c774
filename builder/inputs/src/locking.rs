//! From what recipes ask to a lock.

mod index;
mod suite;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bundles_release::lock::{
    Architecture, Encoders, Lock, LockedPackage, LockedRecipe, LockedSuite, PackageKey, PackageRequest,
    RecipeName, SuiteName,
};
use jiff::Timestamp;

use crate::{
    apt::Locations,
    cache::{CacheError, PackageCache},
    in_release::{ReleaseError, SuitePolicy},
    keyring::Keyring,
    packages::PackagesError,
    progress::Progress,
    solve::SolveError,
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
    /// Whether suites move on to the newest Release. If not, a suite of the existing lock stays where it is while the
    /// cache still has its Release and indices.
    pub update: bool,
}

/// A lock, and how long it took.
#[derive(Debug)]
pub struct Locked {
    /// The lock, with the accounts of the existing one.
    pub lock: Lock,
    /// How long it took.
    pub times: LockTimes,
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
        "{path} of suite {suite} is not where its Release is; the source may be in the middle of an update"
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
        source: PackagesError,
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
    /// A recipe cannot be solved.
    #[error(transparent)]
    Solve(Box<SolveError>),
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
    #[error("the work on suite {suite} was cut short")]
    Worker {
        /// The suite.
        suite: SuiteName,
        /// Why.
        source: tokio::task::JoinError,
    },
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
            Self::Solve(error) => match **error {
                SolveError::Unknown { .. } | SolveError::Virtual { .. } => {
                    Some("correct `packages` in the recipe, then `bundle lock`")
                }
                SolveError::Unsatisfiable { .. } => {
                    Some("leave out one of the packages that exclude each other, then `bundle lock`")
                }
                SolveError::Index { .. } => None,
            },
            _ => None,
        }
    }
}

/// What one suite and architecture gives.
struct Solved {
    recipes: Vec<(RecipeName, LockedRecipe)>,
    packages: BTreeMap<PackageKey, LockedPackage>,
    times: LockTimes,
}

/// Locks what all recipes of a platform ask. `existing` keeps ids of accounts, and refuses older Releases.
pub async fn lock(
    options: &LockOptions<'_>,
    requests: &[PackageRequest],
    existing: Option<&Lock>,
    progress: &dyn Progress,
) -> Result<Locked, LockingError> {
    let mut wanted: BTreeMap<&SuiteName, BTreeSet<&Architecture>> = BTreeMap::new();
    let mut recipes = BTreeSet::new();
    for request in requests {
        if !recipes.insert(&request.recipe) {
            return Err(LockingError::Twice { recipe: request.recipe.clone() });
        }
        wanted.entry(&request.suite).or_default().insert(&request.architecture);
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
    let mut work = Vec::new();
    for suite in found {
        lock.suites.push(suite.locked);
        for (architecture, indices) in suite.indices {
            let mut asked: Vec<PackageRequest> = requests
                .iter()
                .filter(|request| request.suite == suite.name && request.architecture == architecture)
                .cloned()
                .collect();
            asked.sort_by(|left, right| left.recipe.cmp(&right.recipe));
            let name = suite.name.clone();
            let task =
                tokio::task::spawn_blocking(move || suite::solve(&name, &architecture, &indices, &asked));
            work.push((suite.name.clone(), task));
        }
    }
    let mut packages = BTreeMap::new();
    for (suite, task) in work {
        let solved = task.await.map_err(|source| LockingError::Worker { suite, source })??;
        lock.recipes.extend(solved.recipes);
        packages.extend(solved.packages);
        times.unpack += solved.times.unpack;
        times.parse += solved.times.parse;
        times.solve += solved.times.solve;
        times.packages += solved.times.packages;
    }
    lock.packages = packages.into_values().collect();
    lock.normalize();
    Ok(Locked { lock, times })
}

/// A suite with its unread indices.
struct Found {
    name: SuiteName,
    locked: LockedSuite,
    indices: Vec<(Architecture, Vec<index::Index>)>,
}
