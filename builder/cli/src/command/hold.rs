//! `bundle hold` and `bundle unhold`: a cluster takes nothing new from its channel.

use clap::Args;
use daemon::Freed;
use serde::Serialize;

use crate::{
    cluster::{ClusterChoice, of_command},
    command::{Context, pin::told, runtime},
    error::{CommandError, Kind, OfKind as _},
};

/// Let a subscription take nothing new from its channel; what runs is kept in place.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The subscription.
    subscription: String,
    /// Why; others will read it.
    #[arg(long)]
    reason: String,
    /// Who says so.
    #[arg(long, env = "USER")]
    by: String,
    #[command(flatten)]
    cluster: ClusterChoice,
}

/// End a hold.
#[derive(Debug, Args)]
pub(crate) struct UnholdArguments {
    /// The subscription.
    subscription: String,
    #[command(flatten)]
    cluster: ClusterChoice,
}

#[derive(Serialize)]
struct Document<'a> {
    subscription: &'a str,
    changed: bool,
}

/// Holds.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let Arguments { subscription, reason, by, cluster } = arguments;
    runtime()?.block_on(async {
        let cluster = cluster.connect().await?;
        daemon::hold(&cluster, subscription, reason, by).await.map_err(of_command)
    })?;
    let document = Document { subscription, changed: true };
    context.report.result(&document, || format!("{subscription} is held")).of_kind(Kind::Machine)
}

/// Ends a hold.
pub(crate) fn run_unhold(arguments: &UnholdArguments, context: &Context) -> Result<(), CommandError> {
    let UnholdArguments { subscription, cluster } = arguments;
    let freed = runtime()?.block_on(async {
        let cluster = cluster.connect().await?;
        daemon::unhold(&cluster, subscription).await.map_err(of_command)
    })?;
    let document = Document { subscription, changed: freed != Freed::NotThere };
    let line = || format!("{subscription} {}", told(&freed, "held"));
    context.report.result(&document, line).of_kind(Kind::Machine)
}
