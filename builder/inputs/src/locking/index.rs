//! Indices of packages: fetched by hash, kept by hash, unpacked within limits.

use std::io::Read as _;

use bundles_release::lock::{Component, SuiteName};
use registry_wire::Digest;

use super::{LockOptions, LockingError};
use crate::{
    cache::{CacheError, PackageCache},
    in_release::{InRelease, IndexFile},
    progress::Progress,
    transport::BaseUri,
};

/// Longest index as fetched.
const PACKED_LIMIT: u64 = 256 << 20;
/// Longest index unpacked.
const UNPACKED_LIMIT: u64 = 1 << 30;

/// An index, packed.
pub(super) struct Index {
    pub(super) component: Component,
    pub(super) file: IndexFile,
    pub(super) bytes: Vec<u8>,
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Other bytes than the Release vouches for.
    #[error("it is {found}, but the signed Release vouches for {expected}")]
    Hash {
        /// What the Release vouches for.
        expected: Digest,
        /// What arrived.
        found: Digest,
    },
    /// Longer than acceptable.
    #[error("it is longer than {limit} bytes")]
    Long {
        /// The limit.
        limit: u64,
    },
    /// The compressed form is damaged.
    #[error("it cannot be unpacked")]
    Unpack(#[source] std::io::Error),
    /// It cannot be kept unpacked.
    #[error("it cannot be kept unpacked")]
    Keep(#[source] Box<CacheError>),
    /// Not text.
    #[error("it is not text")]
    Encoding(#[source] std::string::FromUtf8Error),
}

/// Brings an index from the cache, or from where its Release is.
pub(super) async fn bring(
    options: &LockOptions<'_>,
    suite: &SuiteName,
    base: Option<&BaseUri>,
    release: &InRelease,
    component: &Component,
    file: IndexFile,
    progress: &dyn Progress,
) -> Result<Index, LockingError> {
    let path = || file.path.to_string();
    let unusable = |source| LockingError::Index { suite: suite.clone(), path: path(), source };
    if file.size > PACKED_LIMIT {
        return Err(unusable(IndexError::Long { limit: PACKED_LIMIT }));
    }
    match options.cache.read(&file.digest, file.size) {
        Ok(Some(bytes)) => return Ok(Index { component: component.clone(), file, bytes }),
        Ok(None) => {}
        Err(CacheError::Damaged { .. }) => {
            progress.note(&format!("{} of suite {suite} in the cache is damaged: fetched again", file.path));
        }
        Err(error) => return Err(LockingError::Cache(error)),
    }
    let gone = || LockingError::IndexGone { suite: suite.clone(), path: path() };
    let base = base.ok_or_else(gone)?;
    let plain = format!("dists/{suite}/{}", file.path);
    let by_hash =
        plain.rsplit_once('/').map(|(folder, _)| format!("{folder}/by-hash/SHA256/{}", file.digest.hex()));
    let by_hash = by_hash.filter(|_| release.by_hash);
    progress.begin(1, file.size);
    let mut arrived = None;
    for path in by_hash.iter().chain([&plain]) {
        let bytes = options.transport.get(base, path, file.size).await;
        arrived = bytes.map_err(|source| LockingError::Transport {
            suite: suite.clone(),
            what: file.path.to_string(),
            source,
        })?;
        if arrived.is_some() {
            break;
        }
    }
    let bytes = arrived.ok_or_else(gone)?;
    let found = Digest::of(&bytes);
    if found != file.digest {
        return Err(unusable(IndexError::Hash { expected: file.digest, found }));
    }
    progress.advance(file.size);
    progress.done(&plain);
    options.cache.write(&bytes).map_err(LockingError::Cache)?;
    Ok(Index { component: component.clone(), file, bytes })
}

impl Index {
    /// The text of the index: as it was unpacked before, if the Release says which text that is, or unpacked now and
    /// kept. What is damaged is made anew.
    pub(super) fn text(&self, cache: &PackageCache) -> Result<String, IndexError> {
        let Some((digest, size)) = self.file.unpacked else { return self.unpack() };
        if let Ok(Some(bytes)) = cache.read(&digest, size) {
            return String::from_utf8(bytes).map_err(IndexError::Encoding);
        }
        let text = self.unpack()?;
        cache.write(text.as_bytes()).map_err(|source| IndexError::Keep(Box::new(source)))?;
        Ok(text)
    }

    fn unpack(&self) -> Result<String, IndexError> {
        let expected = self.file.unpacked;
        let limit = expected.map_or(UNPACKED_LIMIT, |(_, size)| size.min(UNPACKED_LIMIT));
        let path = self.file.path.as_str();
        let mut text = Vec::with_capacity(usize::try_from(expected.map_or(0, |_| limit)).unwrap_or(0));
        let read = match path.rsplit_once('.').map(|(_, ending)| ending) {
            Some("xz") => {
                let decoder = liblzma::read::XzDecoder::new_multi_decoder(self.bytes.as_slice());
                decoder.take(limit + 1).read_to_end(&mut text)
            }
            Some("zst") => zstd::stream::read::Decoder::new(self.bytes.as_slice())
                .and_then(|decoder| decoder.take(limit + 1).read_to_end(&mut text)),
            Some("gz") => {
                // The length stands at the end too, for where the Release does not tell it (RFC 1952, section 2.3.1).
                let ending =
                    self.bytes.last_chunk().map_or(0, |ending| u64::from(u32::from_le_bytes(*ending)));
                let length = expected.map_or(ending.min(limit), |_| limit);
                text.resize(usize::try_from(length).unwrap_or(0), 0);
                let unpacked = libdeflater::Decompressor::new().gzip_decompress(&self.bytes, &mut text);
                unpacked
                    .map(|length| text.truncate(length))
                    .map(|()| text.len())
                    .map_err(std::io::Error::other)
            }
            _ => self.bytes.as_slice().take(limit + 1).read_to_end(&mut text),
        };
        read.map_err(IndexError::Unpack)?;
        if text.len() as u64 > limit {
            return Err(IndexError::Long { limit });
        }
        // The packed bytes were vouched for; this shows a decoder that is wrong.
        if let Some((expected, _)) = expected {
            let found = Digest::of(&text);
            if found != expected {
                return Err(IndexError::Hash { expected, found });
            }
        }
        String::from_utf8(text).map_err(IndexError::Encoding)
    }
}
