//! The tar encoder `tar1`.
//!
//! POSIX ustar, PAX records only where ustar cannot hold a value. Names are relative without `./`, directories end in
//! `/`, ids are numbers and names of users are empty, times are whole seconds, the archive ends in exactly two zero
//! blocks. The root is not written.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
};

use builder_tree::{Capabilities, Content, Entry, Kind, PayloadError, Payloads, TreePath};

/// Name of this encoding.
pub const TAR_ENCODER: &str = "tar1";

/// The end of every archive.
pub const END: [u8; 1024] = [0; 1024];

const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;
/// Largest number of seven octal digits.
const ID_LIMIT: u32 = 0o7_777_777;
/// Largest number of eleven octal digits.
const SIZE_LIMIT: u64 = 0o77_777_777_777;
/// Constant, so that no process id enters.
const PAX_NAME: &str = "PaxHeaders/record";
/// Where tar keeps extended attributes (star(4)).
const CAPABILITY: &str = "SCHILY.xattr.security.capability";

/// Why entries cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A content cannot be read, or the bytes cannot be written.
    #[error("cannot encode {path}")]
    Content {
        /// The path.
        path: TreePath,
        /// Why.
        source: PayloadError,
    },
    /// The bytes cannot be written.
    #[error("cannot write an archive")]
    Write(#[source] io::Error),
}

/// Writes `entries`, which are in the order of their paths, without an end. Of files with one content and several
/// names the first carries the bytes and the capabilities, the others are hard links to it.
pub fn encode_segment(
    entries: &[(TreePath, Entry)],
    capabilities: &BTreeMap<TreePath, Capabilities>,
    payloads: &Payloads,
    out: &mut dyn Write,
) -> Result<u64, EncodeError> {
    let mut written = 0;
    let mut first_names: HashMap<&Content, (&TreePath, &Entry)> = HashMap::new();
    for (path, entry) in entries.iter().filter(|(path, _)| !path.is_root()) {
        let mut link = None;
        if let Kind::File { content, linked: true } = &entry.kind {
            match first_names.get(content) {
                Some((first, other)) if *other == entry => link = Some(*first),
                Some(_) => {}
                None => {
                    first_names.insert(content, (path, entry));
                }
            }
        }
        let form = match (&entry.kind, link) {
            (_, Some(first)) => Form::HardLink(first.as_str()),
            (Kind::Directory, None) => Form::Directory,
            (Kind::Symlink(target), None) => Form::Symlink(target),
            (Kind::File { content, .. }, None) => Form::File(content.length()),
        };
        let Entry { mode, uid, gid, mtime, .. } = *entry;
        let capabilities = if link.is_none() { capabilities.get(path) } else { None };
        let header = Header { path: path.as_str(), form, mode, uid, gid, mtime, capabilities }.encode();
        out.write_all(&header).map_err(EncodeError::Write)?;
        written += header.len() as u64;
        if let (Kind::File { content, .. }, None) = (&entry.kind, link) {
            let in_content = |source| EncodeError::Content { path: path.clone(), source };
            payloads.copy(content, out).map_err(in_content)?;
            let zeros = padding(content.length());
            out.write_all(&END[..usize::try_from(zeros).unwrap_or_default()]).map_err(EncodeError::Write)?;
            written += content.length() + zeros;
        }
    }
    Ok(written)
}

/// What a header announces.
#[derive(Debug, Clone, Copy)]
enum Form<'a> {
    /// A directory.
    Directory,
    /// A file of that length.
    File(u64),
    /// A symbolic link to that target.
    Symlink(&'a str),
    /// One more name of the file at that path.
    HardLink(&'a str),
}

/// One entry of an archive, without its content.
#[derive(Debug, Clone, Copy)]
struct Header<'a> {
    path: &'a str,
    form: Form<'a>,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: i64,
    capabilities: Option<&'a Capabilities>,
}

/// Zeros after a content of that length.
const fn padding(length: u64) -> u64 {
    (BLOCK as u64 - length % BLOCK as u64) % BLOCK as u64
}

impl Header<'_> {
    /// Its blocks.
    fn encode(&self) -> Vec<u8> {
        let (kind, size, link) = match self.form {
            Form::HardLink(first) => (b'1', 0, first),
            Form::File(length) => (b'0', length, ""),
            Form::Symlink(target) => (b'2', 0, target),
            Form::Directory => (b'5', 0, ""),
        };
        let mut name = self.path.to_owned();
        if kind == b'5' {
            name.push('/');
        }
        let mut records: Vec<(&str, Vec<u8>)> = Vec::new();
        if let Some(capabilities) = self.capabilities {
            records.push((CAPABILITY, capabilities.attribute().into()));
        }
        if self.gid > ID_LIMIT {
            records.push(("gid", self.gid.to_string().into()));
        }
        if link.len() > NAME || !link.is_ascii() {
            records.push(("linkpath", link.to_owned().into()));
        }
        let split = split_name(&name);
        if split.is_none() {
            records.push(("path", name.clone().into()));
        }
        if size > SIZE_LIMIT {
            records.push(("size", size.to_string().into()));
        }
        if self.uid > ID_LIMIT {
            records.push(("uid", self.uid.to_string().into()));
        }
        let mut bytes = Vec::with_capacity(BLOCK);
        if !records.is_empty() {
            let body: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
            let fields = Fields { kind: b'x', size: body.len() as u64, mode: 0o644, ..Fields::default() };
            bytes.extend_from_slice(&block(PAX_NAME, "", "", &fields));
            bytes.extend_from_slice(&body);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        let fields = Fields {
            kind,
            size: if size > SIZE_LIMIT { 0 } else { size },
            mode: self.mode & 0o7777,
            uid: if self.uid > ID_LIMIT { 0 } else { self.uid },
            gid: if self.gid > ID_LIMIT { 0 } else { self.gid },
            mtime: u64::try_from(self.mtime).unwrap_or(0).min(SIZE_LIMIT),
        };
        let (prefix, short) = split.unwrap_or(("", ascii_prefix(&name)));
        bytes.extend_from_slice(&block(short, prefix, ascii_prefix(link), &fields));
        bytes
    }
}

