//! How a layer is cut into fragments: all directories, then the files of one package after the other, then what our
//! generators made. A fragment is compressed once and kept under its key.

use std::{collections::BTreeMap, io::Write};

use builder_tree::{Capabilities, Content, Entry, Kind, Owner, Payloads, Tree, TreePath};
use registry_wire::{Digest, Hasher, HashingWriter};
use serde::{Deserialize, Serialize};

use crate::{EncodeError, GZIP_ENCODER, GzipEncoder, TAR_ENCODER, encode_segment};

/// Entries that stand together in a layer, in the order of their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    entries: Vec<(TreePath, Entry)>,
    capabilities: BTreeMap<TreePath, Capabilities>,
}

/// What is known about a compressed fragment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentIndex {
    /// SHA-256 of the compressed bytes.
    pub digest: Digest,
    /// Length of the compressed bytes.
    pub size: u64,
    /// Length of the tar segment.
    pub tar_size: u64,
    /// Length of each gzip member.
    pub members: Vec<u32>,
}

impl Fragment {
    /// A fragment of these entries, whatever order they come in, without capabilities.
    pub fn new(mut entries: Vec<(TreePath, Entry)>) -> Self {
        entries.sort_by(|left, right| left.0.cmp(&right.0));
        Self { entries, capabilities: BTreeMap::new() }
    }

    /// A fragment of entries of `tree`, in the order of their paths.
    fn of(tree: &Tree, entries: Vec<(TreePath, Entry)>) -> Self {
        let capabilities =
            entries.iter().filter_map(|(path, _)| Some((path.clone(), tree.capabilities(path)?))).collect();
        Self { entries, capabilities }
    }

    /// Its entries.
    pub fn entries(&self) -> &[(TreePath, Entry)] {
        &self.entries
    }

    /// What its compressed bytes depend on: the encoders, and each path with its metadata and content.
    pub fn key(&self) -> Digest {
        let mut key = Key(Hasher::new());
        key.text("bundle fragment 1");
        key.text(TAR_ENCODER);
        key.text(GZIP_ENCODER);
        key.number(self.entries.len() as u64);
        for (path, entry) in &self.entries {
            key.text(path.as_str());
            for number in [entry.mode, entry.uid, entry.gid] {
                key.number(u64::from(number));
            }
            key.text(&entry.mtime.to_string());
            match &entry.kind {
                Kind::Directory => key.text("directory"),
                Kind::Symlink(target) => {
                    key.text("symlink");
                    key.text(target);
                }
                Kind::File { content, linked } => {
                    key.text(if *linked { "linked file" } else { "file" });
                    key.content(content);
                }
            }
            if let Some(capabilities) = self.capabilities.get(path) {
                key.text("capabilities");
                key.bytes(&capabilities.attribute());
            }
        }
        key.0.finish()
    }

    /// Encodes and compresses it.
    pub fn compress(&self, payloads: &Payloads, out: &mut dyn Write) -> Result<FragmentIndex, EncodeError> {
        let mut encoder = GzipEncoder::new(HashingWriter::new(out));
        let tar_size = encode_segment(&self.entries, &self.capabilities, payloads, &mut encoder)?;
        let (written, members) = encoder.finish().map_err(EncodeError::Write)?;
        let (_, hasher) = written.into_parts();
        let size = hasher.length();
        Ok(FragmentIndex { digest: hasher.finish(), size, tar_size, members })
    }
}

/// Cuts a tree into the fragments of one layer. Together they hold every path of the tree once.
///
/// Packages stand in the order of their names, so that the place of one does not depend on what needs it.
pub fn plan(tree: &Tree) -> Vec<Fragment> {
    let mut directories = Vec::new();
    let mut packages: BTreeMap<&str, Vec<(TreePath, Entry)>> = BTreeMap::new();
    let mut others = Vec::new();
    for (path, entry) in tree.iter() {
        let member = (path.clone(), entry.clone());
        match (&entry.kind, &entry.owner) {
            (Kind::Directory, _) => directories.push(member),
            (_, Owner::Package(name)) => packages.entry(name).or_default().push(member),
            _ => others.push(member),
        }
    }
    let mut fragments = vec![Fragment::of(tree, directories)];
    fragments.extend(packages.into_values().map(|entries| Fragment::of(tree, entries)));
    if !others.is_empty() {
        fragments.push(Fragment::of(tree, others));
    }
    fragments
}

/// Hashes values with their lengths, so that no two lists of values give the same bytes.
struct Key(Hasher);

impl Key {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn content(&mut self, content: &Content) {
        match content {
            Content::Bytes(bytes) => {
                self.text("bytes");
                self.bytes(bytes);
            }
            Content::Payload { package, offset, length } => {
                self.text("payload");
                self.bytes(package.as_bytes());
                self.number(*offset);
                self.number(*length);
            }
            Content::Host { digest, length, .. } => {
                self.text("host");
                self.bytes(digest.as_bytes());
                self.number(*length);
            }
        }
    }
}
