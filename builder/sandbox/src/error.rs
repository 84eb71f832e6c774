//! Why a command was not run, or not to its end.

use std::{fmt, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::level::{Level, Reached};

/// A sandbox that could not be made or watched. A command that ran and failed is no error: see [`crate::End`].
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The helper or the executor's program does not start.
    #[error("{} does not start", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// This process cannot be described to the helper.
    #[error("the namespaces of this process cannot be read")]
    Outside(#[source] io::Error),
    /// The helper was not reached.
    #[error("the sandbox's helper does not take its order")]
    Order(#[source] io::Error),
    /// What the helper says is not of its form.
    #[error("the sandbox's helper sent something else than reports")]
    Report(#[source] serde_json::Error),
    /// What the command does cannot be seen.
    #[error("what the command in the sandbox does cannot be seen")]
    Observe(#[source] io::Error),
    /// Output, reports or the end cannot be awaited.
    #[error("the sandbox cannot be watched")]
    Watch(#[source] io::Error),
    /// A step inside failed.
    #[error("the sandbox cannot be made: {failed}")]
    Step {
        /// Which step, on what.
        failed: FailedStep,
        /// What the system said.
        source: io::Error,
    },
    /// It would be weaker than was asked for.
    #[error("the sandbox reaches only level {}, {required} is asked for: {}", reached.level(), causes(reached, *required))]
    Weaker {
        /// What was asked for.
        required: Level,
        /// What stands and what does not.
        reached: Reached,
    },
    /// The helper ended without a word.
    #[error("the sandbox ended before the command began ({status}): {}", said.trim_end())]
    Silent {
        /// How the helper ended.
        status: String,
        /// The beginning of what was written to standard error.
        said: String,
    },
    /// The executor cannot do that.
    #[error("{executor} cannot {what}")]
    Unsupported {
        /// Which executor.
        executor: &'static str,
        /// What was asked of it.
        what: &'static str,
    },
}

impl SandboxError {
    /// What to type or to set so that it works, if that is known.
    pub fn remedy(&self) -> Option<&str> {
        let Self::Weaker { required, reached } = self else { return None };
        reached.missing(*required).find_map(|gap| gap.remedy.as_deref())
    }
}

/// Each cause once, after the walls that it costs.
fn causes(reached: &Reached, required: Level) -> String {
    let mut by_cause: Vec<(&str, Vec<&str>)> = Vec::new();
    for gap in reached.missing(required) {
        match by_cause.iter_mut().find(|(cause, _)| *cause == gap.cause) {
            Some((_, walls)) => walls.push(gap.wall.name()),
            None => by_cause.push((&gap.cause, vec![gap.wall.name()])),
        }
    }
    let lines: Vec<_> =
        by_cause.into_iter().map(|(cause, walls)| format!("no {}: {cause}", walls.join(", "))).collect();
    lines.join("; ")
}

/// A step of making a sandbox, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedStep {
    /// What was done.
    pub action: String,
    /// On what.
    pub path: Option<PathBuf>,
}

impl fmt::Display for FailedStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.action)?;
        match &self.path {
            Some(path) => write!(formatter, " {}", path.display()),
            None => Ok(()),
        }
    }
}
