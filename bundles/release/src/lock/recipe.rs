//! What one recipe installs, on each architecture that its image is for.

use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
};

use registry_wire::Digest;
use serde::Deserialize;

use super::{
    model::{Lock, LockedPackage, PackageKey},
    name::{Architecture, PackageName, RecipeName, SuiteName},
    version::Version,
};

/// What one recipe installs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Document")]
pub struct LockedRecipe {
    /// The suite that its packages come from; newer versions of some may be of suites that update it.
    pub suite: SuiteName,
    /// Its packages.
    pub selections: Selections,
}

/// What a recipe installs on its architectures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selections {
    /// On the only one. Its name is not written: the request is of it, and its packages have it.
    One(Selection),
    /// On each of two or more.
    Several(BTreeMap<Architecture, Selection>),
}

/// What a recipe installs on one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Hash of the request that was solved; see [`super::PackageRequest::digest`].
    pub request: Digest,
    /// Its packages in an order in which they could be configured: what one needs comes first, where there is no
    /// circle.
    pub packages: Vec<PackageKey>,
    /// Packages that others depend on and that are left out on purpose.
    #[serde(default)]
    pub satisfied: Vec<Satisfied>,
}

/// A package that others depend on and that is left out on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Satisfied {
    /// The package that is not installed.
    pub package: PackageName,
    /// Installed packages that depend on it.
    pub needed_by: Vec<PackageName>,
    /// Why that is right.
    pub reason: String,
}

/// A source package of which a recipe installs one version on one architecture and another on another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence<'l> {
    /// The recipe.
    pub recipe: &'l RecipeName,
    /// The source package.
    pub source: &'l PackageName,
    /// Its version on each architecture that has packages of it; the highest where those are of several.
    pub versions: BTreeMap<&'l Architecture, &'l Version>,
}

/// A recipe as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    suite: SuiteName,
    request: Option<Digest>,
    packages: Option<Vec<PackageKey>>,
    #[serde(default)]
    satisfied: Vec<Satisfied>,
    #[serde(default)]
    architecture: BTreeMap<Architecture, Selection>,
}

/// A recipe that is of neither form.
#[derive(Debug, thiserror::Error)]
#[error("a recipe has either `request` and `packages`, or both in each of two or more tables `architecture`")]
struct FormError;

impl TryFrom<Document> for LockedRecipe {
    type Error = FormError;

    fn try_from(document: Document) -> Result<Self, FormError> {
        let Document { suite, request, packages, satisfied, architecture } = document;
        let selections = match (request, packages) {
            (Some(request), Some(packages)) if architecture.is_empty() => {
                Selections::One(Selection { request, packages, satisfied })
            }
            (None, None) if satisfied.is_empty() && architecture.len() > 1 => {
                Selections::Several(architecture)
            }
            _ => return Err(FormError),
        };
        Ok(Self { suite, selections })
    }
}

impl LockedRecipe {
    /// What it installs on an architecture. Of a recipe for one architecture the lock does not say for which: that its
    /// request is still the same does.
    pub fn selection(&self, architecture: &Architecture) -> Option<&Selection> {
        match &self.selections {
            Selections::One(selection) => Some(selection),
            Selections::Several(selections) => selections.get(architecture),
        }
    }

    /// What it installs on its architectures, in the order of their names.
    pub fn selections(&self) -> impl Iterator<Item = &Selection> {
        let (one, several) = match &self.selections {
            Selections::One(selection) => (slice::from_ref(selection), None),
            Selections::Several(selections) => (&[][..], Some(selections.values())),
        };
        one.iter().chain(several.into_iter().flatten())
    }

    /// The packages of all its architectures, each once.
    pub fn packages(&self) -> impl Iterator<Item = &PackageKey> {
        let mut seen = BTreeSet::new();
        self.selections().flat_map(|selection| &selection.packages).filter(move |key| seen.insert(*key))
    }
}

impl Lock {
    /// The packages of a recipe in its order, those of all its architectures; nothing if there is no such recipe.
    pub fn recipe_packages<'a>(
        &'a self,
        recipe: &RecipeName,
    ) -> impl Iterator<Item = &'a LockedPackage> + 'a {
        let recipe = self.recipes.get(recipe);
        recipe.into_iter().flat_map(LockedRecipe::packages).filter_map(|key| self.package(key))
    }

    /// The packages of a recipe on one architecture, in its order; nothing if there is no such recipe.
    pub fn selected_packages<'a>(
        &'a self,
        recipe: &RecipeName,
        architecture: &Architecture,
    ) -> impl Iterator<Item = &'a LockedPackage> + 'a {
        let selection = self.recipes.get(recipe).and_then(|recipe| recipe.selection(architecture));
        selection.into_iter().flat_map(|selection| &selection.packages).filter_map(|key| self.package(key))
    }

    /// Where a recipe has another version of a source package on another architecture, because the archive has no
    /// version of it for all of them.
    pub fn divergences(&self) -> Vec<Divergence<'_>> {
        let mut divergences = Vec::new();
        for (name, recipe) in &self.recipes {
            let Selections::Several(selections) = &recipe.selections else { continue };
            let mut sources: BTreeMap<&PackageName, BTreeMap<&Architecture, &Version>> = BTreeMap::new();
            for (architecture, selection) in selections {
                for package in selection.packages.iter().filter_map(|key| self.package(key)) {
                    let of_source = sources.entry(&package.source.name).or_default();
                    let version = of_source.entry(architecture).or_insert(&package.source.version);
                    *version = (*version).max(&package.source.version);
                }
            }
            sources.retain(|_, versions| {
                let mut others = versions.values();
                let first = others.next();
                others.any(|other| Some(other) != first)
            });
            let of_recipe = sources.into_iter();
            divergences.extend(of_recipe.map(|(source, versions)| Divergence {
                recipe: name,
                source,
                versions,
            }));
        }
        divergences
    }
}
