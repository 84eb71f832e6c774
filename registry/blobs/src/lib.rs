//! Content-addressed bytes on the file system: verified writes, bounded reads.
