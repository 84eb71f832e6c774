//! Releases and their signatures, read from any OCI registry.
//!
//! Every read has a limit and every byte is checked by its digest. Nothing is decided here: what was read is parsed, not
//! trusted. Nothing is written.

mod release;
mod signatures;

pub use release::{FetchError, FetchedRelease, fetch_release};
pub use signatures::{BUNDLE_LIMIT, fetch_signatures};
