//! Rules of signatures, roots, records and decisions.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bundles;
mod decisions;
mod fixture;
mod keys;
mod mutations;
mod records;
mod releases;
mod roots;
