//! The release, lock and SBOM documents in canonical bytes.
//!
//! Invariants: documents are written by this crate in one canonical form and read back from stored bytes; no clock,
//! revision or sequence number enters them; no host name enters them. Nothing here does input or output.

pub mod canonical;
mod config;
mod document;
mod identifiers;
pub mod lock;
pub mod names;
mod release;
pub mod sbom;

pub use config::{MinimumVersion, MinimumVersionError, ReleaseImage, Requirements};
pub use document::ObjectsDocument;
pub use identifiers::{
    EnvironmentName, EnvironmentNameError, PartName, PartNameError, ProductName, ProductNameError,
    ReleaseVersion, ReleaseVersionError, keeping_tag,
};
pub use release::{
    AssembledRelease, EnvironmentParts, PartObjects, Release, ReleaseEnvironment, ReleaseError,
    ReleaseLimits, ReleaseParts,
};
