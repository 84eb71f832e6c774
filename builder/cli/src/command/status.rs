//! `bundle status` and `bundle history`: what runs, what was seen, what happened.

use clap::Args;
use daemon::{Freshness, History, SubscriptionView};
use daemon_cluster::Condition;
use jiff::Timestamp;

use crate::{
    cluster::{ClusterChoice, of_command},
    command::{Context, runtime},
    error::{CommandError, Kind, OfKind as _},
    report,
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
        if view.freshness == Freshness::Behind {
            let note = if status.conditions.is_empty() {
                "  the daemon has not looked at it yet"
            } else {
                "  the daemon has not seen the last change of the subscription; it said before:"
            };
            lines.push(note.to_owned());
        }
        match &status.running {
            Some(running) => {
                let since = to_the_second(running.since);
                lines.push(format!("  runs     {} {} since {since}", running.version, running.digest));
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
            let Condition { kind, status, reason, message, .. } = condition;
            let why = if message.is_empty() { reason.clone() } else { format!("{reason}: {message}") };
            lines.push(format!("  {kind:<16} {status:?}  {why}"));
        }
    }
    shown(&lines)
}

/// Lines for a terminal. What people and containers wrote may hold anything, so control characters are escaped.
fn shown(lines: &[String]) -> String {
    lines.iter().map(|line| report::plain(line)).collect::<Vec<_>>().join("\n")
}

/// A time for people, to the second.
fn to_the_second(time: Timestamp) -> String {
    format!("{time:.0}")
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
        let started = entry.started.map(to_the_second).unwrap_or_default();
        lines.push(format!(
            "{started}  {version} {} attempt {}: {}",
            entry.digest, entry.attempt, entry.phase
        ));
        if let Some(message) = &entry.message {
            lines.push(format!("    {message}"));
        }
        for point in &entry.restore_points {
            let taken = point.taken.map_or_else(String::new, |taken| format!(", {}", to_the_second(taken)));
            lines.push(format!("    restore point {}, {}{taken}", point.name, report::bytes(point.size)));
        }
    }
    if lines.is_empty() { "no rollouts yet".to_owned() } else { shown(&lines) }
}

#[cfg(test)]
mod tests {
    use daemon::HistoryEntry;
    use daemon_cluster::SubscriptionStatus;
    use serde_json::json;

    use super::*;

    const DIGEST: &str = "sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const AT: &str = "2026-11-25T15:23:49.073702804Z";

    #[test]
    fn a_status_is_plain_text() {
        let status = serde_json::from_value(json!({
            "running": { "digest": DIGEST, "version": "0.1.0", "since": AT },
            "conditions": [
                { "type": "Ready", "status": "True", "reason": "Kept", "message": "release 0.1.0 runs",
                  "lastTransitionTime": AT },
                { "type": "Held", "status": "False", "reason": "NotHeld", "message": "", "lastTransitionTime": AT },
            ],
        }));
        let pin = json!({ "digest": DIGEST, "reason": "\u{1b}[2Jno\nReady", "by": "a\u{9b}lice" });
        let view = SubscriptionView {
            name: "shop".to_owned(),
            channel: "shop/dev".to_owned(),
            namespace: "shop".to_owned(),
            pin: serde_json::from_value(pin).unwrap(),
            hold: None,
            status: status.unwrap(),
            freshness: Freshness::Current,
        };
        let expected = format!(
            "shop: channel shop/dev, namespace shop\n  runs     0.1.0 {DIGEST} since 2026-11-25T15:23:49Z\n  pinned   \
             {DIGEST} by a\\u{{9b}}lice: \\u{{1b}}[2Jno\\nReady\n  Ready            True  Kept: release 0.1.0 runs\n  \
             Held             False  NotHeld"
        );
        assert_eq!(status_lines(std::slice::from_ref(&view)), expected);
        let mut view = SubscriptionView { freshness: Freshness::Behind, ..view };
        let behind = status_lines(std::slice::from_ref(&view));
        let (before, after) = expected.split_at(expected.find("  runs").unwrap());
        let note = "  the daemon has not seen the last change of the subscription; it said before:\n";
        assert_eq!(behind, [before, note, after].concat());
        view.status = SubscriptionStatus::default();
        view.pin = None;
        let new = "shop: channel shop/dev, namespace shop\n  the daemon has not looked at it yet\n  runs     nothing yet";
        assert_eq!(status_lines(&[view]), new);
    }

    #[test]
    fn a_history_names_restore_points() {
        let point = json!({ "service": "cache", "name": "pre-0001-1-cache", "volume": "bundle-backup",
            "size": 1_250_000, "digest": DIGEST, "attempt": 1, "taken": "2026-11-25T15:23:40Z" });
        let mut before = point.clone();
        before.as_object_mut().unwrap().remove("taken");
        let entry = HistoryEntry {
            digest: DIGEST.parse().unwrap(),
            version: Some("0.1.0".to_owned()),
            phase: "Kept".to_owned(),
            attempt: 1,
            started: Some(AT.parse().unwrap()),
            since: None,
            reason: None,
            message: None,
            restore_points: serde_json::from_value(json!([point, before])).unwrap(),
        };
        let expected = format!(
            "2026-11-25T15:23:49Z  0.1.0 {DIGEST} attempt 1: Kept\n    restore point pre-0001-1-cache, 1.3 MB, \
             2026-11-25T15:23:40Z\n    restore point pre-0001-1-cache, 1.3 MB"
        );
        assert_eq!(history_lines(&History { entries: vec![entry] }), expected);
    }
}
