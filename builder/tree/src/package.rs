//! What one `.deb` holds (deb(5)).

mod archive;
mod compression;
mod control;
mod error;
mod tar;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    path::PathBuf,
};

use builder_inputs::source_package;
use bundles_release::lock::{Architecture, PackageName, SourcePackage, Version};
use registry_wire::{Digest, Hasher, HashingWriter};
use serde::{Deserialize, Serialize};

pub(crate) use control::Paragraph;
pub use error::PackageError;

use crate::TreePath;
use archive::Archive;

/// A package that an image is made of.
#[derive(Debug, Clone)]
pub struct PackageInput {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// Its architecture, `all` included.
    pub architecture: Architecture,
    /// The source package that it was built from, where it is said: then the file must say the same.
    pub source: Option<SourcePackage>,
    /// The file.
    pub deb: PathBuf,
    /// What the lock says the file hashes to.
    pub sha256: Digest,
}

/// What a `.deb` holds, except for the bytes of its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// SHA-256 of the `.deb`.
    pub sha256: Digest,
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// Its architecture.
    pub architecture: Architecture,
    /// The members of its control archive by name: `control`, `postinst`, `md5sums`…
    pub control: BTreeMap<String, ControlFile>,
    /// The members of its data archive in their order.
    pub members: Vec<PackageMember>,
}

/// A member of a package's control archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlFile {
    /// Its mode.
    pub mode: u32,
    /// Its text.
    pub text: String,
    /// How that is written in the package.
    #[serde(default, skip_serializing_if = "Charset::is_utf_8")]
    pub charset: Charset,
}

/// How text is written as bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Charset {
    /// As everything is today.
    #[default]
    Utf8,
    /// Each byte a character, as in some old packages (exim4-config). A script is known by the hash of its text in UTF-8.
    Latin1,
}

impl Charset {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    fn is_utf_8(&self) -> bool {
        *self == Self::Utf8
    }
}

impl ControlFile {
    /// What the bytes of a member say.
    pub fn new(mode: u32, bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self { mode, text, charset: Charset::Utf8 },
            Err(error) => {
                let text = error.into_bytes().into_iter().map(char::from).collect();
                Self { mode, text, charset: Charset::Latin1 }
            }
        }
    }

    /// Its bytes, as they are in the package.
    pub fn bytes(&self) -> Vec<u8> {
        match self.charset {
            Charset::Utf8 => self.text.clone().into_bytes(),
            // Each character was a byte.
            Charset::Latin1 => self.text.chars().map(|character| character as u8).collect(),
        }
    }
}

/// A member of a package's data archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageMember {
    /// Where it goes.
    pub path: TreePath,
    /// What it is.
    pub kind: MemberKind,
    /// The lowest twelve bits of its mode.
    pub mode: u32,
    /// Numeric user.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Name of the user.
    pub user: String,
    /// Name of the group.
    pub group: String,
    /// Whole seconds since 1970.
    pub mtime: i64,
}

/// What a member of a data archive is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberKind {
    /// A directory.
    Directory,
    /// A file: where its bytes are in the unpacked data archive.
    File {
        /// Where they start.
        offset: u64,
        /// How many they are.
        length: u64,
    },
    /// A symbolic link and its target as written.
    Symlink(String),
    /// One more name of a file that came before.
    HardLink(TreePath),
}

/// A package whose data archive was written out.
#[derive(Debug)]
pub struct Unpacked {
    /// What it holds.
    pub package: Package,
    /// SHA-256 of the data archive.
    pub payload: Digest,
    /// Length of the data archive.
    pub length: u64,
}

/// Longest control archive that is read.
const CONTROL_LIMIT: u64 = 16 << 20;
/// Longest data archive that is read.
const PAYLOAD_LIMIT: u64 = 16 << 30;

impl Package {
    /// Reads a `.deb`, checks that it is the locked file, and writes its data archive, decompressed, to `payload`.
    /// What was written counts only if this succeeds.
    pub fn unpack(input: &PackageInput, payload: &mut dyn Write) -> Result<Unpacked, PackageError> {
        Self::read(input, &mut open(input)?, payload)
    }

