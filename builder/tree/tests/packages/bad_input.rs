//! What happens to bytes that nobody checked: the entry functions of the fuzz targets in `tests/fuzz`, which include
//! this file, and of the mutations in `bad_members.rs`.

use std::{fs, path::Path};

use builder_tree::{InstallOptions, Kind, Package, PackageInput, Payloads, Recordings, Tree, install};
use bundles_release::lock::Accounts;
use registry_wire::Digest;

/// Name of every package that is read here: its image has dpkg's database.
pub(crate) const NAME: &str = "dpkg";

/// Reads `deb` and puts it into a tree. `folder` takes its payload. An error is the text that a person sees.
pub(crate) fn read_deb(deb: &[u8], folder: &Path) -> Result<Tree, String> {
    let (package, payloads) = read(NAME, deb, folder)?;
    tree_of(&[package], &payloads)
}

/// Reads a `.deb` of the package `name`, writing its payload below `folder`.
pub(crate) fn read(name: &str, deb: &[u8], folder: &Path) -> Result<(Package, Payloads), String> {
    let sha256 = Digest::of(deb);
    let input = PackageInput {
        name: name.parse().expect("a package name"),
        version: "1.0-1".parse().expect("a version"),
        architecture: "all".parse().expect("an architecture"),
        source: None,
        deb: "memory".into(),
        sha256,
    };
    let mut payload = Vec::new();
    let unpacked = Package::read(&input, &mut &deb[..], &mut payload);
    let package = unpacked.map_err(|error| error.to_string())?.package;
    for member in &package.members {
        assert!(member.path.components().all(|part| !matches!(part, "" | "." | "..")), "{:?}", member.path);
    }
    let path = folder.join(name);
    // A new file each time: a file system may wait for the disk where one is overwritten.
    fs::remove_file(&path).unwrap_or_default();
    fs::write(&path, payload).expect("a payload is written");
    let mut payloads = Payloads::new();
    payloads.add(sha256, path);
    Ok((package, payloads))
}

/// Puts packages into a tree, and looks whether it is one that nothing leads out of.
pub(crate) fn tree_of(packages: &[Package], payloads: &Payloads) -> Result<Tree, String> {
    let options = InstallOptions {
        accounts: &Accounts::default(),
        epoch: 1_000_000_000,
        recordings: &Recordings::none(),
    };
    let installed = install(packages, payloads, &options).map_err(|error| {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        format!("{error}{}", source.unwrap_or_default())
    })?;
    let tree = installed.tree;
    for (path, entry) in tree.iter() {
        // What is written to a folder path by path goes through directories of the tree only.
        let above = path.parent().map(|parent| tree.get(&parent).map(|entry| entry.kind.clone()));
        assert!(matches!(above, None | Some(Some(Kind::Directory))), "{path} is in {above:?}");
        assert!(entry.mode <= 0o7777, "{path}: {:o}", entry.mode);
        if let Kind::File { content, .. } = &entry.kind {
            let bytes = payloads.read(content, 1 << 20).expect("what a tree names is there");
            assert!(bytes.is_none_or(|bytes| bytes.len() as u64 == content.length()), "{path}");
        }
    }
    Ok(tree)
}

/// A `.deb` of three members that are right in themselves.
pub(crate) fn deb_of(control: &[u8], data: &[u8]) -> Vec<u8> {
    let mut deb = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", control), ("data.tar", data)] {
        deb.extend_from_slice(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).as_bytes(),
        );
        deb.extend_from_slice(content);
        deb.resize(deb.len().next_multiple_of(2), b'\n');
    }
    deb
}

/// A control archive with that control file, of the package `name`.
pub(crate) fn control_of(name: &str, paragraph: Option<&[u8]>) -> Vec<u8> {
    let expected =
        format!("Package: {name}\nVersion: 1.0-1\nArchitecture: all\nMaintainer: x\nDescription: x\n");
    let text = paragraph.unwrap_or(expected.as_bytes());
    let mut bytes = header(b"./control", b'0', text.len() as u64, b"").to_vec();
    bytes.extend_from_slice(text);
    bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    bytes
}

/// A header of a tar archive; a name or link that is too long is cut.
pub(crate) fn header(name: &[u8], kind: u8, size: u64, link: &[u8]) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, most: usize, bytes: &[u8]| {
        let length = bytes.len().min(most);
        header[at..at + length].copy_from_slice(&bytes[..length]);
    };
    put(0, 100, name);
    put(100, 8, b"0000755\0");
    put(108, 8, b"0000000\0");
    put(116, 8, b"0000000\0");
    put(124, 12, format!("{size:011o}\0").as_bytes());
    put(136, 12, b"00000000001\0");
    put(156, 1, &[kind]);
    put(157, 100, link);
    put(257, 8, b"ustar  \0");
    sum(&mut header);
    header
}

/// Writes the checksum of a header into it.
pub(crate) fn sum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
