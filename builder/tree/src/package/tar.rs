//! A small reader of tar as dpkg takes it: ustar with GNU long names, no PAX headers. Everything that it reads passes to
//! a writer too, so that the offsets it reports are offsets in what was written.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read, Write},
};

use super::{MemberKind, PackageMember, error::Fault};
use crate::TreePath;

const BLOCK: usize = 512;
/// Longest long name.
const EXTENSION_LIMIT: u64 = 1 << 20;
/// Most members of an archive.
const MEMBER_LIMIT: usize = 1 << 20;
const CHUNK: usize = 128 << 10;

/// What a header announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HeaderKind {
    Directory,
    File,
    Symlink(String),
    HardLink(TreePath),
}

/// One header, its extensions applied.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) path: TreePath,
    pub(super) kind: HeaderKind,
    pub(super) size: u64,
    pub(super) mode: u32,
    uid: u32,
    gid: u32,
    user: String,
    group: String,
    mtime: i64,
}

/// Reads headers and contents in turn.
pub(super) struct Reader<'a, R> {
    source: R,
    copy: &'a mut dyn Write,
    /// Bytes read so far.
    offset: u64,
    limit: u64,
    members: usize,
    buffer: Vec<u8>,
}

#[derive(Default)]
struct Extensions {
    path: Option<String>,
    link: Option<String>,
}

impl<'a, R: Read> Reader<'a, R> {
    pub(super) fn new(source: R, copy: &'a mut dyn Write, limit: u64) -> Self {
        Self { source, copy, offset: 0, limit, members: 0, buffer: vec![0; CHUNK] }
    }

    /// Reads exactly `length` bytes and hands them to `take` part by part.
    fn pass(&mut self, length: u64, mut take: impl FnMut(&[u8])) -> Result<(), Fault> {
        if length > self.limit - self.offset {
            return Err(self.too_long());
        }
        let mut left = length;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            self.source
                .read_exact(&mut self.buffer[..part])
                .map_err(|error| Fault::archive(format!("it cannot be read to its end: {error}")))?;
            self.copy.write_all(&self.buffer[..part]).map_err(Fault::Write)?;
            take(&self.buffer[..part]);
            left -= part as u64;
        }
        self.offset += length;
        Ok(())
    }

    fn too_long(&self) -> Fault {
        Fault::archive(format!("it holds more than {} bytes, or says that it does", self.limit))
    }

    /// Reads the content of the member whose header came last.
    pub(super) fn read_content(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        self.pass(size, |part| bytes.extend_from_slice(part))?;
        self.pass(padding(size), |_| {})?;
        Ok(bytes)
    }

    /// Passes over the content of the member whose header came last; says where it started.
    fn skip_content(&mut self, size: u64) -> Result<u64, Fault> {
        let offset = self.offset;
        self.pass(size, |_| {})?;
        self.pass(padding(size), |_| {})?;
        Ok(offset)
    }

    /// The next header; nothing at the end of the archive, after which all is read.
    pub(super) fn next_header(&mut self) -> Result<Option<Header>, Fault> {
        let mut extensions = Extensions::default();
        loop {
            let mut block = [0; BLOCK];
            let mut filled = 0;
            self.pass(BLOCK as u64, |part| {
                block[filled..filled + part.len()].copy_from_slice(part);
                filled += part.len();
            })?;
            if block.iter().all(|byte| *byte == 0) {
                if extensions.path.is_some() || extensions.link.is_some() {
                    return Err(Fault::archive("a long name belongs to no member"));
                }
                return self.drain().map(|()| None);
            }
            self.members += 1;
            if self.members > MEMBER_LIMIT {
                return Err(Fault::archive(format!("it has more than {MEMBER_LIMIT} members")));
            }
            check_sum(&block)?;
            let size = number(&block[124..136], "size")?;
            match block[156] {
                b'L' => extensions.path = Some(self.extension_text(size)?),
                b'K' => extensions.link = Some(self.extension_text(size)?),
                // A reader that knows them sees other paths and sizes than one that does not.
                b'x' | b'g' => return Err(Fault::archive("it has a PAX header, which dpkg refuses too")),
                kind => return header(&block, kind, size, extensions).map(Some),
            }
        }
    }

    fn extension_text(&mut self, size: u64) -> Result<String, Fault> {
        if size > EXTENSION_LIMIT {
            return Err(Fault::archive(format!("a long name is longer than {EXTENSION_LIMIT} bytes")));
        }
        let bytes = self.read_content(size)?;
        text(&bytes, "long name")
    }

    /// After the first zero block nothing but zeros may follow.
    fn drain(&mut self) -> Result<(), Fault> {
        loop {
            let count = match self.source.read(&mut self.buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Fault::archive(format!("it cannot be read to its end: {error}")));
                }
            };
            if self.buffer[..count].iter().any(|byte| *byte != 0) {
                return Err(Fault::archive("something follows its end"));
            }
            self.offset += count as u64;
            if self.offset > self.limit {
                return Err(self.too_long());
            }
        }
    }
}

