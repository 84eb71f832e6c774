//! An index of packages, borrowed from its text.

use std::{cell::RefCell, cmp::Ordering, collections::HashMap};

use bundles_release::lock::{Component, Priority, SuiteName, Version, VersionError};

use crate::{
    deb822::{Deb822Error, Item, Reader},
    mention,
    relation::{self, Alternative, Group, Reach, RelationError},
};

/// One package of an index.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: Version,
    pub(crate) architecture: &'a str,
    pub(crate) suite: &'a SuiteName,
    pub(crate) component: &'a Component,
    pub(crate) source: &'a str,
    pub(crate) essential: bool,
    /// Whether `Multi-Arch: allowed` stands in the index: it may satisfy relations to `:any`.
    pub(crate) is_allowed: bool,
    pub(crate) priority: Priority,
    pub(crate) size: &'a str,
    pub(crate) sha256: &'a str,
    pub(crate) path: &'a str,
    /// The architecture that the index is read for.
    host: &'a str,
    pre_depends: &'a str,
    depends: &'a str,
    recommends: &'a str,
    provides: &'a str,
    conflicts: &'a str,
    breaks: &'a str,
}

/// Where an index stands, and for what it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) suite: &'a SuiteName,
    pub(crate) component: &'a Component,
    pub(crate) architecture: &'a str,
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
    texts: Vec<&'a str>,
    entries: Vec<Entry<'a>>,
    /// Where the indices first speak of a package, by its place; looked up when it matters.
    mentions: RefCell<HashMap<usize, Option<(usize, usize)>>>,
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
    multi_arch: &'a str,
    priority: &'a str,
    size: &'a str,
    sha256: &'a str,
    path: &'a str,
    pre_depends: &'a str,
    depends: &'a str,
    recommends: &'a str,
    provides: &'a str,
    conflicts: &'a str,
    breaks: &'a str,
}

impl<'a> Packages<'a> {
    /// Reads an index and adds the packages of the place's architecture and of `all`.
    pub(crate) fn add(&mut self, text: &'a str, place: Place<'a>) -> Result<(), PackagesError> {
        self.texts.push(text);
        let mut reader = Reader::new(text);
        let mut fields = Fields::default();
        while let Some(item) = reader.read().map_err(PackagesError::Syntax)? {
            let Item::Field(field) = item else {
                let fields = std::mem::take(&mut fields);
                if matches!(fields.architecture, "all") || fields.architecture == place.architecture {
                    self.insert(&fields, place)?;
                }
                continue;
            };
            let slot = match field.name {
                "Package" => &mut fields.name,
                "Version" => &mut fields.version,
                "Architecture" => &mut fields.architecture,
                "Source" => &mut fields.source,
                "Essential" => &mut fields.essential,
                "Multi-Arch" => &mut fields.multi_arch,
                "Priority" => &mut fields.priority,
                "Size" => &mut fields.size,
                "SHA256" => &mut fields.sha256,
                "Filename" => &mut fields.path,
                "Pre-Depends" => &mut fields.pre_depends,
                "Depends" => &mut fields.depends,
                "Recommends" => &mut fields.recommends,
                "Provides" => &mut fields.provides,
                "Conflicts" => &mut fields.conflicts,
                "Breaks" => &mut fields.breaks,
                _ => continue,
            };
            *slot = field.value;
        }
        Ok(())
    }

    fn insert(&mut self, fields: &Fields<'a>, place: Place<'a>) -> Result<(), PackagesError> {
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
            suite: place.suite,
            component: place.component,
            source: fields.source,
            essential: fields.essential == "yes",
            is_allowed: fields.multi_arch == "allowed",
            priority: fields.priority.parse().unwrap_or(Priority::Optional),
            size: fields.size,
            sha256: fields.sha256,
            path: fields.path,
            host: place.architecture,
            pre_depends: fields.pre_depends,
            depends: fields.depends,
            recommends: fields.recommends,
            provides: fields.provides,
            conflicts: fields.conflicts,
            breaks: fields.breaks,
        };
        for provided in entry.groups("Provides", entry.provides)?.into_iter().flatten() {
            // Another architecture's name is nothing to packages of this one.
            if provided.reach(place.architecture) == Reach::None {
                continue;
            }
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

    /// The packages that satisfy an alternative: those of its name, then those that provide it.
    pub(crate) fn satisfying<'s>(
        &'s self,
        alternative: &'s Alternative<'_>,
    ) -> impl Iterator<Item = usize> + 's {
        let real = self.named(alternative.name).iter().copied();
        let real = real.filter(|entry| alternative.accepts(&self.entry(*entry).version));
        let provided = self.providers(alternative.name).iter();
        let provided = provided.filter(|provider| alternative.accepts_provided(provider.version.as_ref()));
        real.chain(provided.map(|provider| provider.entry)).filter(move |entry| {
            let entry = self.entry(*entry);
            match alternative.reach(entry.host) {
                Reach::All => true,
                Reach::Allowed => entry.is_allowed,
                Reach::None => false,
            }
        })
    }

    /// The order among packages that provide the same, best first: the essential, then by priority, then the one of
    /// which the indices speak last.
    pub(crate) fn compare_providers(&self, left: usize, right: usize) -> Ordering {
        let rank = |entry: usize| {
            let entry = self.entry(entry);
            (!entry.essential, entry.priority)
        };
        rank(left).cmp(&rank(right)).then_with(|| self.mention(right).cmp(&self.mention(left)))
    }

    fn mention(&self, entry: usize) -> Option<(usize, usize)> {
        let mut mentions = self.mentions.borrow_mut();
        *mentions.entry(entry).or_insert_with(|| mention::first(&self.texts, self.entries[entry].name))
    }

    /// All names of packages.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.by_name.keys().copied()
    }
}

