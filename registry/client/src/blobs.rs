//! Blobs.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use registry_wire::{ByteRange, Descriptor, Digest, Hasher, RepositoryName, Request, UploadStart};
use reqwest::{Response, Url};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::{
    BlobSource, ClientError, Registry,
    transport::{Answer, header_text},
};

/// An answer to an upload says little.
const SMALL: u64 = 64 * 1024;

/// Outcome of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The bytes were sent.
    Uploaded,
    /// The repository had the blob.
    Present,
}

/// Outcome of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounted {
    /// The repository has the blob now.
    Mounted,
    /// It has to be pushed.
    Refused,
}

impl Registry {
    /// Does the repository have the blob?
    pub async fn has_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, ClientError> {
        let request = Request::ReadBlob { repository: repository.clone(), digest: *digest, head: true };
        let answer = self.fetch(&request, &HeaderMap::new(), None, 0).await?;
        if self.is_absent(&request, &answer)? {
            return Ok(false);
        }
        if answer.status == StatusCode::OK { Ok(true) } else { Err(self.refusal(&request, &answer)) }
    }

    /// Reads a blob of at most `limit` bytes, verified.
    pub async fn get_blob(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, ClientError> {
        if descriptor.size > limit {
            let request =
                Request::ReadBlob { repository: repository.clone(), digest: descriptor.digest, head: false };
            let (registry, request) = (self.inner.address.clone(), Box::new(request));
            return Err(ClientError::TooLarge { registry, request, limit });
        }
        let mut bytes = Vec::new();
        self.read_blob_to(repository, descriptor, &mut bytes).await?;
        Ok(bytes)
    }

    /// Writes a blob to `sink`. A read that is cut goes on where it was cut. What was written may be used only after
    /// this has succeeded: the digest is known at the end.
    pub async fn read_blob_to(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        sink: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<(), ClientError> {
        let request =
            Request::ReadBlob { repository: repository.clone(), digest: descriptor.digest, head: false };
        let sink_failed = |source| ClientError::Sink { digest: descriptor.digest, source };
        let mut hasher = Hasher::new();
        let mut attempts = self.attempts();
        // An empty blob is asked for, too: it may be absent.
        loop {
            let before = hasher.length();
            match self.read_rest(&request, descriptor, &mut hasher, sink).await {
                Ok(()) => break,
                Err(error) => {
                    if hasher.length() > before {
                        attempts.progressed();
                    }
                    attempts.after(error).await?;
                }
            }
        }
        sink.flush().await.map_err(sink_failed)?;
        let (registry, expected, found) = (self.inner.address.clone(), descriptor.digest, hasher.length());
        if found != descriptor.size {
            return Err(ClientError::Size { registry, digest: expected, expected: descriptor.size, found });
        }
        let found = hasher.finish();
        if found == expected { Ok(()) } else { Err(ClientError::Tampered { registry, expected, found }) }
    }

    /// Reads from where the hasher is to the end of the answer.
    async fn read_rest(
        &self,
        request: &Request,
        descriptor: &Descriptor,
        hasher: &mut Hasher,
        sink: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<(), ClientError> {
        let mut headers = HeaderMap::new();
        let start = hasher.length();
        if start > 0 {
            headers.insert(header::RANGE, value(&format!("bytes={start}-")));
        }
        let mut response = self.send(request, self.url(request)?, &headers, None).await?;
        let mut skip = self.read_start(request, &mut response, start).await?;
        while let Some(chunk) = response.chunk().await.map_err(|source| self.interrupted(request, source))? {
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= skipped as u64;
            let chunk = chunk.slice(skipped..);
            if hasher.length() + chunk.len() as u64 > descriptor.size {
                return Err(ClientError::Size {
                    registry: self.inner.address.clone(),
                    digest: descriptor.digest,
                    expected: descriptor.size,
                    found: descriptor.size + 1,
                });
            }
            hasher.update(&chunk);
            let written = sink.write_all(&chunk).await;
            written.map_err(|source| ClientError::Sink { digest: descriptor.digest, source })?;
            self.moved(chunk.len());
        }
        Ok(())
    }

    /// Checks the head of the answer to a read from `start`; gives the number of bytes to pass over, when the
    /// registry serves the whole blob although a part was asked for.
    async fn read_start(
        &self,
        request: &Request,
        response: &mut Response,
        start: u64,
    ) -> Result<u64, ClientError> {
        match response.status() {
            StatusCode::OK => Ok(start),
            StatusCode::PARTIAL_CONTENT => {
                let range = header_text(response.headers(), &header::CONTENT_RANGE);
                match range.and_then(ByteRange::from_content_range) {
                    Some(range) if range.first == start => Ok(0),
                    _ => Err(self.strange(request, "another range than asked for")),
                }
            }
            status => {
                let mut body = Vec::new();
                while let Ok(Some(chunk)) = response.chunk().await {
                    if body.len() as u64 > SMALL {
                        break;
                    }
                    body.extend_from_slice(&chunk);
                }
                let answer = Answer { status, headers: response.headers().clone(), body: body.into() };
                let is_absent = self.is_absent(request, &answer)?;
                Err(if is_absent { self.absent(request) } else { self.refusal(request, &answer) })
            }
        }
    }

    /// Brings a blob into a repository, unless it is there. An upload that fails for a reason that passes is begun
    /// anew.
    pub async fn put_blob(
        &self,
        repository: &RepositoryName,
        digest: Digest,
        size: u64,
        source: &BlobSource,
    ) -> Result<Pushed, ClientError> {
        if self.has_blob(repository, &digest).await? {
            return Ok(Pushed::Present);
        }
        let mut attempts = self.attempts();
        loop {
            match self.upload(repository, digest, size, source).await {
                Ok(()) => return Ok(Pushed::Uploaded),
                Err(error) => attempts.after(error).await?,
            }
        }
    }

    async fn upload(
        &self,
        repository: &RepositoryName,
        digest: Digest,
        size: u64,
        source: &BlobSource,
    ) -> Result<(), ClientError> {
        let request = Request::StartUpload { repository: repository.clone(), start: UploadStart::Session };
        let answer = self
            .fetch_once(&request, self.url(&request)?, &HeaderMap::new(), Some(Bytes::new()), SMALL)
            .await?;
        if answer.status != StatusCode::ACCEPTED {
            return Err(self.refusal(&request, &answer));
        }
        let mut url = self.location(&request, &answer)?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        // Only for what errors say: a foreign registry's session is its own.
        let session = registry_wire::SessionId::from_random([0; 16]);
        let request = Request::FinishUpload { repository: repository.clone(), session, digest };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, value(&size.to_string()));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let body = source.body(digest, size, self.inner.options.progress.clone()).await?;
        let response = self.send(&request, url, &headers, Some(body)).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status == StatusCode::CREATED || status == StatusCode::NO_CONTENT {
            return Ok(());
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(self.refusal(&request, &Answer { status, headers, body }))
    }

    /// Brings a blob from another repository of the same registry into this one.
    pub async fn mount_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: &RepositoryName,
    ) -> Result<Mounted, ClientError> {
        let start = UploadStart::Mount { digest: *digest, from: Some(from.clone()) };
        let request = Request::StartUpload { repository: repository.clone(), start };
        let answer = self
            .fetch_once(&request, self.url(&request)?, &HeaderMap::new(), Some(Bytes::new()), SMALL)
            .await?;
        match answer.status {
            StatusCode::CREATED => Ok(Mounted::Mounted),
            StatusCode::ACCEPTED => {
                // The registry has begun an upload instead, which nobody will finish here.
                let url = self.location(&request, &answer)?;
                let session = registry_wire::SessionId::from_random([0; 16]);
                let cancel = Request::CancelUpload { repository: repository.clone(), session };
                if let Err(error) = self.fetch_once(&cancel, url, &HeaderMap::new(), None, SMALL).await {
                    tracing::debug!(%error, "an upload that is not wanted stays until the registry drops it");
                }
                Ok(Mounted::Refused)
            }
            _ => Err(self.refusal(&request, &answer)),
        }
    }

    fn location(&self, request: &Request, answer: &Answer) -> Result<Url, ClientError> {
        let location = header_text(&answer.headers, &header::LOCATION);
        let location = location.ok_or_else(|| self.strange(request, "an upload without a location"))?;
        self.resolve_location(request, location)
    }
}

/// A header value of visible ASCII.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
