//! `bundle lock`: writes every input by hash.

use std::path::PathBuf;

use bundles_release::lock::{Freshness, Lock};
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
    /// Move to the newest versions. Without it, suites stay where the lock has them.
    #[arg(long, conflicts_with = "check")]
    update: bool,
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
    added: Vec<String>,
    removed: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let folder = PlatformFolder::open(arguments.platform.as_deref())?;
    let before = folder.read_lock().map_err(|error| folder.of_lock(error))?;
    if arguments.check {
        let lock = folder.fresh_lock()?;
        return tell(&folder, Some(&lock), &lock, context);
    }
    let requests = folder.requests();
    let fresh = before.as_ref().filter(|lock| lock.check(&requests) == Freshness::Fresh);
    if let Some(lock) = fresh
        && !arguments.update
    {
        return tell(&folder, Some(lock), lock, context);
    }
    let made = runtime()?.block_on(inputs::make_lock(
        &folder,
        &arguments.sources,
        arguments.update,
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

fn tell(
    folder: &PlatformFolder,
    before: Option<&Lock>,
    lock: &Lock,
    context: &Context,
) -> Result<(), CommandError> {
    let list = |lock: &Lock| -> std::collections::BTreeSet<String> {
        let line =
            |package: &bundles_release::lock::LockedPackage| format!("{} {}", package.key(), package.version);
        lock.packages.iter().map(line).collect()
    };
    let (old, new) = (before.map(list).unwrap_or_default(), list(lock));
    let document = Document {
        lock: folder.lock_path(),
        changed: before.is_none_or(|before| before.digest() != lock.digest()),
        packages: lock.packages.len(),
        added: new.difference(&old).cloned().collect(),
        removed: old.difference(&new).cloned().collect(),
    };
    let lines = || {
        let state = if document.changed { "written" } else { "up to date" };
        let mut lines = format!("{}: {state}, {} packages\n", document.lock.display(), document.packages);
        if before.is_some() {
            for (sign, packages) in [('-', &document.removed), ('+', &document.added)] {
                lines.extend(packages.iter().map(|package| format!("{sign} {package}\n")));
            }
        }
        lines
    };
    context.report.result(&document, lines).of_kind(Kind::Machine)
}
