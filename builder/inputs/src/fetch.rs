//! Packages of a lock by hash, from wherever they are.

use std::time::Duration;

use bundles_release::lock::{Lock, LockedPackage, PackageName, SuiteName, Version};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use registry_wire::Digest;

use crate::{
    apt::Locations,
    cache::{CacheError, PackageCache},
    progress::Progress,
    transport::{BaseUri, Transport, TransportError},
};

/// Files that are fetched at the same time.
const PARALLEL: usize = 8;
/// Tries for one file at one place. Each goes on where the one before ended.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(300);

/// What a fetch did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Files that arrived.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were in the cache and are what they should be.
    pub reused: usize,
    /// Files that were in the cache, damaged, and are among those that arrived.
    pub repaired: usize,
}

/// Why a package could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No source has the file any more.
    #[error(
        "package {package} {version} of suite {suite} has left the archive: no source has it any more; \
         `bundle lock --update` locks what is there now"
    )]
    Gone {
        /// The package.
        package: PackageName,
        /// Its version.
        version: Version,
        /// Its suite.
        suite: SuiteName,
    },
    /// No place is known where the suite could be.
    #[error("nothing says where suite {suite} is; package {package} {version} cannot be fetched")]
    NoSource {
        /// The package.
        package: PackageName,
        /// Its version.
        version: Version,
        /// Its suite.
        suite: SuiteName,
    },
    /// A source failed, and no other has the file.
    #[error("cannot fetch package {package} {version}")]
    Transport {
        /// The package.
        package: PackageName,
        /// Its version.
        version: Version,
        /// What the source said.
        source: TransportError,
    },
    /// A source gave other bytes than the lock has, and no other has the file.
    #[error("package {package} {version} from {base} is not what bundle.lock has")]
    Wrong {
        /// The package.
        package: PackageName,
        /// Its version.
        version: Version,
        /// The source.
        base: BaseUri,
        /// What arrived.
        source: CacheError,
    },
    /// The cache cannot be used.
    #[error("cannot keep package {package}")]
    Cache {
        /// The package.
        package: PackageName,
        /// Why.
        source: CacheError,
    },
}

enum State {
    Good,
    Missing,
    Damaged,
}

/// Brings all packages of a lock into the cache. What is there is hashed again; a damaged file is replaced. Which
/// source gives a file does not matter, as its hash decides.
pub async fn fetch(
    lock: &Lock,
    cache: &PackageCache,
    locations: &Locations,
    transport: &Transport,
    progress: &dyn Progress,
) -> Result<Fetched, FetchError> {
    let states = check(&lock.packages, cache).await;
    let mut fetched = Fetched::default();
    let mut wanted = Vec::new();
    for (package, state) in lock.packages.iter().zip(states) {
        let state = state.map_err(|source| FetchError::Cache { package: package.name.clone(), source })?;
        match state {
            State::Good => fetched.reused += 1,
            State::Missing => wanted.push(package),
            State::Damaged => {
                progress.note(&format!(
                    "{} {} in the cache is damaged: fetched again",
                    package.name, package.version
                ));
                fetched.repaired += 1;
                wanted.push(package);
            }
        }
    }
    // One file may stand in two suites.
    wanted.sort_by_key(|package| package.sha256);
    wanted.dedup_by_key(|package| package.sha256);
    fetched.files = wanted.len();
    fetched.bytes = wanted.iter().map(|package| package.size).sum();
    progress.begin(fetched.files, fetched.bytes);
    stream::iter(wanted.into_iter().map(Ok))
        .try_for_each_concurrent(PARALLEL, |package| one(package, cache, locations, transport, progress))
        .await?;
    Ok(fetched)
}

/// Hashes what the cache has, on threads of their own.
async fn check(packages: &[LockedPackage], cache: &PackageCache) -> Vec<Result<State, CacheError>> {
    let digests: Vec<Digest> = packages.iter().map(|package| package.sha256).collect();
    stream::iter(digests)
        .map(|digest| {
            let cache = cache.clone();
            async move {
                let task = tokio::task::spawn_blocking(move || match cache.verify(&digest) {
                    Ok(true) => Ok(State::Good),
                    Ok(false) => Ok(State::Missing),
                    Err(CacheError::Damaged { .. }) => Ok(State::Damaged),
                    Err(error) => Err(error),
                });
                // A task that was cut short says nothing about the file: fetched again.
                task.await.unwrap_or(Ok(State::Missing))
            }
        })
        .buffered(PARALLEL)
        .collect()
        .await
}

