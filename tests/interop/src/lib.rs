//! What the tests against other programs share: those programs, the executable as a user runs it, and one platform
//! that was built and published once.

pub mod platform;
pub mod program;
pub mod served;
pub mod tool;
