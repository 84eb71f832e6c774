//! An image for several architectures: what there is for the others, and what was taken for them. One source package
//! has one version in the whole image where the archive allows it.

use std::collections::{BTreeMap, HashMap};

use bundles_release::lock::{Architecture, PackageName, Version};

use crate::packages::{Entry, Packages};

/// The versions of source packages that an architecture's packages are built from, by the package's name.
#[derive(Debug, Default)]
pub(crate) struct Available<'a> {
    sources: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Available<'a> {
    pub(crate) fn of(packages: &'a Packages<'a>) -> Self {
        let mut sources: HashMap<&str, Vec<&str>> = HashMap::new();
        for entry in packages.entries() {
            sources.entry(entry.name).or_default().push(entry.source_package().1);
        }
        Self { sources }
    }
}

/// What a recipe looks at besides its own architecture; nothing for a recipe of one.
#[derive(Debug, Default)]
pub(crate) struct Siblings<'s> {
    /// What there is for the others.
    pub(crate) others: Vec<(&'s Architecture, &'s Available<'s>)>,
    /// Versions of source packages that were taken for others.
    pub(crate) taken: BTreeMap<PackageName, Version>,
}

impl Siblings<'_> {
    /// Whether all architectures that have a package of that name have it in that version.
    pub(super) fn have(&self, entry: &Entry<'_>) -> bool {
        self.lacking(entry).next().is_none()
    }

    /// The architectures that have a package of that name, and none in that version.
    pub(crate) fn lacking<'l>(&'l self, entry: &'l Entry<'_>) -> impl Iterator<Item = &'l Architecture> {
        let version = entry.source_package().1;
        let lacks = move |available: &Available<'_>| {
            available.sources.get(entry.name).is_some_and(|versions| !versions.contains(&version))
        };
        self.others
            .iter()
            .filter(move |(_, available)| lacks(available))
            .map(|(architecture, _)| *architecture)
    }

    /// Whether others took that version of its source package.
    pub(super) fn took(&self, entry: &Entry<'_>) -> bool {
        let (source, version) = entry.source_package();
        self.taken.get(source).is_some_and(|taken| taken.as_str() == version)
    }

    /// The architectures that have a package of that name.
    pub(super) fn with(&self, name: &str) -> Vec<Architecture> {
        let has = self.others.iter().filter(|(_, available)| available.sources.contains_key(name));
        has.map(|(architecture, _)| (*architecture).clone()).collect()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.others.is_empty()
    }
}
