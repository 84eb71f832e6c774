//! Blobs: read and delete.

use std::io::SeekFrom;

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use registry_blobs::OpenBlob;
use registry_wire::{ByteRange, Digest, ErrorCode, ReadRange, RepositoryName};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::{
    answer::{Answer, blocking, text},
    fault::Fault,
    router::State,
};

/// Bytes that are read at once: with small ones, going to the blocking threads and back costs more than reading.
const BUFFER: usize = 256 * 1024;

pub(crate) async fn read(
    state: &State,
    repository: &RepositoryName,
    digest: Digest,
    head: bool,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    if !state.meta.has_blob(repository, &digest).await? {
        return Err(unknown(repository, &digest));
    }
    let blobs = state.blobs.clone();
    let Some(OpenBlob { file, size }) = blocking(move || blobs.open_blob(&digest)).await? else {
        // Saying so lets a client push it again, which repairs it.
        tracing::error!(%repository, %digest, "the file of a granted blob is missing");
        return Err(unknown(repository, &digest));
    };
    let range =
        text(headers, &header::RANGE).map_or(ReadRange::Whole, |range| ByteRange::of_read(range, size));
    let answer = |status| {
        Answer::new(status)
            .with_digest(&digest)
            .with(header::ACCEPT_RANGES, "bytes")
            .with(header::CONTENT_TYPE, "application/octet-stream")
    };
    if head {
        return Ok(answer(StatusCode::OK).with(header::CONTENT_LENGTH, size).finish());
    }
    let mut file = tokio::fs::File::from_std(file);
    match range {
        ReadRange::Whole => {
            let stream = ReaderStream::with_capacity(file, BUFFER);
            Ok(answer(StatusCode::OK).with(header::CONTENT_LENGTH, size).body(Body::from_stream(stream)))
        }
        ReadRange::Part(part) => {
            file.seek(SeekFrom::Start(part.first)).await.map_err(|error| {
                tracing::error!(%repository, %digest, %error, "cannot seek in a blob");
                Fault::Inside
            })?;
            let stream = ReaderStream::with_capacity(file.take(part.length()), BUFFER);
            Ok(answer(StatusCode::PARTIAL_CONTENT)
                .with(header::CONTENT_LENGTH, part.length())
                .with(header::CONTENT_RANGE, part.content_range(size))
                .body(Body::from_stream(stream)))
        }
        ReadRange::Unsatisfiable => Err(Fault::Refused {
            status: StatusCode::RANGE_NOT_SATISFIABLE,
            code: ErrorCode::RangeInvalid,
            message: format!("blob {digest} has {size} bytes"),
            headers: HeaderValue::try_from(format!("bytes */{size}"))
                .map(|value| (header::CONTENT_RANGE, value))
                .into_iter()
                .collect(),
        }),
    }
}

pub(crate) async fn delete(
    state: &State,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Response, Fault> {
    if state.meta.revoke_blob(repository, digest).await? {
        Ok(Answer::new(StatusCode::ACCEPTED).finish())
    } else {
        Err(unknown(repository, digest))
    }
}

fn unknown(repository: &RepositoryName, digest: &Digest) -> Fault {
    Fault::absent(ErrorCode::BlobUnknown, format!("repository {repository} has no blob {digest}"))
}
