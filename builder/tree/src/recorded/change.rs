//! What is different after a script.

use std::{collections::BTreeMap, fmt};

use crate::{Capabilities, Content, TreePath};

/// Whose links are unless something else is said.
pub(super) const ROOT: &str = "root:root";

/// A path that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where; no link is on the way.
    pub path: TreePath,
    /// What is there now.
    pub outcome: Outcome,
}

/// What is at a changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing any more.
    Removed,
    /// A directory.
    Directory {
        /// The lowest twelve bits of its mode.
        mode: u32,
        /// `user:group`, by name where there is one.
        owner: String,
    },
    /// A file.
    File {
        /// The lowest twelve bits of its mode.
        mode: u32,
        /// `user:group`, by name where there is one.
        owner: String,
        /// What is in it.
        content: Content,
        /// What it may do without being root's.
        capabilities: Option<Capabilities>,
    },
    /// A symbolic link.
    Link {
        /// Its target as written.
        target: String,
        /// `user:group`, by name where there is one.
        owner: String,
    },
}

impl fmt::Display for Change {
    /// One line, for people.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, outcome } = self;
        match outcome {
            Outcome::Removed => write!(formatter, "removed {path}"),
            Outcome::Directory { mode, owner } => {
                write!(formatter, "directory {path} {mode:04o} {owner}")
            }
            Outcome::File { mode, owner, content, capabilities } => {
                write!(formatter, "file {path} {mode:04o} {owner} {} bytes", content.length())?;
                match capabilities {
                    Some(capabilities) => write!(formatter, " {capabilities}"),
                    None => Ok(()),
                }
            }
            Outcome::Link { target, owner } => {
                write!(formatter, "link {path} -> {target}")?;
                if owner == ROOT { Ok(()) } else { write!(formatter, " {owner}") }
            }
        }
    }
}

/// Names of users and groups by number, as an image's own lists have them.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Ids {
    /// Reads the texts of `/etc/passwd` and `/etc/group`.
    pub fn parse(passwd: &str, group: &str) -> Self {
        let by_number = |text: &str| {
            let mut names = BTreeMap::new();
            for line in text.lines() {
                let mut fields = line.split(':');
                let (name, number) = (fields.next(), fields.nth(1).and_then(|number| number.parse().ok()));
                if let (Some(name), Some(number)) = (name, number) {
                    names.entry(number).or_insert_with(|| name.to_owned());
                }
            }
            names
        };
        Self { users: by_number(passwd), groups: by_number(group) }
    }

    /// `user:group`; a number where there is no name.
    pub fn owner(&self, uid: u32, gid: u32) -> String {
        let name = |names: &BTreeMap<u32, String>, id: u32| {
            names.get(&id).map_or_else(|| id.to_string(), Clone::clone)
        };
        format!("{}:{}", name(&self.users, uid), name(&self.groups, gid))
    }
}