async fn one(
    package: &LockedPackage,
    cache: &PackageCache,
    locations: &Locations,
    transport: &Transport,
    progress: &dyn Progress,
) -> Result<(), FetchError> {
    let (name, version, suite) = (package.name.clone(), package.version.clone(), package.suite.clone());
    let bases = locations.of_suite(&package.suite);
    if bases.is_empty() {
        return Err(FetchError::NoSource { package: name, version, suite });
    }
    let mut problem = None;
    for base in bases {
        for attempt in 1..=TRIES {
            match from(base, package, cache, transport, progress).await {
                Ok(From::Whole) => {
                    progress.done(name.as_str());
                    return Ok(());
                }
                Ok(From::Nothing) => break,
                // What an earlier attempt left was wrong, or this place has another file: one from the beginning tells.
                Ok(From::WrongRest) => {}
                Err(error @ FetchError::Cache { .. }) => return Err(error),
                Err(error) => {
                    let again = matches!(&error, FetchError::Transport { source, .. } if source.may_pass());
                    problem.get_or_insert(error);
                    if !again {
                        break;
                    }
                    if attempt < TRIES {
                        tokio::time::sleep(PAUSE * attempt).await;
                    }
                }
            }
        }
    }
    Err(problem.unwrap_or(FetchError::Gone { package: name, version, suite }))
}

/// What one place gave.
enum From {
    /// The file, and it is visible now.
    Whole,
    /// It is not there.
    Nothing,
    /// The rest of a file that was begun before, but not of this one. It is gone.
    WrongRest,
}

/// Fetches from one place, from where an earlier attempt ended.
async fn from(
    base: &BaseUri,
    package: &LockedPackage,
    cache: &PackageCache,
    transport: &Transport,
    progress: &dyn Progress,
) -> Result<From, FetchError> {
    let failed = |source| FetchError::Transport {
        package: package.name.clone(),
        version: package.version.clone(),
        source,
    };
    let kept = |source| FetchError::Cache { package: package.name.clone(), source };
    let (digest, size) = (package.sha256, package.size);
    let cut_short = |error: tokio::task::JoinError| {
        kept(CacheError::Write { path: cache.path(&digest), source: error.into() })
    };
    let begun = cache.clone();
    let begun = tokio::task::spawn_blocking(move || begun.resume(&digest)).await.map_err(cut_short)?;
    let mut partial = begun.map_err(kept)?;
    // A file that is as long as the whole was left just before its check; a longer one is of no use.
    if partial.length() > size {
        partial.restart().map_err(kept)?;
    }
    let start = partial.length();
    if start < size || size == 0 {
        let opened = transport.open(base, package.path.as_str(), start).await.map_err(failed)?;
        let Some((mut body, at)) = opened else { return Ok(From::Nothing) };
        if at != start {
            partial.restart().map_err(kept)?;
        }
        progress.advance(partial.length());
        while let Some(chunk) = body.chunk().await.map_err(failed)? {
            partial.write(&chunk).map_err(kept)?;
            progress.advance(chunk.len() as u64);
            if partial.length() > size {
                // Already wrong: the rest is not read.
                break;
            }
        }
    }
    let finished = tokio::task::spawn_blocking(move || partial.finish(&digest, size)).await;
    match finished.map_err(cut_short)? {
        Ok(()) => Ok(From::Whole),
        Err(CacheError::Mismatch { .. }) if start > 0 => Ok(From::WrongRest),
        Err(source @ CacheError::Mismatch { .. }) => Err(FetchError::Wrong {
            package: package.name.clone(),
            version: package.version.clone(),
            base: base.clone(),
            source,
        }),
        Err(source) => Err(kept(source)),
    }
}
