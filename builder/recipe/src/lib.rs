//! The recipe language: parse, check, resolve environments.
