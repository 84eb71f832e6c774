//! Who runs commands in sandboxes, and what comes of it.

use serde::{Deserialize, Serialize};

use crate::{
    error::SandboxError,
    level::{Level, Reached},
    specification::Specification,
};

/// Runs commands against declared inputs.
///
/// For every implementation: the command sees the inputs of its [`Specification`] and nothing else that the level it
/// reached keeps back; all descriptors of the caller but the output's are closed; when the command, the caller's thread
/// or the caller ends, everything inside is killed. Nothing is left on the machine but what was written to writable
/// folders; that is there in part when a command is killed, so a caller publishes it only after a good end.
pub trait Executor {
    /// Its name in records.
    fn name(&self) -> &'static str;

    /// Runs a command and waits for its end, at most as long as its limits say.
    ///
    /// # Errors
    ///
    /// When the command did not run, or was not seen to its end. A level below `minimum` is
    /// [`SandboxError::Weaker`], and nothing has run then.
    fn run(&self, specification: &Specification, minimum: Level) -> Result<Outcome, SandboxError>;

    /// Makes a sandbox in which nothing runs, and says which walls stand.
    fn measure(&self) -> Result<Reached, SandboxError>;
}

/// A command that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which walls stood while it ran.
    pub reached: Reached,
    /// How it ended.
    pub end: End,
    /// How many processes it left running, which were ended. Told only where there is a process namespace.
    #[serde(default)]
    pub left_running: u32,
    /// What it wrote to standard output.
    pub output: Vec<u8>,
    /// What it wrote to standard error.
    pub errors: Vec<u8>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// It took longer than its limit.
    OverTime,
    /// It wrote more to its output than its limit.
    OverOutput,
    /// It changed more of its tree than its limit.
    OverChanges,
}
