//! Layer plan, tar and gzip encoders, OCI images.
