//! `bundle registry`: the registry for one machine.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};
use registry_server::{Server, ServerError, ServerOptions};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    command::Context,
    error::{CommandError, Kind, OfKind as _},
};

/// Run a registry (OCI distribution API, plain HTTP).
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve until SIGTERM or Ctrl-C; requests under way are finished.
    Serve {
        /// Where to listen.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
        address: SocketAddr,
        /// Folder of blobs and database [default: `registry/data` in the home folder].
        #[arg(long, value_name = "FOLDER")]
        root: Option<PathBuf>,
    },
}

/// A registry that does not start, with what helps.
fn not_served(error: ServerError) -> CommandError {
    let hint = match &error {
        ServerError::InUse { .. } => Some(
            "bundle registry serve --root FOLDER; or `bundle down`, which stops the registry that `bundle up` started",
        ),
        ServerError::Listen { .. } => Some("bundle registry serve --address 127.0.0.1:0"),
        _ => None,
    };
    CommandError::new(Kind::Machine, error).hint_if(hint)
}

/// Runs the verb.
pub(crate) fn run(arguments: Arguments, context: &Context) -> Result<(), CommandError> {
    let Verb::Serve { address, root } = arguments.verb;
    let root = root.unwrap_or_else(|| context.home.registry().join("data"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().of_kind(Kind::Machine)?;
    runtime.block_on(async {
        let server = Server::start(ServerOptions::new(address, root.clone())).await.map_err(not_served)?;
        context.report.note(&format!("listening on {}, data in {}", server.address(), root.display()));
        let mut terminated = signal(SignalKind::terminate()).of_kind(Kind::Machine)?;
        let mut interrupted = signal(SignalKind::interrupt()).of_kind(Kind::Machine)?;
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        server.stop().await.of_kind(Kind::Machine)
    })
}
