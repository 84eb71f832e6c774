//! The list of shells (update-shells(8)).

use super::{EffectError, Image};
use crate::{Kind, Owner, TreePath};

impl Image<'_> {
    /// With `real_last` the real paths of all shells stand after the names that packages give, as two runs leave it.
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
        let mut named: Vec<String> = Vec::new();
        let mut offered: Vec<String> = Vec::new();
        for source in &sources {
            for line in self.text(source)?.lines() {
                let shell = line.split('#').next().unwrap_or_default();
                if shell.is_empty() {
                    continue;
                }
                named.push(shell.to_owned());
                for shell in [shell.to_owned(), self.real_directory(shell)?] {
                    if !offered.contains(&shell) {
                        offered.push(shell);
                    }
                }
            }
        }
        let path = TreePath::known("etc/shells");
        let mut text = self.text(&path)?;
        let mut listed: Vec<String> =
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        let first = if real_last { named.iter() } else { [].iter() };
        for shell in first.chain(&offered) {
            if !listed.contains(shell) {
                listed.push(shell.clone());
                text.push_str(shell);
                text.push('\n');
            }
        }
        self.write(&owner, &path, text.into_bytes(), 0o644)?;
        let mut state = offered.join("\n");
        state.push('\n');
        self.write(&owner, &TreePath::known("var/lib/shells.state"), state.into_bytes(), 0o644)
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
