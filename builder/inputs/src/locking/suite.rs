//! One suite: where it is, what its Release says, what its recipes install.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use bundles_release::lock::{
    Architecture, Component, LockedIndex, LockedPackage, LockedRecipe, LockedSuite, PackageRequest,
    SourcePackage, SuiteName,
};
use registry_wire::Digest;

use super::{Found, LockOptions, LockTimes, LockingError, Solved, Update, index};
use crate::{
    cache::PackageCache,
    in_release::{InRelease, IndexFile, ReleaseError, SuitePolicy},
    keyring::SignatureError,
    packages::{Entry, Packages, Place},
    progress::Progress,
    solve::{self, Kept},
    transport::{BaseUri, TransportError},
};

/// Longest Release.
const RELEASE_LIMIT: u64 = 8 << 20;

/// What is accepted under a suite's name if the platform says nothing: `main` of Debian.
fn policy(options: &LockOptions<'_>, suite: &SuiteName) -> SuitePolicy {
    let declared = options.policies.iter().find(|policy| policy.name == *suite);
    declared.cloned().unwrap_or_else(|| SuitePolicy::debian(suite.clone()))
}

/// Finds a suite, checks its Release and brings its indices.
pub(super) async fn find(
    options: &LockOptions<'_>,
    name: &SuiteName,
    architectures: &BTreeSet<&Architecture>,
    locked: Option<&LockedSuite>,
    progress: &dyn Progress,
) -> Result<Found, LockingError> {
    let policy = policy(options, name);
    let kept = match options.update {
        Update::Nothing => locked.and_then(|locked| kept(options, &policy, locked, architectures)),
        Update::Only(_) | Update::Everything => None,
    };
    let (release, base) = if let Some(release) = kept {
        (release, None)
    } else {
        let (release, base) = newest(options, &policy, locked).await?;
        (release, Some(base))
    };
    let mut indices = Vec::new();
    let mut listed = BTreeMap::new();
    for architecture in architectures {
        let mut of_architecture = Vec::new();
        for (component, file) in files(&release, &policy, architecture)? {
            listed.insert(
                file.path.clone(),
                LockedIndex { path: file.path.clone(), sha256: file.digest, size: file.size },
            );
            let brought = index::bring(options, name, base, &release, component, file, progress);
            of_architecture.push(brought.await?);
        }
        indices.push(((*architecture).clone(), of_architecture));
    }
    let locked = LockedSuite {
        name: name.clone(),
        origin: release.origin,
        label: release.label,
        codename: release.codename,
        components: policy.components,
        architectures: architectures.iter().map(|architecture| (*architecture).clone()).collect(),
        date: release.date,
        release: release.digest,
        keys: release.keys,
        indices: listed.into_values().collect(),
    };
    Ok(Found { locked, indices })
}

/// The indices of an architecture.
fn files<'p>(
    release: &InRelease,
    policy: &'p SuitePolicy,
    architecture: &Architecture,
) -> Result<Vec<(&'p Component, IndexFile)>, LockingError> {
    let mut files = Vec::new();
    for component in &policy.components {
        let file = release.index(component, architecture.as_str()).ok_or_else(|| LockingError::NoIndex {
            suite: policy.name.clone(),
            component: component.to_string(),
            architecture: architecture.to_string(),
        })?;
        files.push((component, file));
        if release.separate_all {
            files.extend(release.index(component, "all").map(|file| (component, file)));
        }
    }
    Ok(files)
}

/// The Release of the existing lock, if the cache has it and its indices and it is still accepted.
fn kept(
    options: &LockOptions<'_>,
    policy: &SuitePolicy,
    locked: &LockedSuite,
    architectures: &BTreeSet<&Architecture>,
) -> Option<InRelease> {
    let bytes = options.cache.read(&locked.release, RELEASE_LIMIT).ok()??;
    let release = InRelease::check(&bytes, policy, options.keyring, options.now, Some(locked.date)).ok()?;
    let all_there = architectures.iter().all(|architecture| {
        files(&release, policy, architecture)
            .is_ok_and(|files| files.iter().all(|(_, file)| options.cache.has(&file.digest, file.size)))
    });
    all_there.then_some(release)
}

/// How much a refusal says: that of a source that is meant to be this suite more than that of some other source.
const fn weight(error: &ReleaseError) -> u8 {
    match error {
        ReleaseError::Identity { .. } => 0,
        ReleaseError::Signature { source: SignatureError::UnknownKeys { .. }, .. } => 1,
        _ => 2,
    }
}

/// The Release with its signatures: `InRelease`, else `Release` with the armored `Release.gpg` behind it.
async fn signed(
    options: &LockOptions<'_>,
    suite: &SuiteName,
    base: &BaseUri,
) -> Result<Option<Vec<u8>>, TransportError> {
    let file =
        async |name: &str| options.transport.get(base, &format!("dists/{suite}/{name}"), RELEASE_LIMIT).await;
    if let Some(bytes) = file("InRelease").await? {
        return Ok(Some(bytes));
    }
    let Some(mut bytes) = file("Release").await? else { return Ok(None) };
    bytes.extend(file("Release.gpg").await?.unwrap_or_default());
    Ok(Some(bytes))
}

