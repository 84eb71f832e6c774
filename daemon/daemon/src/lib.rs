//! The loop that keeps a cluster on its channel.
//!
//! What is decided is decided elsewhere: what may be trusted in `bundles-trust`, what happens next in `daemon-plan`.
//! Here the world is asked and steps are done. Invariants:
//! - nothing follows from a state that is not stored: [`daemon_plan::Step::Record`] is written by compare-and-swap
//!   before the next step;
//! - the trust floor is stored before the record that raised it is acted on;
//! - from `Fetched` on the registry is not asked any more, neither forward nor back, unless the cluster lost documents;
//! - a reconcile that finds everything in place writes nothing, no status either;
//! - an error leaves a fact unknown.

mod advice;
mod channel;
mod clock;
mod commands;
mod conditions;
mod contents;
mod error;
mod fault;
mod follower;
mod health;
mod journal;
mod links;
mod observe;
mod options;
mod preflight;
mod roots;
mod run;
mod source;
mod steps;
mod work;
mod write;

pub use clock::Clock;
pub use commands::{
    CommandError, Freed, Freshness, History, HistoryEntry, PinChoice, Pinned, SubscriptionView, clear_denied,
    history, hold, pin, status, unhold, unpin,
};
pub use error::DaemonError;
pub use options::DaemonOptions;
pub use run::run;
