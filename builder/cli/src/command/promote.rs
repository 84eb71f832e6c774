//! `bundle promote`: moves a channel to a release.

use std::path::PathBuf;

use bundles_release::EnvironmentName;
use bundles_trust::{Channel, ChannelName, Owner};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    command::{Context, runtime},
    error::{CommandError, Kind, OfKind as _},
    keys,
    promotion::{Earlier, Promotion},
    publishing::Change,
    remote::RemoteRelease,
    root_file,
};

/// Move a channel to a signed release: a record that enough owners sign, each with a key.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The channel.
    #[arg(value_name = "CHANNEL")]
    channel: ChannelName,
    #[command(flatten)]
    release: RemoteRelease,
    /// The environment of the release that the channel runs.
    #[arg(long, value_name = "NAME")]
    environment: EnvironmentName,
    /// The trust root, as `bundle trust init` writes it. It is pushed when the registry does not have it. With the first
    /// promotion under a version of `bundle trust next`, name the versions since that of the channel's record as well,
    /// oldest first (repeatable).
    #[arg(long, value_name = "FILE", required = true)]
    trust_root: Vec<PathBuf>,
    /// A private key of an owner of the channel (repeatable). The password comes from `BUNDLE_PASSWORD` or
    /// `COSIGN_PASSWORD`, else from the terminal, for each key.
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// Why; others will read it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who proposes it: an owner of the trust root.
    #[arg(long, value_name = "OWNER")]
    by: Owner,
    /// Go back, on purpose, to a release that the channel named before.
    #[arg(long)]
    rollback: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    channel: String,
    record: u64,
    action: String,
    release: String,
    version: String,
    reference: String,
    environment: String,
    signers: Vec<String>,
    changed: bool,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let Some((first, later)) = arguments.trust_root.split_first() else {
        return Err(CommandError::new(Kind::Usage, "no trust root is named").hint("--trust-root FILE"));
    };
    let root = root_file::read_versions(first, later)?;
    let (reference, record, change) = runtime()?.block_on(async {
        let opened = arguments.release.open().await?;
        let promotion = Promotion {
            channel: Channel::new(opened.release.product().clone(), arguments.channel.clone()),
            release: &opened.release,
            environment: arguments.environment.clone(),
            root: &root,
            proposed_by: arguments.by.clone(),
            earlier: if arguments.rollback { Earlier::Certain } else { Earlier::Refuse },
            reason: arguments.reason.clone(),
            now: Timestamp::now(),
        };
        let (record, change) =
            opened.target().promote(&promotion, || keys::open_all(&arguments.keys)).await?;
        Ok::<_, CommandError>((opened.reference(), record, change))
    })?;
    let signed = record.document();
    let owner = |bundle: &bundles_trust::SignatureBundle| {
        root.trusted.root().key(bundle.hint()).map(|key| key.owner.to_string())
    };
    let mut signers: Vec<_> = record.bundles().iter().filter_map(owner).collect();
    signers.sort();
    let document = Document {
        channel: signed.channel.to_string(),
        record: signed.version,
        action: signed.action.to_string(),
        release: signed.release.digest.to_string(),
        version: signed.release.version.to_string(),
        reference,
        environment: signed.environment.to_string(),
        signers,
        changed: change == Change::Made,
    };
    let lines = || {
        let Document { channel, record, version, environment, signers, .. } = &document;
        let state = if document.changed { "names" } else { "unchanged: it names" };
        let signers = signers.join(", ");
        format!(
            "{channel} {state} {version} {} for environment {environment}\nrecord {record}, {}, signed by {signers}\n",
            document.release, document.action
        )
    };
    context.report.result(&document, lines).of_kind(Kind::Machine)
}
