//! Answers that are no refusals, and what they are made from.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use registry_wire::{Digest, ErrorCode};

use crate::fault::Fault;

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(crate) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(crate) const OCI_FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
pub(crate) const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// Builds an answer.
#[derive(Debug)]
pub(crate) struct Answer(Response);

impl Answer {
    /// An answer without a body.
    pub(crate) fn new(status: StatusCode) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        Self(response)
    }

    /// Adds a header. Values are of checked types, so all of them can be header values.
    #[allow(clippy::needless_pass_by_value, reason = "a reference at every call would say nothing")]
    pub(crate) fn with(mut self, name: HeaderName, value: impl ToString) -> Self {
        if let Ok(value) = HeaderValue::try_from(value.to_string()) {
            self.0.headers_mut().append(name, value);
        } else {
            tracing::error!(%name, "a header value was left out");
        }
        self
    }

    /// Headers that name content.
    pub(crate) fn with_digest(self, digest: &Digest) -> Self {
        self.with(CONTENT_DIGEST, digest).with(header::ETAG, format!("\"{digest}\""))
    }

    /// The finished answer, with a body.
    pub(crate) fn body(mut self, body: impl Into<Body>) -> Response {
        *self.0.body_mut() = body.into();
        self.0
    }

    /// The finished answer.
    pub(crate) fn finish(self) -> Response {
        self.0
    }
}

/// A JSON document.
pub(crate) fn json(document: &serde_json::Value) -> Answer {
    let mut answer = Answer::new(StatusCode::OK).with(header::CONTENT_TYPE, "application/json");
    *answer.0.body_mut() = Body::from(document.to_string());
    answer
}

/// Does the client have this content already?
pub(crate) fn has_already(headers: &HeaderMap, digest: &Digest) -> bool {
    let known = format!("\"{digest}\"");
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value
            .split(',')
            .map(str::trim)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == known)
    })
}

/// A header as text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The announced length of a body.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse().ok())
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read_body(headers: &HeaderMap, body: Body, limit: u64) -> Result<Vec<u8>, Fault> {
    let too_large = || {
        let message = format!("more than the allowed {limit} bytes");
        Fault::refused(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid, message)
    };
    if content_length(headers).is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let mut stream = body.into_data_stream();
    while let Some(chunk) = stream.next().await {
        let chunk: Bytes = chunk.map_err(|source| Fault::Cut { source })?;
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Runs file work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static, E: Into<Fault> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Fault::Inside)?.map_err(Into::into)
}
