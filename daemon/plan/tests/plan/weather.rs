//! What may befall the world and the executor in it.

/// What is wrong with the world itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    RegistryDown,
    RestoreFails,
    /// The set of the way back hangs on a pod of the failed release.
    StuckPod,
    /// The kept release does not come back.
    NoReturn,
    /// Deletions are refused.
    Undeletable,
    /// The kept release takes nearly its whole deadline to come back.
    SlowReturn,
}

/// What befalls the executor at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// The request fails and does nothing.
    Error,
    /// The request works, its answer is lost.
    Lost,
    /// The executor dies before the step.
    DiesBefore,
    /// The executor dies after the step.
    DiesAfter,
    /// Something cuts the executor's turn off: it lives, but all it knew is forgotten.
    Forgets,
    /// The cluster is silent for longer than any patience; the executor lives.
    Outage,
}
