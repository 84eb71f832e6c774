//! Virtual file tree with an owner for every path; package effects.
