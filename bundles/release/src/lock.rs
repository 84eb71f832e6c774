//! The lock: every input by hash, and how it was authenticated.
//!
//! [`Lock`] is the model. [`Lock::to_toml`] writes it in one canonical form, [`Lock::parse`] reads it back and
//! checks that all of its references hold. Where to fetch from is not in it: a location is configuration, an
//! identity is a hash.

mod account;
mod changes;
mod constraint;
mod encoding;
mod freshness;
mod model;
mod name;
mod recipe;
mod request;
mod version;

pub use account::{Accounts, LockedGroup, LockedUser};
pub use changes::Changes;
pub use constraint::{Comparison, Constraint, ConstraintError};
pub use encoding::{Inconsistency, LockError};
pub use freshness::{Freshness, Staleness};
pub use model::{
    ArchivePath, ArchivePathError, Encoders, Lock, LockedIndex, LockedPackage, LockedSuite, PackageKey,
    PackageKeyError, SourcePackage,
};
pub use name::{
    AccountName, AccountNameError, Architecture, ArchitectureError, Codename, CodenameError, Component,
    ComponentError, EncoderId, EncoderIdError, Fingerprint, FingerprintError, PackageName, PackageNameError,
    Priority, PriorityError, RecipeName, RecipeNameError, ReleaseField, ReleaseFieldError, SuiteName,
    SuiteNameError,
};
pub use recipe::{Divergence, LockedRecipe, Satisfied, Selection, Selections};
pub use request::PackageRequest;
pub use version::{Version, VersionError};
