//! Alternatives (update-alternatives(1)): links to links in /etc/alternatives.

use std::fmt::Write as _;

use serde::Deserialize;

use super::{EffectError, Image};
use crate::{Kind, Owner, TreePath};

/// One way to serve a purpose.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alternative {
    /// Name of the purpose, `awk`.
    name: String,
    /// The link that everybody uses.
    link: TreePath,
    /// What serves it.
    path: TreePath,
    /// The highest wins.
    priority: i32,
    /// Links that change together with this one.
    #[serde(default)]
    slaves: Vec<Slave>,
}

/// A link that changes together with another.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slave {
    name: String,
    link: TreePath,
    path: TreePath,
}

/// All ways to serve one purpose.
pub(crate) type Group = Vec<Alternative>;

impl Image<'_> {
    pub(super) fn alternative(&mut self, alternative: &Alternative) {
        let group = self.alternatives.entry(alternative.name.clone()).or_default();
        group.retain(|other| other.path != alternative.path);
        group.push(alternative.clone());
    }

    /// Makes the links of every purpose, and dpkg's own notes about them where there is a dpkg to read them.
    pub(super) fn write_alternatives(&mut self) -> Result<(), EffectError> {
        let owner = Owner::Generated("update-alternatives".into());
        for (name, mut group) in std::mem::take(&mut self.alternatives) {
            group.sort_by(|left, right| left.path.as_str().cmp(right.path.as_str()));
            // Of equal ones the first that came stays, which is the first by name here.
            let Some(best) = group.iter().rev().max_by_key(|alternative| alternative.priority).cloned()
            else {
                continue;
            };
            self.link(&owner, &name, &best.link, &best.path)?;
            for slave in &best.slaves {
                // A slave whose file is not there gets no link.
                if self.tree.lookup(&slave.path).is_some() {
                    self.link(&owner, &slave.name, &slave.link, &slave.path)?;
                }
            }
            if self.has("dpkg") {
                let path = TreePath::known(&format!("var/lib/dpkg/alternatives/{name}"));
                self.write(&owner, &path, notes(&group, &best).into_bytes(), 0o644)?;
            }
        }
        Ok(())
    }

    fn link(&mut self, by: &Owner, name: &str, link: &TreePath, path: &TreePath) -> Result<(), EffectError> {
        // A file that a package brought is not replaced by a link.
        let at = self.tree.resolve(link).unwrap_or_else(|| link.clone());
        if self.tree.get(&at).is_some_and(|entry| !matches!(entry.kind, Kind::Symlink(_))) {
            return Ok(());
        }
        let through = TreePath::known(&format!("etc/alternatives/{name}"));
        self.symlink(by, &through, &path.to_string())?;
        self.symlink(by, link, &through.to_string())
    }
}

fn notes(group: &[Alternative], best: &Alternative) -> String {
    let mut slaves = best.slaves.clone();
    for other in group {
        for slave in &other.slaves {
            if !slaves.iter().any(|known| known.name == slave.name) {
                slaves.push(slave.clone());
            }
        }
    }
    slaves.sort_by(|left, right| left.name.cmp(&right.name));
    let mut text = format!("auto\n{}\n", best.link);
    for slave in &slaves {
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "{}\n{}", slave.name, slave.link);
    }
    text.push('\n');
    for alternative in group {
        let _infallible = writeln!(text, "{}\n{}", alternative.path, alternative.priority);
        for slave in &slaves {
            let own = alternative.slaves.iter().find(|own| own.name == slave.name);
            text.push_str(&own.map(|own| own.path.to_string()).unwrap_or_default());
            text.push('\n');
        }
    }
    text.push('\n');
    text
}
