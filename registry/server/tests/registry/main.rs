//! The registry as its clients see it: by the protocol's words, by our client, by skopeo, crane and oras, and when
//! things break in the middle.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking; the lint's own exception ends at helpers")]

mod client;
mod faults;
mod guarded;
mod killed;
mod peers;
mod protocol;
mod world;
