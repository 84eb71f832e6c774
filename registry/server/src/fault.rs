//! Requests that are not fulfilled, and what is said about them outside and inside.

use std::time::Duration;

use axum::{body::Body, response::Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use registry_blobs::BlobError;
use registry_meta::MetaError;
use registry_wire::{ErrorCode, ErrorDocument, RequestError};

/// Why a request is not fulfilled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It is no operation of the API.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The files failed or refused.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The database failed or refused.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The operation itself refuses.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// Code of the error document.
        code: ErrorCode,
        /// What is said.
        message: String,
        /// Headers that help to go on.
        headers: Vec<(HeaderName, HeaderValue)>,
    },
    /// The client stopped sending.
    #[error("the body was cut")]
    Cut {
        /// What the transport said.
        source: axum::Error,
    },
    /// The client sends nothing more, and does not go away either.
    #[error("nothing of the body came for {} s", silence.as_secs_f64())]
    Silent {
        /// For how long.
        silence: Duration,
    },
    /// A blocking task was lost, or there was no randomness.
    #[error("the registry failed inside")]
    Inside,
}

impl Fault {
    /// A refusal without further headers.
    pub(crate) fn refused(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Refused { status, code, message: message.into(), headers: Vec::new() }
    }

    /// It is not there.
    pub(crate) fn absent(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::refused(StatusCode::NOT_FOUND, code, message)
    }

    fn outside(&self) -> (StatusCode, ErrorCode, String) {
        let inside =
            (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown, "the registry failed inside".to_owned());
        match self {
            Self::Request(error) => {
                let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
                (status, error.code(), error.to_string())
            }
            Self::Refused { status, code, message, .. } => (*status, *code, message.clone()),
            Self::Cut { .. } => (StatusCode::BAD_REQUEST, ErrorCode::BlobUploadInvalid, self.to_string()),
            Self::Silent { .. } => {
                (StatusCode::REQUEST_TIMEOUT, ErrorCode::BlobUploadInvalid, self.to_string())
            }
            Self::Inside => inside,
            Self::Meta(error) => match error {
                MetaError::MissingReference { .. } => {
                    (StatusCode::BAD_REQUEST, ErrorCode::ManifestBlobUnknown, error.to_string())
                }
                MetaError::Open { .. }
                | MetaError::Migrate { .. }
                | MetaError::Query { .. }
                | MetaError::ListRepositories { .. }
                | MetaError::Damaged { .. } => inside,
            },
            Self::Blobs(error) => match error {
                // A path of this machine is nobody's business outside.
                BlobError::Full { .. } => {
                    let message = "the registry's disk is full; nothing half-written was left".to_owned();
                    (StatusCode::INSUFFICIENT_STORAGE, ErrorCode::Denied, message)
                }
                BlobError::Mismatch { .. } => {
                    (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid, error.to_string())
                }
                BlobError::TooLarge { .. } => {
                    (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid, error.to_string())
                }
                BlobError::UnknownUpload { .. } => {
                    (StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown, error.to_string())
                }
                BlobError::MakeDirectory { .. }
                | BlobError::Write { .. }
                | BlobError::Read { .. }
                | BlobError::Remove { .. }
                | BlobError::Source { .. }
                | BlobError::Damaged { .. } => inside,
            },
        }
    }

    /// The answer that says it.
    pub(crate) fn into_response(self) -> Response {
        let (status, code, message) = self.outside();
        if status.is_server_error() {
            let mut chain = self.to_string();
            let mut source = std::error::Error::source(&self);
            while let Some(error) = source {
                chain = format!("{chain}: {error}");
                source = error.source();
            }
            tracing::error!(%status, error = chain, "a request failed");
        }
        let mut response = Response::new(Body::from(ErrorDocument::of(code, message).to_json()));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Self::Refused { headers, .. } = self {
            response.headers_mut().extend(headers);
        }
        response
    }
}
