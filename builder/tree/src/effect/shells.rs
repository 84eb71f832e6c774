//! The list of shells (update-shells(8)).

use super::{EffectError, Image};
use crate::{Kind, Owner, TreePath};

impl Image<'_> {
    /// With `real_last` as older versions leave it, which run twice: the real paths of shells of the essential set stand after
    /// the names that packages give, and a path that is named and is the real one of another name stands there twice.
    pub(super) fn write_shells(&mut self, real_last: bool) -> Result<(), EffectError> {
        let owner = Owner::Generated("update-shells".into());
        let template = TreePath::known("usr/share/debianutils/shells");
        let lists = TreePath::known("usr/share/debianutils/shells.d");
        let mut sources = vec![template];
        sources.extend(
            self.tree
                .below(&lists)
                .filter(|(_, entry)| matches!(entry.kind, Kind::File { .. }))
                .map(|(path, _)| path.clone()),
        );
        let mut first: Vec<String> = Vec::new();
        let mut offered: Vec<String> = Vec::new();
        for source in &sources {
            let is_first = real_last && self.is_of_essential(source);
            for line in self.text(source)?.lines() {
                let shell = line.split('#').next().unwrap_or_default();
                if shell.is_empty() {
                    continue;
                }
                if is_first {
                    first.push(shell.to_owned());
                }
                let real = self.real_directory(shell)?;
                let other = Some(real).filter(|real| real != shell);
                for name in std::iter::once(shell.to_owned()).chain(other) {
                    if real_last || !offered.contains(&name) {
                        offered.push(name);
                    }
                }
            }
        }
        let path = TreePath::known("etc/shells");
        let mut text = self.text(&path)?;
        let mut listed: Vec<String> =
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        for run in [first.as_slice(), offered.as_slice()] {
            let new: Vec<&String> = run.iter().filter(|shell| !listed.contains(shell)).collect();
            text.extend(new.iter().flat_map(|shell| [shell.as_str(), "\n"]));
            listed.extend(new.into_iter().cloned().collect::<Vec<_>>());
        }
        self.write(&owner, &path, text.into_bytes(), 0o644)?;
        let mut state = offered.join("\n");
        state.push('\n');
        self.write(&owner, &TreePath::known("var/lib/shells.state"), state.into_bytes(), 0o644)
    }

    /// Whether an essential package brings a file.
    fn is_of_essential(&self, path: &TreePath) -> bool {
        let owner = self.tree.get(path).map(|entry| &entry.owner);
        let Some(Owner::Package(name)) = owner else { return false };
        let package = self.package(name);
        package.is_some_and(|package| package.paragraph().get("Essential") == Some("yes"))
    }

    /// `add-shell`, for shells that no list of a package holds.
    pub(super) fn add_shells(&mut self) -> Result<(), EffectError> {
        let path = TreePath::known("etc/shells");
        let more = std::mem::take(&mut self.pending.more_shells);
        if more.is_empty() || !self.is_file(&path) {
            return Ok(());
        }
        let mut text = self.text(&path)?;
        for shell in more {
            if !text.lines().any(|line| line == shell) {
                text.push_str(&shell);
                text.push('\n');
            }
        }
        self.write(&Owner::Generated("add-shell".into()), &path, text.into_bytes(), 0o644)
    }

    /// The path with all links of its directory followed.
    fn real_directory(&self, shell: &str) -> Result<String, EffectError> {
        let form = || EffectError::Form {
            path: TreePath::known("etc/shells"),
            reason: format!("{shell} is no path"),
        };
        let path: TreePath = shell.parse().map_err(|_| form())?;
        Ok(self.tree.resolve(&path).ok_or_else(form)?.to_string())
    }
}
