//! The text of the lock: our own writer, so that the bytes depend on no library, and a strict reader.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::Deserialize;

use super::{
    Accounts, Architecture, Encoders, Lock, LockedPackage, LockedRecipe, LockedSuite, PackageKey, RecipeName,
    Selection, Selections, SuiteName,
    account::{LockedGroup, LockedUser},
};

const HEADER: &str = "\
# Written by `bundle lock`; commit it, do not edit it.
# Every package by hash, and the signed Release that vouches for it. Where to fetch from is not part of it.
";

/// Why a text is not a lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Not TOML, or a key that is missing, unknown or of the wrong form.
    #[error("the lock cannot be read")]
    Syntax(#[source] Box<toml::de::Error>),
    /// Another format than ours.
    #[error("the lock has format {found}, this program reads format {}", Lock::FORMAT)]
    Format {
        /// The format that it has.
        found: u32,
    },
    /// Well-formed, but its parts contradict each other.
    #[error("the lock contradicts itself: {0}")]
    Inconsistent(Inconsistency),
}

impl LockError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Syntax(_) | Self::Inconsistent(_) => {
                "restore bundle.lock from version control, or delete it and run `bundle lock`"
            }
            Self::Format { .. } => {
                "use the version of bundle that wrote it, or delete it and run `bundle lock`"
            }
        }
    }
}

