//! Packages made by hand.

use std::{fs, io::Write, path::Path};

use builder_tree::PackageInput;
use registry_wire::Digest;

#[derive(Clone)]
pub(crate) struct Member {
    path: String,
    kind: tar::EntryType,
    link: String,
    content: String,
    mode: u32,
}

impl Member {
    pub(crate) fn of_type(path: &str, kind: tar::EntryType) -> Self {
        Self { path: path.into(), kind, link: String::new(), content: String::new(), mode: 0o755 }
    }

    pub(crate) fn file(path: &str, content: &str) -> Self {
        Self { content: content.into(), ..Self::of_type(path, tar::EntryType::Regular) }
    }

    pub(crate) fn directory(path: &str) -> Self {
        Self::of_type(path, tar::EntryType::Directory)
    }

    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub(crate) fn symlink(path: &str, target: &str) -> Self {
        Self { link: target.into(), ..Self::of_type(path, tar::EntryType::Symlink) }
    }

    pub(crate) fn hard_link(path: &str, target: &str) -> Self {
        Self { link: target.into(), ..Self::of_type(path, tar::EntryType::Link) }
    }

    /// Written field by field, since a library would refuse what the tests are about.
    fn append(&self, bytes: &mut Vec<u8>) {
        let mut header = tar::Header::new_gnu();
        let name = if self.path.starts_with("..") {
            self.path.clone()
        } else {
            format!("./{}", self.path.trim_start_matches("./"))
        };
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..self.link.len()].copy_from_slice(self.link.as_bytes());
        header.set_entry_type(self.kind);
        header.set_mode(self.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(2_000_000_000);
        header.set_size(self.content.len() as u64);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(self.content.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
}

type Edit = std::sync::Arc<dyn Fn(&mut Vec<u8>) + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Deb {
    pub(crate) name: String,
    fields: Vec<(String, String)>,
    control: Vec<(String, String)>,
    members: Vec<Member>,
    edit: Option<Edit>,
    suffix: String,
    has_control: bool,
}

impl Deb {
    pub(crate) fn new(name: &str) -> Self {
        let fields = [("Package", name), ("Version", "1.0-1"), ("Architecture", "all")];
        Self {
            name: name.into(),
            fields: fields.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            control: Vec::new(),
            members: Vec::new(),
            edit: None,
            suffix: String::new(),
            has_control: true,
        }
    }

    pub(crate) fn with(mut self, member: Member) -> Self {
        self.members.push(member);
        self
    }

    pub(crate) fn field(mut self, key: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != key);
        self.fields.push((key.into(), value.into()));
        self
    }

    pub(crate) fn control(mut self, member: &str, text: &str) -> Self {
        self.control.push((member.into(), text.into()));
        self
    }

    /// Changes the bytes of the data archive before it is compressed.
    pub(crate) fn edited(mut self, edit: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Self {
        self.edit = Some(std::sync::Arc::new(edit));
        self
    }

    /// Makes the checksum of the first header right again after an edit.
    pub(crate) fn with_checksums(self) -> Self {
        let edit = self.edit.clone();
        self.edited(move |data| {
            if let Some(edit) = &edit {
                edit(data);
            }
            crate::bad_input::sum(&mut data[..512]);
        })
    }

    pub(crate) fn compressed(mut self, suffix: &str) -> Self {
        self.suffix = suffix.into();
        self
    }

    pub(crate) fn without_control(mut self) -> Self {
        self.has_control = false;
        self
    }

    /// Writes the file; the input says what the lock would say.
    pub(crate) fn write(&self, folder: &Path) -> PackageInput {
        let lines: Vec<String> = self.fields.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        let control = lines.join("\n") + "\n";
        let mut members = vec![Member::file("control", &control)];
        members.extend(self.control.iter().map(|(name, text)| Member::file(name, text)));
        let mut data = archive(&self.members);
        if let Some(edit) = &self.edit {
            edit(&mut data);
        }
        let mut bytes = b"!<arch>\n".to_vec();
        append_member(&mut bytes, "debian-binary", b"2.0\n");
        if self.has_control {
            append_member(&mut bytes, "control.tar", &archive(&members));
        }
        let dot = if self.suffix.is_empty() { "" } else { "." };
        append_member(&mut bytes, &format!("data.tar{dot}{}", self.suffix), &compress(&self.suffix, &data));
        let deb = folder.join(format!("{}.deb", self.name));
        fs::write(&deb, &bytes).unwrap();
        input(&self.name, &deb)
    }
}

/// What a lock would say of a file.
pub(crate) fn input(name: &str, deb: &Path) -> PackageInput {
    PackageInput {
        name: name.parse().unwrap(),
        version: "1.0-1".parse().unwrap(),
        architecture: "all".parse().unwrap(),
        source: None,
        sha256: Digest::of(&fs::read(deb).unwrap()),
        deb: deb.to_owned(),
    }
}

fn archive(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        member.append(&mut bytes);
    }
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

fn append_member(bytes: &mut Vec<u8>, name: &str, content: &[u8]) {
    writeln!(bytes, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100_644, content.len()).unwrap();
    bytes.extend_from_slice(content);
    if content.len() % 2 == 1 {
        bytes.push(b'\n');
    }
}

pub(crate) fn compress(suffix: &str, bytes: &[u8]) -> Vec<u8> {
    let program = match suffix {
        "xz" => "xz",
        "gz" => "gzip",
        "zst" => return zstd::encode_all(bytes, 3).unwrap(),
        _ => return bytes.to_vec(),
    };
    let mut child = std::process::Command::new(program)
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap_or_else(|_| panic!("{program} is installed (Debian packages xz-utils, gzip)"));
    let mut input = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}
