//! Verbs for single files.

use super::{EffectError, Image};
use crate::{Capabilities, Content, Entry, Kind, Owner, Package, StatOverride, TreePath};

const SETCAP: &str = "usr/sbin/setcap";
const SETUID: u32 = 0o4000;

impl Image<'_> {
    fn place(&self, path: &TreePath) -> Result<TreePath, EffectError> {
        self.tree.resolve(path).ok_or_else(|| EffectError::Links { path: path.clone() })
    }

    /// `mkdir -p`, then mode and owner, unless a directory is there.
    pub(super) fn directory(
        &mut self,
        by: &Owner,
        path: &TreePath,
        mode: u32,
        names: Option<&str>,
    ) -> Result<(), EffectError> {
        let at = self.place(path)?;
        match self.tree.lookup(&at) {
            Some((_, entry)) if matches!(entry.kind, Kind::Directory) => return Ok(()),
            Some(_) => return Err(EffectError::Taken { path: path.clone() }),
            None => {}
        }
        let (uid, gid) = self.ids(names)?;
        let mtime = self.options.epoch;
        self.tree.insert(at, Entry { kind: Kind::Directory, mode, uid, gid, mtime, owner: by.clone() });
        Ok(())
    }

    pub(super) fn empty_file(
        &mut self,
        by: &Owner,
        path: &TreePath,
        mode: u32,
        names: Option<&str>,
    ) -> Result<(), EffectError> {
        if !self.is_file(path) {
            self.write(by, path, Vec::new(), mode)?;
        }
        self.permissions(path, mode, names)
    }

    /// A file of mode 0644 unless there is one.
    pub(super) fn new_file(&mut self, by: &Owner, path: &TreePath, text: String) -> Result<(), EffectError> {
        if self.is_file(path) { Ok(()) } else { self.write(by, path, text.into_bytes(), 0o644) }
    }

    /// `chown`, or `chown -R`, of what exists.
    pub(super) fn own(&mut self, path: &TreePath, names: &str, deep: bool) -> Result<(), EffectError> {
        let (uid, gid) = self.ids(Some(names))?;
        let at = self.tree.follow(path).ok_or_else(|| EffectError::Links { path: path.clone() })?;
        let mut paths = vec![at.clone()];
        if deep {
            paths.extend(self.tree.below(&at).map(|(path, _)| path.clone()));
        }
        for path in paths {
            if let Some(entry) = self.tree.get_mut(&path) {
                entry.uid = uid;
                entry.gid = gid;
            }
        }
        Ok(())
    }

    /// `cp -p` unless there is a file.
    pub(super) fn copy(&mut self, by: &Owner, from: &TreePath, to: &TreePath) -> Result<(), EffectError> {
        if self.is_file(to) {
            return Ok(());
        }
        let source = self.tree.lookup(from).map(|(_, entry)| entry.clone());
        let mut entry = source.ok_or_else(|| EffectError::NotFile { path: from.clone() })?;
        let Kind::File { linked, .. } = &mut entry.kind else {
            return Err(EffectError::NotFile { path: from.clone() });
        };
        *linked = false;
        entry.owner = by.clone();
        let at = self.place(to)?;
        self.tree.insert(at, entry);
        Ok(())
    }

    pub(super) fn symlink(&mut self, by: &Owner, path: &TreePath, target: &str) -> Result<(), EffectError> {
        let at = self.place(path)?;
        let mut owner = by.clone();
        if let Some(entry) = self.tree.get(&at) {
            match &entry.kind {
                Kind::Directory if self.tree.below(&at).next().is_some() => {
                    return Err(EffectError::Taken { path: path.clone() });
                }
                // A package's own link with that target stays the package's.
                Kind::Symlink(have) if have == target => owner = entry.owner.clone(),
                _ => {}
            }
        }
        let kind = Kind::Symlink(target.to_owned());
        self.tree.insert(at, Entry { kind, mode: 0o777, uid: 0, gid: 0, mtime: self.options.epoch, owner });
        Ok(())
    }

    /// Mode and owner of what exists; nothing happens otherwise.
    pub(super) fn permissions(
        &mut self,
        path: &TreePath,
        mode: u32,
        names: Option<&str>,
    ) -> Result<(), EffectError> {
        let (uid, gid) = self.ids(names)?;
        let at = self.tree.follow(path).ok_or_else(|| EffectError::Links { path: path.clone() })?;
        if let Some(entry) = self.tree.get_mut(&at) {
            entry.mode = mode;
            entry.uid = uid;
            entry.gid = gid;
        }
        Ok(())
    }

    pub(super) fn dpkg_override(
        &mut self,
        path: &TreePath,
        mode: u32,
        names: &str,
    ) -> Result<(), EffectError> {
        self.permissions(path, mode, Some(names))?;
        self.overrides.push(StatOverride { owner: names.to_owned(), mode, path: path.clone() });
        Ok(())
    }

    /// `setcap` and then `chmod u-s`, of what exists.
    pub(super) fn capabilities(
        &mut self,
        path: &TreePath,
        capabilities: Capabilities,
    ) -> Result<(), EffectError> {
        let path = self.diversions.get(path).map_or(path, |diversion| &diversion.to);
        let at = self.tree.follow(path).ok_or_else(|| EffectError::Links { path: path.clone() })?;
        let has_program = self.is_file(&TreePath::known(SETCAP));
        let Some(entry) = self.tree.get_mut(&at) else { return Ok(()) };
        if has_program {
            entry.mode &= !SETUID;
            self.tree.set_capabilities(&at, capabilities);
        } else {
            entry.mode |= SETUID;
        }
        Ok(())
    }

    pub(super) fn remove_empty(&mut self, directory: &TreePath, prefix: &str, suffix: &str) {
        let empty: Vec<TreePath> = self
            .tree
            .below(directory)
            .filter(|(path, entry)| {
                matches!(entry.kind, Kind::Directory)
                    && path.parent().as_ref() == Some(directory)
                    && path.name().starts_with(prefix)
                    && path.name().ends_with(suffix)
            })
            .map(|(path, _)| path.clone())
            .collect();
        for path in empty {
            // A directory that is not empty stays.
            self.tree.remove(&path);
        }
    }

    pub(super) fn native_architecture(&mut self, package: &Package) -> Result<(), EffectError> {
        let path = TreePath::known("var/lib/dpkg/arch-native");
        let owner = Owner::Generated("dpkg".into());
        let content = Content::bytes(format!("{}\n", package.architecture).into_bytes());
        let kind = Kind::File { content, linked: false };
        let at = self.place(&path)?;
        self.tree.insert(at, Entry { kind, mode: 0o644, uid: 0, gid: 0, mtime: self.options.epoch, owner });
        Ok(())
    }
}
