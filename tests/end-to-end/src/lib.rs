//! What the end-to-end tests share: the executable as a user runs it, and a client that counts every failed request.

pub mod load;
pub mod tool;
