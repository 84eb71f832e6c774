//! What one recipe asks of Debian.

use std::collections::BTreeMap;

use registry_wire::{Digest, Hasher};

use super::{
    constraint::Constraint,
    name::{Architecture, PackageName, RecipeName, SuiteName},
};

/// What one recipe asks of Debian. The lock keeps a hash of it: a recipe that asks for something else is stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageRequest {
    /// The recipe that asks.
    pub recipe: RecipeName,
    /// The suite that its packages come from.
    pub suite: SuiteName,
    /// Suites with newer versions of that one's packages, such as `bookworm-security`; the newest of all is taken. Of
    /// equal versions that of the suite itself is, then that of the first.
    pub updates: Vec<SuiteName>,
    /// Architecture of the image; packages of `all` belong to each.
    pub architecture: Architecture,
    /// The packages asked for; order and repetition carry no meaning.
    pub packages: Vec<PackageName>,
    /// Whether the essential set is installed, as on a full Debian system.
    pub essential: bool,
    /// Packages whose Recommends are installed too, where that can be.
    pub recommends: Vec<PackageName>,
    /// Packages of which only some versions may be installed.
    pub pins: BTreeMap<PackageName, Constraint>,
    /// Packages that stay at the version of the lock when it moves on. Says nothing about what is asked, so it does not
    /// enter the hash.
    pub holds: Vec<PackageName>,
}

impl PackageRequest {
    /// Asks for packages of one suite and nothing else.
    pub const fn new(
        recipe: RecipeName,
        suite: SuiteName,
        architecture: Architecture,
        packages: Vec<PackageName>,
    ) -> Self {
        Self {
            recipe,
            suite,
            updates: Vec::new(),
            architecture,
            packages,
            essential: false,
            recommends: Vec::new(),
            pins: BTreeMap::new(),
            holds: Vec::new(),
        }
    }

    /// The suite, then those that update it.
    pub fn suites(&self) -> impl Iterator<Item = &SuiteName> {
        std::iter::once(&self.suite).chain(&self.updates)
    }

    /// Hash of what is asked. Order and repetition of packages do not enter it.
    pub fn digest(&self) -> Digest {
        fn put(hasher: &mut Hasher, text: &str) {
            hasher.update(&(text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        fn put_all(hasher: &mut Hasher, texts: &[&str]) {
            hasher.update(&(texts.len() as u64).to_be_bytes());
            for text in texts {
                put(hasher, text);
            }
        }
        fn sorted(names: &[PackageName]) -> Vec<&str> {
            let mut names: Vec<&str> = names.iter().map(PackageName::as_str).collect();
            names.sort_unstable();
            names.dedup();
            names
        }
        let mut hasher = Hasher::new();
        put(&mut hasher, "bundle package request 1");
        put(&mut hasher, self.recipe.as_str());
        put(&mut hasher, self.suite.as_str());
        put(&mut hasher, self.architecture.as_str());
        put(&mut hasher, if self.essential { "essential" } else { "minimal" });
        put_all(&mut hasher, &sorted(&self.packages));
        // What came later enters only where it is used, each part under its name: older locks stay good.
        if !self.updates.is_empty() {
            put(&mut hasher, "updates");
            put_all(&mut hasher, &self.updates.iter().map(SuiteName::as_str).collect::<Vec<_>>());
        }
        if !self.recommends.is_empty() {
            put(&mut hasher, "recommends");
            put_all(&mut hasher, &sorted(&self.recommends));
        }
        if !self.pins.is_empty() {
            put(&mut hasher, "pins");
            let pins: Vec<String> =
                self.pins.iter().map(|(package, pin)| format!("{package} {pin}")).collect();
            put_all(&mut hasher, &pins.iter().map(String::as_str).collect::<Vec<_>>());
        }
        hasher.finish()
    }
}
