//! `bundle down`: ends what `bundle up` left running on this machine.

use clap::Args;
use serde::Serialize;

use crate::{
    command::Context,
    detached::{self, RegistryProcessError, Stop},
    error::{CommandError, Kind, OfKind as _},
};

/// Stop the registry that `bundle up` started. Its data stays.
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

#[derive(Serialize)]
struct Document {
    stopped: bool,
}

/// Runs the verb.
pub(crate) fn run(_: &Arguments, context: &Context) -> Result<(), CommandError> {
    let stop = detached::stop(&context.home.registry()).map_err(|error| {
        let hint = match &error {
            RegistryProcessError::Form { path, .. } => {
                format!("end the registry by hand if it runs, and remove {}", path.display())
            }
            _ => "bundle down once more; the registry's log lies beside its record".to_owned(),
        };
        CommandError::new(Kind::Machine, error).hint(hint)
    })?;
    let document = Document { stopped: stop == Stop::Stopped };
    let line = match stop {
        Stop::Stopped => "registry stopped; its data stays",
        Stop::NotRunning => "no registry runs",
    };
    context.report.result(&document, || line.to_owned()).of_kind(Kind::Machine)
}
