//! The unknown scripts of all packages, in the order in which images wait for them.

use std::collections::BTreeMap;

use builder_build::Builder;
use builder_tree::{EffectError, InstallError, InstallOptions, install};
use bundles_objects::ServiceName;
use bundles_release::lock::PackageName;
use serde::Serialize;

use super::{Document, Made, is_for_here, of_platform, record as record_one};
use crate::{
    command::Context,
    error::{CommandError, Kind, OfKind as _},
    images,
    platform::PlatformFolder,
    progress::Progress,
};

/// How often a package may be in the way of one image. Packages whose scripts wait for each other are so a few times; one
/// that is so again and again looks at what recording it changes.
const ATTEMPTS: usize = 4;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AllDocument {
    packages: Vec<Document>,
}

/// Puts each image of this machine's architecture together as far as that goes, records the package that is in the way, and
/// goes on. Where that fails, the next image is looked at; the first failure is told after what was recorded.
pub(super) fn record(folder: &PlatformFolder, context: &Context) -> Result<(), CommandError> {
    let mut made: BTreeMap<PackageName, Document> = BTreeMap::new();
    let mut failures = Vec::new();
    for recipe in folder.platform.recipes() {
        if let Err(failure) = record_for(folder, &recipe.name, &mut made, context) {
            let is_of_machine = failure.kind() == Kind::Machine;
            failures.push(failure);
            if is_of_machine {
                break;
            }
        }
    }
    let document = AllDocument { packages: made.into_values().collect() };
    let lines = || {
        if document.packages.is_empty() && failures.is_empty() {
            return "every script is declared or recorded; there is nothing to record\n".to_owned();
        }
        document.packages.iter().map(Document::lines).collect()
    };
    context.report.result(&document, lines).of_kind(Kind::Machine)?;
    if failures.len() > 1 {
        let count = failures.len();
        context.report.note(&format!("{count} images wait for what could not be recorded; the first:"));
    }
    failures.into_iter().next().map_or(Ok(()), Err)
}

/// Records what the images of one recipe wait for.
fn record_for(
    folder: &PlatformFolder,
    recipe: &ServiceName,
    made: &mut BTreeMap<PackageName, Document>,
    context: &Context,
) -> Result<(), CommandError> {
    let mut attempts: BTreeMap<PackageName, usize> = BTreeMap::new();
    while let Some(error) = refusal(folder, recipe, context)? {
        let package = in_the_way(&error).cloned();
        let count = package.as_ref().map(|package| attempts.entry(package.clone()).or_default());
        let is_hopeless = count.is_none_or(|count| {
            *count += 1;
            *count > ATTEMPTS
        });
        let Some(package) = package.filter(|_| !is_hopeless) else {
            let hint = error.hint().map(|hint| of_platform(&hint, folder));
            return Err(CommandError::new(Kind::Input, error).hint_if(hint));
        };
        // What is missing then is what the image waits for next.
        let Made { document, .. } = record_one(folder, &package, context)?;
        made.insert(package, document);
    }
    Ok(())
}

/// Why an image of a recipe for this machine's architecture cannot be put together, if so.
fn refusal(
    folder: &PlatformFolder,
    recipe: &ServiceName,
    context: &Context,
) -> Result<Option<InstallError>, CommandError> {
    let lock = folder.fresh_lock()?;
    let store = context.open_store()?;
    let requests = images::requests(folder, &lock, recipe, folder.recordings()?, context)?;
    for request in requests.into_iter().filter(is_for_here) {
        let progress = Progress::new(context.report);
        let unpacked = Builder::new(&store, &progress).unpacked(&request);
        progress.finish();
        let (packages, payloads) = unpacked.map_err(|error| images::of_build(error, folder))?;
        let options = InstallOptions {
            accounts: &request.accounts,
            epoch: request.epoch,
            recordings: &request.recordings,
        };
        if let Err(error) = install(&packages, &payloads, &options) {
            return Ok(Some(error));
        }
    }
    Ok(None)
}

/// The package whose scripts have to be recorded, now or anew.
const fn in_the_way(error: &InstallError) -> Option<&PackageName> {
    match error {
        InstallError::UnknownScript { package, .. }
        | InstallError::Effect { package, source: EffectError::Runs { .. }, .. } => Some(package),
        InstallError::NotRecorded { run }
        | InstallError::OtherArchitecture { run, .. }
        | InstallError::Ambiguous { run }
        | InstallError::ScriptChanged { run, .. }
        | InstallError::ArgumentsChanged { run, .. }
        | InstallError::ReadChanged { run, .. } => Some(&run.package),
        _ => None,
    }
}
