//! The release, lock and SBOM documents in canonical bytes.
//!
//! Invariants: documents are written by this crate in one canonical form and read back from stored bytes; no clock,
//! revision or sequence number enters them; no host name enters them.

pub mod lock;
pub mod names;
