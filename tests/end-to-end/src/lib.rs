//! What the end-to-end tests share: the executable as a user runs it, a cluster beside it, a platform to change, a client
//! that counts every failed request, and a Redis full of keys.

pub mod keys;
pub mod load;
pub mod place;
pub mod platform;
pub mod tool;
