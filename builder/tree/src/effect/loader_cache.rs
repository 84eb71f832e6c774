//! The file /etc/ld.so.cache in glibc's new format (glibc, sysdeps/generic/dl-cache.h), without extensions.

use std::{cmp::Ordering, iter::Peekable, str::Bytes};

/// A library as the loader finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Library {
    /// What programs ask for.
    pub(super) name: String,
    /// Where it is.
    pub(super) path: String,
    /// For which machine it is.
    pub(super) flags: u32,
}

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
const LITTLE_ENDIAN: u8 = 2;

/// The flags of libraries for that machine (`e_machine`): libc 6, and the processor's own.
pub(super) const fn flags_of_machine(machine: u64) -> Option<u32> {
    match machine {
        62 => Some(0x0303),
        183 => Some(0x0a03),
        _ => None,
    }
}

/// Writes the cache. The first of several libraries of one name wins.
pub(super) fn encode(mut libraries: Vec<Library>) -> Vec<u8> {
    // glibc searches by bisection in this order: descending, numbers by value.
    libraries
        .sort_by(|left, right| order(&right.name, &left.name).then_with(|| right.flags.cmp(&left.flags)));
    let strings_start = HEADER + ENTRY * libraries.len();
    let mut strings = Vec::new();
    let mut entries = Vec::new();
    let word = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    for library in &libraries {
        // The name is the end of the path, so one string serves both.
        let path = strings_start + strings.len();
        strings.extend_from_slice(library.path.as_bytes());
        strings.push(0);
        let name = path + library.path.len() - library.name.len();
        entries.extend_from_slice(&library.flags.to_le_bytes());
        entries.extend_from_slice(&word(name));
        entries.extend_from_slice(&word(path));
        entries.extend_from_slice(&[0; 12]);
    }
    let mut bytes = Vec::with_capacity(strings_start + strings.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&word(libraries.len()));
    bytes.extend_from_slice(&word(strings.len()));
    bytes.push(LITTLE_ENDIAN);
    bytes.resize(HEADER, 0);
    bytes.extend_from_slice(&entries);
    bytes.extend_from_slice(&strings);
    bytes
}

/// The order of `_dl_cache_libcmp`: runs of digits compare as numbers and stand after other characters.
fn order(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.bytes().peekable(), right.bytes().peekable());
    loop {
        match (left.peek().copied(), right.peek().copied()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(one), Some(other)) => match (one.is_ascii_digit(), other.is_ascii_digit()) {
                (true, true) => match run(&mut left).cmp(&run(&mut right)) {
                    Ordering::Equal => {}
                    unequal => return unequal,
                },
                (true, false) => return Ordering::Greater,
                (false, true) => return Ordering::Less,
                (false, false) if one != other => return one.cmp(&other),
                (false, false) => {
                    left.next();
                    right.next();
                }
            },
        }
    }
}

fn run(bytes: &mut Peekable<Bytes<'_>>) -> u64 {
    let mut value = 0_u64;
    while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_value() {
        for (left, right, expected) in [
            ("libc.so.6", "libc.so.6", Ordering::Equal),
            ("libc.so.10", "libc.so.6", Ordering::Greater),
            ("libc.so", "libc.so.6", Ordering::Less),
            ("liba1.so", "libaa.so", Ordering::Greater),
            ("liba.so", "libb.so", Ordering::Less),
        ] {
            assert_eq!(order(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn golden() {
        let library = |name: &str| Library { name: name.into(), path: format!("/lib/{name}"), flags: 0x0303 };
        let bytes = encode(vec![library("liba.so.1"), library("libb.so.2")]);
        assert_eq!(bytes.len(), 48 + 2 * 24 + 2 * 15);
        assert!(bytes.starts_with(b"glibc-ld.so.cache1.1\x02\0\0\0\x1e\0\0\0\x02\0\0\0"));
        assert_eq!(&bytes[96..], b"/lib/libb.so.2\0/lib/liba.so.1\0");
        assert_eq!(&bytes[48..60], b"\x03\x03\0\0\x65\0\0\0\x60\0\0\0");
    }
}
