//! OCI types and grammar, shared by every room: digests, names, descriptors, manifests, and one request per
//! operation of the distribution API.
//!
//! Invariants: nothing here does input or output; a value of a type in this crate has been checked when it was made
//! and is never checked again; a manifest keeps the bytes it was read from.

mod descriptor;
mod digest;
mod error;
mod manifest;
mod media_type;
mod name;
mod query;
mod range;
mod referrers;
mod request;
mod text;

pub use descriptor::{Descriptor, Platform};
pub use digest::{Digest, DigestError, Hasher, HashingWriter};
pub use error::{ErrorCode, ErrorDocument, ErrorEntry};
pub use manifest::{ImageManifest, Index, ManifestDocument, ManifestError, StoredManifest};
pub use media_type::{MediaType, MediaTypeError};
pub use name::{
    ImageName, ImageNameError, Reference, ReferenceError, RegistryAddress, RegistryAddressError,
    RepositoryName, RepositoryNameError, Tag, TagError,
};
pub use range::{ByteRange, ByteRangeError, ReadRange};
pub use request::{Method, Page, Request, RequestError, SessionId, SessionIdError, UploadStart};

/// No manifest is longer: 4 MiB, what the distribution specification asks of registries at least.
pub const MANIFEST_LIMIT: u64 = 4 * 1024 * 1024;
