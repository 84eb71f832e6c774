//! Lists: repositories, tags, referrers.

use registry_wire::{Descriptor, Digest, MediaType, Page, RepositoryName, Tag};

use crate::{MetaError, MetaStore};

/// No list is longer; what is asked for beyond is given on the next page.
const LIMIT: u32 = 1000;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// The entries, sorted.
    pub entries: Vec<T>,
    /// Are there more after them?
    pub more: bool,
}

impl<T: std::str::FromStr> Listing<T> {
    /// Makes a listing of rows of which one more than wanted was asked for.
    fn of_rows(mut rows: Vec<String>, limit: u32, column: &'static str) -> Result<Self, MetaError> {
        let limit = limit as usize;
        // A page of nothing has no next page: it would be asked for without end.
        let more = limit > 0 && rows.len() > limit;
        rows.truncate(limit);
        let entries = rows.iter().map(|row| row.parse().map_err(|_| MetaError::Damaged { column }));
        Ok(Self { entries: entries.collect::<Result<_, _>>()?, more })
    }
}

impl MetaStore {
    /// The repositories that hold a manifest, sorted by bytes.
    pub async fn repositories(&self, page: &Page) -> Result<Listing<RepositoryName>, MetaError> {
        let limit = page.limit.unwrap_or(LIMIT).min(LIMIT);
        let rows: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM repository
             WHERE name > ? AND EXISTS (SELECT 1 FROM manifest WHERE manifest.repository = repository.id)
             ORDER BY name LIMIT ?",
        )
        .bind(page.after.as_deref().unwrap_or_default())
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.readers)
        .await
        .map_err(|source| MetaError::ListRepositories { source })?;
        Listing::of_rows(rows, limit, "repository")
    }

    /// The tags of a repository, sorted by bytes.
    pub async fn tags(&self, repository: &RepositoryName, page: &Page) -> Result<Listing<Tag>, MetaError> {
        let limit = page.limit.unwrap_or(LIMIT).min(LIMIT);
        let rows: Vec<String> = sqlx::query_scalar(
            "SELECT tag.name FROM tag JOIN repository ON repository.id = tag.repository
             WHERE repository.name = ? AND tag.name > ? ORDER BY tag.name LIMIT ?",
        )
        .bind(repository.as_str())
        .bind(page.after.as_deref().unwrap_or_default())
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.readers)
        .await
        .map_err(MetaError::query("list the tags", repository))?;
        Listing::of_rows(rows, limit, "tag")
    }

    /// Descriptors of the manifests whose subject is `subject`, sorted by digest. An unknown subject has none.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&MediaType>,
    ) -> Result<Vec<Descriptor>, MetaError> {
        let rows: Vec<String> = sqlx::query_scalar(
            "SELECT referrer FROM manifest JOIN repository ON repository.id = manifest.repository
             WHERE repository.name = ?1 AND subject = ?2 AND (?3 IS NULL OR artifact_type = ?3)
             ORDER BY manifest.digest",
        )
        .bind(repository.as_str())
        .bind(subject.to_string())
        .bind(artifact_type.map(MediaType::as_str))
        .fetch_all(&self.readers)
        .await
        .map_err(MetaError::query("list the referrers", repository))?;
        let read =
            |row: &String| serde_json::from_str(row).map_err(|_| MetaError::Damaged { column: "referrer" });
        rows.iter().map(read).collect()
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
