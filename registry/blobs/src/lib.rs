//! Content-addressed bytes on the file system: verified writes, bounded reads, uploads that can be resumed.
//!
//! Layout: `blobs/sha256/<2 digits>/<64 digits>` and `uploads/<session>`, both under one root on one file system.
//!
//! Invariants: a file under `blobs` has the digest that its name says, because it comes there by a rename only, after
//! its bytes were hashed and synced; a write that fails, for want of space or otherwise, leaves no file behind; no
//! read returns more than its limit. Deliberately absent: who may see a blob (that is `registry-meta`), and any
//! asynchronous call (an asynchronous caller uses a blocking thread).

mod error;
mod store;
mod upload;

pub use error::BlobError;
pub use store::{BlobStore, OpenBlob};
pub use upload::Upload;
