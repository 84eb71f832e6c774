//! Repositories, tags, manifests, grants and uploads in `SQLite`.
//!
//! Invariants: nothing is looked up by digest or session alone, every lookup names its repository; a write is one
//! `BEGIN IMMEDIATE` transaction, so what it decides on cannot change before it commits; a manifest is stored with
//! the bytes it came with, and only while all that it references is in its repository. Deliberately absent: bytes of
//! blobs, and clocks.

mod error;
mod listing;
mod manifest;
mod store;

pub use error::MetaError;
pub use listing::Listing;
pub use manifest::{ManifestRow, MissingReference};
pub use store::{MetaStore, Mount};