    /// The same, from a `source` that is at the beginning of the file.
    pub fn read(
        input: &PackageInput,
        source: &mut dyn Read,
        payload: &mut dyn Write,
    ) -> Result<Unpacked, PackageError> {
        let (mut package, data) = read_locked(input, source, |archive, limit, packed| {
            let mut written = HashingWriter::new(payload);
            let mut tar = tar::Reader::new(packed, &mut written, limit);
            let members = tar::members(&mut tar).map_err(|fault| fault.in_package(&input.name, archive))?;
            Ok((members, written.into_parts().1))
        })?;
        let (members, hasher) = data;
        package.members = members;
        let length = hasher.length();
        Ok(Unpacked { package, payload: hasher.finish(), length })
    }

    /// Reads the control archive of a `.deb` and checks that it is the locked file. Its data archive is not unpacked:
    /// the package has no members.
    pub fn read_control(input: &PackageInput) -> Result<Self, PackageError> {
        read_locked(input, &mut open(input)?, |_, _, _| Ok(())).map(|(package, ())| package)
    }

    /// Reads one file of a package; nothing if it brings none at that path. The whole package is read for it.
    pub fn read_file(input: &PackageInput, path: &TreePath) -> Result<Option<Vec<u8>>, PackageError> {
        let mut payload = Vec::new();
        let package = Self::unpack(input, &mut payload)?.package;
        let range = package.members.iter().find_map(|member| match member.kind {
            MemberKind::File { offset, length } if member.path == *path => {
                let start = usize::try_from(offset).ok()?;
                Some(start..start.checked_add(usize::try_from(length).ok()?)?)
            }
            _ => None,
        });
        Ok(range.and_then(|range| payload.get(range)).map(<[u8]>::to_vec))
    }

    /// Its control paragraph.
    pub(crate) fn paragraph(&self) -> Paragraph<'_> {
        Paragraph::parse(self.control.get("control").map_or("", |file| file.text.as_str()))
    }

    /// Makes sure that it is what the lock says of its file.
    pub fn check_identity(&self, input: &PackageInput) -> Result<(), PackageError> {
        let own = self.paragraph();
        let field = |name| own.get(name).unwrap_or_default();
        let identity = |field, expected: &str, found: &str| PackageError::Identity {
            package: input.name.clone(),
            field,
            expected: expected.to_owned(),
            found: found.to_owned(),
        };
        for (name, expected) in [
            ("Package", input.name.as_str()),
            ("Version", input.version.as_str()),
            ("Architecture", input.architecture.as_str()),
        ] {
            if field(name) != expected {
                return Err(identity(name, expected, field(name)));
            }
        }
        let found = source_package(field("Source"), field("Package"), field("Version"));
        match &input.source {
            Some(expected) if (expected.name.as_str(), expected.version.as_str()) != found => {
                let told = |name: &str, version: &str| format!("{name} ({version})");
                let expected = told(expected.name.as_str(), expected.version.as_str());
                Err(identity("Source", &expected, &told(found.0, found.1)))
            }
            _ => Ok(()),
        }
    }

    /// Whether a path is one of its configuration files, which dpkg does not unpack over what is there (`deb-conffiles(5)`).
    pub(crate) fn has_conffile(&self, path: &TreePath) -> bool {
        let lines = self.control_text("conffiles").unwrap_or_default().lines();
        lines.map(str::trim_end).any(|line| line.parse() == Ok(path.clone()))
    }

    /// Whether dpkg counts it as essential.
    pub(crate) fn is_essential(&self) -> bool {
        self.paragraph().get("Essential") == Some("yes")
    }

    /// Text of a member of its control archive.
    pub(crate) fn control_text(&self, member: &str) -> Option<&str> {
        self.control.get(member).map(|file| file.text.as_str())
    }
}