/// How parts of a lock contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistency {
    /// A suite twice.
    #[error("suite {0} is listed twice")]
    SuiteTwice(SuiteName),
    /// A package twice.
    #[error("package {0} is listed twice")]
    PackageTwice(PackageKey),
    /// A recipe names a suite that is not listed.
    #[error("recipe {recipe} uses suite {suite}, which is not listed")]
    RecipeSuite {
        /// The recipe.
        recipe: RecipeName,
        /// The suite.
        suite: SuiteName,
    },
    /// A recipe names a package that is not listed, or whose suite is not, or twice.
    #[error(
        "recipe {recipe} lists package {package}, which is not there, of no listed suite, or listed twice"
    )]
    RecipePackage {
        /// The recipe.
        recipe: RecipeName,
        /// The package.
        package: PackageKey,
    },
    /// A recipe names, for an architecture, a package of another or an architecture that is none.
    #[error("recipe {recipe} lists package {package} for {architecture}")]
    RecipeArchitecture {
        /// The recipe.
        recipe: RecipeName,
        /// The package.
        package: PackageKey,
        /// The architecture.
        architecture: Architecture,
    },
    /// A package that no recipe needs.
    #[error("no recipe needs package {0}")]
    Unneeded(PackageKey),
    /// Two users or two groups of one name or one id.
    #[error("the name or id of {0} is allocated twice")]
    AccountTwice(super::AccountName),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    encoders: Encoders,
    #[serde(default)]
    suite: Vec<LockedSuite>,
    #[serde(default)]
    recipe: BTreeMap<RecipeName, LockedRecipe>,
    #[serde(default)]
    package: Vec<LockedPackage>,
    #[serde(default)]
    accounts: Accounts,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Lock {
    /// Reads a lock. Unknown keys and contradictions are refused.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let document: Document = match toml::from_str(text) {
            Ok(document) => document,
            // A later format is said to be one, whatever keys it has.
            Err(error) => match toml::from_str::<FormatOnly>(text) {
                Ok(FormatOnly { format }) if format != Self::FORMAT => {
                    return Err(LockError::Format { found: format });
                }
                _ => return Err(LockError::Syntax(Box::new(error))),
            },
        };
        if document.format != Self::FORMAT {
            return Err(LockError::Format { found: document.format });
        }
        let mut lock = Self {
            encoders: document.encoders,
            suites: document.suite,
            recipes: document.recipe,
            packages: document.package,
            accounts: document.accounts,
        };
        lock.normalize();
        lock.consistent().map_err(LockError::Inconsistent)?;
        Ok(lock)
    }

    /// Puts suites, packages and accounts into canonical order.
    pub fn normalize(&mut self) {
        self.suites.sort_by(|left, right| left.name.cmp(&right.name));
        self.packages.sort_by_cached_key(LockedPackage::key);
        self.accounts.users.sort_by(|left, right| (left.id, &left.name).cmp(&(right.id, &right.name)));
        self.accounts.groups.sort_by(|left, right| (left.id, &left.name).cmp(&(right.id, &right.name)));
    }

    fn consistent(&self) -> Result<(), Inconsistency> {
        let mut suites = BTreeSet::new();
        if let Some(suite) = self.suites.iter().find(|suite| !suites.insert(&suite.name)) {
            return Err(Inconsistency::SuiteTwice(suite.name.clone()));
        }
        let mut unneeded = BTreeSet::new();
        for package in &self.packages {
            if !unneeded.insert(package.key()) {
                return Err(Inconsistency::PackageTwice(package.key()));
            }
        }
        let listed = unneeded.clone();
        for (name, recipe) in &self.recipes {
            if !suites.contains(&recipe.suite) {
                return Err(Inconsistency::RecipeSuite { recipe: name.clone(), suite: recipe.suite.clone() });
            }
            for selection in recipe.selections() {
                let mut seen = BTreeSet::new();
                for key in &selection.packages {
                    if !listed.contains(key) || !suites.contains(&key.suite) || !seen.insert(key) {
                        return Err(Inconsistency::RecipePackage {
                            recipe: name.clone(),
                            package: key.clone(),
                        });
                    }
                    unneeded.remove(key);
                }
            }
            match &recipe.selections {
                Selections::Several(selections) => of_their_architectures(name, selections)?,
                Selections::One(selection) => of_one_architecture(name, selection)?,
            }
        }
        if let Some(key) = unneeded.into_iter().next() {
            return Err(Inconsistency::Unneeded(key));
        }
        let mut names = BTreeSet::new();
        let mut ids = BTreeSet::new();
        if let Some(user) =
            self.accounts.users.iter().find(|user| !(names.insert(&user.name) && ids.insert(user.id)))
        {
            return Err(Inconsistency::AccountTwice(user.name.clone()));
        }
        names.clear();
        ids.clear();
        let mut groups = self.accounts.groups.iter();
        match groups.find(|group| !(names.insert(&group.name) && ids.insert(group.id))) {
            Some(group) => Err(Inconsistency::AccountTwice(group.name.clone())),
            None => Ok(()),
        }
    }

    /// The canonical text: one table for each package, one line for each value, so that a change of one package is a
    /// change of a few lines.
    pub fn to_toml(&self) -> String {
        let mut lock = self.clone();
        lock.normalize();
        let mut out = Writer { text: HEADER.to_owned() };
        out.line("format", Self::FORMAT);
        out.table("encoders");
        out.string("tar", &lock.encoders.tar);
        out.string("gzip", &lock.encoders.gzip);
        lock.suites.iter().for_each(|suite| out.suite(suite));
        for (name, recipe) in &lock.recipes {
            out.recipe(name, recipe);
        }
        lock.accounts.users.iter().for_each(|user| out.user(user));
        lock.accounts.groups.iter().for_each(|group| out.group(group));
        lock.packages.iter().for_each(|package| out.package(package));
        out.text
    }
}

/// Packages of an architecture are of it or of all.
/// Without a named architecture, that of the first package that has one is the recipe's.
fn of_one_architecture(recipe: &RecipeName, selection: &Selection) -> Result<(), Inconsistency> {
    let mut special = selection.packages.iter().filter(|key| !key.architecture.is_all());
    let Some(PackageKey { architecture, .. }) = special.next() else { return Ok(()) };
    match special.find(|key| key.architecture != *architecture) {
        Some(key) => Err(Inconsistency::RecipeArchitecture {
            recipe: recipe.clone(),
            package: key.clone(),
            architecture: architecture.clone(),
        }),
        None => Ok(()),
    }
}

