//! Clusters, as several verbs speak to them. There is no default context: who changes a cluster names it.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use daemon_cluster::{ApplyMode, ApplyOutcome, Cluster, ClusterError, InstallOptions, RefusalCause};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::error::{CommandError, Kind};

/// How long a kind or a namespace may take to be served after it was made.
const SERVED_WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// Which cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterChoice {
    /// Context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    pub(crate) context: String,
    /// The kubeconfig; that of the user unless given.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Namespace of the daemon.
    #[arg(long, value_name = "NAME", default_value = InstallOptions::NAMESPACE)]
    pub(crate) daemon_namespace: String,
}

impl ClusterChoice {
    /// A command about this cluster, for hints.
    pub(crate) fn command(&self, verb: &str) -> String {
        let home = if self.daemon_namespace == InstallOptions::NAMESPACE {
            String::new()
        } else {
            format!(" --daemon-namespace {}", self.daemon_namespace)
        };
        format!("bundle {verb} {}{home}", self.flags())
    }

    /// The same for kubectl.
    pub(crate) fn kubectl(&self, namespace: &str, verb: &str) -> String {
        format!("kubectl {} --namespace {namespace} {verb}", self.flags())
    }

    fn flags(&self) -> String {
        let context = format!("--context {}", self.context);
        match &self.kubeconfig {
            Some(file) => format!("{context} --kubeconfig {}", file.display()),
            None => context,
        }
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Result<Cluster, CommandError> {
        let client =
            daemon_cluster::connect(self.kubeconfig.as_deref(), &self.context).await.map_err(of_cluster)?;
        Ok(Cluster::new(client, &self.daemon_namespace))
    }
}

/// Applies an object that is ours whatever others changed in it. Waits while its kind or namespace is on its way.
pub(crate) async fn apply_ours(cluster: &Cluster, object: &Value) -> Result<(), CommandError> {
    let begun = Instant::now();
    loop {
        let outcome = cluster.apply(object, ApplyMode { dry_run: false, take_over: true }).await;
        let refusal = match outcome.map_err(of_cluster)? {
            ApplyOutcome::Applied(_) => return Ok(()),
            ApplyOutcome::Refused {
                cause: RefusalCause::NotServed | RefusalCause::NamespaceAbsent,
                message,
            } if begun.elapsed() < SERVED_WITHIN => {
                tracing::debug!(message, "not served yet");
                sleep(PAUSE).await;
                continue;
            }
            ApplyOutcome::Terminating(_) if begun.elapsed() < SERVED_WITHIN => {
                sleep(PAUSE).await;
                continue;
            }
            ApplyOutcome::Refused { message, .. } => message,
            ApplyOutcome::Terminating(_) => "it is being deleted".to_owned(),
            ApplyOutcome::Conflict(answer) => answer.to_string(),
        };
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let message = format!("{} {} is not taken: {refusal}", text("/kind"), text("/metadata/name"));
        return Err(CommandError::new(Kind::Remote, message));
    }
}

/// A cluster's error, with its hint.
pub(crate) fn of_cluster(error: ClusterError) -> CommandError {
    let hint = error.hint();
    CommandError::new(Kind::Remote, error).hint_if(hint)
}

/// An error of a person's command, with its hint.
pub(crate) fn of_command(error: daemon::CommandError) -> CommandError {
    let hint = error.hint();
    let kind = match error {
        daemon::CommandError::Cluster { .. } => Kind::Remote,
        _ => Kind::Usage,
    };
    CommandError::new(kind, error).hint_if(hint)
}
