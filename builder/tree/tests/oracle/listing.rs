//! What is in a tree, in a form in which two trees compare.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use builder_tree::{Kind, Payloads, Tree};
use registry_wire::Digest;

/// One path. Owners are `user:group`, by name where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Directory {
        mode: u32,
        owner: String,
    },
    /// `capabilities` is the value of that attribute; empty where there is none.
    File {
        mode: u32,
        owner: String,
        content: Content,
        links: Vec<String>,
        capabilities: Vec<u8>,
    },
    Symlink {
        owner: String,
        target: String,
    },
    Other {
        kind: String,
    },
}

/// What is in a file. The bytes are kept where a test looks at them: configuration and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) digest: Digest,
    pub(crate) length: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Content {
    fn new(path: &str, bytes: Vec<u8>) -> Self {
        let (digest, length) = (Digest::of(&bytes), bytes.len() as u64);
        let is_kept = ["etc/", "var/"].iter().any(|folder| path.starts_with(folder));
        Self { digest, length, bytes: if is_kept { bytes } else { Vec::new() } }
    }
}

impl Node {
    /// What differs, in a few words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Directory { mode, owner } => format!("directory {mode:o} {owner}"),
            Self::File { mode, owner, content, links, capabilities } => {
                let digest = content.digest.short();
                let links = if links.len() > 1 { format!(" linked {links:?}") } else { String::new() };
                let may = capabilities.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
                let may = if may.is_empty() { may } else { format!(" may {may}") };
                format!("file {mode:o} {owner} {} bytes {digest}{links}{may}", content.length)
            }
            Self::Symlink { owner, target } => format!("link {owner} -> {target}"),
            Self::Other { kind } => kind.clone(),
        }
    }
}

const ATTRIBUTE: &str = "security.capability";
/// Where GNU tar keeps that attribute.
const PAX_KEY: &[u8] = b"SCHILY.xattr.security.capability";

/// What a file of this machine may do without being root's.
fn attribute(file: &Path) -> Vec<u8> {
    let mut value = [0; 64];
    match rustix::fs::lgetxattr(file, ATTRIBUTE, &mut value) {
        Ok(length) => value[..length].to_vec(),
        Err(rustix::io::Errno::NODATA) => Vec::new(),
        Err(error) => panic!("{} has no attributes: {error}", file.display()),
    }
}

/// A tree by path, without its root.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) nodes: BTreeMap<String, Node>,
}

struct Raw {
    node: Node,
    uid: u64,
    gid: u64,
}

impl Listing {
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn text(&self, path: &str) -> String {
        match self.nodes.get(path) {
            Some(Node::File { content, .. }) => String::from_utf8(content.bytes.clone()).unwrap(),
            other => panic!("{path} is {other:?}"),
        }
    }

    /// Gives owners their names, those of the tree itself.
    fn named(raw: BTreeMap<String, Raw>) -> Self {
        let table = |path: &str| -> BTreeMap<u64, String> {
            let Some(Raw { node: Node::File { content, .. }, .. }) = raw.get(path) else {
                return BTreeMap::new();
            };
            // The first of several names of one id is the one that programs show.
            let text = String::from_utf8_lossy(&content.bytes);
            let lines: Vec<&str> = text.lines().rev().collect();
            lines
                .into_iter()
                .filter_map(|line| {
                    let fields: Vec<&str> = line.split(':').collect();
                    Some((fields.get(2)?.parse().ok()?, fields[0].to_owned()))
                })
                .collect()
        };
        let (users, groups) = (table("etc/passwd"), table("etc/group"));
        let name = |table: &BTreeMap<u64, String>, id: u64| {
            table.get(&id).cloned().unwrap_or_else(|| id.to_string())
        };
        let nodes = raw.into_iter().map(|(path, Raw { mut node, uid, gid })| {
            let by_name = format!("{}:{}", name(&users, uid), name(&groups, gid));
            match &mut node {
                Node::Directory { owner, .. } | Node::File { owner, .. } | Node::Symlink { owner, .. } => {
                    *owner = by_name;
                }
                Node::Other { .. } => {}
            }
            (path, node)
        });
        let mut nodes: BTreeMap<String, Node> = nodes.collect();
        // Names of one file know each other.
        let mut together: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (path, node) in &nodes {
            if let Node::File { links, .. } = node {
                for first in links {
                    together.entry(first.clone()).or_default().push(path.clone());
                }
            }
        }
        for node in nodes.values_mut() {
            if let Node::File { links, .. } = node {
                *links = links.first().and_then(|first| together.get(first)).cloned().unwrap_or_default();
            }
        }
        Self { nodes }
    }

