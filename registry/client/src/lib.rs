//! Client of any OCI registry.
