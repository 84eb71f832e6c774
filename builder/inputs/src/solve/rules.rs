//! Which versions may be taken, which of them first, and what each package needs: what the recipe, the other recipes of
//! the platform and the existing lock say.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
};

use bundles_release::lock::{Architecture, PackageName, PackageRequest, SuiteName, Version};

use super::{satisfied, siblings::Siblings};
use crate::{
    packages::{Packages, PackagesError},
    relation::Group,
};

/// Versions that other recipes of the platform have chosen. A lock has one for each suite and name.
pub(crate) type Chosen = BTreeMap<SuiteName, BTreeMap<PackageName, Version>>;

/// Versions that the existing lock has for a recipe.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    /// Taken where nothing speaks against them.
    pub(crate) preferred: BTreeMap<PackageName, Version>,
    /// Not moved away from.
    pub(crate) held: BTreeMap<PackageName, Version>,
    /// Versions of source packages, of all its architectures, for a recipe with several.
    pub(crate) sources: BTreeMap<PackageName, Version>,
}

pub(super) struct Rules<'r, 'a> {
    pub(super) packages: &'r Packages<'a>,
    pub(super) request: &'r PackageRequest,
    chosen: &'r Chosen,
    pub(super) kept: &'r Kept,
    pub(super) siblings: &'r Siblings<'r>,
    /// Recommends that are followed, by the package that has them.
    pub(super) recommended: HashMap<usize, Vec<Group<'a>>>,
}

impl<'r, 'a> Rules<'r, 'a> {
    pub(super) fn new(
        packages: &'r Packages<'a>,
        request: &'r PackageRequest,
        chosen: &'r Chosen,
        kept: &'r Kept,
        siblings: &'r Siblings<'r>,
    ) -> Self {
        Self { packages, request, chosen, kept, siblings, recommended: HashMap::new() }
    }

    /// The architecture, where others are solved too and a person has to know which it is.
    pub(super) fn named_architecture(&self) -> Option<Architecture> {
        (!self.siblings.is_empty()).then(|| self.request.architecture.clone())
    }

    /// Why a version may not be taken; nothing if it may.
    pub(super) fn refusal(&self, entry: usize) -> Option<String> {
        let entry = self.packages.entry(entry);
        let (name, version) = (entry.name, &entry.version);
        if let Some(pin) = self.request.pins.get(name).filter(|pin| !pin.contains(version)) {
            return Some(format!("the recipe pins {name} to `{pin}`"));
        }
        if let Some(held) = self.kept.held.get(name).filter(|held| *held != version) {
            return Some(format!("the recipe holds {name} at {held}"));
        }
        let chosen = self.chosen.get(entry.suite).and_then(|chosen| chosen.get(name));
        let other = chosen.filter(|chosen| *chosen != version)?;
        let who = if self.siblings.is_empty() { "another recipe" } else { "another recipe or platform" };
        Some(format!("{who} takes {name} {other} of {}", entry.suite))
    }

    /// The order among versions of one package, best first.
    pub(super) fn compare(&self, left: usize, right: usize) -> Ordering {
        let key = |entry: usize| {
            let entry = self.packages.entry(entry);
            let is_kept = self.kept.preferred.get(entry.name) == Some(&entry.version);
            (self.siblings.have(entry), self.siblings.took(entry), is_kept, &entry.version)
        };
        // Of equal versions the first in the indices.
        key(right).cmp(&key(left)).then(left.cmp(&right))
    }

    /// The version of a name that is taken where nothing speaks against it.
    pub(super) fn candidate(&self, name: &str) -> Option<usize> {
        let entries = self.packages.named(name).iter().copied();
        let allowed = entries.filter(|entry| self.refusal(*entry).is_none());
        allowed.min_by(|left, right| self.compare(*left, *right))
    }

    /// The relations of a package that something must satisfy.
    pub(super) fn needs(&self, entry: usize) -> Result<Vec<Group<'a>>, PackagesError> {
        let package = self.packages.entry(entry);
        let mut groups = package.needs()?;
        groups.extend(self.recommended.get(&entry).into_iter().flatten().cloned());
        groups.retain(|group| satisfied::entry_for(self.request, package.name, group).is_none());
        Ok(groups)
    }
}
