//! What changed from one lock to another.

use std::collections::BTreeMap;

use super::{Architecture, Lock, LockedPackage, PackageName, SuiteName};

/// What changed from one lock to another, by source package and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes<'l> {
    /// Packages of both with another version: old and new. A package that comes from a suite of updates now is one too.
    pub moved: Vec<(&'l LockedPackage, &'l LockedPackage)>,
    /// Packages of the new one only.
    pub added: Vec<&'l LockedPackage>,
    /// Packages of the old one only.
    pub removed: Vec<&'l LockedPackage>,
}

impl Changes<'_> {
    /// Whether both have the same packages.
    pub fn is_empty(&self) -> bool {
        self.moved.is_empty() && self.added.is_empty() && self.removed.is_empty()
    }
}

type Order<'l> = (&'l PackageName, &'l PackageName, &'l SuiteName, &'l Architecture);

const fn order(package: &LockedPackage) -> Order<'_> {
    (&package.source.name, &package.name, &package.suite, &package.architecture)
}

impl Lock {
    /// What changed since `old`.
    pub fn changes_since<'l>(&'l self, old: &'l Self) -> Changes<'l> {
        let mut before: BTreeMap<_, &LockedPackage> =
            old.packages.iter().map(|package| (package.key(), package)).collect();
        let mut changes = Changes::default();
        for package in &self.packages {
            match before.remove(&package.key()) {
                Some(old) if old.version != package.version => changes.moved.push((old, package)),
                Some(_) => {}
                None => changes.added.push(package),
            }
        }
        changes.removed = before.into_values().collect();
        // The same package of another suite has moved there, if it is clear which.
        let same = |left: &LockedPackage, right: &LockedPackage| {
            (&left.name, &left.architecture) == (&right.name, &right.architecture)
        };
        let added = std::mem::take(&mut changes.added);
        for new in added.iter().copied() {
            let mut olds = changes.removed.iter().copied().filter(|old| same(old, new));
            let is_only = added.iter().filter(|other| same(other, new)).count() == 1;
            match (olds.next(), olds.next()) {
                (Some(old), None) if is_only => {
                    changes.removed.retain(|other| *other != old);
                    changes.moved.push((old, new));
                }
                _ => changes.added.push(new),
            }
        }
        changes.moved.sort_by(|left, right| order(left.1).cmp(&order(right.1)));
        changes.added.sort_by(|left, right| order(left).cmp(&order(right)));
        changes.removed.sort_by(|left, right| order(left).cmp(&order(right)));
        changes
    }
}
