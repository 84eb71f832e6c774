//! The daemon and its adapter against a real Kubernetes, with the rights of the daemon's own account.

#![allow(clippy::unwrap_used, reason = "the helpers of these tests are tests too")]

mod adapter;
mod channels;
mod documents;
mod outage;
mod platforms;
mod rollout;
mod stories;
