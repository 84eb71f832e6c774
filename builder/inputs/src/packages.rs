//! An index of packages, borrowed from its text.

use std::collections::HashMap;

use bundles_release::lock::{Component, Priority, Version, VersionError};

use crate::{
    deb822::{Deb822Error, Item, Reader},
    relation::{self, Group, RelationError},
};

/// One package of an index.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: Version,
    pub(crate) architecture: &'a str,
    pub(crate) component: &'a Component,
    pub(crate) source: &'a str,
    pub(crate) essential: bool,
    pub(crate) priority: Priority,
    pub(crate) size: &'a str,
    pub(crate) sha256: &'a str,
    pub(crate) path: &'a str,
    pre_depends: &'a str,
    depends: &'a str,
    provides: &'a str,
    conflicts: &'a str,
    breaks: &'a str,
}

/// Which package provides a name, and in which version.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(crate) entry: usize,
    pub(crate) version: Option<Version>,
}

/// All packages of one suite and architecture.
#[derive(Debug, Default)]
pub(crate) struct Packages<'a> {
    entries: Vec<Entry<'a>>,
    by_name: HashMap<&'a str, Vec<usize>>,
    providers: HashMap<&'a str, Vec<Provider>>,
}

/// Why an index cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// A line that is no field.
    #[error("the index of packages is malformed")]
    Syntax(#[source] Deb822Error),
    /// A package without something that it needs.
    #[error("package `{package}` has no {field} in the index")]
    Missing {
        /// The package.
        package: String,
        /// The field.
        field: &'static str,
    },
    /// A package with a wrong version.
    #[error("package `{package}` has a wrong version in the index")]
    Version {
        /// The package.
        package: String,
        /// What is wrong with it.
        source: VersionError,
    },
    /// A package with a wrong relation.
    #[error("package `{package}` has a wrong {field} in the index")]
    Relation {
        /// The package.
        package: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        source: RelationError,
    },
}

#[derive(Default)]
struct Fields<'a> {
    name: &'a str,
    version: &'a str,
    architecture: &'a str,
    source: &'a str,
    essential: &'a str,
    priority: &'a str,
    size: &'a str,
    sha256: &'a str,
    path: &'a str,
    pre_depends: &'a str,
    depends: &'a str,
    provides: &'a str,
    conflicts: &'a str,
    breaks: &'a str,
}

impl<'a> Packages<'a> {
    /// Reads an index and adds the packages of `architecture` and `all`.
    pub(crate) fn add(
        &mut self,
        text: &'a str,
        component: &'a Component,
        architecture: &str,
    ) -> Result<(), PackagesError> {
        let mut reader = Reader::new(text);
        let mut fields = Fields::default();
        while let Some(item) = reader.read().map_err(PackagesError::Syntax)? {
            let Item::Field(field) = item else {
                let fields = std::mem::take(&mut fields);
                if matches!(fields.architecture, "all") || fields.architecture == architecture {
                    self.insert(&fields, component)?;
                }
                continue;
            };
            let slot = match field.name {
                "Package" => &mut fields.name,
                "Version" => &mut fields.version,
                "Architecture" => &mut fields.architecture,
                "Source" => &mut fields.source,
                "Essential" => &mut fields.essential,
                "Priority" => &mut fields.priority,
                "Size" => &mut fields.size,
                "SHA256" => &mut fields.sha256,
                "Filename" => &mut fields.path,
                "Pre-Depends" => &mut fields.pre_depends,
                "Depends" => &mut fields.depends,
                "Provides" => &mut fields.provides,
                "Conflicts" => &mut fields.conflicts,
                "Breaks" => &mut fields.breaks,
                _ => continue,
            };
            *slot = field.value;
        }
        Ok(())
    }

