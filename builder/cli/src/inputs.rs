//! Locking and fetching, as several verbs do it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use builder_image::{GZIP_ENCODER, TAR_ENCODER};
use builder_inputs::{
    APT_FOLDER, BaseUri, DEBIAN_KEYRING, FetchError, Fetched, Keyring, Locations, LockOptions, LockingError,
    PackageCache, Transport, Update, fetch, lock,
};
use builder_recipe::ScriptPolicy;
use builder_tree::{Package, PackageError, PackageInput, Recordings, TreePath, undeclared_hint};
use bundles_release::lock::{Encoders, Lock, LockedPackage};
use clap::Args;
use jiff::Timestamp;
use rayon::prelude::*;

use crate::{
    command::Context,
    error::{CommandError, Kind, OfKind as _},
    platform::PlatformFolder,
    progress::Progress,
    unsolved,
};

/// Where Debian packages come from on this machine. None of it enters the lock.
#[derive(Debug, Clone, Args)]
pub(crate) struct Sources {
    /// Base address of an archive (repeatable); without it those of apt's configuration.
    #[arg(long, value_name = "URI")]
    from: Vec<BaseUri>,
    /// apt's configuration.
    #[arg(long, value_name = "FOLDER", default_value = APT_FOLDER)]
    apt: PathBuf,
    /// Keys that may vouch for a suite (repeatable). Those that apt's sources name count where a suite pins them.
    #[arg(long, value_name = "FILE", default_value = DEBIAN_KEYRING)]
    keyring: Vec<PathBuf>,
}

impl Default for Sources {
    fn default() -> Self {
        Self { from: Vec::new(), apt: APT_FOLDER.into(), keyring: vec![DEBIAN_KEYRING.into()] }
    }
}

impl Sources {
    fn locations(&self) -> Result<Locations, CommandError> {
        if self.from.is_empty() {
            Locations::of_apt(&self.apt).map_err(|error| {
                let hint = error.hint();
                CommandError::new(Kind::Machine, error).hint(hint)
            })
        } else {
            Ok(Locations::explicit(self.from.iter().cloned()))
        }
    }

    fn keyring(&self, locations: &Locations, context: &Context) -> Result<Keyring, CommandError> {
        let mut keyring = Keyring::default();
        for path in &self.keyring {
            let loaded = Keyring::load(path).map_err(|error| {
                let hint = error.hint();
                CommandError::new(Kind::Machine, error).hint(hint)
            })?;
            keyring = keyring.with(loaded);
        }
        for source in locations.keys() {
            match Keyring::of_apt(source) {
                Ok(keys) => keyring = keyring.with_pinned_only(keys),
                // It may be of a source that no suite of the platform comes from; if not, its Release is refused.
                Err(error) => context.report.note(&format!("keys of apt are left out: {error}")),
            }
        }
        Ok(keyring)
    }
}

/// A lock that was made.
#[derive(Debug)]
pub(crate) struct Made {
    /// The lock, not written yet.
    pub(crate) lock: Lock,
    /// How long the solver took, all recipes added up.
    pub(crate) solving: Duration,
    /// What was fetched for it.
    pub(crate) fetched: Fetched,
}

/// Makes a lock: finds, authenticates, solves, fetches, and gives ids to the accounts that the packages make.
pub(crate) async fn make_lock(
    folder: &PlatformFolder,
    sources: &Sources,
    update: Update<'_>,
    now: Timestamp,
    context: &Context,
) -> Result<Made, CommandError> {
    let locations = sources.locations()?;
    let transport = Transport::new(locations.proxies()).of_kind(Kind::Machine)?;
    let keyring = sources.keyring(&locations, context)?;
    let cache = PackageCache::new(context.home.downloads());
    let existing = folder.read_lock().of_kind(Kind::Input)?;
    let requests = folder.requests();
    let policies = folder.policies();
    let encoders = encoders()?;
    let progress = Progress::new(context.report);
    let options = LockOptions {
        locations: &locations,
        transport: &transport,
        keyring: &keyring,
        cache: &cache,
        policies: &policies,
        encoders: &encoders,
        now,
        update,
    };
    let locked = lock(&options, &requests, existing.as_ref(), &progress).await;
    let locked = locked.map_err(|error| of_locking(error, folder))?;
    for held_back in &locked.held_back {
        context.report.note(&held_back.to_string());
    }
    let mut lock = locked.lock;
    let fetched = fetch(&lock, &cache, &locations, &transport, &progress)
        .await
        .map_err(|error| of_fetch(error, folder))?;
    progress.finish();
    let packages = lock.packages.iter().map(|package| package_input(package, &cache)).collect::<Vec<_>>();
    let files = packages.clone();
    let controls = tokio::task::spawn_blocking(move || read_controls(&files)).await.of_kind(Kind::Machine)?;
    let controls = controls.of_kind(Kind::Input)?;
    let read = |package: &Package, path: &TreePath| {
        let file = packages.iter().find(|file| file.sha256 == package.sha256);
        file.map_or(Ok(None), |file| Package::read_file(file, path))
    };
    let recordings = folder.recordings()?;
    tell_unknown(&controls, &lock, &recordings, folder, context)?;
    let needed = builder_tree::accounts_needed(&controls, &recordings, read).of_kind(Kind::Input)?;
    lock.accounts = builder_inputs::allocate_accounts(&lock.accounts, &needed).of_kind(Kind::Input)?;
    Ok(Made { lock, solving: locked.times.solve, fetched })
}

