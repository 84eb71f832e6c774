//! What can go wrong with the database.

use std::path::PathBuf;

use registry_wire::{Digest, RepositoryName};

use crate::MissingReference;

/// A failed operation of a metadata store.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The database cannot be opened.
    #[error("cannot open the registry's database {}", path.display())]
    Open {
        /// Its file.
        path: PathBuf,
        /// The database's error.
        source: sqlx::Error,
    },
    /// The database's tables cannot be brought up to date.
    #[error("cannot bring the registry's database {} up to date", path.display())]
    Migrate {
        /// Its file.
        path: PathBuf,
        /// The migration's error.
        source: sqlx::migrate::MigrateError,
    },
    /// A query failed.
    #[error("cannot {action} in repository {repository}")]
    Query {
        /// What was tried.
        action: &'static str,
        /// The repository.
        repository: RepositoryName,
        /// The database's error.
        source: sqlx::Error,
    },
    /// The list of repositories cannot be read.
    #[error("cannot list the repositories")]
    ListRepositories {
        /// The database's error.
        source: sqlx::Error,
    },
    /// A manifest references what its repository does not have.
    #[error("manifest {manifest} needs {missing}, which repository {repository} does not have")]
    MissingReference {
        /// The manifest.
        manifest: Digest,
        /// What it references.
        missing: MissingReference,
        /// The repository.
        repository: RepositoryName,
    },
    /// A stored value cannot be read back.
    #[error("the registry's database holds a {column} that is none")]
    Damaged {
        /// The column.
        column: &'static str,
    },
}

impl MetaError {
    /// Gives a database error its place.
    pub(crate) fn query(
        action: &'static str,
        repository: &RepositoryName,
    ) -> impl FnOnce(sqlx::Error) -> Self {
        let repository = repository.clone();
        move |source| Self::Query { action, repository, source }
    }
}
