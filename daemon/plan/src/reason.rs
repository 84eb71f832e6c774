//! Why something is not well: one vocabulary for status rules, the judge and the journal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Cause of a failure, as it is written in conditions and events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// A container ends again and again.
    CrashLoop,
    /// A new pod restarted twice or more.
    Restarts,
    /// A container was killed for want of memory.
    OutOfMemory,
    /// An image cannot be pulled.
    ImagePull,
    /// A container's configuration names something that is not there.
    ContainerConfig,
    /// A container could not be made.
    ContainerStart,
    /// A pod ended without success.
    PodFailed,
    /// The Deployment's own deadline passed.
    ProgressDeadline,
    /// A Job failed.
    JobFailed,
    /// A claim lost its volume, or a volume failed.
    VolumeLost,
    /// A custom resource definition was not accepted or is being deleted.
    Definition,
    /// The object's controller says that it is stalled.
    Stalled,
    /// Not healthy within the service's deadline.
    DeadlineExceeded,
    /// Health could not be learned within the deadline; no data is never a pass.
    NoData,
    /// Healthy at first, then not.
    Regression,
    /// The API server refuses the object for good.
    ApplyRejected,
    /// Another manager owns a field and has no known right to it.
    Conflict,
    /// The documents of the release are no longer there.
    DocumentsLost,
    /// The release is no longer wanted; this says nothing against it.
    Withdrawn,
}

impl Reason {
    /// Whether a release that failed for this reason may not be rolled out again until a person says so.
    ///
    /// [`Reason::NoData`] does, although it says nothing against the release: it was written and taken back, and as long
    /// as nobody can judge it every further attempt would disturb what serves in the same way. Only questions that stay
    /// open for the whole of their time come to it, and those want a person anyhow.
    pub const fn denies(self) -> bool {
        !matches!(self, Self::Withdrawn)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// A failure: its cause and what a person should read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The cause.
    pub reason: Reason,
    /// What failed and how, naming object and container.
    pub message: String,
}

impl Failure {
    /// A failure with its message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.reason, self.message)
    }
}
