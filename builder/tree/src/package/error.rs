//! Why a package is refused.

use std::{io, path::PathBuf};

use bundles_release::lock::PackageName;
use registry_wire::Digest;

/// Why a package is refused.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The file cannot be read.
    #[error("cannot read {} of package {package}", path.display())]
    Open {
        /// The package.
        package: PackageName,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not the locked one.
    #[error("{} of package {package} is corrupted: it hashes to {found}, the lock says {expected}", path.display())]
    Corrupted {
        /// The package.
        package: PackageName,
        /// The file.
        path: PathBuf,
        /// What the lock says.
        expected: Digest,
        /// What the file hashes to.
        found: Digest,
    },
    /// The file is the locked one but not well-formed.
    #[error("package {package}: {member}: {reason}")]
    Format {
        /// The package.
        package: PackageName,
        /// The member of the archive.
        member: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The control paragraph names another package.
    #[error("package {package}: its {field} is {found}, the lock says {expected}")]
    Identity {
        /// The package as locked.
        package: PackageName,
        /// The field.
        field: &'static str,
        /// As locked.
        expected: String,
        /// As found.
        found: String,
    },
    /// The payload cannot be written.
    #[error("cannot write the payload of package {package}")]
    Write {
        /// The package.
        package: PackageName,
        /// What the system said.
        source: io::Error,
    },
}

impl PackageError {
    /// What to do about it.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Open { .. } | Self::Corrupted { .. } => {
                Some("run `bundle fetch`, which replaces missing and corrupted files")
            }
            Self::Identity { .. } => Some("run `bundle lock --update`"),
            Self::Format { .. } | Self::Write { .. } => None,
        }
    }
}

/// What is wrong with an archive, before the package is named.
#[derive(Debug)]
pub(super) enum Fault {
    /// Of a member of the archive, or of the archive itself.
    Format {
        member: Option<String>,
        reason: String,
    },
    Write(io::Error),
}

impl Fault {
    /// A fault of the archive itself.
    pub(super) fn archive(reason: impl Into<String>) -> Self {
        Self::Format { member: None, reason: reason.into() }
    }

    /// A fault of one of its members.
    pub(super) fn member(member: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Format { member: Some(member.into()), reason: reason.into() }
    }

    /// Names the package, and `archive` where it is the archive itself.
    pub(super) fn in_package(self, package: &PackageName, archive: &str) -> PackageError {
        let package = package.clone();
        match self {
            Self::Format { member, reason } => {
                PackageError::Format { package, member: member.unwrap_or_else(|| archive.to_owned()), reason }
            }
            Self::Write(source) => PackageError::Write { package, source },
        }
    }
}
