//! `bundle guest`: what the executable does inside other images, which have no shell and no tools.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::error::{CommandError, Kind, OfKind as _};

/// Kubernetes reads the last word of a container here.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Used by the daemon inside other images.
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Copy this executable into a folder.
    Install { folder: PathBuf },
    /// Do nothing: that it runs proves that the image is on the node.
    Present,
    /// Remove what an attempt that was cut off left, or restore points of releases that are to be forgotten.
    Discard {
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Hash and sync a restore point, give it its name, and report.
    Confirm { partial: PathBuf, named: PathBuf },
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    match &arguments.verb {
        Verb::Install { folder } => {
            daemon_backup::guest::install(Path::new("/proc/self/exe"), folder).of_kind(Kind::Machine)
        }
        Verb::Present => Ok(()),
        Verb::Discard { paths } => daemon_backup::guest::discard(paths).of_kind(Kind::Machine),
        Verb::Confirm { partial, named } => {
            let confirmed = daemon_backup::guest::confirm(partial, named).of_kind(Kind::Machine)?;
            daemon_backup::guest::report(&confirmed, Path::new(TERMINATION_LOG)).of_kind(Kind::Machine)
        }
    }
}
