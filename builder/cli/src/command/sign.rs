//! `bundle sign`: vouches for a release.

use std::path::PathBuf;

use bundles_trust::verify_signature;
use clap::Args;
use serde::Serialize;

use crate::{
    command::{Context, runtime},
    error::{CommandError, Kind, OfKind as _},
    keys,
    publishing::Change,
    remote::RemoteRelease,
};

/// Sign a release in a registry. The signature is stored beside it, for `cosign verify --key` as well.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    release: RemoteRelease,
    /// The private key. Its password comes from `BUNDLE_PASSWORD` or `COSIGN_PASSWORD`, else from the terminal.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    release: String,
    reference: String,
    key: String,
    changed: bool,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let document = runtime()?.block_on(async {
        let opened = arguments.release.open().await?;
        let key = keys::open(&arguments.key)?;
        let release = opened.release.digest();
        let public = key.public().clone();
        let hint = key.hint().to_string();
        let change = opened
            .target()
            .sign(
                &opened.release.manifest().descriptor(),
                |there| there.iter().any(|bundle| verify_signature(bundle, &public, release).is_ok()),
                || Ok(key),
            )
            .await?;
        Ok::<_, CommandError>(Document {
            release: release.to_string(),
            reference: opened.reference(),
            key: hint,
            changed: change == Change::Made,
        })
    })?;
    let lines = || {
        let Document { reference, key, .. } = &document;
        if document.changed {
            format!("signed {reference} with key {key}")
        } else {
            format!("skipped: {reference} has a valid signature of key {key}")
        }
    };
    context.report.result(&document, lines).of_kind(Kind::Machine)
}
