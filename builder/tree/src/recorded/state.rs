//! What is at a path, in one line: a recording holds as long as the line stays the same.

use std::{fmt, str::FromStr};

use registry_wire::{Digest, Hasher};

use crate::{Capabilities, Kind, PayloadError, Payloads, Tree, TreePath};

/// How a script looked at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Whether it is there, and what it is.
    There,
    /// What is in it as well.
    Inside,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// A directory, whatever is in it.
    Directory(Permissions),
    /// A directory with exactly these names in it.
    List(Permissions, Digest),
    /// A file with that content.
    File(Permissions, Digest),
    /// A symbolic link and its target.
    Link(String),
}

/// Mode, owner and capabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    mode: u32,
    uid: u32,
    gid: u32,
    capabilities: Option<Capabilities>,
}

impl State {
    /// What is at exactly `path`.
    pub fn of(tree: &Tree, payloads: &Payloads, path: &TreePath, seen: Seen) -> Result<Self, PayloadError> {
        let Some(entry) = tree.get(path) else { return Ok(Self::Absent) };
        let capabilities = tree.capabilities(path);
        let permissions = Permissions { mode: entry.mode, uid: entry.uid, gid: entry.gid, capabilities };
        Ok(match (&entry.kind, seen) {
            (Kind::Symlink(target), _) => Self::Link(target.clone()),
            (Kind::Directory, Seen::There) => Self::Directory(permissions),
            (Kind::Directory, Seen::Inside) => Self::List(permissions, names(tree, path)),
            (Kind::File { content, .. }, _) => {
                let mut hasher = Hasher::new();
                payloads.copy(content, &mut hasher)?;
                Self::File(permissions, hasher.finish())
            }
        })
    }

    /// How much was looked at to know it.
    pub const fn seen(&self) -> Seen {
        match self {
            Self::List(..) => Seen::Inside,
            _ => Seen::There,
        }
    }
}

/// SHA-256 of the names in a directory and of what kind each is.
fn names(tree: &Tree, directory: &TreePath) -> Digest {
    let mut hasher = Hasher::new();
    for (path, entry) in tree.below(directory).filter(|(path, _)| path.parent().as_ref() == Some(directory)) {
        let kind: &[u8] = match entry.kind {
            Kind::Directory => b"d",
            Kind::File { .. } => b"f",
            Kind::Symlink(_) => b"l",
        };
        hasher.update(kind);
        hasher.update(path.name().as_bytes());
        hasher.update(b"\0");
    }
    hasher.finish()
}

impl fmt::Display for Permissions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04o} {}:{}", self.mode, self.uid, self.gid)?;
        match &self.capabilities {
            Some(capabilities) => write!(formatter, " {capabilities}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => formatter.write_str("absent"),
            Self::Directory(permissions) => write!(formatter, "directory {permissions}"),
            Self::List(permissions, digest) => write!(formatter, "list {digest} {permissions}"),
            Self::File(permissions, digest) => write!(formatter, "file {digest} {permissions}"),
            Self::Link(target) => write!(formatter, "link {target}"),
        }
    }
}

/// A text that says no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` does not say what is at a path")]
pub struct StateError {
    text: String,
}

impl FromStr for State {
    type Err = StateError;

    fn from_str(text: &str) -> Result<Self, StateError> {
        parse(text).ok_or_else(|| StateError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<State> {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    let hashed = || {
        let (digest, rest) = rest.split_once(' ')?;
        Some((permissions(rest)?, digest.parse().ok()?))
    };
    Some(match kind {
        "absent" if rest.is_empty() => State::Absent,
        "directory" => State::Directory(permissions(rest)?),
        "list" => hashed().map(|(permissions, digest)| State::List(permissions, digest))?,
        "file" => hashed().map(|(permissions, digest)| State::File(permissions, digest))?,
        "link" => State::Link(rest.to_owned()),
        _ => return None,
    })
}

fn permissions(text: &str) -> Option<Permissions> {
    let mut words = text.split(' ');
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let (uid, gid) = words.next()?.split_once(':')?;
    let capabilities = words.next().map(str::parse).transpose().ok()?;
    if words.next().is_some() {
        return None;
    }
    Some(Permissions { mode, uid: uid.parse().ok()?, gid: gid.parse().ok()?, capabilities })
}

registry_wire::serde_as_text!(State);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, Entry, Owner};

    #[test]
    fn a_state_is_read_as_it_is_written() {
        let digest = Digest::of(b"x");
        for text in [
            "absent".to_owned(),
            "directory 0755 0:0".to_owned(),
            format!("list {digest} 1777 0:8"),
            format!("file {digest} 0755 0:0 cap_net_raw+ep"),
            "link ../usr/bin a".to_owned(),
        ] {
            assert_eq!(text.parse::<State>().unwrap().to_string(), text);
        }
        for bad in
            ["", "absent x", "file 0644 0:0", "directory 9 0:0", "directory 0755 0:0 x", "pipe 0644 0:0"]
        {
            assert!(bad.parse::<State>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_is_of_names_and_kinds() {
        let path = |text: &str| text.parse::<TreePath>().unwrap();
        let with = |names: &[(&str, Kind)]| {
            let mut tree = Tree::new(0);
            for (name, kind) in names {
                let owner = Owner::Source;
                tree.insert(
                    path(name),
                    Entry { kind: kind.clone(), mode: 0o644, uid: 0, gid: 0, mtime: 0, owner },
                );
            }
            let of = |seen| State::of(&tree, &Payloads::new(), &path("d"), seen).unwrap();
            (of(Seen::There), of(Seen::Inside))
        };
        let file = || Kind::File { content: Content::bytes(*b"1"), linked: false };
        let (there, inside) = with(&[("d/a", file())]);
        let (deeper_there, deeper) = with(&[("d/a", file()), ("e", file())]);
        assert_eq!((&there, &inside), (&deeper_there, &deeper));
        assert_ne!(with(&[("d/b", file())]).1, inside);
        assert_ne!(with(&[("d/a", Kind::Directory)]).1, inside);
        assert_eq!(with(&[("d/b", file())]).0, there);
        assert_eq!(with(&[]).0, State::Absent);
    }
}