/// Prefix and name as ustar holds them; nothing if it cannot hold them.
fn split_name(name: &str) -> Option<(&str, &str)> {
    if !name.is_ascii() {
        return None;
    }
    if name.len() <= NAME {
        return Some(("", name));
    }
    // The longest prefix that fits decides, so that there is one way only.
    let end = name.len().min(PREFIX + 1);
    let slash = name[..end].rfind('/').filter(|at| *at > 0 && at + 1 < name.len())?;
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    (rest.len() <= NAME && prefix.len() <= PREFIX).then_some((prefix, rest))
}

/// What a reader without PAX sees of a name that ustar cannot hold.
fn ascii_prefix(name: &str) -> &str {
    let end = name.bytes().take(NAME).take_while(u8::is_ascii).count();
    &name[..end]
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

#[derive(Default)]
struct Fields {
    kind: u8,
    size: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: u64,
}

fn block(name: &str, prefix: &str, link: &str, fields: &Fields) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{:07o}\0", fields.mode).as_bytes());
    put(108, format!("{:07o}\0", fields.uid).as_bytes());
    put(116, format!("{:07o}\0", fields.gid).as_bytes());
    put(124, format!("{:011o}\0", fields.size).as_bytes());
    put(136, format!("{:011o}\0", fields.mtime).as_bytes());
    put(148, b"        ");
    put(156, &[fields.kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    put(345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(path: &'a str, form: Form<'a>) -> Header<'a> {
        Header { path, form, mode: 0o755, uid: 0, gid: 0, mtime: 1_700_000_000, capabilities: None }
    }

    #[test]
    fn golden_header() {
        let bytes = header("usr/bin", Form::Directory).encode();
        let mut expected = vec![0; 512];
        let fields: [(usize, &[u8]); 12] = [
            (0, b"usr/bin/"),
            (100, b"0000755\0"),
            (108, b"0000000\0"),
            (116, b"0000000\0"),
            (124, b"00000000000\0"),
            (136, b"14524770400\0"),
            (148, b"010572\0 "),
            (156, b"5"),
            (257, b"ustar\0"),
            (263, b"00"),
            (329, b"0000000\0"),
            (337, b"0000000\0"),
        ];
        for (at, field) in fields {
            expected[at..at + field.len()].copy_from_slice(field);
        }
        assert_eq!(bytes[..148], expected[..148]);
        assert_eq!(bytes[156..], expected[156..]);
        let sum: u32 = expected.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let without: u32 = expected[148..156].iter().map(|byte| u32::from(*byte)).sum();
        assert_eq!(&bytes[148..154], format!("{:06o}", sum - without + 8 * 32).as_bytes());
    }

    #[test]
    fn extensions_only_where_they_are_needed() {
        let long = format!("{}/{}", "a".repeat(150), "b".repeat(100));
        let longer = "c".repeat(101);
        for (path, form, blocks) in [
            ("short", Form::File(3), 1),
            (long.as_str(), Form::File(3), 1),
            (longer.as_str(), Form::File(3), 3),
            ("ä", Form::File(3), 3),
            ("a", Form::Symlink(longer.as_str()), 3),
            ("a", Form::File(SIZE_LIMIT), 1),
            ("a", Form::File(SIZE_LIMIT + 1), 3),
        ] {
            assert_eq!(header(path, form).encode().len(), 512 * blocks, "{path}");
        }
        let ids = Header { uid: ID_LIMIT + 1, gid: ID_LIMIT + 2, ..header("a", Form::Directory) }.encode();
        assert!(ids[512..].starts_with(b"15 gid=2097153\n15 uid=2097152\n"));
    }

    #[test]
    fn records_count_themselves() {
        assert_eq!(record("path", &[b'x'; 88]).len(), 97);
        assert_eq!(record("path", &[b'x'; 91]).len(), 101);
        for length in 80..120 {
            let record = String::from_utf8(record("path", &vec![b'x'; length])).unwrap();
            assert_eq!(record.split(' ').next().unwrap().parse::<usize>().unwrap(), record.len());
        }
    }
}
