//! The registry over HTTP: the distribution API on a folder.
//!
//! Invariants: there is one route, and its only parser is `registry_wire::Request::parse`; a blob is looked up by
//! (repository, digest) and an upload by (repository, session), never by one of them alone; an answer of 201 is given
//! after bytes and rows are synced; no body is read without a limit. Deliberately absent: users and TLS (the registry
//! serves one machine or a closed network), and collection of blobs that no repository has any more.

mod answer;
mod blobs;
mod fault;
mod listings;
mod manifests;
mod router;
mod server;
mod sessions;
mod uploads;

pub use server::{Server, ServerError, ServerOptions};
