//! Restore points: named, checked, restorable copies of the data of a release, taken before anything is written.
//!
//! Invariants: a restore point has its final name only when it is whole, was read by the data service's own checker and
//! is on the disk; one that has its name is never changed; the work is one Job, named by release and attempt, so asking
//! again never does it twice. Images have no shell: what has to happen around the data service's own tools is done by
//! our static executable ([`guest`]).
//!
//! What is absent: restoring. That is a person's decision and a person's command.

pub mod guest;
mod job;
mod redis;
mod restore_point;

pub use restore_point::{BackupError, RestorePointProgress, RestorePointRequest, VOLUME, restore_point};
