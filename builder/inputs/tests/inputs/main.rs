//! Lock and fetch against archives: small signed ones of our own, and the real one.

mod archive;
mod live;
mod peer;
mod resolver;
mod resuming;
mod suites;
mod support;
