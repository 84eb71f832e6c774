//! OCI types and grammar, shared by every room: digests, names, descriptors, manifests, and one request per
//! operation of the distribution API.
//!
//! Invariants: nothing here does input or output; a value of a type in this crate has been checked when it was made
//! and is never checked again; a manifest keeps the bytes it was read from.

mod descriptor;
mod digest;
mod manifest;
mod media_type;
mod name;

pub use descriptor::{Descriptor, Platform};
pub use digest::{Digest, DigestError, Hasher};
pub use manifest::{ImageManifest, Index, ManifestDocument, ManifestError, StoredManifest};
pub use media_type::{MediaType, MediaTypeError};
pub use name::{
    ImageName, ImageNameError, Reference, ReferenceError, RegistryAddress, RegistryAddressError, RepositoryName,
    RepositoryNameError, Tag, TagError,
};
