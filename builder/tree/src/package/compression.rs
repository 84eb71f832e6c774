//! The compressions that members of a `.deb` may have.

use std::io::{self, BufReader, Cursor, Read};

/// Longest gzip member that is read, packed and unpacked. Debian's archives have none of any size today.
const GZIP_LIMIT: usize = 128 << 20;
const BUFFER: usize = 64 << 10;

/// A reader of what `packed` holds. `suffix` is what follows `.tar` in the name of the member.
pub(super) fn reader<'a>(suffix: &str, packed: impl Read + 'a) -> Result<Box<dyn Read + 'a>, String> {
    match suffix {
        "" => Ok(Box::new(packed)),
        ".xz" => Ok(Box::new(liblzma::read::XzDecoder::new_multi_decoder(packed))),
        ".zst" => zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(BUFFER, packed))
            .map(|reader| Box::new(reader) as Box<dyn Read + 'a>)
            .map_err(|error| error.to_string()),
        ".gz" => gunzip(packed).map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Read + 'a>),
        other => Err(format!("compression {other} is not known; gz, xz, zst and none are")),
    }
}

/// The last four bytes of gzip say how long the content is, so that one call unpacks it.
fn gunzip(packed: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    packed
        .take(GZIP_LIMIT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error: io::Error| error.to_string())?;
    let Some(length) = bytes.last_chunk::<4>().map(|tail| u32::from_le_bytes(*tail) as usize) else {
        return Err("it is too short for gzip".to_owned());
    };
    if bytes.len() > GZIP_LIMIT || length > GZIP_LIMIT {
        return Err(format!("it is longer than {GZIP_LIMIT} bytes"));
    }
    let mut unpacked = vec![0; length];
    let count = libdeflater::Decompressor::new()
        .gzip_decompress(&bytes, &mut unpacked)
        .map_err(|error| error.to_string())?;
    unpacked.truncate(count);
    Ok(unpacked)
}
