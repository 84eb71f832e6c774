//! `bundle gc`: removes from the store what no platform needs.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::{
    command::Context,
    error::{CommandError, Kind, OfKind as _},
    report,
};

/// Remove from the store what the last build of no platform needs. A platform whose folder is gone needs nothing.
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    kept: Vec<PathBuf>,
    dropped: Vec<PathBuf>,
    files: u64,
    bytes: u64,
}

/// Runs the verb.
pub(crate) fn run(_: &Arguments, context: &Context) -> Result<(), CommandError> {
    let store = context.open_store()?;
    let collected = store.collect().of_kind(Kind::Machine)?;
    let document = Document {
        kept: collected.kept,
        dropped: collected.dropped,
        files: collected.files,
        bytes: collected.bytes,
    };
    let lines = || {
        let mut lines = format!("removed {} files, {}\n", document.files, report::bytes(document.bytes));
        for (state, paths) in [("kept for", &document.kept), ("let go of", &document.dropped)] {
            lines.extend(paths.iter().map(|path| format!("{state} {}\n", path.display())));
        }
        lines
    };
    context.report.result(&document, lines).of_kind(Kind::Machine)
}
