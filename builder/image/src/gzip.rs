//! The gzip encoder `gz1`.
//!
//! A sequence of gzip members (RFC 1952), each over at most 1 MiB of input, compressed by libdeflate at level 6.
//! The header of a member has no time, no name, and 255 for the system. Since the blocks are fixed, the bytes do not
//! depend on how many threads work.

use std::io::{self, Write};

use libdeflater::{CompressionLvl, Compressor, DecompressionError, Decompressor, crc32};
use rayon::prelude::*;

/// Name of this encoding.
pub const GZIP_ENCODER: &str = "gz1";

/// Most input of one member.
pub(crate) const BLOCK: usize = 1 << 20;
/// Blocks that are compressed at once.
const BATCH: usize = 8;
const LEVEL: i32 = 6;
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
const TRAILER: usize = 8;

/// Compresses what is written to it.
pub struct GzipEncoder<W> {
    out: W,
    pending: Vec<u8>,
    members: Vec<u32>,
}

impl<W: Write> GzipEncoder<W> {
    /// Writes members to `out`.
    pub fn new(out: W) -> Self {
        Self { out, pending: Vec::new(), members: Vec::new() }
    }

    fn compress_pending(&mut self) -> io::Result<()> {
        let packed: Vec<Vec<u8>> = self.pending.par_chunks(BLOCK).map(member).collect::<io::Result<_>>()?;
        self.pending.clear();
        for bytes in packed {
            self.out.write_all(&bytes)?;
            self.members.push(u32::try_from(bytes.len()).map_err(io::Error::other)?);
        }
        Ok(())
    }

    /// Compresses what is left; returns the writer and the length of each member. Nothing written gives no member.
    pub fn finish(mut self) -> io::Result<(W, Vec<u32>)> {
        self.compress_pending()?;
        Ok((self.out, self.members))
    }
}

impl<W: Write> Write for GzipEncoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK * BATCH - self.pending.len());
        self.pending.extend_from_slice(&bytes[..count]);
        if self.pending.len() == BLOCK * BATCH {
            self.compress_pending()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// One member over `input`, which is at most a block.
fn member(input: &[u8]) -> io::Result<Vec<u8>> {
    let level =
        CompressionLvl::new(LEVEL).map_err(|_| io::Error::other("the level is not one of libdeflate's"))?;
    let mut compressor = Compressor::new(level);
    let mut bytes = vec![0; HEADER.len() + compressor.deflate_compress_bound(input.len()) + TRAILER];
    bytes[..HEADER.len()].copy_from_slice(&HEADER);
    let length = compressor.deflate_compress(input, &mut bytes[HEADER.len()..]).map_err(io::Error::other)?;
    bytes.truncate(HEADER.len() + length);
    bytes.extend_from_slice(&crc32(input).to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(input.len()).map_err(io::Error::other)?.to_le_bytes());
    Ok(bytes)
}

/// Unpacks one member of this encoder. Its checksum is checked.
pub fn gunzip_member(packed: &[u8]) -> Result<Vec<u8>, DecompressionError> {
    let length = packed.last_chunk::<4>().map_or(0, |tail| u32::from_le_bytes(*tail) as usize);
    let mut bytes = vec![0; length.min(BLOCK)];
    let count = Decompressor::new().gzip_decompress(packed, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_member() {
        let bytes = member(b"hello hello hello hello\n").unwrap();
        let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        assert_eq!(
            hex,
            "1f8b08000000000000ff011800e7ff68656c6c6f2068656c6c6f2068656c6c6f2068656c6c6f0a0088590b18000000"
        );
        assert_eq!(gunzip_member(&bytes).unwrap(), b"hello hello hello hello\n");
    }

    #[test]
    fn damage_is_noticed() {
        let good = member(&[7; 5000]).unwrap();
        for at in [0, 12, good.len() - 8, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(gunzip_member(&bad).map_or(true, |bytes| bytes != [7; 5000]), "{at}");
        }
    }
}
