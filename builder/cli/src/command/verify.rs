//! `bundle verify`: who vouches for a release.

use std::path::PathBuf;

use bundles_trust::{Document as _, Reason, Role, Tally, verify_release};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    command::{Context, runtime},
    error::{CommandError, Kind, OfKind as _},
    publishing::of_refusal,
    remote::RemoteRelease,
    root_file,
};

/// Check that enough owners of the trust root have signed a release, and say who.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    release: RemoteRelease,
    /// The trust root, as `bundle trust init` writes it.
    #[arg(long, value_name = "FILE")]
    trust_root: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    release: String,
    reference: String,
    version: String,
    needed: u32,
    signers: Vec<Signer>,
    ignored: Vec<Ignored>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Signer {
    owner: String,
    key: String,
}

#[derive(Serialize)]
struct Ignored {
    key: String,
    reason: String,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let file = root_file::read(&arguments.trust_root)?;
    let root = file.trusted.root();
    let (opened, signatures) = runtime()?.block_on(async {
        let opened = arguments.release.open().await?;
        let signatures = opened.target().signatures(&opened.release.digest()).await?;
        Ok::<_, CommandError>((opened, signatures))
    })?;
    let release = &opened.release;
    if root.product() != release.product() {
        let (expected, found) = (release.product().clone(), root.product().clone());
        return Err(of_refusal(Reason::WrongProduct { expected, found }));
    }
    let Tally { needed, counted, ignored, .. } =
        verify_release(release.digest(), &signatures, &file.trusted, Timestamp::now())
            .map_err(|reason| opened.target().unsigned(reason, release))?;
    let signer = |hint: &bundles_trust::KeyHint| {
        let owner = root.key(*hint).map(|key| key.owner.to_string()).unwrap_or_default();
        Signer { owner, key: hint.to_string() }
    };
    let mut signers: Vec<_> = counted.iter().map(signer).collect();
    signers.sort();
    let document = Document {
        release: release.digest().to_string(),
        reference: opened.reference(),
        version: release.version().to_string(),
        needed,
        signers,
        ignored: ignored
            .iter()
            .map(|(key, why)| Ignored { key: key.to_string(), reason: why.to_string() })
            .collect(),
    };
    context.report.result(&document, || lines(&document)).of_kind(Kind::Machine)
}

fn lines(document: &Document) -> String {
    let Document { reference, version, needed, signers, ignored, .. } = document;
    let mut lines = vec![format!("{reference} {version}")];
    lines.extend(signers.iter().map(|Signer { owner, key }| format!("  signed by {owner}, key {key}")));
    lines.extend(ignored.iter().map(|Ignored { key, reason }| format!("  not counted: key {key}: {reason}")));
    lines.push(format!("  {} of {needed} signatures for {}: enough", signers.len(), Role::Release));
    lines.join("\n")
}
