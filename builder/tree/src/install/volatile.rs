//! What belongs to one installation and not to an image: logs, caches and identities that scripts write and that differ
//! from machine to machine (the lists of mmdebstrap and debuerreotype agree on them). What a package brings stays.

use crate::{Content, Entry, Kind, Owner, Tree, TreePath};

/// Files that are removed.
const FILES: [&str; 8] = [
    "etc/hostname",
    "etc/resolv.conf",
    "run/mount/utab",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dbus/machine-id",
    "var/log/alternatives.log",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
];
/// Folders whose files are removed; they stay, and so do folders in them.
const FOLDERS: [&str; 3] = ["var/cache/apt", "var/lib/apt/lists", "var/log/apt"];
/// A file that stays, empty: a machine gives it content when it starts.
const IDENTITY: &str = "etc/machine-id";

/// Removes it from a tree.
pub(super) fn remove_volatile(tree: &mut Tree) {
    let mut paths: Vec<TreePath> = FILES.into_iter().map(TreePath::known).collect();
    for folder in FOLDERS {
        let folder = TreePath::known(folder);
        let files = tree.below(&folder).filter(|(_, entry)| entry.kind != Kind::Directory);
        paths.extend(files.map(|(path, _)| path.clone()));
    }
    paths.retain(|path| !tree.get(path).is_some_and(is_packaged));
    for path in paths {
        // A directory of that name that is not empty stays.
        tree.remove(&path);
    }
    if let Some(entry) = tree.get_mut(&TreePath::known(IDENTITY)).filter(|entry| !is_packaged(entry))
        && let Kind::File { content, .. } = &mut entry.kind
    {
        *content = Content::bytes([]);
    }
}

const fn is_packaged(entry: &Entry) -> bool {
    matches!(entry.owner, Owner::Package(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_scripts_write_goes_and_what_packages_bring_stays() {
        let mut tree = Tree::new(0);
        let path = |text: &str| text.parse::<TreePath>().unwrap();
        let mut put = |text: &str, owner: Owner| {
            let kind = Kind::File { content: Content::bytes(*b"1"), linked: false };
            tree.insert(path(text), Entry { kind, mode: 0o644, uid: 0, gid: 0, mtime: 0, owner });
        };
        let volatile: Vec<String> = FILES
            .into_iter()
            .map(str::to_owned)
            .chain(FOLDERS.into_iter().map(|folder| format!("{folder}/deeper/file")))
            .collect();
        for name in volatile.iter().map(String::as_str).chain([IDENTITY, "var/log/own.log"]) {
            put(name, Owner::Generated("script".into()));
        }
        put("var/log/apt/packaged", Owner::Package("one".into()));
        let before = tree.len();
        remove_volatile(&mut tree);
        assert_eq!(tree.len(), before - volatile.len());
        let left: Vec<_> = volatile.iter().filter(|name| tree.get(&path(name)).is_some()).collect();
        assert!(left.is_empty(), "{left:?}");
        for name in ["var/log/apt/packaged", "var/log/apt/deeper", "var/log/own.log"] {
            assert!(tree.get(&path(name)).is_some(), "{name}");
        }
        let Kind::File { content, .. } = &tree.get(&path(IDENTITY)).unwrap().kind else { panic!("a file") };
        assert_eq!(content.length(), 0);
    }
}