/// Names the packages with scripts that are neither declared nor recorded; fails where they cannot be recorded.
fn tell_unknown(
    controls: &[Package],
    lock: &Lock,
    recordings: &Recordings,
    folder: &PlatformFolder,
    context: &Context,
) -> Result<(), CommandError> {
    let mut told = None;
    let architectures = folder.architectures(lock);
    let of = |package: &Package| architectures.get(&package.sha256).cloned().unwrap_or_default();
    for (run, error) in builder_tree::unknown_scripts(controls, of, recordings) {
        if folder.platform.scripts == ScriptPolicy::DeclaredOnly {
            let hint = undeclared_hint(&run.package);
            return Err(CommandError::new(Kind::Input, error).hint(hint));
        }
        if told.as_ref() != Some(&run.package) {
            let command = folder.command(&format!("effects record {}", run.package));
            context.report.note(&format!("{error}\n  try: {command}"));
            told = Some(run.package);
        }
    }
    Ok(())
}

/// What the packages' control archives say. Their data is unpacked when an image is built.
pub(crate) fn read_controls(packages: &[PackageInput]) -> Result<Vec<Package>, PackageError> {
    packages.par_iter().map(Package::read_control).collect()
}

/// Brings all packages of `lock` into the cache.
pub(crate) async fn fetch_all(
    folder: &PlatformFolder,
    lock: &Lock,
    sources: &Sources,
    context: &Context,
) -> Result<Fetched, CommandError> {
    let locations = sources.locations()?;
    let transport = Transport::new(locations.proxies()).of_kind(Kind::Machine)?;
    let cache = PackageCache::new(context.home.downloads());
    let progress = Progress::new(context.report);
    let fetched = fetch(lock, &cache, &locations, &transport, &progress).await;
    progress.finish();
    fetched.map_err(|error| of_fetch(error, folder))
}

/// Whether the cache has every package of the lock, by length; each is hashed when it is unpacked.
pub(crate) fn is_fetched(lock: &Lock, downloads: &Path) -> bool {
    let cache = PackageCache::new(downloads);
    lock.packages.iter().all(|package| cache.has(&package.sha256, package.size))
}

/// A locked package for the builder.
pub(crate) fn package_input(package: &LockedPackage, cache: &PackageCache) -> PackageInput {
    PackageInput {
        name: package.name.clone(),
        version: package.version.clone(),
        architecture: package.architecture.clone(),
        source: Some(package.source.clone()),
        deb: cache.path(&package.sha256),
        sha256: package.sha256,
    }
}

fn encoders() -> Result<Encoders, CommandError> {
    Ok(Encoders {
        tar: TAR_ENCODER.parse().of_kind(Kind::Machine)?,
        gzip: GZIP_ENCODER.parse().of_kind(Kind::Machine)?,
    })
}

fn of_locking(error: LockingError, folder: &PlatformFolder) -> CommandError {
    let hint = error.hint();
    if let LockingError::Unsolved { problems } = &error {
        return CommandError::new(Kind::Input, unsolved::told(problems, &folder.platform)).hint_if(hint);
    }
    if let Some(told) = unsolved::without_index(&error, &folder.platform) {
        return CommandError::new(Kind::Input, told)
            .hint(hint.unwrap_or("leave the platform out, or take the packages from a suite that has it"));
    }
    let kind = match error {
        LockingError::Transport { .. } => Kind::Remote,
        LockingError::Release { .. } => Kind::Trust,
        LockingError::Cache { .. } => Kind::Machine,
        _ => Kind::Input,
    };
    CommandError::new(kind, error).hint_if(hint)
}

fn of_fetch(error: FetchError, folder: &PlatformFolder) -> CommandError {
    let (kind, hint) = match &error {
        FetchError::Gone { .. } => (Kind::Gone, Some(format!("{} --update", folder.command("lock")))),
        FetchError::Transport { .. } => (Kind::Remote, Some(folder.command("fetch"))),
        // Fetching again helps if the mirror was in the wrong, and never if the lock is.
        FetchError::Wrong { package, .. } => {
            let again = folder.command("fetch");
            let relock = folder.command(&format!("lock --update {package}"));
            (Kind::Remote, Some(format!("{again}   (or, if bundle.lock was changed by hand: {relock})")))
        }
        FetchError::NoSource { .. } => (Kind::Remote, None),
        FetchError::Cache { .. } => (Kind::Machine, None),
    };
    CommandError::new(kind, error).hint_if(hint)
}