    /// Reads an archive of another program.
    pub(crate) fn of_archive(reader: impl Read) -> Self {
        let mut raw: BTreeMap<String, Raw> = BTreeMap::new();
        for entry in tar::Archive::new(reader).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
            if path.is_empty() {
                continue;
            }
            let link = entry.link_name_bytes().map(|name| String::from_utf8(name.into_owned()).unwrap());
            let (mode, owner) = (entry.header().mode().unwrap() & 0o7777, String::new());
            let (uid, gid) = (entry.header().uid().unwrap(), entry.header().gid().unwrap());
            let extensions = entry.pax_extensions().unwrap().into_iter().flatten().map(Result::unwrap);
            let mut capabilities = extensions.filter(|extension| extension.key_bytes() == PAX_KEY);
            let capabilities =
                capabilities.next().map(|extension| extension.value_bytes().to_vec()).unwrap_or_default();
            let node = match entry.header().entry_type() {
                tar::EntryType::Directory => Node::Directory { mode, owner },
                tar::EntryType::Symlink => Node::Symlink { owner, target: link.unwrap() },
                tar::EntryType::Link => {
                    let first = link.unwrap().trim_start_matches("./").to_owned();
                    let Raw { node, .. } = raw.get_mut(&first).unwrap();
                    let Node::File { links, .. } = node else { panic!("{path} links to {first}") };
                    links.push(first.clone());
                    links.truncate(1);
                    node.clone()
                }
                tar::EntryType::Regular => {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes).unwrap();
                    let content = Content::new(&path, bytes);
                    Node::File { mode, owner, content, links: Vec::new(), capabilities }
                }
                other => Node::Other { kind: format!("{other:?}") },
            };
            raw.insert(path, Raw { node, uid, gid });
        }
        Self::named(raw)
    }

    /// Reads a folder of this machine, without what is mounted in it.
    pub(crate) fn of_folder(root: &Path) -> Self {
        let mut raw: BTreeMap<String, Raw> = BTreeMap::new();
        let mut first_names: BTreeMap<(u64, u64), String> = BTreeMap::new();
        let device = fs::symlink_metadata(root).unwrap().dev();
        let mut pending = vec![root.to_owned()];
        while let Some(folder) = pending.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let file = entry.unwrap().path();
                let path = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                let metadata = fs::symlink_metadata(&file).unwrap();
                let (mode, owner) = (metadata.mode() & 0o7777, String::new());
                let kind = metadata.file_type();
                let node = if kind.is_dir() {
                    if metadata.dev() == device {
                        pending.push(file);
                    }
                    Node::Directory { mode, owner }
                } else if kind.is_symlink() {
                    let target = fs::read_link(&file).unwrap().into_os_string().into_string().unwrap();
                    Node::Symlink { owner, target }
                } else if kind.is_file() {
                    let mut links = Vec::new();
                    if metadata.nlink() > 1 {
                        let file = (metadata.dev(), metadata.ino());
                        links.push(first_names.entry(file).or_insert_with(|| path.clone()).clone());
                    }
                    let content = Content::new(&path, fs::read(&file).unwrap());
                    let capabilities = attribute(&file);
                    Node::File { mode, owner, content, links, capabilities }
                } else {
                    let kind = if kind.is_char_device() { "character device" } else { "special file" };
                    Node::Other { kind: kind.to_owned() }
                };
                raw.insert(path, Raw { node, uid: metadata.uid().into(), gid: metadata.gid().into() });
            }
        }
        Self::named(raw)
    }

    /// Reads one of our trees.
    pub(crate) fn of_tree(tree: &Tree, payloads: &Payloads) -> Self {
        let mut raw = BTreeMap::new();
        let mut first_names = std::collections::HashMap::new();
        for (path, entry) in tree.iter().filter(|(path, _)| !path.is_root()) {
            let (mode, owner) = (entry.mode, String::new());
            let node = match &entry.kind {
                Kind::Directory => Node::Directory { mode, owner },
                Kind::Symlink(target) => Node::Symlink { owner, target: target.clone() },
                Kind::File { content, linked } => {
                    let mut links = Vec::new();
                    if *linked {
                        links.push(
                            first_names.entry(content.clone()).or_insert_with(|| path.to_string()).clone(),
                        );
                    }
                    let mut bytes = Vec::new();
                    payloads.copy(content, &mut bytes).unwrap();
                    let content = Content::new(path.as_str(), bytes);
                    let capabilities = tree.capabilities(path).map(|it| it.attribute().to_vec());
                    let capabilities = capabilities.unwrap_or_default();
                    Node::File { mode, owner, content, links, capabilities }
                }
            };
            raw.insert(path.as_str().to_owned(), Raw { node, uid: entry.uid.into(), gid: entry.gid.into() });
        }
        Self::named(raw)
    }
}
