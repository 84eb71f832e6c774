//! Uploads: begin, append, finish, cancel, mount.
//!
//! A request that has an upload runs in a task of its own, so that a client that goes away never takes the upload along
//! in the middle of a step: what came until then is kept, and the upload can be resumed.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use registry_blobs::Upload;
use registry_meta::Mount;
use registry_wire::{ByteRange, Digest, ErrorCode, RepositoryName, Request, SessionId, UploadStart};

use crate::{
    answer::{Answer, UPLOAD_ID, blocking, content_length, text},
    fault::Fault,
    router::State,
};

/// Bytes that are hashed and written at once.
const BUFFER: usize = 1024 * 1024;

/// An upload of a repository: never one without the other.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) repository: RepositoryName,
    pub(crate) id: SessionId,
}

impl Session {
    fn location(&self) -> String {
        Request::ReadUpload { repository: self.repository.clone(), session: self.id.clone() }.target()
    }

    /// Where to go on, and from which byte.
    fn progress(&self, length: u64) -> Vec<(HeaderName, String)> {
        vec![
            (header::LOCATION, self.location()),
            // The protocol has no way to write an empty range; this is what all registries say then.
            (header::RANGE, format!("0-{}", length.saturating_sub(1))),
            (UPLOAD_ID, self.id.to_string()),
        ]
    }

    fn answer(&self, status: StatusCode, length: u64) -> Response {
        let headers = self.progress(length).into_iter();
        headers.fold(Answer::new(status), |answer, (name, value)| answer.with(name, value)).finish()
    }

    fn disorder(&self, message: String, length: u64) -> Fault {
        let headers = self.progress(length).into_iter();
        Fault::Refused {
            status: StatusCode::RANGE_NOT_SATISFIABLE,
            code: ErrorCode::BlobUploadInvalid,
            message,
            headers: headers
                .filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)))
                .collect(),
        }
    }
}

pub(crate) async fn start(
    state: &Arc<State>,
    repository: RepositoryName,
    start: UploadStart,
    body: Body,
) -> Result<Response, Fault> {
    match start {
        UploadStart::Mount { digest, from: Some(from) } => {
            if state.meta.mount_blob(&from, &repository, &digest).await? == Mount::Granted {
                return Ok(created(&repository, &digest));
            }
        }
        // Which repository has it is not ours to tell.
        UploadStart::Mount { from: None, .. } | UploadStart::Session => {}
        UploadStart::Whole(digest) => {
            let session = begin(state, repository).await?;
            return uncut(write(Arc::clone(state), session, None, body, Some(digest))).await;
        }
    }
    let session = begin(state, repository).await?;
    Ok(session.answer(StatusCode::ACCEPTED, 0))
}

async fn begin(state: &State, repository: RepositoryName) -> Result<Session, Fault> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| Fault::Inside)?;
    let id = SessionId::from_random(random);
    let (blobs, owned) = (state.blobs.clone(), id.clone());
    let upload = blocking(move || blobs.begin_upload(&owned)).await?;
    state.meta.begin_upload(&repository, &id).await?;
    state.sessions.put(&id, upload);
    Ok(Session { repository, id })
}

/// Ends the work whatever becomes of who waits for it.
async fn uncut(
    work: impl Future<Output = Result<Response, Fault>> + Send + 'static,
) -> Result<Response, Fault> {
    tokio::spawn(work).await.map_err(|_| Fault::Inside)?
}

pub(crate) async fn status(state: &Arc<State>, session: Session) -> Result<Response, Fault> {
    let state = Arc::clone(state);
    uncut(async move {
        let upload = take(&state, &session).await?;
        let length = upload.length();
        state.sessions.put(&session.id, upload);
        Ok(session.answer(StatusCode::NO_CONTENT, length))
    })
    .await
}

