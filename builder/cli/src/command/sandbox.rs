//! `bundle sandbox`: what the executable does between a build and the command that it runs in a sandbox.

use builder_sandbox::Helper;
use clap::Args;

use crate::error::{CommandError, Kind, OfKind as _};

/// Used by builds to run commands against declared inputs.
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Arguments {}

/// Becomes the sandbox that the caller orders over standard input.
pub(crate) fn run(_: &Arguments) {
    builder_sandbox::enter();
}

/// This executable, as the helper of an executor.
pub(crate) fn helper() -> Result<Helper, CommandError> {
    let program = std::env::current_exe().of_kind(Kind::Machine)?;
    Ok(Helper { program, arguments: vec!["sandbox".to_owned()] })
}
