//! The unknown scripts of all packages, in an order that goes.

use std::collections::BTreeMap;

use builder_build::Builder;
use builder_tree::{EffectError, InstallError, InstallOptions, Level, install};
use bundles_release::lock::PackageName;
use serde::Serialize;

use super::{super::read, Document, Made, is_for_here, record as record_one};
use crate::{
    command::Context,
    error::{CommandError, Kind, OfKind as _},
    images,
    platform::PlatformFolder,
    progress::Progress,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AllDocument {
    packages: Vec<Document>,
}

/// Records package after package. A script may wait for that of another package, so what fails is tried again as long as
/// something new was recorded meanwhile; the first failure that is left is told after what was recorded.
pub(super) fn record(folder: &PlatformFolder, context: &Context) -> Result<(), CommandError> {
    let mut waiting = unknown(folder, context)?;
    let mut made: BTreeMap<PackageName, Document> = BTreeMap::new();
    let failures = loop {
        let (mut failures, mut is_new) = (Vec::new(), false);
        for package in std::mem::take(&mut waiting) {
            let failure = match record_one(folder, &package, context) {
                Ok(Made { document, missing }) => {
                    let runs = document.runs.len();
                    let before = made.insert(package.clone(), document);
                    is_new |= before.is_none_or(|before| before.runs.len() < runs);
                    missing
                }
                Err(error) if error.kind() == Kind::Machine => return Err(error),
                Err(error) => Some(error),
            };
            if let Some(failure) = failure {
                failures.push(failure);
                waiting.push(package);
            }
        }
        if waiting.is_empty() {
            waiting = needing_programs(folder, context)?;
            waiting.retain(|package| !made.contains_key(package));
            if waiting.is_empty() {
                break failures;
            }
        } else if !is_new {
            break failures;
        }
    };
    let document = AllDocument { packages: made.into_values().collect() };
    let lines = || {
        if document.packages.is_empty() && failures.is_empty() {
            return "every script is declared or recorded; there is nothing to record\n".to_owned();
        }
        document.packages.iter().map(Document::lines).collect()
    };
    context.report.result(&document, lines).of_kind(Kind::Machine)?;
    if failures.len() > 1 {
        context.report.note(&format!("{} packages could not be recorded; the first:", failures.len()));
    }
    failures.into_iter().next().map_or(Ok(()), Err)
}

/// The packages of which a script is neither declared nor recorded.
fn unknown(folder: &PlatformFolder, context: &Context) -> Result<Vec<PackageName>, CommandError> {
    let mut names: Vec<PackageName> = Vec::new();
    for package in read(folder, context, |_| true)? {
        if package.level() == Some(Level::Unknown) && !names.contains(&package.name) {
            names.push(package.name);
        }
    }
    Ok(names)
}

/// The first package of each image that waits for nothing but a program: that its script would have to run one is seen only
/// where the image is put together.
fn needing_programs(folder: &PlatformFolder, context: &Context) -> Result<Vec<PackageName>, CommandError> {
    let lock = folder.fresh_lock()?;
    let store = context.open_store()?;
    let recordings = folder.recordings()?;
    let mut names = Vec::new();
    for recipe in folder.platform.recipes() {
        let requests = images::requests(folder, &lock, &recipe.name, recordings.clone(), context)?;
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
            if let Err(InstallError::Effect { package, source: EffectError::Runs { .. }, .. }) =
                install(&packages, &payloads, &options)
                && !names.contains(&package)
            {
                names.push(package);
            }
        }
    }
    Ok(names)
}
