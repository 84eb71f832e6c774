//! `bundle fetch`: brings every locked input to this machine.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::{
    command::{Context, runtime},
    error::{CommandError, Kind, OfKind as _},
    inputs::{self, Sources},
    platform::PlatformFolder,
    report,
};

/// Bring all locked packages into the cache, by hash; damaged ones are replaced.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of the platform; the nearest one upward with bundle.toml unless given.
    #[arg(long, value_name = "FOLDER")]
    platform: Option<PathBuf>,
    #[command(flatten)]
    sources: Sources,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    files: usize,
    bytes: u64,
    reused: usize,
    repaired: usize,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let folder = PlatformFolder::open(arguments.platform.as_deref())?;
    let lock = folder.fresh_lock()?;
    let fetched = runtime()?.block_on(inputs::fetch_all(&folder, &lock, &arguments.sources, context))?;
    let document = Document {
        files: fetched.files,
        bytes: fetched.bytes,
        reused: fetched.reused,
        repaired: fetched.repaired,
    };
    let lines = || {
        format!(
            "fetched {} files, {}; {} were there, {} damaged ones were replaced",
            fetched.files,
            report::bytes(fetched.bytes),
            fetched.reused,
            fetched.repaired
        )
    };
    context.report.result(&document, lines).of_kind(Kind::Machine)
}
