//! `bundle daemon`: keeps a cluster on its channels.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bundles_trust::{Randomness as _, SystemRandomness};
use clap::Args;
use daemon::{Clock, DaemonOptions};
use daemon_cluster::{InstallOptions, LeaseTiming};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{
    command::runtime,
    error::{CommandError, Kind, OfKind as _},
};

/// Keep the namespaces of a cluster on their channels. Runs in the cluster; `bundle subscribe` and `bundle up --context`
/// install it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The image that holds this executable, as nodes pull it.
    #[arg(long, value_name = "IMAGE")]
    guest_image: String,
    /// Run as a process of this machine, through this context of a kubeconfig.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig; that of the user unless given.
    #[arg(long, value_name = "FILE", requires = "context")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of the daemon's own objects.
    #[arg(long, env = "POD_NAMESPACE", default_value = InstallOptions::NAMESPACE)]
    namespace: String,
    /// Name of this process among others.
    #[arg(long, env = "POD_NAME", default_value = "host")]
    name: String,
    /// Where to answer `/healthz`.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    health: SocketAddr,
    /// Seconds that others wait after the last renewal of the lease.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    lease: u64,
    /// Seconds from one look at a kept release to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    resync: u64,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let filter = EnvFilter::try_from_env("BUNDLE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let mut random = [0; 8];
    SystemRandomness.fill(&mut random).of_kind(Kind::Machine)?;
    let start = u64::from_be_bytes(random);
    let duration = Duration::from_secs(arguments.lease);
    let options = DaemonOptions {
        namespace: arguments.namespace.clone(),
        lease: DaemonOptions::LEASE.to_owned(),
        lease_timing: LeaseTiming { duration, renew: duration * 2 / 3, retry: duration * 2 / 15 },
        identity: format!("{}-{start:016x}", arguments.name),
        guest_image: arguments.guest_image.clone(),
        health_address: Some(arguments.health),
        resync: Duration::from_secs(arguments.resync),
        version: version(),
    };
    runtime()?.block_on(async {
        let client = match &arguments.context {
            Some(context) => daemon_cluster::connect(arguments.kubeconfig.as_deref(), context).await,
            None => daemon_cluster::connect_in_cluster(),
        }
        .of_kind(Kind::Remote)
        .map_err(|error| {
            error.hint(
                "in a cluster: `bundle subscribe` or `bundle up PLATFORM --context NAME` installs it; elsewhere: --context NAME",
            )
        })?;
        let mut terminated = signal(SignalKind::terminate()).of_kind(Kind::Machine)?;
        let mut interrupted = signal(SignalKind::interrupt()).of_kind(Kind::Machine)?;
        let shutdown = async move {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        };
        daemon::run(options, client, Clock::new(Timestamp::now), shutdown).await.of_kind(Kind::Remote)
    })
}

fn version() -> (u32, u32) {
    let number = |text: &str| text.parse().unwrap_or(0);
    (number(env!("CARGO_PKG_VERSION_MAJOR")), number(env!("CARGO_PKG_VERSION_MINOR")))
}
