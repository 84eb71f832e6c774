//! Lock and fetch of Debian packages.
//!
//! [`lock`] is the only step that decides what is installed: it finds the suites through the machine's apt
//! configuration, checks the signature on each Release, reads the indices that it vouches for and solves each recipe.
//! [`fetch`] brings the packages of a lock into a [`PackageCache`] by hash, from wherever they are. Nothing that is
//! fetched is ever run, and nothing of where it came from enters the lock.

mod accounts;
mod apt;
mod cache;
mod deb822;
mod fetch;
mod in_release;
mod keyring;
mod locking;
mod mention;
mod packages;
mod progress;
mod relation;
mod solve;
#[cfg(any(test, fuzzing))]
pub mod strangers;
mod transport;

pub use accounts::{AccountError, AccountKind, AccountRequest, DYNAMIC_IDS, allocate_accounts};
pub use apt::{APT_FOLDER, AptError, KeySource, Locations};
pub use bundles_release::lock::{Freshness, Lock, PackageRequest, Staleness};
pub use cache::{CacheError, PackageCache};
pub use deb822::Deb822Error;
pub use fetch::{FetchError, Fetched, fetch};
pub use in_release::{ReleaseError, SuitePolicy};
pub use keyring::{DEBIAN_KEYRING, Keyring, KeyringError, SignatureError};
pub use locking::{
    HeldBack, HeldBackBy, IndexError, LockOptions, LockTimes, Locked, LockingError, Update, lock,
};
pub use packages::{PackagesError, source_package};
pub use progress::Progress;
pub use relation::RelationError;
pub use solve::SolveError;
pub use transport::{BaseUri, BaseUriError, ProxySettings, Transport, TransportError};
