//! Alternatives (update-alternatives(1)): links to links in /etc/alternatives.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{EffectError, Image};
use crate::{Entry, Kind, Owner, Package, TreePath};

/// The page of the server of `PostgreSQL`, while it had one of its own.
const SERVER_PAGE: &str = "postmaster.1.gz";

/// One way to serve a purpose.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slave {
    name: String,
    link: TreePath,
    path: TreePath,
}

/// The same, as the arguments of `update-alternatives`: `--install` or, before that, `--quiet`, and then `--slave`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct AlternativeArguments(Alternative);

/// Arguments of another form.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` are no arguments of update-alternatives")]
pub(crate) struct AlternativeArgumentsError(String);

impl AlternativeArguments {
    pub(super) const fn alternative(&self) -> &Alternative {
        &self.0
    }

    fn parse(text: &str) -> Option<Alternative> {
        let text = text.strip_prefix("--quiet ").unwrap_or(text).strip_prefix("--install ")?;
        let words: Vec<&str> = text.split(' ').map(unquoted).collect::<Option<_>>()?;
        let (first, slaves) = words.split_at_checked(4)?;
        let [link, name, target, priority] = first.try_into().ok()?;
        let is_name = |name: &str| !name.is_empty() && !name.contains('/');
        let path = |path: &str| path.starts_with('/').then(|| path.parse().ok()).flatten();
        let (link, target) = (path(link)?, path(target)?);
        let slaves = slaves.chunks(4).map(|words| {
            let ["--slave", link, name, target] = *words else { return None };
            let slave = Slave { name: name.to_owned(), link: path(link)?, path: path(target)? };
            is_name(name).then_some(slave)
        });
        let slaves = slaves.collect::<Option<_>>()?;
        let name = is_name(name).then(|| name.to_owned())?;
        Some(Alternative { name, link, path: target, priority: priority.parse().ok()?, slaves })
    }
}

/// A word without the quotes around it.
fn unquoted(word: &str) -> Option<&str> {
    let inner = ['"', '\''].iter().find_map(|quote| word.strip_prefix(*quote)?.strip_suffix(*quote));
    let word = inner.unwrap_or(word);
    (!word.contains(['"', '\''])).then_some(word)
}

impl TryFrom<String> for AlternativeArguments {
    type Error = AlternativeArgumentsError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).map(Self).ok_or(AlternativeArgumentsError(text))
    }
}

impl From<AlternativeArguments> for String {
    fn from(AlternativeArguments(of): AlternativeArguments) -> Self {
        let slaves = of.slaves.iter().fold(Self::new(), |mut text, slave| {
            let _infallible = write!(text, " --slave {} {} {}", slave.link, slave.name, slave.path);
            text
        });
        format!("--install {} {} {} {}{slaves}", of.link, of.name, of.path, of.priority)
    }
}

/// All ways to serve one purpose.
pub(crate) type Group = Vec<Alternative>;

impl Image<'_> {
    pub(super) fn alternative(&mut self, alternative: &Alternative) {
        let group = self.alternatives.entry(alternative.name.clone()).or_default();
        group.retain(|other| other.path != alternative.path);
        group.push(alternative.clone());
    }

    /// A choice between the manual pages of two versions: those that `package` brings in `FOLDER/VERSION/man`, in the
    /// folders of their sections.
    pub(super) fn manual_alternative(&mut self, package: &Package, folder: &TreePath, master: &str) {
        let owner = Owner::Package(package.name.as_str().into());
        let version = package.name.as_str().rsplit('-').next().unwrap_or_default();
        let folder = folder.child(version).child("man");
        let is_page = |path: &TreePath| path.name().strip_suffix(".gz").is_some();
        // Since the server has no page of that name, its pages change together with the client's.
        let is_apart = self.tree.below(&folder).any(|(path, _)| path.name() == SERVER_PAGE);
        let is_own = |entry: &Entry| !is_apart || entry.owner == owner;
        let pages = self.tree.below(&folder).filter(|(path, entry)| is_page(path) && is_own(entry));
        let mut pages: Vec<Slave> = pages
            .filter_map(|(path, _)| {
                let section = path.parent()?;
                let link = TreePath::known(&format!("usr/share/man/{}/{}", section.name(), path.name()));
                Some(Slave { name: path.name().to_owned(), link, path: path.clone() })
            })
            .collect();
        let Some(at) = pages.iter().position(|page| page.name == master) else { return };
        let priority = version.parse::<i32>().map_or(0, |version| version.saturating_mul(10));
        let Slave { name, link, path } = pages.remove(at);
        self.alternative(&Alternative { name, link, path, priority, slaves: pages });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_the_program() {
        let text = "--install /usr/bin/awk awk /usr/bin/gawk 10 --slave /usr/bin/nawk nawk /usr/bin/gawk";
        let arguments = AlternativeArguments::try_from(text.to_owned()).unwrap();
        assert_eq!(arguments.alternative().slaves.len(), 1);
        assert_eq!(String::from(arguments), text);
        for wrong in [
            "",
            "/a a /b",
            "/a a /b x",
            "/a a b 1",
            "/a /a /b 1",
            "/a a /b 1 --slave /c c",
            "/a a /b 1 --force",
        ] {
            assert!(AlternativeArguments::try_from(format!("--install {wrong}")).is_err(), "{wrong}");
        }
        assert!(AlternativeArguments::try_from("--remove a /b".to_owned()).is_err());
    }
}
