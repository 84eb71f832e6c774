//! `bundle pin` and `bundle unpin`: a cluster stays on one release.

use clap::Args;
use registry_wire::Digest;
use serde::Serialize;

use crate::{
    cluster::{ClusterChoice, of_command},
    command::{Context, runtime},
    error::{CommandError, Kind, OfKind as _},
};

/// Keep a subscription on one release, whatever its channel names.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The subscription.
    subscription: String,
    /// The release; the one that runs unless given.
    #[arg(long, value_name = "DIGEST")]
    release: Option<Digest>,
    /// Why; others will read it.
    #[arg(long)]
    reason: String,
    /// Who says so.
    #[arg(long, env = "USER")]
    by: String,
    #[command(flatten)]
    cluster: ClusterChoice,
}

/// Let a subscription follow its channel again.
#[derive(Debug, Args)]
pub(crate) struct UnpinArguments {
    /// The subscription.
    subscription: String,
    #[command(flatten)]
    cluster: ClusterChoice,
}

/// Let a release that failed here be tried again.
#[derive(Debug, Args)]
pub(crate) struct ClearArguments {
    /// The subscription.
    subscription: String,
    /// The release.
    release: Digest,
    /// Why it may be tried again.
    #[arg(long)]
    reason: String,
    /// Who says so.
    #[arg(long, env = "USER")]
    by: String,
    #[command(flatten)]
    cluster: ClusterChoice,
}

#[derive(Serialize)]
struct Document<'a> {
    subscription: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<Digest>,
    changed: bool,
}

/// Pins.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let Arguments { subscription, release, reason, by, cluster } = arguments;
    let release = runtime()?.block_on(async {
        let cluster = cluster.connect().await?;
        daemon::pin(&cluster, subscription, *release, reason, by).await.map_err(of_command)
    })?;
    let document = Document { subscription, release: Some(release), changed: true };
    context
        .report
        .result(&document, || format!("{subscription} is pinned to {release}"))
        .of_kind(Kind::Machine)
}

/// Unpins.
pub(crate) fn run_unpin(arguments: &UnpinArguments, context: &Context) -> Result<(), CommandError> {
    let UnpinArguments { subscription, cluster } = arguments;
    let changed = runtime()?.block_on(async {
        let cluster = cluster.connect().await?;
        daemon::unpin(&cluster, subscription).await.map_err(of_command)
    })?;
    let document = Document { subscription, release: None, changed };
    let line = if changed { "follows its channel again" } else { "was not pinned" };
    context.report.result(&document, || format!("{subscription} {line}")).of_kind(Kind::Machine)
}

/// Clears a denial.
pub(crate) fn run_clear(arguments: &ClearArguments, context: &Context) -> Result<(), CommandError> {
    let ClearArguments { subscription, release, reason, by, cluster } = arguments;
    runtime()?.block_on(async {
        let cluster = cluster.connect().await?;
        daemon::clear_denied(&cluster, subscription, *release, reason, by).await.map_err(of_command)
    })?;
    let document = Document { subscription, release: Some(*release), changed: true };
    context
        .report
        .result(&document, || format!("{subscription} may try {release} again"))
        .of_kind(Kind::Machine)
}