/// Asks all places until one has a Release that is accepted.
async fn newest<'o>(
    options: &LockOptions<'o>,
    policy: &SuitePolicy,
    locked: Option<&LockedSuite>,
) -> Result<(InRelease, &'o BaseUri), LockingError> {
    let suite = &policy.name;
    let bases = options.locations.of_suite(suite);
    let mut refused: Option<(&BaseUri, ReleaseError)> = None;
    let mut failed = None;
    for base in &bases {
        let bytes = match signed(options, suite, base).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => continue,
            Err(error) => {
                failed.get_or_insert(error);
                continue;
            }
        };
        let not_before = locked.map(|locked| locked.date);
        match InRelease::check(&bytes, policy, options.keyring, options.now, not_before) {
            Ok(release) => {
                options.cache.write(&bytes).map_err(LockingError::Cache)?;
                return Ok((release, base));
            }
            Err(error) if refused.as_ref().is_none_or(|(_, before)| weight(before) < weight(&error)) => {
                refused = Some((base, error));
            }
            Err(_) => {}
        }
    }
    Err(match (refused, failed) {
        (Some((base, source)), _) => LockingError::Release { base: base.clone(), source: Box::new(source) },
        (None, Some(source)) => {
            LockingError::Transport { suite: suite.clone(), what: "the Release".to_owned(), source }
        }
        (None, None) => {
            LockingError::NoSuite { suite: suite.clone(), looked_at: bases.into_iter().cloned().collect() }
        }
    })
}

/// Reads the indices of some suites for an architecture and solves the recipes that take packages from them. No
/// network.
pub(super) fn solve(
    cache: &PackageCache,
    architecture: &Architecture,
    suites: &[(SuiteName, Arc<Vec<index::Index>>)],
    requests: &[(PackageRequest, Kept)],
) -> Result<Solved, LockingError> {
    let started = Instant::now();
    let mut texts = Vec::new();
    for (suite, indices) in suites {
        for index in indices.iter() {
            let text = index.text(cache).map_err(|source| LockingError::Index {
                suite: suite.clone(),
                path: index.file.path.to_string(),
                source,
            })?;
            let place = Place { suite, component: &index.component, architecture: architecture.as_str() };
            texts.push((text, place));
        }
    }
    let mut times = LockTimes { unpack: started.elapsed(), ..LockTimes::default() };

    let started = Instant::now();
    let mut packages = Packages::default();
    for (text, place) in &texts {
        let added = packages.add(text, *place);
        added.map_err(|source| LockingError::Packages {
            suite: place.suite.clone(),
            source: Box::new(source),
        })?;
    }
    times.parse = started.elapsed();
    times.packages = packages.len();

    let started = Instant::now();
    let mut solved = Solved { recipes: Vec::new(), unsolved: Vec::new(), times };
    let mut chosen = solve::Chosen::new();
    for (request, kept) in requests {
        // Every recipe is looked at, so that a person sees all that is wrong at once.
        let selection = match solve::solve(&packages, request, &chosen, kept) {
            Ok(selection) => selection,
            Err(error) => {
                solved.unsolved.push(error);
                continue;
            }
        };
        let entries = selection.entries.into_iter().map(|entry| locked(packages.entry(entry)));
        let of_recipe = entries.collect::<Result<Vec<_>, _>>()?;
        for package in &of_recipe {
            let of_suite = chosen.entry(package.suite.clone()).or_default();
            of_suite.insert(package.name.clone(), package.version.clone());
        }
        let recipe = LockedRecipe {
            suite: request.suite.clone(),
            request: request.digest(),
            packages: of_recipe.iter().map(LockedPackage::key).collect(),
            satisfied: selection.satisfied,
        };
        solved.recipes.push((request.recipe.clone(), recipe, of_recipe));
    }
    solved.times.solve = started.elapsed();
    Ok(solved)
}

/// What the lock keeps of a package.
fn locked(entry: &Entry<'_>) -> Result<LockedPackage, LockingError> {
    let suite = entry.suite;
    let wrong = |field| LockingError::Package { suite: suite.clone(), package: entry.name.to_owned(), field };
    let (source, source_version) = match entry.source.split_once('(') {
        Some((name, version)) => {
            let version =
                version.trim_ascii().strip_suffix(')').and_then(|version| version.trim_ascii().parse().ok());
            (name.trim_ascii(), version.ok_or_else(|| wrong("Source"))?)
        }
        None if entry.source.is_empty() => (entry.name, entry.version.clone()),
        None => (entry.source, entry.version.clone()),
    };
    Ok(LockedPackage {
        name: entry.name.parse().map_err(|_| wrong("Package"))?,
        version: entry.version.clone(),
        architecture: entry.architecture.parse().map_err(|_| wrong("Architecture"))?,
        suite: suite.clone(),
        component: entry.component.clone(),
        source: SourcePackage { name: source.parse().map_err(|_| wrong("Source"))?, version: source_version },
        essential: entry.essential,
        priority: entry.priority,
        size: entry.size.parse().map_err(|_| wrong("Size"))?,
        sha256: Digest::from_hex(entry.sha256).map_err(|_| wrong("SHA256"))?,
        path: entry.path.parse().map_err(|_| wrong("Filename"))?,
    })
}
