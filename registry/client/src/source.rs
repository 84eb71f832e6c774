//! Where the bytes of an upload come from. A source can be opened again, so that an upload can be repeated.

use std::path::PathBuf;

use bytes::Bytes;
use futures_util::StreamExt as _;
use registry_wire::Digest;
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use crate::{ClientError, Progress};

/// Bytes that are moved at once.
const BUFFER: usize = 256 * 1024;

/// The bytes of a blob.
#[derive(Debug, Clone)]
pub enum BlobSource {
    /// In memory.
    Bytes(Bytes),
    /// In a file, which holds nothing else.
    File(PathBuf),
}

impl From<Vec<u8>> for BlobSource {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<PathBuf> for BlobSource {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl BlobSource {
    /// A body of exactly `size` bytes.
    pub(crate) async fn body(
        &self,
        digest: Digest,
        size: u64,
        progress: Option<Progress>,
    ) -> Result<reqwest::Body, ClientError> {
        let (found, body) = match self {
            Self::Bytes(bytes) => {
                let pieces: Vec<_> = bytes.chunks(BUFFER).map(|piece| bytes.slice_ref(piece)).collect();
                let stream = futures_util::stream::iter(pieces).map(move |piece| {
                    report(progress.as_ref(), &piece);
                    Ok::<_, std::io::Error>(piece)
                });
                (bytes.len() as u64, reqwest::Body::wrap_stream(stream))
            }
            Self::File(path) => {
                let failed = |source| ClientError::Source { path: path.clone(), source };
                let file = File::open(path).await.map_err(failed)?;
                let found = file.metadata().await.map_err(failed)?.len();
                let stream = ReaderStream::with_capacity(file, BUFFER)
                    .map(move |piece| piece.inspect(|piece| report(progress.as_ref(), piece)));
                (found, reqwest::Body::wrap_stream(stream))
            }
        };
        if found == size { Ok(body) } else { Err(ClientError::SourceSize { digest, expected: size, found }) }
    }
}

fn report(progress: Option<&Progress>, piece: &Bytes) {
    if let Some(progress) = progress {
        progress(piece.len() as u64);
    }
}