/// Adds a body to an upload, and with a digest finishes it.
pub(crate) async fn add(
    state: &Arc<State>,
    session: Session,
    headers: &HeaderMap,
    body: Body,
    digest: Option<Digest>,
) -> Result<Response, Fault> {
    let range = match text(headers, &header::CONTENT_RANGE) {
        None => None,
        Some(text) => match text.parse::<ByteRange>() {
            Ok(range) if content_length(headers).is_none_or(|length| length == range.length()) => Some(range),
            // An empty last chunk has no range that could be written.
            _ if content_length(headers) == Some(0) => None,
            _ => {
                let message = format!("`{text}` is not the range of this chunk");
                return Err(Fault::refused(StatusCode::BAD_REQUEST, ErrorCode::BlobUploadInvalid, message));
            }
        },
    };
    uncut(write(Arc::clone(state), session, range, body, digest)).await
}

pub(crate) async fn cancel(state: &Arc<State>, session: Session) -> Result<Response, Fault> {
    let state = Arc::clone(state);
    uncut(async move {
        let upload = take(&state, &session).await?;
        let discarded = blocking(move || upload.discard()).await;
        state.sessions.forget(&session.id);
        discarded?;
        state.meta.end_upload(&session.repository, &session.id).await?;
        Ok(Answer::new(StatusCode::NO_CONTENT).finish())
    })
    .await
}

/// Takes an upload, if it is one of this repository.
async fn take(state: &State, session: &Session) -> Result<Upload, Fault> {
    if !state.meta.has_upload(&session.repository, &session.id).await? {
        let message = format!("repository {} has no upload {}", session.repository, session.id);
        return Err(Fault::absent(ErrorCode::BlobUploadUnknown, message));
    }
    state.sessions.take(&state.blobs, &session.id).await
}

async fn write(
    state: Arc<State>,
    session: Session,
    range: Option<ByteRange>,
    body: Body,
    digest: Option<Digest>,
) -> Result<Response, Fault> {
    // Bounds the memory of all uploads together, and lets the server wait for them when it stops.
    let _permit = state.uploads.acquire().await.map_err(|_| Fault::Inside)?;
    let upload = take(&state, &session).await?;
    let length = upload.length();
    if let Some(range) = range.filter(|range| range.first != length) {
        state.sessions.put(&session.id, upload);
        return Err(session.disorder(format!("chunk {range} came after {length} bytes"), length));
    }
    let limit = range.map_or(state.blob_limit, |range| state.blob_limit.min(range.last + 1));
    let upload = match receive(upload, body, limit, state.upload_silence).await {
        Ok(upload) => upload,
        Err(Received::Cut(upload, fault)) => {
            tracing::info!(repository = %session.repository, session = %session.id, bytes = upload.length(), "an upload was cut");
            state.sessions.put(&session.id, *upload);
            return Err(fault);
        }
        Err(Received::Lost(fault)) => return Err(end(&state, &session, fault).await),
    };
    let Some(digest) = digest else {
        let length = upload.length();
        state.sessions.put(&session.id, upload);
        return Ok(session.answer(StatusCode::ACCEPTED, length));
    };
    if let Err(fault) = blocking(move || upload.publish(&digest)).await {
        return Err(end(&state, &session, fault).await);
    }
    let granted = state.meta.grant_blob(&session.repository, &digest, Some(&session.id)).await;
    state.sessions.forget(&session.id);
    granted?;
    Ok(created(&session.repository, &digest))
}

/// Ends an upload whose file is gone, and gives back why.
async fn end(state: &State, session: &Session, fault: Fault) -> Fault {
    state.sessions.forget(&session.id);
    if let Err(error) = state.meta.end_upload(&session.repository, &session.id).await {
        tracing::error!(%error, "the row of an ended upload stays");
    }
    fault
}

fn created(repository: &RepositoryName, digest: &Digest) -> Response {
    let stored = Request::ReadBlob { repository: repository.clone(), digest: *digest, head: false };
    Answer::new(StatusCode::CREATED).with(header::LOCATION, stored.target()).with_digest(digest).finish()
}

