//! The store, and what is small: repositories, grants and uploads.

use std::{path::Path, time::Duration};

use registry_wire::{Digest, RepositoryName, SessionId};
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::MetaError;

const READERS: u32 = 4;
const BUSY: Duration = Duration::from_secs(10);

/// What the registry knows about its blobs and manifests.
#[derive(Debug, Clone)]
pub struct MetaStore {
    /// Many readers; none of them can write.
    pub(crate) readers: SqlitePool,
    /// One writer: `SQLite` has no more, and a queue here is better than a busy database.
    writer: SqlitePool,
}

/// Outcome of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mount {
    /// The repository has the blob now.
    Granted,
    /// The source does not have it.
    Absent,
}

impl MetaStore {
    /// Opens the database file, made when it is absent, and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Self, MetaError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit is durable before it is answered, as blobs are.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(true);
        let opened = |source| MetaError::Open { path: path.to_owned(), source };
        let pool = || SqlitePoolOptions::new().idle_timeout(None).max_lifetime(None);
        let writer = pool().max_connections(1).connect_with(options.clone()).await.map_err(opened)?;
        sqlx::migrate!()
            .run(&writer)
            .await
            .map_err(|source| MetaError::Migrate { path: path.to_owned(), source })?;
        let readers = pool()
            .max_connections(READERS)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await;
        Ok(Self { readers: readers.map_err(opened)?, writer })
    }

    /// Closes the database; its write-ahead log is folded into it.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Is there such a repository? One comes to be with the first upload or manifest.
    pub async fn has_repository(&self, repository: &RepositoryName) -> Result<bool, MetaError> {
        let row = sqlx::query_scalar::<_, i64>("SELECT 1 FROM repository WHERE name = ?")
            .bind(repository.as_str())
            .fetch_optional(&self.readers)
            .await;
        Ok(row.map_err(MetaError::query("look", repository))?.is_some())
    }

    /// Does the repository have the blob?
    pub async fn has_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, MetaError> {
        let row = sqlx::query_scalar::<_, i64>(
            "SELECT 1 FROM repository_blob JOIN repository ON repository.id = repository_blob.repository
             WHERE repository.name = ? AND repository_blob.digest = ?",
        )
        .bind(repository.as_str())
        .bind(digest.to_string())
        .fetch_optional(&self.readers)
        .await;
        Ok(row.map_err(MetaError::query("look for a blob", repository))?.is_some())
    }

    /// Lets the repository have a blob whose bytes are stored, and ends the upload that brought it.
    pub async fn grant_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        ended: Option<&SessionId>,
    ) -> Result<(), MetaError> {
        let run = async {
            let mut transaction = self.begin().await?;
            let id = repository_id(&mut transaction, repository).await?;
            grant(&mut transaction, id, digest).await?;
            if let Some(session) = ended {
                sqlx::query("DELETE FROM upload WHERE repository = ? AND session = ?")
                    .bind(id)
                    .bind(session.as_str())
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await
        };
        run.await.map_err(MetaError::query("add a blob", repository))
    }

    /// Lets `target` have a blob that `source` has.
    pub async fn mount_blob(
        &self,
        source: &RepositoryName,
        target: &RepositoryName,
        digest: &Digest,
    ) -> Result<Mount, MetaError> {
        let run = async {
            let mut transaction = self.begin().await?;
            let found = sqlx::query_scalar::<_, i64>(
                "SELECT 1 FROM repository_blob JOIN repository ON repository.id = repository_blob.repository
                 WHERE repository.name = ? AND repository_blob.digest = ?",
            )
            .bind(source.as_str())
            .bind(digest.to_string())
            .fetch_optional(&mut *transaction)
            .await?;
            if found.is_none() {
                return Ok(Mount::Absent);
            }
            let id = repository_id(&mut transaction, target).await?;
            grant(&mut transaction, id, digest).await?;
            transaction.commit().await?;
            Ok(Mount::Granted)
        };
        run.await.map_err(MetaError::query("mount a blob", target))
    }

    /// Takes a blob from the repository. `false` when it did not have it. Other repositories keep theirs.
    pub async fn revoke_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, MetaError> {
        let run = async {
            let mut transaction = self.begin().await?;
            let done = sqlx::query(
                "DELETE FROM repository_blob
                 WHERE digest = ? AND repository = (SELECT id FROM repository WHERE name = ?)",
            )
            .bind(digest.to_string())
            .bind(repository.as_str())
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        };
        run.await.map_err(MetaError::query("delete a blob", repository))
    }

    /// Begins an upload.
    pub async fn begin_upload(
        &self,
        repository: &RepositoryName,
        session: &SessionId,
    ) -> Result<(), MetaError> {
        let run = async {
            let mut transaction = self.begin().await?;
            let id = repository_id(&mut transaction, repository).await?;
            sqlx::query("INSERT INTO upload (repository, session) VALUES (?, ?)")
                .bind(id)
                .bind(session.as_str())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await
        };
        run.await.map_err(MetaError::query("begin an upload", repository))
    }

    /// Is this upload one of this repository?
    pub async fn has_upload(
        &self,
        repository: &RepositoryName,
        session: &SessionId,
    ) -> Result<bool, MetaError> {
        let row = sqlx::query_scalar::<_, i64>(
            "SELECT 1 FROM upload JOIN repository ON repository.id = upload.repository
             WHERE repository.name = ? AND upload.session = ?",
        )
        .bind(repository.as_str())
        .bind(session.as_str())
        .fetch_optional(&self.readers)
        .await;
        Ok(row.map_err(MetaError::query("look for an upload", repository))?.is_some())
    }

    /// Ends an upload that brought nothing. `false` when there was none.
    pub async fn end_upload(
        &self,
        repository: &RepositoryName,
        session: &SessionId,
    ) -> Result<bool, MetaError> {
        let run = async {
            let mut transaction = self.begin().await?;
            let done = sqlx::query(
                "DELETE FROM upload
                 WHERE session = ? AND repository = (SELECT id FROM repository WHERE name = ?)",
            )
            .bind(session.as_str())
            .bind(repository.as_str())
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        };
        run.await.map_err(MetaError::query("end an upload", repository))
    }
}

/// The repository's row, made when it is absent.
pub(crate) async fn repository_id(
    transaction: &mut Transaction<'static, Sqlite>,
    repository: &RepositoryName,
) -> Result<i64, sqlx::Error> {
    sqlx::query("INSERT INTO repository (name) VALUES (?) ON CONFLICT DO NOTHING")
        .bind(repository.as_str())
        .execute(&mut **transaction)
        .await?;
    sqlx::query_scalar("SELECT id FROM repository WHERE name = ?")
        .bind(repository.as_str())
        .fetch_one(&mut **transaction)
        .await
}

async fn grant(
    transaction: &mut Transaction<'static, Sqlite>,
    id: i64,
    digest: &Digest,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO repository_blob (repository, digest) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(id)
        .bind(digest.to_string())
        .execute(&mut **transaction)
        .await
        .map(drop)
}
