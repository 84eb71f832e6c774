//! What the tests of the daemon share: small images, a shop that makes and promotes releases, a daemon to start and stop.

pub mod goods;
pub mod image;
pub mod lab;
pub mod process;
pub mod proxy;
pub mod shop;