    fn insert(&mut self, fields: &Fields<'a>, component: &'a Component) -> Result<(), PackagesError> {
        let missing = |field| PackagesError::Missing { package: fields.name.to_owned(), field };
        let required = [
            ("Package", fields.name),
            ("Version", fields.version),
            ("Filename", fields.path),
            ("Size", fields.size),
            ("SHA256", fields.sha256),
        ];
        if let Some((field, _)) = required.into_iter().find(|(_, value)| value.is_empty()) {
            return Err(missing(field));
        }
        let version = fields.version.parse();
        let version =
            version.map_err(|source| PackagesError::Version { package: fields.name.to_owned(), source })?;
        let at = self.entries.len();
        let entry = Entry {
            name: fields.name,
            version,
            architecture: fields.architecture,
            component,
            source: fields.source,
            essential: fields.essential == "yes",
            priority: fields.priority.parse().unwrap_or(Priority::Optional),
            size: fields.size,
            sha256: fields.sha256,
            path: fields.path,
            pre_depends: fields.pre_depends,
            depends: fields.depends,
            provides: fields.provides,
            conflicts: fields.conflicts,
            breaks: fields.breaks,
        };
        for provided in entry.groups("Provides", entry.provides)?.into_iter().flatten() {
            let version = provided.constraint.map(|constraint| constraint.version);
            self.providers.entry(provided.name).or_default().push(Provider { entry: at, version });
        }
        self.by_name.entry(entry.name).or_default().push(at);
        self.entries.push(entry);
        Ok(())
    }

    /// Number of packages.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The package at a place.
    pub(crate) fn entry(&self, at: usize) -> &Entry<'a> {
        &self.entries[at]
    }

    /// All packages.
    pub(crate) fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// The packages of a name.
    pub(crate) fn named(&self, name: &str) -> &[usize] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// The packages that provide a name.
    pub(crate) fn providers(&self, name: &str) -> &[Provider] {
        self.providers.get(name).map_or(&[], Vec::as_slice)
    }

    /// All names of packages.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.by_name.keys().copied()
    }
}

impl<'a> Entry<'a> {
    fn groups(&self, field: &'static str, text: &'a str) -> Result<Vec<Group<'a>>, PackagesError> {
        let package = || self.name.to_owned();
        relation::parse(text).map_err(|source| PackagesError::Relation { package: package(), field, source })
    }

    /// What must be installed for it to work: Pre-Depends, then Depends.
    pub(crate) fn needs(&self) -> Result<Vec<Group<'a>>, PackagesError> {
        let mut groups = self.groups("Pre-Depends", self.pre_depends)?;
        groups.extend(self.groups("Depends", self.depends)?);
        Ok(groups)
    }

    /// What must not be installed beside it: Conflicts and Breaks.
    pub(crate) fn excludes(&self) -> Result<Vec<Group<'a>>, PackagesError> {
        let mut groups = self.groups("Conflicts", self.conflicts)?;
        groups.extend(self.groups("Breaks", self.breaks)?);
        Ok(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZA: &str =
        "Package: a\nVersion: 1\nArchitecture: amd64\nFilename: pool/a.deb\nSize: 1\nSHA256: 00\n";

    #[test]
    fn reads_packages_of_the_architecture_and_all() {
        let text = format!(
            "{STANZA}Essential: yes\nPriority: required\nProvides: v (= 3), w\n\n{}\n{}",
            STANZA.replace("amd64", "arm64"),
            STANZA
                .replace("amd64", "all")
                .replace("Package: a", "Package: b")
                .replace("Size: 1", "Size: 1\nDepends: a,\n v")
        );
        let component: Component = "main".parse().unwrap();
        let mut packages = Packages::default();
        packages.add(&text, &component, "amd64").unwrap();
        assert_eq!(packages.len(), 2);
        assert!(packages.entry(0).essential);
        assert_eq!(packages.entry(0).priority, Priority::Required);
        assert_eq!(packages.entry(1).priority, Priority::Optional);
        assert_eq!(packages.named("b"), [1]);
        assert_eq!(packages.providers("v")[0].version.as_ref().map(Version::as_str), Some("3"));
        assert!(packages.providers("w")[0].version.is_none());
        assert_eq!(packages.entry(1).needs().unwrap().len(), 2);
    }

    #[test]
    fn names_what_is_wrong() {
        let component: Component = "main".parse().unwrap();
        for (text, expected) in [
            (STANZA.replace("SHA256: 00\n", ""), "package `a` has no SHA256 in the index"),
            (STANZA.replace("Version: 1", "Version: 1_2"), "package `a` has a wrong version in the index"),
            (format!("{STANZA}Provides: (\n"), "package `a` has a wrong Provides in the index"),
            ("nonsense".to_owned(), "the index of packages is malformed"),
        ] {
            let error = Packages::default().add(&text, &component, "amd64").unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
