//! The loop that keeps a cluster on its channel.
