//! The recipe's own files, on top of a tree.

use std::collections::BTreeMap;

use crate::{Content, Entry, InstallError, Kind, Owner, Tree, TreePath};

/// A file of the recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it goes.
    pub path: TreePath,
    /// What is in it.
    pub content: Content,
    /// Its mode, 0644 or 0755.
    pub mode: u32,
}

/// The entries of a layer that brings `files` on top of `base`: the files, and every directory that they are in, with
/// the metadata that it has in `base`. Files of packages may be replaced, directories may not.
pub fn place_sources(
    base: &Tree,
    files: &[SourceFile],
    mtime: i64,
) -> Result<Vec<(TreePath, Entry)>, InstallError> {
    let mut entries: BTreeMap<TreePath, Entry> = BTreeMap::new();
    let make = |kind, mode| Entry { kind, mode, uid: 0, gid: 0, mtime, owner: Owner::Source };
    for file in files {
        let refused = |reason| InstallError::Source { path: file.path.clone(), reason };
        let path = base.resolve(&file.path).ok_or_else(|| refused("links on the way never end"))?;
        let is_directory = |path: &TreePath| {
            let entry = entries.get(path).or_else(|| base.get(path));
            entry.is_some_and(|entry| matches!(entry.kind, Kind::Directory))
        };
        if path.is_root() || is_directory(&path) {
            return Err(refused("a directory is there"));
        }
        let mut parent = path.parent();
        while let Some(directory) = parent.filter(|directory| !directory.is_root()) {
            let there = entries.get(&directory).or_else(|| base.get(&directory));
            let entry = match there {
                None => make(Kind::Directory, 0o755),
                Some(entry) if matches!(entry.kind, Kind::Directory) => entry.clone(),
                Some(_) => return Err(refused("a file is where one of its directories should be")),
            };
            parent = directory.parent();
            entries.insert(directory, entry);
        }
        let kind = Kind::File { content: file.content.clone(), linked: false };
        entries.insert(path, make(kind, file.mode));
    }
    Ok(entries.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> SourceFile {
        SourceFile { path: path.parse().unwrap(), content: Content::bytes(*b"x"), mode: 0o644 }
    }

    fn base() -> Tree {
        let mut tree = Tree::new(1);
        let entry =
            |kind, mode| Entry { kind, mode, uid: 7, gid: 8, mtime: 2, owner: Owner::Package("p".into()) };
        tree.insert("usr/bin".parse().unwrap(), entry(Kind::Directory, 0o711));
        tree.insert("bin".parse().unwrap(), entry(Kind::Symlink("usr/bin".into()), 0o777));
        tree.insert("loop".parse().unwrap(), entry(Kind::Symlink("loop".into()), 0o777));
        tree
    }

    #[test]
    fn parents_keep_their_metadata_and_links_are_followed() {
        let entries = place_sources(&base(), &[file("/bin/tool"), file("/app/a/b.js")], 5).unwrap();
        let found: Vec<(&str, u32, u32)> =
            entries.iter().map(|(path, entry)| (path.as_str(), entry.mode, entry.uid)).collect();
        let expected = [
            ("app", 0o755, 0),
            ("app/a", 0o755, 0),
            ("app/a/b.js", 0o644, 0),
            ("usr", 0o755, 0),
            ("usr/bin", 0o711, 7),
            ("usr/bin/tool", 0o644, 0),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_has_no_place_is_refused() {
        for (paths, reason) in [
            (&["/usr/bin"][..], "a directory is there"),
            (&["/loop/x"], "never end"),
            (&["/a", "/a/b"], "a file is where"),
            (&["/a/b", "/a"], "a directory is there"),
        ] {
            let files: Vec<SourceFile> = paths.iter().map(|path| file(path)).collect();
            let error = place_sources(&base(), &files, 5).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
