//! `bundle key`: keys for releases and channels, in cosign's encrypted format.

use std::path::PathBuf;

use bundles_trust::SystemRandomness;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    command::Context,
    error::{CommandError, Kind, OfKind as _},
    keys,
};

/// Make and show keys.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make an ECDSA P-256 key: NAME.key, encrypted with a password, and NAME.pub. cosign reads both.
    ///
    /// The password comes from `BUNDLE_PASSWORD` or `COSIGN_PASSWORD`, else from the terminal. Existing files are kept.
    Generate {
        /// Where to write, without ending.
        #[arg(value_name = "NAME", default_value = "bundle")]
        name: PathBuf,
    },
    /// Print the name by which signatures and trust roots call a public key.
    Hint {
        /// A public key, PEM.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    hint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<PathBuf>,
    public_key: PathBuf,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    match &arguments.verb {
        Verb::Generate { name } => {
            let private = keys::with_ending(name, "key");
            let password = keys::new_password(&private, |name| std::env::var(name).ok())?;
            let key = keys::generate(name, &password, &mut SystemRandomness)?;
            let public = keys::with_ending(name, "pub");
            let lines =
                format!("{} (keep it secret)\n{}\nhint {}", private.display(), public.display(), key.hint());
            let document =
                Document { hint: key.hint().to_string(), private_key: Some(private), public_key: public };
            context.report.result(&document, || lines).of_kind(Kind::Machine)
        }
        Verb::Hint { file } => {
            let key = keys::read_public(file)?;
            let hint = key.hint().to_string();
            let document = Document { hint: hint.clone(), private_key: None, public_key: file.clone() };
            context.report.result(&document, || hint).of_kind(Kind::Machine)
        }
    }
}
