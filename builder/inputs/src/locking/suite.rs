//! One suite: where it is, what its Release says, what its recipes install.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::resume_unwind,
    sync::Arc,
    thread,
    time::Instant,
};

use bundles_release::lock::{
    Architecture, Component, LockedIndex, LockedPackage, LockedRecipe, LockedSuite, PackageRequest,
    Selection, Selections, SourcePackage, SuiteName,
};
use registry_wire::Digest;

use super::{Found, HeldBack, HeldBackBy, LockOptions, LockTimes, LockingError, Solved, Update, index};
use crate::{
    cache::PackageCache,
    in_release::{InRelease, IndexFile, ReleaseError, SuitePolicy},
    keyring::SignatureError,
    packages::{Entry, Packages, Place},
    progress::Progress,
    solve::{self, Available, Chosen, Kept, Siblings, SolveError},
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

/// The indices of some suites, in their order, for one architecture.
pub(super) type Indices = Vec<(SuiteName, Arc<Vec<index::Index>>)>;

/// Reads the indices of some suites and solves the recipes that take packages from them, on each of their architectures.
/// No network.
pub(super) fn solve(
    cache: &PackageCache,
    indices: &BTreeMap<Architecture, Indices>,
    requests: &[(PackageRequest, Kept)],
) -> Result<Solved, LockingError> {
    let started = Instant::now();
    let texts: Vec<(&Architecture, Texts<'_>)> = each(indices.iter(), |(architecture, suites)| {
        unpack(cache, architecture, suites).map(|texts| (architecture, texts))
    })?;
    let mut times = LockTimes { unpack: started.elapsed(), ..LockTimes::default() };

    let started = Instant::now();
    let read = each(texts.iter(), |(architecture, texts)| read(texts).map(|read| (*architecture, read)))?;
    let packages: BTreeMap<&Architecture, Packages<'_>> = read.into_iter().collect();
    times.parse = started.elapsed();
    times.packages = packages.values().map(Packages::len).sum();

    let started = Instant::now();
    let mut available = BTreeMap::new();
    // A recipe of one architecture looks at no other.
    if packages.len() > 1 {
        available.extend(packages.iter().map(|(architecture, of)| (*architecture, Available::of(of))));
    }
    let mut solving = Solving {
        packages: &packages,
        available: &available,
        chosen: BTreeMap::new(),
        solved: Solved { recipes: Vec::new(), unsolved: Vec::new(), held_back: Vec::new(), times },
    };
    for of_recipe in requests.chunk_by(|(left, _), (right, _)| left.recipe == right.recipe) {
        solving.recipe(of_recipe)?;
    }
    let mut solved = solving.solved;
    solved.times.solve = started.elapsed();
    Ok(solved)
}

/// Does the same to each, side by side.
fn each<I: Send, T: Send>(
    items: impl Iterator<Item = I>,
    work: impl Fn(I) -> Result<T, LockingError> + Sync,
) -> Result<Vec<T>, LockingError> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = items.map(|item| scope.spawn(move || work(item))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

type Texts<'i> = Vec<(String, Place<'i>)>;

fn unpack<'i>(
    cache: &PackageCache,
    architecture: &'i Architecture,
    suites: &'i Indices,
) -> Result<Texts<'i>, LockingError> {
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
    Ok(texts)
}

fn read<'i>(texts: &'i Texts<'_>) -> Result<Packages<'i>, LockingError> {
    let mut packages = Packages::default();
    for (text, place) in texts {
        let added = packages.add(text, *place);
        added.map_err(|source| LockingError::Packages {
            suite: place.suite.clone(),
            source: Box::new(source),
        })?;
    }
    Ok(packages)
}

/// Recipes of the same suites while they are solved, one after the other.
struct Solving<'s> {
    packages: &'s BTreeMap<&'s Architecture, Packages<'s>>,
    available: &'s BTreeMap<&'s Architecture, Available<'s>>,
    chosen: BTreeMap<Architecture, Chosen>,
    solved: Solved,
}

