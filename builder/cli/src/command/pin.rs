//! `bundle pin` and `bundle unpin`: a cluster stays on one release.

use clap::Args;
use daemon::{Freed, PinChoice, Pinned};
use daemon_cluster::{Hold, Pin};
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
    /// Take a release that the cluster has never seen.
    #[arg(long, requires = "release")]
    unknown: bool,
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
    let Arguments { subscription, release, unknown, reason, by, cluster } = arguments;
    let choice = match release {
        None => PinChoice::Running,
        Some(release) if *unknown => PinChoice::Any(*release),
        Some(release) => PinChoice::Known(*release),
    };
    let Pinned { release, denied } = runtime()?.block_on(async {
        let cluster = cluster.connect().await?;
        daemon::pin(&cluster, subscription, choice, reason, by).await.map_err(of_command)
    })?;
    if let Some(denied) = denied {
        let clear = cluster.command(&format!("clear {subscription} {release} --reason WHY"));
        context.report.note(&format!(
            "warning: {release} failed here ({}) and is not tried again before a person says so: {clear}",
            denied.reason
        ));
    }
    let document = Document { subscription, release: Some(release), changed: true };
    context
        .report
        .result(&document, || format!("{subscription} is pinned to {release}"))
        .of_kind(Kind::Machine)
}

/// Unpins.
pub(crate) fn run_unpin(arguments: &UnpinArguments, context: &Context) -> Result<(), CommandError> {
    let UnpinArguments { subscription, cluster } = arguments;
    let freed = runtime()?.block_on(async {
        let cluster = cluster.connect().await?;
        daemon::unpin(&cluster, subscription).await.map_err(of_command)
    })?;
    let document = Document { subscription, release: None, changed: freed != Freed::NotThere };
    let line = || format!("{subscription} {}", told(&freed, "pinned"));
    context.report.result(&document, line).of_kind(Kind::Machine)
}

/// What becomes of a subscription that is no longer `what`.
pub(crate) fn told(freed: &Freed, what: &str) -> String {
    match freed {
        Freed::NotThere => format!("was not {what}"),
        Freed::Follows => "follows its channel again".to_owned(),
        Freed::Pinned(Pin { digest, reason, by }) => {
            format!("is no longer {what}, and stays pinned to {digest} by {by}: {reason}")
        }
        Freed::Held(Hold { reason, by }) => format!("is no longer {what}, and stays held by {by}: {reason}"),
    }
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
