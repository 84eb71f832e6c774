//! Documents cut into pieces that fit into one object of the cluster.
//!
//! etcd takes requests of 1.5 MiB and a `ConfigMap` holds 1 MiB, so a document is stored as several immutable objects.
//! Each piece names the whole by digest: pieces of two documents never join, and a lost or changed piece is found.

use registry_wire::Digest;

/// Most bytes in one piece: under 1 MiB also as base64.
pub const CHUNK_LIMIT: usize = 720_000;

/// One piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Digest of the whole document.
    pub document: Digest,
    /// Place of the piece, from 0.
    pub index: usize,
    /// How many pieces there are.
    pub count: usize,
    /// The bytes of the piece.
    pub bytes: Vec<u8>,
}

/// Why pieces do not make the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// There is no piece at all.
    #[error("no piece of document {document} was found")]
    Empty {
        /// The wanted document.
        document: Digest,
    },
    /// A piece is missing, doubled or says another count.
    #[error("piece {index} of {count} of document {document} is missing or stands twice")]
    Missing {
        /// The wanted document.
        document: Digest,
        /// Place of the first piece that is wrong.
        index: usize,
        /// How many pieces there should be.
        count: usize,
    },
    /// The bytes are not those that were stored.
    #[error("the pieces of document {document} give {found}")]
    Changed {
        /// The wanted document.
        document: Digest,
        /// What the bytes hash to.
        found: Digest,
    },
}

/// Cuts a document into pieces of at most `limit` bytes; an empty document is one empty piece.
pub fn split(bytes: &[u8], limit: usize) -> Vec<Chunk> {
    let document = Digest::of(bytes);
    let limit = limit.max(1);
    let count = bytes.len().div_ceil(limit).max(1);
    (0..count)
        .map(|index| {
            let start = index * limit;
            let end = bytes.len().min(start + limit);
            Chunk { document, index, count, bytes: bytes[start..end].to_vec() }
        })
        .collect()
}

/// Joins the pieces of `document`, in any order; pieces of other documents are passed over.
pub fn join(document: Digest, chunks: &[Chunk]) -> Result<Vec<u8>, ChunkError> {
    let mut own: Vec<&Chunk> = chunks.iter().filter(|chunk| chunk.document == document).collect();
    own.sort_by_key(|chunk| chunk.index);
    let count = own.first().ok_or(ChunkError::Empty { document })?.count;
    for (index, chunk) in own.iter().enumerate() {
        if chunk.index != index || chunk.count != count {
            return Err(ChunkError::Missing { document, index, count });
        }
    }
    if own.len() != count {
        return Err(ChunkError::Missing { document, index: own.len(), count });
    }
    let bytes: Vec<u8> = own.iter().flat_map(|chunk| chunk.bytes.iter().copied()).collect();
    let found = Digest::of(&bytes);
    if found == document { Ok(bytes) } else { Err(ChunkError::Changed { document, found }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_limit_holds_as_base64() {
        assert!(CHUNK_LIMIT.div_ceil(3) * 4 < 1024 * 1024 - 64 * 1024);
    }

    #[test]
    fn lost_doubled_and_changed_pieces_are_found() {
        let chunks = split(b"0123456789", 4);
        let document = chunks[0].document;
        assert_eq!(chunks.len(), 3);
        assert_eq!(join(document, &[]), Err(ChunkError::Empty { document }));
        assert_eq!(join(document, &chunks[..2]), Err(ChunkError::Missing { document, index: 2, count: 3 }));
        assert_eq!(join(document, &chunks[1..]), Err(ChunkError::Missing { document, index: 0, count: 3 }));
        let mut doubled = chunks.clone();
        doubled.push(chunks[1].clone());
        assert_eq!(join(document, &doubled), Err(ChunkError::Missing { document, index: 2, count: 3 }));
        let mut changed = chunks.clone();
        changed[1].bytes[0] ^= 1;
        assert!(matches!(join(document, &changed), Err(ChunkError::Changed { .. })));
    }

    proptest! {
        #[test]
        fn pieces_join_in_any_order(bytes in prop::collection::vec(any::<u8>(), 0..4000), limit in 1_usize..900) {
            let mut chunks = split(&bytes, limit);
            prop_assert!(chunks.iter().all(|chunk| chunk.bytes.len() <= limit));
            chunks.reverse();
            chunks.extend(split(b"another document", 3));
            prop_assert_eq!(join(Digest::of(&bytes), &chunks), Ok(bytes));
        }
    }
}