impl Solving<'_> {
    /// Solves one recipe: its requests differ in their architecture. Every recipe is looked at, so that a person sees
    /// all that is wrong at once.
    fn recipe(&mut self, requests: &[(PackageRequest, Kept)]) -> Result<(), LockingError> {
        let Some((first, kept)) = requests.first() else { return Ok(()) };
        let mut taken = kept.sources.clone();
        let mut selections = BTreeMap::new();
        let mut of_recipe = Vec::new();
        for (request, kept) in requests {
            let Some(packages) = self.packages.get(&request.architecture) else { continue };
            let is_sibling = |architecture: &Architecture| {
                *architecture != request.architecture
                    && requests.iter().any(|(other, _)| other.architecture == *architecture)
            };
            let others = self.available.iter().filter(|(architecture, _)| is_sibling(architecture));
            let siblings = Siblings {
                others: others.map(|(architecture, available)| (*architecture, available)).collect(),
                taken,
            };
            let chosen = self.chosen.entry(request.architecture.clone()).or_default();
            let solution = solve::solve(packages, request, chosen, kept, &siblings);
            let (mut locked, mut satisfied) = (Vec::new(), Vec::new());
            match solution {
                Ok(selection) => {
                    satisfied = selection.satisfied;
                    for entry in selection.entries {
                        let entry = packages.entry(entry);
                        self.solved.held_back.extend(held_back(packages, entry, request, &siblings));
                        locked.push(of_entry(entry)?);
                    }
                }
                // What is wrong on each architecture in the same way is said once.
                Err(error) => {
                    let is_said = |other: &SolveError| other.to_string() == error.to_string();
                    if !self.solved.unsolved.iter().any(is_said) {
                        self.solved.unsolved.push(error);
                    }
                }
            }
            taken = siblings.taken;
            for package in &locked {
                taken.insert(package.source.name.clone(), package.source.version.clone());
            }
            self.choose(&locked, &request.architecture);
            let packages = locked.iter().map(LockedPackage::key).collect();
            let selection = Selection { request: request.digest(), packages, satisfied };
            selections.insert(request.architecture.clone(), selection);
            of_recipe.extend(locked);
        }
        let suite = first.suite.clone();
        let selections = match requests {
            [_] => selections.into_values().next().map(Selections::One),
            _ => Some(Selections::Several(selections)),
        };
        let recipe = selections.map(|selections| LockedRecipe { suite, selections });
        self.solved.recipes.extend(recipe.map(|recipe| (first.recipe.clone(), recipe, of_recipe)));
        Ok(())
    }

    /// Has later recipes, and for packages of all architectures the other architectures, take the same versions: a lock
    /// has one for each suite, name and architecture.
    fn choose(&mut self, locked: &[LockedPackage], architecture: &Architecture) {
        for package in locked {
            for of in self.packages.keys().filter(|of| package.architecture.is_all() || **of == architecture)
            {
                let chosen = self.chosen.entry((*of).clone()).or_default();
                let of_suite = chosen.entry(package.suite.clone()).or_default();
                of_suite.insert(package.name.clone(), package.version.clone());
            }
        }
    }
}

/// Whether a package is older than the archive's, because other architectures of the image lack the newer one or the recipe
/// holds it.
fn held_back(
    packages: &Packages<'_>,
    entry: &Entry<'_>,
    request: &PackageRequest,
    siblings: &Siblings<'_>,
) -> Option<HeldBack> {
    let newer = packages.named(entry.name).iter().map(|at| packages.entry(*at));
    let newest = newer.max_by(|left, right| left.version.cmp(&right.version))?;
    if newest.version <= entry.version || request.pins.contains_key(entry.name) {
        return None;
    }
    let lacking: Vec<Architecture> = siblings.lacking(newest).cloned().collect();
    let is_held = request.holds.iter().any(|held| held.as_str() == entry.name);
    let cause = match (is_held, lacking.is_empty()) {
        (true, _) => HeldBackBy::Hold,
        (false, false) => HeldBackBy::Lacking(lacking),
        (false, true) => return None,
    };
    Some(HeldBack {
        recipe: request.recipe.clone(),
        package: entry.name.to_owned(),
        architecture: request.architecture.clone(),
        taken: entry.version.clone(),
        newest: newest.version.clone(),
        cause,
    })
}

/// What the lock keeps of a package.
fn of_entry(entry: &Entry<'_>) -> Result<LockedPackage, LockingError> {
    let suite = entry.suite;
    let wrong = |field| LockingError::Package { suite: suite.clone(), package: entry.name.to_owned(), field };
    let (source, source_version) = entry.source_package();
    Ok(LockedPackage {
        name: entry.name.parse().map_err(|_| wrong("Package"))?,
        version: entry.version.clone(),
        architecture: entry.architecture.parse().map_err(|_| wrong("Architecture"))?,
        suite: suite.clone(),
        component: entry.component.clone(),
        source: SourcePackage {
            name: source.parse().map_err(|_| wrong("Source"))?,
            version: source_version.parse().map_err(|_| wrong("Source"))?,
        },
        essential: entry.essential,
        priority: entry.priority,
        size: entry.size.parse().map_err(|_| wrong("Size"))?,
        sha256: Digest::from_hex(entry.sha256).map_err(|_| wrong("SHA256"))?,
        path: entry.path.parse().map_err(|_| wrong("Filename"))?,
    })
}
