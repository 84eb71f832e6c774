//! `bundle sandbox`: what the executable does between a build and the command that it runs in a sandbox.

use std::ffi::OsString;

use builder_sandbox::Helper;

use crate::error::{CommandError, Kind, OfKind as _};

/// The one argument. It is looked at before all others are parsed: that takes half a millisecond of each start.
const VERB: &str = "sandbox";

/// Whether these arguments, the program's name among them, ask for nothing else.
pub(crate) fn is_asked(mut arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.nth(1).is_some_and(|verb| verb == VERB) && arguments.next().is_none()
}

/// Becomes the sandbox that the caller orders over standard input.
pub(crate) fn run() {
    builder_sandbox::enter();
}

/// This executable, as the helper of an executor.
pub(crate) fn helper() -> Result<Helper, CommandError> {
    let program = std::env::current_exe().of_kind(Kind::Machine)?;
    Ok(Helper { program, arguments: vec![VERB.to_owned()] })
}
