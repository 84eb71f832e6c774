//! Differences between our tree and the oracle's, without those that a reason is given for.

use std::collections::{BTreeMap, BTreeSet};

use builder_tree::{Owner, Tree};

use crate::listing::{Listing, Node};

/// What is left over on both sides.
pub(crate) struct Differences {
    /// Differences without a reason.
    pub(crate) unexpected: Vec<String>,
    /// Reasons without a difference.
    pub(crate) unused: Vec<String>,
}

struct Rule {
    path: String,
    is_everywhere: bool,
    /// Holds for this one path although a package owns it.
    is_of_package: bool,
}

/// Reads `reasons.txt`: a path, `*` at its end for all below a folder, `?` before it if only some images have it,
/// `!` if besides a package owns it.
fn rules() -> Vec<Rule> {
    let text = include_str!("reasons.txt");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rules: Vec<Rule> = lines
        .map(|line| {
            let (path, reason) = line.split_once("  ").unwrap_or_else(|| panic!("no reason: {line}"));
            assert!(reason.trim().len() > 10, "no reason: {line}");
            let is_of_package = path.starts_with('!');
            assert!(!is_of_package || !path.ends_with('*'), "no pattern over what packages own: {line}");
            let is_everywhere = !path.starts_with(['?', '!']);
            Rule { path: path.trim_start_matches(['?', '!']).to_owned(), is_everywhere, is_of_package }
        })
        .collect();
    let unique: BTreeSet<_> = rules.iter().map(|rule| (rule.path.as_str(), rule.is_of_package)).collect();
    assert_eq!(unique.len(), rules.len(), "a path stands twice");
    rules
}

impl Rule {
    fn covers(&self, path: &str) -> bool {
        match self.path.strip_suffix('*') {
            Some(folder) => path.starts_with(folder),
            None => path == self.path,
        }
    }
}

pub(crate) fn differences(ours: &Listing, oracle: &Listing, tree: &Tree) -> Differences {
    let rules = rules();
    let mut used = vec![false; rules.len()];
    let owned: BTreeMap<&str, &Owner> =
        tree.iter().map(|(path, entry)| (path.as_str(), &entry.owner)).collect();
    let mut unexpected = Vec::new();
    let paths: BTreeSet<&String> = ours.nodes.keys().chain(oracle.nodes.keys()).collect();
    for path in paths {
        let (mine, theirs) = (ours.nodes.get(path), oracle.nodes.get(path));
        if mine == theirs
            || is_product_of_running(path)
            || is_linked_more(mine, theirs)
            || has_same_lines(path, mine, theirs)
            || has_same_certificates(path, mine, theirs)
            || is_link_to_secret(theirs)
        {
            continue;
        }
        // No pattern holds for a file that a package owns.
        let is_owned = matches!(owned.get(path.as_str()), Some(Owner::Package(_)));
        let rule = rules.iter().position(|rule| rule.is_of_package == is_owned && rule.covers(path));
        if let Some(rule) = rule {
            used[rule] = true;
        } else {
            let describe = |node: Option<&Node>| node.map_or_else(|| "nothing".to_owned(), Node::describe);
            unexpected.push(format!("{path}: ours {}, dpkg's {}", describe(mine), describe(theirs)));
        }
    }
    let unused = rules.iter().zip(used).filter(|(rule, used)| rule.is_everywhere && !used);
    Differences { unexpected, unused: unused.map(|(rule, _)| rule.path.clone()).collect() }
}

/// Byte code is left out on both sides.
fn is_product_of_running(path: &str) -> bool {
    std::path::Path::new(path).extension().is_some_and(|ending| ending == "pyc")
        || path.ends_with("__pycache__")
}

/// Packages tie names of one file together; what dpkg left apart may be tied, never the other way round.
fn is_linked_more(mine: Option<&Node>, theirs: Option<&Node>) -> bool {
    match (mine, theirs) {
        (Some(mine @ Node::File { .. }), Some(Node::File { links, .. })) if links.is_empty() => {
            let mut untied = mine.clone();
            if let Node::File { links, .. } = &mut untied {
                links.clear();
            }
            Some(&untied) == theirs
        }
        _ => false,
    }
}

/// Lists that scripts add lines to, in the order in which dpkg happened to configure the packages.
const LISTS: [&str; 9] = [
    "etc/group",
    "etc/gshadow",
    "etc/passwd",
    "etc/shadow",
    "var/lib/dpkg/diversions",
    "var/lib/dpkg/statoverride",
    "var/lib/dpkg/triggers/File",
    "var/lib/ucf/hashfile",
    "var/lib/ucf/registry",
];

fn has_same_lines(path: &str, mine: Option<&Node>, theirs: Option<&Node>) -> bool {
    let (
        Some(Node::File { mode, owner, content, .. }),
        Some(Node::File { mode: other_mode, owner: other_owner, content: other, .. }),
    ) = (mine, theirs)
    else {
        return false;
    };
    let lines = |bytes: &[u8]| -> Vec<Vec<u8>> {
        let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    };
    LISTS.contains(&path)
        && (mode, owner) == (other_mode, other_owner)
        && lines(&content.bytes) == lines(&other.bytes)
}

/// The link to a certificate of one machine, by a hash of what is random.
fn is_link_to_secret(theirs: Option<&Node>) -> bool {
    matches!(theirs, Some(Node::Symlink { target, .. }) if target == "ssl-cert-snakeoil.pem")
}

/// Java's store holds the time of each entry, and the entries in the order of a hash table.
fn has_same_certificates(path: &str, mine: Option<&Node>, theirs: Option<&Node>) -> bool {
    let entries = |node: Option<&Node>| match node {
        Some(Node::File { content, .. }) if path == "etc/ssl/certs/java/cacerts" => {
            certificates(&content.bytes)
        }
        _ => None,
    };
    entries(mine).is_some_and(|mine| Some(mine) == entries(theirs))
}

/// Aliases and certificates of a store in the format JKS.
fn certificates(store: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let number = |at: usize, length: usize| -> Option<usize> {
        Some(store.get(at..at + length)?.iter().fold(0, |value, byte| value << 8 | usize::from(*byte)))
    };
    let (mut entries, mut at) = (BTreeMap::new(), 12);
    for _ in 0..number(8, 4)? {
        let alias = number(at + 4, 2)?;
        let name = store.get(at + 6..at + 6 + alias)?.to_vec();
        at += 6 + alias + 8;
        at += 2 + number(at, 2)?;
        let length = number(at, 4)?;
        entries.insert(name, store.get(at + 4..at + 4 + length)?.to_vec());
        at += 4 + length;
    }
    (entries.len() > 100).then_some(entries)
}
