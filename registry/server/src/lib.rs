//! The registry over HTTP.
