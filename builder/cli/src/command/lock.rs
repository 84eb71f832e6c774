//! `bundle lock`: writes every input by hash.

use std::{collections::BTreeMap, path::PathBuf};

use builder_inputs::Update;
use bundles_release::lock::{Divergence, Freshness, Lock, LockedPackage, PackageName};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    command::{Context, runtime},
    error::{CommandError, Kind, OfKind as _},
    inputs::{self, Sources},
    platform::PlatformFolder,
    report,
};

/// Choose versions for what the recipes ask, authenticate them, and write `bundle.lock`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of the platform; the nearest one upward with bundle.toml unless given.
    #[arg(long, value_name = "FOLDER")]
    platform: Option<PathBuf>,
    /// Move to the newest versions: of all packages, or of those named and what they make necessary. Without it, suites
    /// and versions stay where the lock has them.
    #[arg(long, value_name = "PACKAGE", num_args = 0.., conflicts_with = "check")]
    update: Option<Vec<PackageName>>,
    /// Change nothing; fail when the lock does not answer what the recipes ask.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    sources: Sources,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    lock: PathBuf,
    changed: bool,
    packages: usize,
    moved: Vec<Moved>,
    added: Vec<String>,
    removed: Vec<String>,
    /// Source packages of which an image has another version on another platform.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    divergences: Vec<Diverging>,
}

/// A source package of several versions in one image.
#[derive(Serialize)]
struct Diverging {
    recipe: String,
    source: String,
    /// By architecture.
    versions: BTreeMap<String, String>,
}

impl Diverging {
    fn of(divergence: &Divergence<'_>) -> Self {
        let versions = divergence.versions.iter();
        Self {
            recipe: divergence.recipe.to_string(),
            source: divergence.source.to_string(),
            versions: versions.map(|(of, version)| (of.to_string(), version.to_string())).collect(),
        }
    }

    fn line(&self) -> String {
        let versions: Vec<String> = self
            .versions
            .iter()
            .map(|(architecture, version)| format!("{version} on {architecture}"))
            .collect();
        format!("! recipe {} has source {} {}\n", self.recipe, self.source, versions.join(", "))
    }
}

/// A package with another version than before.
#[derive(Serialize)]
struct Moved {
    package: String,
    from: String,
    to: String,
    source: String,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let folder = PlatformFolder::open(arguments.platform.as_deref())?;
    let before = folder.read_lock().map_err(|error| folder.of_lock(error))?;
    if arguments.check {
        let lock = folder.fresh_lock()?;
        return tell(&folder, Some(&lock), &lock, context);
    }
    let fresh = before.as_ref().filter(|lock| folder.freshness(lock) == Freshness::Fresh);
    if let Some(lock) = fresh
        && arguments.update.is_none()
    {
        return tell(&folder, Some(lock), lock, context);
    }
    let update = match arguments.update.as_deref() {
        None => Update::Nothing,
        Some([]) => Update::Everything,
        Some(named) => {
            are_locked(named, before.as_ref(), &folder)?;
            Update::Only(named)
        }
    };
    let made = runtime()?.block_on(inputs::make_lock(
        &folder,
        &arguments.sources,
        update,
        Timestamp::now(),
        context,
    ))?;
    folder.write_lock(&made.lock).of_kind(Kind::Machine)?;
    context.report.note(&format!(
        "solved in {:.2} s, fetched {}",
        made.solving.as_secs_f64(),
        report::bytes(made.fetched.bytes)
    ));
    tell(&folder, before.as_ref(), &made.lock, context)
}

/// Refuses a name that the lock does not have: nothing would move, and nobody would notice.
fn are_locked(
    named: &[PackageName],
    before: Option<&Lock>,
    folder: &PlatformFolder,
) -> Result<(), CommandError> {
    let is_locked = |name: &&PackageName| {
        before.is_some_and(|lock| lock.packages.iter().any(|package| package.name == **name))
    };
    match named.iter().find(|name| !is_locked(name)) {
        None => Ok(()),
        Some(name) => {
            let message = format!("package {name} is not in {}", folder.lock_path().display());
            Err(CommandError::new(Kind::Usage, message).hint(format!("{} --update", folder.command("lock"))))
        }
    }
}

fn tell(
    folder: &PlatformFolder,
    before: Option<&Lock>,
    lock: &Lock,
    context: &Context,
) -> Result<(), CommandError> {
    let held = folder.requests().into_iter().map(|request| (request.recipe, request.holds));
    for (recipe, holds) in held.collect::<BTreeMap<_, _>>() {
        let is_there =
            |name: &PackageName| lock.recipe_packages(&recipe).any(|package| package.name == *name);
        for name in holds.iter().filter(|name| !is_there(name)) {
            context.report.note(&format!("recipe {recipe} holds {name}, which its image does not have"));
        }
    }
    let changes = lock.changes_since(before.unwrap_or(lock));
    let line = |package: &LockedPackage| {
        format!("{} {} (source {})", package.key(), package.version, package.source.name)
    };
    let moved = changes.moved.iter().map(|(old, new)| Moved {
        package: new.key().to_string(),
        from: old.version.to_string(),
        to: new.version.to_string(),
        source: new.source.name.to_string(),
    });
    let document = Document {
        lock: folder.lock_path(),
        changed: before.is_none_or(|before| before.digest() != lock.digest()),
        packages: lock.packages.len(),
        moved: moved.collect(),
        added: changes.added.into_iter().map(line).collect(),
        removed: changes.removed.into_iter().map(line).collect(),
        divergences: lock.divergences().iter().map(Diverging::of).collect(),
    };
    let lines = || {
        let state = if document.changed { "written" } else { "up to date" };
        let mut lines = format!("{}: {state}, {} packages\n", document.lock.display(), document.packages);
        for Moved { package, from, to, source } in &document.moved {
            lines.extend([format!("~ {package} {from} -> {to} (source {source})\n")]);
        }
        for (sign, packages) in [('-', &document.removed), ('+', &document.added)] {
            lines.extend(packages.iter().map(|package| format!("{sign} {package}\n")));
        }
        lines.extend(document.divergences.iter().map(Diverging::line));
        lines
    };
    context.report.result(&document, lines).of_kind(Kind::Machine)
}
