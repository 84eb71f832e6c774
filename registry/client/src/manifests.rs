//! Manifests.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use registry_wire::{
    Digest, MANIFEST_LIMIT, MediaType, Reference, RepositoryName, Request, StoredManifest, Tag,
};

use crate::{
    ClientError, Registry,
    transport::{Answer, header_text},
};

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// What became of a tag since it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "it is matched at once and never kept")]
pub enum ManifestChange {
    /// Still the same manifest.
    Unchanged,
    /// Another manifest.
    Changed(StoredManifest),
    /// The registry says that there is no such tag.
    Absent,
}

impl Registry {
    /// The manifest of a tag or digest, verified. `None` is the registry's own word that there is none.
    pub async fn get_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>, ClientError> {
        let request = read(repository, reference, false);
        let answer = self.fetch(&request, &accepted(), None, MANIFEST_LIMIT).await?;
        self.manifest_of(&request, reference, answer)
    }

    /// The manifest of a tag, unless it is still the one of `known`.
    pub async fn get_manifest_if_changed(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        known: &Digest,
    ) -> Result<ManifestChange, ClientError> {
        let reference = Reference::Tag(tag.clone());
        let request = read(repository, &reference, false);
        let mut headers = accepted();
        if let Ok(value) = HeaderValue::try_from(format!("\"{known}\"")) {
            headers.insert(header::IF_NONE_MATCH, value);
        }
        let answer = self.fetch(&request, &headers, None, MANIFEST_LIMIT).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(ManifestChange::Unchanged);
        }
        Ok(match self.manifest_of(&request, &reference, answer)? {
            None => ManifestChange::Absent,
            Some(manifest) if manifest.digest() == *known => ManifestChange::Unchanged,
            Some(manifest) => ManifestChange::Changed(manifest),
        })
    }

    /// The digest that a tag or digest stands for, without its manifest where the registry tells it.
    pub async fn resolve(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<Digest>, ClientError> {
        let request = read(repository, reference, true);
        let answer = self.fetch(&request, &accepted(), None, 0).await?;
        if self.is_absent(&request, &answer)? {
            return Ok(None);
        }
        if answer.status != StatusCode::OK {
            return Err(self.refusal(&request, &answer));
        }
        match (header_text(&answer.headers, &CONTENT_DIGEST), reference) {
            (Some(text), Reference::Tag(_)) => match text.parse() {
                Ok(digest) => Ok(Some(digest)),
                Err(_) => Err(self.strange(&request, "it names a digest that is none")),
            },
            (_, Reference::Digest(digest)) => Ok(Some(*digest)),
            (None, Reference::Tag(_)) => {
                Ok(self.get_manifest(repository, reference).await?.map(|manifest| manifest.digest()))
            }
        }
    }

    fn manifest_of(
        &self,
        request: &Request,
        reference: &Reference,
        answer: Answer,
    ) -> Result<Option<StoredManifest>, ClientError> {
        if self.is_absent(request, &answer)? {
            return Ok(None);
        }
        if answer.status != StatusCode::OK {
            return Err(self.refusal(request, &answer));
        }
        let found = Digest::of(&answer.body);
        let announced = header_text(&answer.headers, &CONTENT_DIGEST).and_then(|text| text.parse().ok());
        let asked = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(_) => None,
        };
        for expected in [asked, announced].into_iter().flatten() {
            if expected != found {
                return Err(ClientError::Tampered { registry: self.inner.address.clone(), expected, found });
            }
        }
        let media_type = header_text(&answer.headers, &header::CONTENT_TYPE)
            .and_then(|text| text.split(';').next())
            .and_then(|text| text.trim().parse::<MediaType>().ok())
            .ok_or_else(|| self.strange(request, "a manifest without a media type"))?;
        StoredManifest::parse(media_type, answer.body.into())
            .map(Some)
            .map_err(|source| ClientError::Manifest { registry: self.inner.address.clone(), source })
    }

    /// Stores a manifest under a tag or its digest. All that it references must be in the repository.
    pub async fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        manifest: &StoredManifest,
    ) -> Result<(), ClientError> {
        self.write_manifest(repository, reference, manifest).await.map(drop)
    }

    /// Stores a manifest and says whether the registry has listed it as a referrer of its subject.
    pub(crate) async fn write_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        manifest: &StoredManifest,
    ) -> Result<bool, ClientError> {
        let (reference, tags) = (reference.clone(), Vec::new());
        let request = Request::WriteManifest { repository: repository.clone(), reference, tags };
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(manifest.media_type().as_str()) {
            headers.insert(header::CONTENT_TYPE, value);
        }
        let body = Bytes::copy_from_slice(manifest.bytes());
        let answer = self.fetch(&request, &headers, Some(body), MANIFEST_LIMIT).await?;
        if !answer.status.is_success() {
            return Err(self.refusal(&request, &answer));
        }
        let stored = header_text(&answer.headers, &CONTENT_DIGEST).and_then(|text| text.parse().ok());
        if let Some(found) = stored.filter(|found| *found != manifest.digest()) {
            let (registry, expected) = (self.inner.address.clone(), manifest.digest());
            return Err(ClientError::Tampered { registry, expected, found });
        }
        Ok(header_text(&answer.headers, &OCI_SUBJECT).is_some())
    }

    /// Removes a tag, or a manifest with all its tags. `false` when there was none.
    pub async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<bool, ClientError> {
        let (repository, reference) = (repository.clone(), reference.clone());
        let request = Request::DeleteManifest { repository, reference };
        let answer = self.fetch(&request, &HeaderMap::new(), None, MANIFEST_LIMIT).await?;
        if self.is_absent(&request, &answer)? {
            return Ok(false);
        }
        if answer.status.is_success() { Ok(true) } else { Err(self.refusal(&request, &answer)) }
    }
}

fn read(repository: &RepositoryName, reference: &Reference, head: bool) -> Request {
    Request::ReadManifest { repository: repository.clone(), reference: reference.clone(), head }
}

fn accepted() -> HeaderMap {
    let types = [
        MediaType::IMAGE_MANIFEST,
        MediaType::IMAGE_INDEX,
        MediaType::DOCKER_MANIFEST,
        MediaType::DOCKER_MANIFEST_LIST,
    ];
    let mut headers = HeaderMap::new();
    for media_type in types {
        if let Ok(value) = HeaderValue::from_str(media_type.as_str()) {
            headers.append(header::ACCEPT, value);
        }
    }
    headers
}