/// Why a body did not come whole.
enum Received {
    /// The client went away or fell silent; the upload holds what came.
    Cut(Box<Upload>, Fault),
    /// The upload is gone.
    Lost(Fault),
}

/// Writes a body to an upload. The next bytes are received while the last ones are hashed and written.
async fn receive(upload: Upload, body: Body, limit: u64, silence: Duration) -> Result<Upload, Received> {
    let mut stream = body.into_data_stream();
    let mut writing = append(upload, Bytes::new(), limit);
    loop {
        let mut buffer = BytesMut::new();
        let end = loop {
            match tokio::time::timeout(silence, stream.next()).await {
                Err(_) => break Some(Some(Fault::Silent { silence })),
                Ok(Some(Ok(chunk))) => {
                    buffer.extend_from_slice(&chunk);
                    if buffer.len() >= BUFFER {
                        break None;
                    }
                }
                Ok(Some(Err(source))) => break Some(Some(Fault::Cut { source })),
                Ok(None) => break Some(None),
            }
        };
        let written = |result: Result<Result<Upload, _>, _>| match result {
            Ok(Ok(upload)) => Ok(upload),
            Ok(Err(error)) => Err(Received::Lost(Fault::Blobs(error))),
            Err(_) => Err(Received::Lost(Fault::Inside)),
        };
        let upload = written(writing.await)?;
        writing = append(upload, buffer.freeze(), limit);
        match end {
            None => {}
            Some(None) => return written(writing.await),
            Some(Some(fault)) => return Err(Received::Cut(Box::new(written(writing.await)?), fault)),
        }
    }
}

fn append(
    upload: Upload,
    bytes: Bytes,
    limit: u64,
) -> tokio::task::JoinHandle<Result<Upload, registry_blobs::BlobError>> {
    tokio::task::spawn_blocking(
        move || if bytes.is_empty() { Ok(upload) } else { upload.append(&bytes, limit) },
    )
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use registry_blobs::BlobStore;
    use registry_meta::MetaStore;
    use tokio::{sync::Semaphore, time::sleep};

    use super::*;
    use crate::sessions::Sessions;

    const MOMENT: Duration = Duration::from_millis(5);

    /// What is said of an upload once nobody has it any more.
    async fn said(state: &Arc<State>, session: &Session) -> Option<StatusCode> {
        for _ in 0..400 {
            match status(state, session.clone()).await {
                Ok(answer) => return Some(answer.status()),
                Err(Fault::Refused { status: StatusCode::CONFLICT, .. }) => sleep(MOMENT).await,
                Err(Fault::Refused { status, .. }) => return Some(status),
                Err(other) => panic!("{other}"),
            }
        }
        None
    }

    #[tokio::test]
    async fn who_goes_away_leaves_no_upload_busy() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(State {
            blobs: BlobStore::open(folder.path()).unwrap(),
            meta: MetaStore::open(&folder.path().join("meta.sqlite")).await.unwrap(),
            sessions: Sessions::default(),
            uploads: Semaphore::new(1),
            upload_silence: MOMENT,
            blob_limit: 1,
        });
        // The client goes away at each point at which the request waits.
        for looks in 1..8 {
            for cancels in [false, true] {
                let session = begin(&state, "shop".parse().unwrap()).await.unwrap();
                // As after a restart: the upload has to be taken up from its file.
                state.sessions.forget(&session.id);
                let (state_of, asked) = (Arc::clone(&state), session.clone());
                let mut request = Box::pin(async move {
                    if cancels { cancel(&state_of, asked).await } else { status(&state_of, asked).await }
                });
                for _ in 0..looks {
                    if request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                        break;
                    }
                    sleep(MOMENT).await;
                }
                drop(request);
                let expected = if cancels { StatusCode::NOT_FOUND } else { StatusCode::NO_CONTENT };
                assert_eq!(said(&state, &session).await, Some(expected), "{looks} looks, cancels: {cancels}");
            }
        }
    }
}
