//! The compressions that members of a `.deb` may have. All are unpacked as a stream.

use std::io::{BufReader, Read};

use liblzma::stream::{CONCATENATED, Stream};

/// Most memory that a decoder takes, whatever a header asks for. `xz -9`, the most that Debian uses, takes 65 MiB.
const MEMORY_LIMIT: u64 = 1 << MEMORY_LIMIT_LOG;
const MEMORY_LIMIT_LOG: u32 = 27;
const BUFFER: usize = 64 << 10;

/// Unpacked bytes for each packed one: more is a bomb. Of the reference platform's packages none has more than 71.
const RATIO_LIMIT: u64 = 1000;
/// Below this length no ratio is wrong.
const SMALL: u64 = 64 << 20;

/// How much may be unpacked of a member of that length.
pub(super) const fn unpacked_limit(packed: u64) -> u64 {
    let limit = packed.saturating_mul(RATIO_LIMIT);
    if limit < SMALL { SMALL } else { limit }
}

/// A reader of what `packed` holds. `suffix` is what follows `.tar` in the name of the member.
pub(super) fn reader<'a>(suffix: &str, packed: impl Read + 'a) -> Result<Box<dyn Read + 'a>, String> {
    match suffix {
        "" => Ok(Box::new(packed)),
        ".xz" => Stream::new_stream_decoder(MEMORY_LIMIT, CONCATENATED)
            .map(|stream| {
                Box::new(liblzma::read::XzDecoder::new_stream(packed, stream)) as Box<dyn Read + 'a>
            })
            .map_err(|error| error.to_string()),
        ".zst" => zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(BUFFER, packed))
            .and_then(|mut reader| reader.window_log_max(MEMORY_LIMIT_LOG).map(|()| reader))
            .map(|reader| Box::new(reader) as Box<dyn Read + 'a>)
            .map_err(|error| error.to_string()),
        ".gz" => Ok(Box::new(flate2::read::MultiGzDecoder::new(packed))),
        other => Err(format!("compression {other} is not known; gz, xz, zst and none are")),
    }
}
