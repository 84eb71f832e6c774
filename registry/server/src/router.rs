//! From a request to its operation. One route, one `match` without a wildcard: an operation without an answer does
//! not compile.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, extract, response::Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use registry_blobs::BlobStore;
use registry_meta::MetaStore;
use registry_wire::Request;
use tokio::sync::Semaphore;

use crate::{
    answer::Answer,
    blobs,
    fault::Fault,
    listings, manifests,
    sessions::Sessions,
    uploads::{self, Session},
};

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What all requests share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) blobs: BlobStore,
    pub(crate) meta: MetaStore,
    pub(crate) sessions: Sessions,
    /// One permit for each request that writes an upload.
    pub(crate) uploads: Semaphore,
    /// A body that brings nothing for so long is cut, or it would hold its permit for ever.
    pub(crate) upload_silence: Duration,
    pub(crate) blob_limit: u64,
}

pub(crate) fn router(state: Arc<State>) -> Router {
    Router::new().fallback(answer).with_state(state)
}

async fn answer(extract::State(state): extract::State<Arc<State>>, request: extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let operation = Request::parse(parts.method.as_str(), parts.uri.path(), parts.uri.query());
    tracing::debug!(method = %parts.method, uri = %parts.uri, "request");
    let outcome = match operation {
        Ok(operation) => perform(&state, operation, &parts.headers, body).await,
        Err(error) => Err(Fault::Request(error)),
    };
    let mut response = outcome.unwrap_or_else(Fault::into_response);
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

async fn perform(
    state: &Arc<State>,
    request: Request,
    headers: &http::HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    match request {
        Request::Check { head } => {
            let answer = Answer::new(StatusCode::OK).with(header::CONTENT_TYPE, "application/json");
            Ok(if head { answer.finish() } else { answer.body("{}") })
        }
        Request::ListRepositories { page } => listings::repositories(state, page).await,
        Request::ListTags { repository, page } => listings::tags(state, repository, page).await,
        Request::ListReferrers { repository, subject, artifact_type } => {
            listings::referrers(state, &repository, &subject, artifact_type.as_ref()).await
        }
        Request::ReadManifest { repository, reference, head } => {
            manifests::read(state, &repository, &reference, head, headers).await
        }
        Request::WriteManifest { repository, reference, tags } => {
            manifests::write(state, &repository, &reference, tags, headers, body).await
        }
        Request::DeleteManifest { repository, reference } => {
            manifests::delete(state, &repository, &reference).await
        }
        Request::ReadBlob { repository, digest, head } => {
            blobs::read(state, &repository, digest, head, headers).await
        }
        Request::DeleteBlob { repository, digest } => blobs::delete(state, &repository, &digest).await,
        Request::StartUpload { repository, start } => uploads::start(state, repository, start, body).await,
        Request::ReadUpload { repository, session } => {
            uploads::status(state, Session { repository, id: session }).await
        }
        Request::AppendUpload { repository, session } => {
            uploads::add(state, Session { repository, id: session }, headers, body, None).await
        }
        Request::FinishUpload { repository, session, digest } => {
            uploads::add(state, Session { repository, id: session }, headers, body, Some(digest)).await
        }
        Request::CancelUpload { repository, session } => {
            uploads::cancel(state, Session { repository, id: session }).await
        }
    }
}
