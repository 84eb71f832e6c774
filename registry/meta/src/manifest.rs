//! Manifests and tags.

use std::fmt;

use registry_wire::{
    Descriptor, Digest, ManifestDocument, MediaType, Reference, RepositoryName, StoredManifest, Tag,
};
use sqlx::{Row, Sqlite, Transaction, sqlite::SqliteRow};

use crate::{MetaError, MetaStore, store::repository_id};

/// A manifest as it is stored. It was parsed when it was stored; a read parses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRow {
    /// Digest of the bytes.
    pub digest: Digest,
    /// Media type under which it came.
    pub media_type: MediaType,
    /// The bytes as received.
    pub bytes: Vec<u8>,
}

/// What a manifest references and its repository does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingReference {
    /// The configuration or a layer.
    Blob(Digest),
    /// A manifest of an index.
    Manifest(Digest),
}

impl fmt::Display for MissingReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest) => write!(formatter, "blob {digest}"),
            Self::Manifest(digest) => write!(formatter, "manifest {digest}"),
        }
    }
}

/// Layers that are never uploaded, by decision of who made them.
fn is_distributable(descriptor: &Descriptor) -> bool {
    let text = descriptor.media_type.as_str();
    !text.contains(".nondistributable.") && !text.contains(".rootfs.foreign.")
}

impl MetaStore {
    /// The manifest of that digest or tag.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<ManifestRow>, MetaError> {
        let query = match reference {
            Reference::Digest(_) => {
                "SELECT manifest.digest, media_type, bytes FROM manifest
                 JOIN repository ON repository.id = manifest.repository
                 WHERE repository.name = ? AND manifest.digest = ?"
            }
            Reference::Tag(_) => {
                "SELECT manifest.digest, media_type, bytes FROM tag
                 JOIN repository ON repository.id = tag.repository
                 JOIN manifest ON manifest.repository = tag.repository AND manifest.digest = tag.digest
                 WHERE repository.name = ? AND tag.name = ?"
            }
        };
        let row = sqlx::query(query)
            .bind(repository.as_str())
            .bind(reference.to_string())
            .fetch_optional(&self.readers)
            .await
            .map_err(MetaError::query("read a manifest", repository))?;
        row.map(|row| {
            Ok(ManifestRow {
                digest: column(&row, "digest")?,
                media_type: column(&row, "media_type")?,
                bytes: row.try_get("bytes").map_err(|_| MetaError::Damaged { column: "bytes" })?,
            })
        })
        .transpose()
    }

    /// Stores a manifest and moves tags to it. All that it references, but for its subject, must be in the
    /// repository.
    pub async fn put_manifest(
        &self,
        repository: &RepositoryName,
        manifest: &StoredManifest,
        tags: &[Tag],
    ) -> Result<(), MetaError> {
        let failed = || MetaError::query("store a manifest", repository);
        let mut transaction = self.begin().await.map_err(failed())?;
        let id = repository_id(&mut transaction, repository).await.map_err(failed())?;
        if let Some(missing) = missing_reference(&mut transaction, id, manifest).await.map_err(failed())? {
            return Err(MetaError::MissingReference {
                manifest: manifest.digest(),
                missing,
                repository: repository.clone(),
            });
        }
        insert(&mut transaction, id, manifest, tags).await.map_err(failed())?;
        transaction.commit().await.map_err(failed())
    }

    /// Removes a tag, or a manifest with all its tags. `false` when there was none.
    pub async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<bool, MetaError> {
        let query = match reference {
            Reference::Digest(_) => {
                "DELETE FROM manifest WHERE digest = ? AND repository = (SELECT id FROM repository WHERE name = ?)"
            }
            Reference::Tag(_) => {
                "DELETE FROM tag WHERE name = ? AND repository = (SELECT id FROM repository WHERE name = ?)"
            }
        };
        let run = async {
            let mut transaction = self.begin().await?;
            let done = sqlx::query(query)
                .bind(reference.to_string())
                .bind(repository.as_str())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(done.rows_affected() > 0)
        };
        run.await.map_err(MetaError::query("delete a manifest", repository))
    }
}

/// Reads a text column that was checked before it was stored.
fn column<T: std::str::FromStr>(row: &SqliteRow, name: &'static str) -> Result<T, MetaError> {
    let text: Option<&str> = row.try_get(name).ok();
    text.and_then(|text| text.parse().ok()).ok_or(MetaError::Damaged { column: name })
}

async fn missing_reference(
    transaction: &mut Transaction<'static, Sqlite>,
    id: i64,
    manifest: &StoredManifest,
) -> Result<Option<MissingReference>, sqlx::Error> {
    let (blobs, manifests): (Vec<&Descriptor>, &[Descriptor]) = match manifest.document() {
        ManifestDocument::Image(image) => {
            let layers = image.layers.iter().filter(|layer| is_distributable(layer));
            (std::iter::once(&image.config).chain(layers).collect(), &[])
        }
        ManifestDocument::Index(index) => (Vec::new(), &index.manifests),
    };
    for blob in blobs {
        if !exists(transaction, "SELECT 1 FROM repository_blob WHERE repository = ? AND digest = ?", id, blob)
            .await?
        {
            return Ok(Some(MissingReference::Blob(blob.digest)));
        }
    }
    for child in manifests {
        // Some tools list blobs in an index, as caches.
        let query = "SELECT 1 FROM manifest WHERE repository = ?1 AND digest = ?2
                     UNION ALL SELECT 1 FROM repository_blob WHERE repository = ?1 AND digest = ?2";
        if !exists(transaction, query, id, child).await? {
            return Ok(Some(MissingReference::Manifest(child.digest)));
        }
    }
    Ok(None)
}

async fn exists(
    transaction: &mut Transaction<'static, Sqlite>,
    query: &'static str,
    id: i64,
    descriptor: &Descriptor,
) -> Result<bool, sqlx::Error> {
    let row = sqlx::query_scalar::<_, i64>(query)
        .bind(id)
        .bind(descriptor.digest.to_string())
        .fetch_optional(&mut **transaction)
        .await?;
    Ok(row.is_some())
}

async fn insert(
    transaction: &mut Transaction<'static, Sqlite>,
    id: i64,
    manifest: &StoredManifest,
    tags: &[Tag],
) -> Result<(), sqlx::Error> {
    let referrer = manifest.referrer_descriptor();
    let referrer_json =
        serde_json::to_string(&referrer).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let digest = manifest.digest().to_string();
    // The same bytes under another media type are another reading of them: the last one counts.
    sqlx::query(
        "INSERT INTO manifest (repository, digest, media_type, bytes, subject, artifact_type, referrer)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET media_type = excluded.media_type, subject = excluded.subject,
             artifact_type = excluded.artifact_type, referrer = excluded.referrer",
    )
    .bind(id)
    .bind(&digest)
    .bind(manifest.media_type().as_str())
    .bind(manifest.bytes())
    .bind(manifest.subject().map(|subject| subject.digest.to_string()))
    .bind(referrer.artifact_type.as_ref().map(MediaType::as_str))
    .bind(referrer_json)
    .execute(&mut **transaction)
    .await?;
    for tag in tags {
        sqlx::query(
            "INSERT INTO tag (repository, name, digest) VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET digest = excluded.digest",
        )
        .bind(id)
        .bind(tag.as_str())
        .bind(&digest)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}