fn open(input: &PackageInput) -> Result<impl Read, PackageError> {
    let file = File::open(&input.deb).map_err(|source| unreadable(input, source))?;
    Ok(io::BufReader::with_capacity(256 << 10, file))
}

fn unreadable(input: &PackageInput, source: io::Error) -> PackageError {
    PackageError::Open { package: input.name.clone(), path: input.deb.clone(), source }
}

/// Reads a `.deb` and checks that it is the locked file of the locked package. `data` gets the name of the data archive,
/// the most bytes that it may hold, and the archive, decompressed.
fn read_locked<T>(
    input: &PackageInput,
    source: &mut dyn Read,
    data: impl FnOnce(&str, u64, &mut dyn Read) -> Result<T, PackageError>,
) -> Result<(Package, T), PackageError> {
    let mut source = Hashing { inner: source, hasher: Hasher::new() };
    let parsed = read_archives(input, &mut source, data);
    // What is wrong inside a file that is not the locked one does not matter; that it is another one does.
    io::copy(&mut source, &mut io::sink()).map_err(|source| unreadable(input, source))?;
    let found = source.hasher.finish();
    if found != input.sha256 {
        return Err(PackageError::Corrupted {
            package: input.name.clone(),
            path: input.deb.clone(),
            expected: input.sha256,
            found,
        });
    }
    let (control, data) = parsed?;
    let package = Package {
        sha256: input.sha256,
        name: input.name.clone(),
        version: input.version.clone(),
        architecture: input.architecture.clone(),
        control,
        members: Vec::new(),
    };
    package.check_identity(input)?;
    Ok((package, data))
}

fn read_archives<T>(
    input: &PackageInput,
    source: &mut dyn Read,
    data: impl FnOnce(&str, u64, &mut dyn Read) -> Result<T, PackageError>,
) -> Result<(BTreeMap<String, ControlFile>, T), PackageError> {
    let name = &input.name;
    let broken =
        |reason: String| PackageError::Format { package: name.clone(), member: "archive".into(), reason };
    let mut archive = Archive::new(source).map_err(broken)?;
    let (mut has_version, mut control) = (false, None);
    while let Some(mut member) = archive.next_member().map_err(broken)? {
        let member_name = member.name.clone();
        let in_member = |reason: String| PackageError::Format {
            package: name.clone(),
            member: member_name.escape_debug().to_string(),
            reason,
        };
        match member_name.split_once(".tar") {
            None if member_name == "debian-binary" => {
                let mut text = Vec::new();
                member
                    .data()
                    .take(64)
                    .read_to_end(&mut text)
                    .map_err(|error| in_member(error.to_string()))?;
                if !text.starts_with(b"2.") {
                    return Err(in_member("the format is not 2.x".to_owned()));
                }
                has_version = true;
            }
            _ if !has_version => return Err(in_member("debian-binary does not come before it".to_owned())),
            Some(("control", _)) if control.is_some() => {
                return Err(in_member("it is there twice".to_owned()));
            }
            Some(("control", suffix)) => {
                let mut sink = io::sink();
                let reader = compression::reader(suffix, member.data()).map_err(in_member)?;
                let mut tar = tar::Reader::new(reader, &mut sink, CONTROL_LIMIT);
                control =
                    Some(control::read(&mut tar).map_err(|fault| fault.in_package(name, &member_name))?);
            }
            Some(("data", suffix)) => {
                let control =
                    control.ok_or_else(|| in_member("the data comes before the control".to_owned()))?;
                let limit = compression::unpacked_limit(member.size()).min(PAYLOAD_LIMIT);
                let mut reader = compression::reader(suffix, member.data()).map_err(in_member)?;
                return Ok((control, data(&member_name, limit, &mut reader)?));
            }
            // A name that starts with `_` may be skipped, says deb(5); another one means a newer format.
            _ if member_name.starts_with('_') => {}
            _ => return Err(in_member("it is not a member of a .deb".to_owned())),
        }
    }
    Err(broken("there is no data.tar".to_owned()))
}

struct Hashing<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