/// Reads all members of a data archive.
pub(super) fn members<R: Read>(tar: &mut Reader<'_, R>) -> Result<Vec<PackageMember>, Fault> {
    let mut members: Vec<PackageMember> = Vec::new();
    let mut places = Places::default();
    while let Some(header) = tar.next_header()? {
        places.take(&header)?;
        let kind = match header.kind {
            HeaderKind::Directory => MemberKind::Directory,
            HeaderKind::Symlink(target) => MemberKind::Symlink(target),
            HeaderKind::HardLink(target) => MemberKind::HardLink(target),
            HeaderKind::File => {
                let offset = tar.skip_content(header.size)?;
                MemberKind::File { offset, length: header.size }
            }
        };
        members.push(PackageMember {
            path: header.path,
            kind,
            mode: header.mode,
            uid: header.uid,
            gid: header.gid,
            user: header.user,
            group: header.group,
            mtime: header.mtime,
        });
    }
    Ok(members)
}

/// The paths that an archive has named so far. An archive that was made of a directory names each path once, and
/// nothing below what is no directory; one that does otherwise means to lead somebody astray.
#[derive(Default)]
struct Places {
    taken: HashMap<TreePath, Taken>,
    /// Paths with something below them.
    parents: HashSet<TreePath>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Directory,
    File,
    Symlink,
}

impl Places {
    fn take(&mut self, header: &Header) -> Result<(), Fault> {
        let fault = |reason: String| Err(Fault::member(header.path.to_string(), reason));
        let taken = match &header.kind {
            HeaderKind::Directory => Taken::Directory,
            HeaderKind::Symlink(_) => Taken::Symlink,
            HeaderKind::File => Taken::File,
            HeaderKind::HardLink(target) if self.taken.get(target) == Some(&Taken::File) => Taken::File,
            HeaderKind::HardLink(target) => {
                return fault(format!(
                    "it is a hard link to {target}, which is no file that comes before it"
                ));
            }
        };
        let mut above = header.path.parent();
        while let Some(parent) = above {
            match self.taken.get(&parent) {
                Some(Taken::Symlink) => {
                    return fault(format!("it goes through {parent}, a symbolic link of the same package"));
                }
                Some(Taken::File) => {
                    return fault(format!("it is below {parent}, a file of the same package"));
                }
                Some(Taken::Directory) | None => {}
            }
            above = parent.parent();
            if !self.parents.insert(parent) {
                break;
            }
        }
        if taken != Taken::Directory && self.parents.contains(&header.path) {
            return fault("it is no directory, and something is below it".to_owned());
        }
        match self.taken.insert(header.path.clone(), taken) {
            Some(Taken::Directory) if taken == Taken::Directory => Ok(()),
            Some(_) => fault("it is there twice".to_owned()),
            None => Ok(()),
        }
    }
}

const fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn header(block: &[u8; BLOCK], kind: u8, size: u64, extensions: Extensions) -> Result<Header, Fault> {
    let raw_path = if let Some(path) = extensions.path {
        path
    } else {
        let name = text(&block[..100], "name")?;
        let is_ustar = &block[257..263] == b"ustar\0";
        let prefix = if is_ustar { text(&block[345..500], "prefix")? } else { String::new() };
        if prefix.is_empty() { name } else { format!("{prefix}/{name}") }
    };
    let fault = |reason: String| Fault::member(raw_path.escape_debug().to_string(), reason);
    let path: TreePath = raw_path.parse().map_err(|error: crate::TreePathError| fault(error.to_string()))?;
    let link = match extensions.link {
        Some(link) => link,
        None => text(&block[157..257], "link target")?,
    };
    let (kind, size) = match kind {
        b'0' | 0 if raw_path.ends_with('/') => (HeaderKind::Directory, 0),
        b'0' | 0 | b'7' => (HeaderKind::File, size),
        b'1' => {
            let target = link.parse().map_err(|error: crate::TreePathError| fault(error.to_string()))?;
            (HeaderKind::HardLink(target), 0)
        }
        b'2' if link.is_empty() || link.len() > 4095 || link.chars().any(char::is_control) => {
            return Err(fault("its link target is empty, too long or holds control characters".to_owned()));
        }
        b'2' => (HeaderKind::Symlink(link), 0),
        b'5' => (HeaderKind::Directory, 0),
        b'3' | b'4' | b'6' => {
            return Err(fault("it is a device or a pipe, which images do not hold".to_owned()));
        }
        other => return Err(fault(format!("type {} is not known", other.escape_ascii()))),
    };
    if path.is_root() && kind != HeaderKind::Directory {
        return Err(fault("the root must be a directory".to_owned()));
    }
    let id = |range, what| {
        u32::try_from(number(&block[range], what)?).map_err(|_| fault(format!("its {what} is too large")))
    };
    Ok(Header {
        mode: u32::try_from(number(&block[100..108], "mode")? & 0o7777).unwrap_or_default(),
        uid: id(108..116, "user")?,
        gid: id(116..124, "group")?,
        user: text(&block[265..297], "user name")?,
        group: text(&block[297..329], "group name")?,
        mtime: i64::try_from(number(&block[136..148], "time")?)
            .map_err(|_| fault("its time is too large".to_owned()))?,
        path,
        kind,
        size,
    })
}

fn check_sum(block: &[u8; BLOCK]) -> Result<(), Fault> {
    let expected = number(&block[148..156], "checksum")?;
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { u64::from(b' ') } else { u64::from(*byte) })
        .sum();
    if sum == expected { Ok(()) } else { Err(Fault::archive("the checksum of a header is wrong")) }
}

/// A text that ends at its first zero byte.
fn text(bytes: &[u8], what: &str) -> Result<String, Fault> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end])
        .map(str::to_owned)
        .map_err(|_| Fault::archive(format!("a {what} is not UTF-8: {}", bytes[..end].escape_ascii())))
}

/// An octal number with its usual padding, or GNU's binary form for large ones.
fn number(field: &[u8], what: &str) -> Result<u64, Fault> {
    let wrong = || Fault::archive(format!("a {what} is not a number"));
    if field[0] == 0x80 {
        let (high, low) = field.split_at(field.len() - 8.min(field.len() - 1));
        if high[1..].iter().any(|byte| *byte != 0) {
            return Err(wrong());
        }
        return Ok(low.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)));
    }
    let digits =
        field.iter().copied().skip_while(|byte| *byte == b' ').take_while(|byte| !matches!(byte, 0 | b' '));
    digits.into_iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => Ok(value << 3 | u64::from(digit - b'0')),
        _ => Err(wrong()),
    })
}