impl<'a> Entry<'a> {
    /// Name and version of the source package that it is built from, as the index tells them: the version where it is
    /// not the package's own, as after a rebuild for one architecture.
    pub(crate) fn source_package(&self) -> (&str, &str) {
        source_package(self.source, self.name, self.version.as_str())
    }

    fn groups(&self, field: &'static str, text: &'a str) -> Result<Vec<Group<'a>>, PackagesError> {
        let package = || self.name.to_owned();
        relation::parse(text, self.host).map_err(|source| PackagesError::Relation {
            package: package(),
            field,
            source,
        })
    }

    /// What must be installed for it to work: Pre-Depends, then Depends.
    pub(crate) fn needs(&self) -> Result<Vec<Group<'a>>, PackagesError> {
        let mut groups = self.groups("Pre-Depends", self.pre_depends)?;
        groups.extend(self.groups("Depends", self.depends)?);
        Ok(groups)
    }

    /// What goes well with it: Recommends.
    pub(crate) fn recommends(&self) -> Result<Vec<Group<'a>>, PackagesError> {
        self.groups("Recommends", self.recommends)
    }

    /// What must not be installed beside it: Conflicts and Breaks.
    pub(crate) fn excludes(&self) -> Result<Vec<Group<'a>>, PackagesError> {
        let mut groups = self.groups("Conflicts", self.conflicts)?;
        groups.extend(self.groups("Breaks", self.breaks)?);
        Ok(groups)
    }
}

/// Name and version of the source package of a binary package with this field `Source`, which is empty where both are the
/// package's own (Debian policy, section 5.6.1).
pub fn source_package<'a>(source: &'a str, name: &'a str, version: &'a str) -> (&'a str, &'a str) {
    match source.split_once('(') {
        Some((name, version)) => {
            let version = version.trim_ascii();
            (name.trim_ascii(), version.strip_suffix(')').unwrap_or(version).trim_ascii())
        }
        None if source.is_empty() => (name, version),
        None => (source, version),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place<'a>(suite: &'a SuiteName, component: &'a Component) -> Place<'a> {
        Place { suite, component, architecture: "amd64" }
    }

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
        let (suite, component) = ("stable".parse().unwrap(), "main".parse().unwrap());
        let mut packages = Packages::default();
        packages.add(&text, place(&suite, &component)).unwrap();
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
        let (suite, component) = ("stable".parse().unwrap(), "main".parse().unwrap());
        for (text, expected) in [
            (STANZA.replace("SHA256: 00\n", ""), "package `a` has no SHA256 in the index"),
            (STANZA.replace("Version: 1", "Version: 1_2"), "package `a` has a wrong version in the index"),
            (format!("{STANZA}Provides: (\n"), "package `a` has a wrong Provides in the index"),
            ("nonsense".to_owned(), "the index of packages is malformed"),
        ] {
            let error = Packages::default().add(&text, place(&suite, &component)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    const INDEX: &str = "Package: libc6\nSource: glibc (2.36-9)\nVersion: 2.36-9+deb12u1\nArchitecture: amd64\n\
        Multi-Arch: same\nReplaces: libc6-amd64\nProvides: libc6-2.36, libc (= 2)\nDepends: libgcc-s1, a:any | b\n\
        Recommends: libidn2-0 (>= 2.0.5~),\n libnss-nis [linux-any]\nBreaks: aide (<< 0.17), busybox (<< 1.30.1-6)\n\
        Priority: optional\nFilename: pool/main/g/glibc/libc6_2.36.deb\nSize: 2758\nSHA256: 0a\n\n\
        Package: mawk\nVersion: 1.3\nArchitecture: all\nEssential: yes\nPre-Depends: libc6 (>= 2.33) <!cross>\n\
        Filename: pool/main/m/mawk.deb\nSize: 1\nSHA256: 0b\n";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// An index with a few characters changed, taken out or put in is read or refused, relations included.
        #[test]
        fn a_broken_index_is_read_or_refused(
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<char>()), 1..5)
        ) {
            let mut text: Vec<char> = INDEX.chars().collect();
            for (at, kind, character) in edits {
                if text.is_empty() {
                    break;
                }
                let at = at.index(text.len());
                match kind {
                    0 => text[at] = character,
                    1 => drop(text.drain(at..(at + 9).min(text.len()))),
                    2 => text.insert(at, character),
                    _ => text.truncate(at.max(1)),
                }
            }
            let text: String = text.into_iter().collect();
            let _read_or_refused = crate::strangers::read_index(&text);
        }
    }
}
