//! Byte ranges: of a read (RFC 9110) and of an upload's chunk (the distribution specification's own form).

use std::{fmt, str::FromStr};

/// Bytes from `first` to `last`, both counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte.
    pub last: u64,
}

impl ByteRange {
    /// Number of bytes.
    pub const fn length(self) -> u64 {
        self.last - self.first + 1
    }

    /// What a `Range` header asks of content of `size` bytes.
    pub fn of_read(header: &str, size: u64) -> ReadRange {
        let Some(range) = header.trim().strip_prefix("bytes=") else { return ReadRange::Whole };
        let Some((first, last)) = range.split_once('-') else { return ReadRange::Whole };
        let range = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => {
                Self { first, last: last.min(size.saturating_sub(1)) }
            }
            (Some(first), None) if last.is_empty() => Self { first, last: size.saturating_sub(1) },
            (None, Some(length)) if first.is_empty() => {
                if length == 0 {
                    return ReadRange::Unsatisfiable;
                }
                Self { first: size.saturating_sub(length), last: size.saturating_sub(1) }
            }
            // Several ranges, or a header that cannot be read: RFC 9110 lets the whole be served.
            _ => return ReadRange::Whole,
        };
        if range.first >= size { ReadRange::Unsatisfiable } else { ReadRange::Part(range) }
    }

    /// The `Content-Range` of an answer: `bytes FIRST-LAST/SIZE`.
    pub fn content_range(self, size: u64) -> String {
        format!("bytes {self}/{size}")
    }

    /// Reads the `Content-Range` of an answer.
    pub fn from_content_range(header: &str) -> Option<Self> {
        header.strip_prefix("bytes ")?.split_once('/')?.0.parse().ok()
    }
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// What a read covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadRange {
    /// Everything.
    Whole,
    /// A part.
    Part(ByteRange),
    /// Nothing that is there.
    Unsatisfiable,
}

/// A text that is not of the form `FIRST-LAST`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a range of the form FIRST-LAST")]
pub struct ByteRangeError {
    text: String,
}

impl FromStr for ByteRange {
    type Err = ByteRangeError;

    fn from_str(text: &str) -> Result<Self, ByteRangeError> {
        let parse = || {
            let (first, last) = text.split_once('-')?;
            let range = Self { first: number(first)?, last: number(last)? };
            (range.first <= range.last && range.last < u64::MAX).then_some(range)
        };
        parse().ok_or_else(|| ByteRangeError { text: text.to_owned() })
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        let part = |first, last| ReadRange::Part(ByteRange { first, last });
        for (header, size, expected) in [
            ("bytes=0-9", 100, part(0, 9)),
            ("bytes=0-0", 1, part(0, 0)),
            ("bytes=90-", 100, part(90, 99)),
            ("bytes=90-1000", 100, part(90, 99)),
            ("bytes=-10", 100, part(90, 99)),
            ("bytes=-1000", 100, part(0, 99)),
            ("bytes=100-", 100, ReadRange::Unsatisfiable),
            ("bytes=100-200", 100, ReadRange::Unsatisfiable),
            ("bytes=-0", 100, ReadRange::Unsatisfiable),
            ("bytes=0-", 0, ReadRange::Unsatisfiable),
            ("bytes=-1", 0, ReadRange::Unsatisfiable),
            ("bytes=9-0", 100, ReadRange::Whole),
            ("bytes=0-1,3-4", 100, ReadRange::Whole),
            ("bytes=+1-2", 100, ReadRange::Whole),
            ("bytes=-", 100, ReadRange::Whole),
            ("lines=0-1", 100, ReadRange::Whole),
            ("0-1", 100, ReadRange::Whole),
        ] {
            assert_eq!(ByteRange::of_read(header, size), expected, "{header} of {size}");
        }
    }

    #[test]
    fn chunks() {
        for good in ["0-0", "0-99", "100-199"] {
            assert_eq!(good.parse::<ByteRange>().unwrap().to_string(), good);
        }
        for bad in ["", "-", "1", "1-", "-1", "2-1", "bytes=0-1", "0-1/2", "+0-1", "0-18446744073709551615"] {
            assert!(bad.parse::<ByteRange>().is_err(), "{bad}");
        }
        let range = ByteRange { first: 5, last: 9 };
        assert_eq!(ByteRange::from_content_range(&range.content_range(10)), Some(range));
        assert_eq!(ByteRange::from_content_range("bytes */10"), None);
    }
}