fn of_their_architectures(
    recipe: &RecipeName,
    selections: &BTreeMap<Architecture, Selection>,
) -> Result<(), Inconsistency> {
    for (architecture, selection) in selections {
        let is_foreign = |key: &&PackageKey| {
            architecture.is_all() || !(key.architecture.is_all() || key.architecture == *architecture)
        };
        if let Some(key) = selection.packages.iter().find(is_foreign) {
            return Err(Inconsistency::RecipeArchitecture {
                recipe: recipe.clone(),
                package: key.clone(),
                architecture: architecture.clone(),
            });
        }
    }
    Ok(())
}

struct Writer {
    text: String,
}

impl Writer {
    fn raw(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn table(&mut self, name: &str) {
        self.raw("\n[");
        self.raw(name);
        self.raw("]\n");
    }

    fn element(&mut self, name: &str) {
        self.raw("\n[[");
        self.raw(name);
        self.raw("]]\n");
    }

    fn line(&mut self, key: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _infallible = writeln!(self.text, "{key} = {value}");
    }

    fn string(&mut self, key: &str, value: impl std::fmt::Display) {
        self.line(key, quoted(&value.to_string()));
    }

    /// An array on one line.
    fn strings<T: std::fmt::Display>(&mut self, key: &str, values: &[T]) {
        let values: Vec<String> = values.iter().map(|value| quoted(&value.to_string())).collect();
        self.line(key, format_args!("[{}]", values.join(", ")));
    }

    /// An array with one line for each value.
    fn lines<T: std::fmt::Display>(&mut self, key: &str, values: &[T]) {
        self.raw(key);
        self.raw(" = [\n");
        for value in values {
            self.raw("    ");
            self.raw(&quoted(&value.to_string()));
            self.raw(",\n");
        }
        self.raw("]\n");
    }

    fn suite(&mut self, suite: &LockedSuite) {
        self.element("suite");
        self.string("name", &suite.name);
        self.string("origin", &suite.origin);
        self.string("label", &suite.label);
        self.string("codename", &suite.codename);
        self.strings("components", &suite.components);
        self.strings("architectures", &suite.architectures);
        self.string("date", suite.date);
        self.string("release", suite.release);
        self.lines("keys", &suite.keys);
        for index in &suite.indices {
            self.element("suite.index");
            self.string("path", &index.path);
            self.string("sha256", index.sha256);
            self.line("size", index.size);
        }
    }

    fn recipe(&mut self, name: &RecipeName, recipe: &LockedRecipe) {
        let table = format!("recipe.{name}");
        self.table(&table);
        self.string("suite", &recipe.suite);
        match &recipe.selections {
            Selections::One(selection) => self.selection(&table, selection),
            Selections::Several(selections) => {
                for (architecture, selection) in selections {
                    let table = format!("{table}.architecture.{architecture}");
                    self.table(&table);
                    self.selection(&table, selection);
                }
            }
        }
    }

    fn selection(&mut self, table: &str, selection: &Selection) {
        self.string("request", selection.request);
        self.lines("packages", &selection.packages);
        for satisfied in &selection.satisfied {
            self.element(&format!("{table}.satisfied"));
            self.string("package", &satisfied.package);
            self.strings("needed-by", &satisfied.needed_by);
            self.string("reason", &satisfied.reason);
        }
    }

    fn user(&mut self, user: &LockedUser) {
        self.element("accounts.user");
        self.string("name", &user.name);
        self.line("id", user.id);
        self.line("group", user.group);
    }

    fn group(&mut self, group: &LockedGroup) {
        self.element("accounts.group");
        self.string("name", &group.name);
        self.line("id", group.id);
    }

    fn package(&mut self, package: &LockedPackage) {
        self.element("package");
        self.string("name", &package.name);
        self.string("version", &package.version);
        self.string("architecture", &package.architecture);
        self.string("suite", &package.suite);
        self.string("component", &package.component);
        let source = &package.source;
        let (name, version) = (quoted(source.name.as_str()), quoted(source.version.as_str()));
        self.line("source", format_args!("{{ name = {name}, version = {version} }}"));
        if package.essential {
            self.line("essential", true);
        }
        self.string("priority", package.priority);
        self.line("size", package.size);
        self.string("sha256", package.sha256);
        self.string("path", &package.path);
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            control if control.is_control() => {
                let _infallible = write!(out, "\\u{:04X}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
