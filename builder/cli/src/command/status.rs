//! `bundle status` and `bundle history`: what runs, what was seen, what happened.

use clap::Args;
use daemon::{History, SubscriptionView};

use crate::{
    cluster::{ClusterChoice, of_command},
    command::{Context, runtime},
    error::{CommandError, Kind, OfKind as _},
};

/// Show what a cluster runs, what its channels name, and why that differs.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The subscription; all unless given.
    subscription: Option<String>,
    #[command(flatten)]
    cluster: ClusterChoice,
}

/// Show the rollouts of a subscription, oldest first.
#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// The subscription.
    subscription: String,
    #[command(flatten)]
    cluster: ClusterChoice,
}

/// Shows the status.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let views = runtime()?.block_on(async {
        let cluster = arguments.cluster.connect().await?;
        daemon::status(&cluster, arguments.subscription.as_deref()).await.map_err(of_command)
    })?;
    context.report.result(&views, || status_lines(&views)).of_kind(Kind::Machine)
}

fn status_lines(views: &[SubscriptionView]) -> String {
    if views.is_empty() {
        return "no subscriptions".to_owned();
    }
    let mut lines = Vec::new();
    for view in views {
        let status = &view.status;
        lines.push(format!("{}: channel {}, namespace {}", view.name, view.channel, view.namespace));
        match &status.running {
            Some(running) => {
                lines.push(format!(
                    "  runs     {} {} since {}",
                    running.version, running.digest, running.since
                ));
            }
            None => lines.push("  runs     nothing yet".to_owned()),
        }
        if let Some(accepted) = &status.accepted {
            let version = accepted.release_version.as_ref().map(ToString::to_string).unwrap_or_default();
            lines.push(format!("  seen     {version} {} (record {})", accepted.release, accepted.version));
        }
        if let Some(pin) = &view.pin {
            lines.push(format!("  pinned   {} by {}: {}", pin.digest, pin.by, pin.reason));
        }
        if let Some(hold) = &view.hold {
            lines.push(format!("  held     by {}: {}", hold.by, hold.reason));
        }
        for denied in &status.denied {
            lines.push(format!("  denied   {} {}: {}", denied.digest, denied.reason, denied.message));
        }
        for condition in &status.conditions {
            lines.push(format!(
                "  {:<16} {:?}  {}: {}",
                condition.kind, condition.status, condition.reason, condition.message
            ));
        }
    }
    lines.join("\n")
}

/// Shows the history.
pub(crate) fn run_history(arguments: &HistoryArguments, context: &Context) -> Result<(), CommandError> {
    let history = runtime()?.block_on(async {
        let cluster = arguments.cluster.connect().await?;
        daemon::history(&cluster, &arguments.subscription).await.map_err(of_command)
    })?;
    context.report.result(&history, || history_lines(&history)).of_kind(Kind::Machine)
}

fn history_lines(history: &History) -> String {
    let mut lines = Vec::new();
    for entry in &history.entries {
        let version = entry.version.clone().unwrap_or_default();
        let started = entry.started.map(|started| started.to_string()).unwrap_or_default();
        lines.push(format!(
            "{started}  {version} {} attempt {}: {}",
            entry.digest, entry.attempt, entry.phase
        ));
        if let Some(message) = &entry.message {
            lines.push(format!("    {message}"));
        }
        for point in &entry.restore_points {
            lines.push(format!("    restore point {}", serde_json::to_string(point).unwrap_or_default()));
        }
    }
    if lines.is_empty() { "no rollouts yet".to_owned() } else { lines.join("\n") }
}
