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
}

/// Reads `reasons.txt`: a path, `*` at its end for all below a folder, `?` before it if only some images have it.
fn rules() -> Vec<Rule> {
    let text = include_str!("reasons.txt");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rules: Vec<Rule> = lines
        .map(|line| {
            let (path, reason) = line.split_once("  ").unwrap_or_else(|| panic!("no reason: {line}"));
            assert!(reason.trim().len() > 10, "no reason: {line}");
            let (path, is_everywhere) = match path.strip_prefix('?') {
                Some(path) => (path, false),
                None => (path, true),
            };
            Rule { path: path.to_owned(), is_everywhere }
        })
        .collect();
    let unique: BTreeSet<&str> = rules.iter().map(|rule| rule.path.as_str()).collect();
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
        if mine == theirs || is_product_of_running(path) || is_linked_more(mine, theirs) {
            continue;
        }
        // No reason holds for a file that a package owns.
        let is_owned = matches!(owned.get(path.as_str()), Some(Owner::Package(_)));
        let rule = rules.iter().position(|rule| rule.covers(path)).filter(|_| !is_owned);
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
        (Some(Node::File { mode, owner, content, .. }), Some(Node::File { links, .. }))
            if links.is_empty() =>
        {
            let untied =
                Node::File { mode: *mode, owner: owner.clone(), content: content.clone(), links: Vec::new() };
            Some(&untied) == theirs
        }
        _ => false,
    }
}
