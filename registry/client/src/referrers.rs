//! Referrers: by the registry's list where it has one, else by the fallback tag of the specification.

use http::{HeaderMap, StatusCode};
use registry_wire::{
    Descriptor, Digest, Index, MANIFEST_LIMIT, MediaType, Reference, RepositoryName, Request, StoredManifest,
    Tag,
};

use crate::{ClientError, Registry};

/// No subject has more pages of referrers.
const PAGES: usize = 1_000;
/// How often a fallback tag is written, when others write it at the same time.
const WRITES: usize = 8;

impl Registry {
    /// The manifests that say something about `subject`, with their artifact types. An empty list is the registry's
    /// own word, never a failure.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, ClientError> {
        let found = match self.listed_referrers(repository, subject).await? {
            Some(found) => found,
            None => self
                .tagged_referrers(repository, subject)
                .await?
                .map(|index| index.manifests)
                .unwrap_or_default(),
        };
        let mut known = Vec::with_capacity(found.len());
        for descriptor in found {
            if descriptor.artifact_type.is_some() {
                known.push(descriptor);
                continue;
            }
            // Some tools write the list without types: the manifest itself knows.
            if let Some(manifest) = self.get_manifest(repository, &descriptor.digest.into()).await? {
                known.push(manifest.referrer_descriptor());
            }
        }
        Ok(known)
    }

    /// The registry's list; `None` when it has no lists.
    async fn listed_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, ClientError> {
        let request =
            Request::ListReferrers { repository: repository.clone(), subject: *subject, artifact_type: None };
        let mut next = Some(self.url(&request)?);
        let mut all = Vec::new();
        let mut pages = 0;
        while let Some(url) = next {
            let answer =
                self.fetch_url(&request, url.clone(), &HeaderMap::new(), None, MANIFEST_LIMIT).await?;
            match answer.status {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED if pages == 0 => return Ok(None),
                _ => return Err(self.refusal(&request, &answer)),
            }
            next = self.next_page(&request, &url, &answer)?;
            let list = StoredManifest::parse(MediaType::IMAGE_INDEX, answer.body.into())
                .map_err(|source| ClientError::Manifest { registry: self.inner.address.clone(), source })?;
            all.extend(list.index().map(|index| index.manifests.clone()).unwrap_or_default());
            pages += 1;
            if pages > PAGES {
                return Err(self.strange(&request, "a list without an end"));
            }
        }
        Ok(Some(all))
    }

    async fn tagged_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
    ) -> Result<Option<Index>, ClientError> {
        let tag = Reference::Tag(Tag::of_referrers(subject));
        let manifest = self.get_manifest(repository, &tag).await?;
        Ok(manifest.and_then(|manifest| manifest.index().cloned()))
    }

    /// Stores a manifest that says something about its subject, and lists it under the fallback tag where the
    /// registry does not list it itself. Its blobs must be in the repository.
    pub async fn attach_referrer(
        &self,
        repository: &RepositoryName,
        manifest: &StoredManifest,
    ) -> Result<(), ClientError> {
        let digest = manifest.digest();
        let subject = manifest.subject().ok_or(ClientError::NoSubject { digest })?.digest;
        if self.write_manifest(repository, &digest.into(), manifest).await? {
            return Ok(());
        }
        // Nothing guards the tag against another writer, so it is read again until our entry is in it.
        let tag = Reference::Tag(Tag::of_referrers(&subject));
        for _ in 0..WRITES {
            let mut list =
                self.tagged_referrers(repository, &subject).await?.unwrap_or(Index::of(Vec::new()));
            if list.manifests.iter().any(|entry| entry.digest == digest) {
                return Ok(());
            }
            list.manifests.push(manifest.referrer_descriptor());
            self.put_manifest(repository, &tag, &StoredManifest::from_index(list)).await?;
        }
        let request =
            Request::WriteManifest { repository: repository.clone(), reference: tag, tags: Vec::new() };
        Err(self.strange(&request, "others keep overwriting the list"))
    }
}
