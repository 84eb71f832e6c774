//! What a person sees of each verb: the executable as it is shipped, its own registry, real keys, a small signed archive.
//! Nothing here needs the network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod archive;
mod cluster;
mod completeness;
mod detached;
mod effects;
mod inputs;
mod platforms;
mod publishing;
mod session;
mod shop;
mod story;
mod trust;
