//! The pure part of the cluster daemon: from what is known to what is done next.
//!
//! Objects are `serde_json::Value`s, time is an argument. There is no client, clock, randomness or file here; what
//! the executor (the `daemon` crate) sees comes in as facts, and what it must do goes out as a [`rollout::Step`].
//!
//! Invariants, each held by a property test:
//! - no object of a release is written before preflight, images on nodes and a confirmed restore point;
//! - a journal entry never moves to an earlier state, so every rollout ends;
//! - a denied release is never rolled out;
//! - what is not known (an error of the API server, no data) is neither absent nor healthy;
//! - what the wanted release contains is never pruned.

pub mod chunk;
pub mod conflict;
pub mod drift;
pub mod field;
pub mod health;
pub mod intent;
pub mod inventory;
pub mod key;
pub mod managed;
pub mod names;
pub mod order;
pub mod plan;
pub mod pods;
pub mod prune;
pub mod quantity;
pub mod reason;
pub mod rollout;
pub mod status;
pub mod target;

pub use health::Health;
pub use inventory::{Entry, Inventory};
pub use key::{ObjectKey, Uid};
pub use plan::RolloutPlan;
pub use reason::{Failure, Reason};
pub use rollout::{Observed, Phase, RolloutState, Step, next};
pub use status::{Status, status};
pub use target::{Target, decide_target};
