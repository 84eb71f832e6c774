//! What one recipe asks of Debian.

use registry_wire::{Digest, Hasher};

use super::name::{Architecture, PackageName, RecipeName, SuiteName};

/// What one recipe asks of Debian. The lock keeps a hash of it: a recipe that asks for something else is stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageRequest {
    /// The recipe that asks.
    pub recipe: RecipeName,
    /// The suite that all of its packages come from.
    pub suite: SuiteName,
    /// Architecture of the image; packages of `all` belong to each.
    pub architecture: Architecture,
    /// The packages asked for; order and repetition carry no meaning.
    pub packages: Vec<PackageName>,
    /// Whether the essential set is installed, as on a full Debian system.
    pub essential: bool,
}

impl PackageRequest {
    /// Hash of what is asked. Order and repetition of packages do not enter it.
    pub fn digest(&self) -> Digest {
        fn put(hasher: &mut Hasher, text: &str) {
            hasher.update(&(text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        let mut packages: Vec<&str> = self.packages.iter().map(PackageName::as_str).collect();
        packages.sort_unstable();
        packages.dedup();
        let mut hasher = Hasher::new();
        put(&mut hasher, "bundle package request 1");
        put(&mut hasher, self.recipe.as_str());
        put(&mut hasher, self.suite.as_str());
        put(&mut hasher, self.architecture.as_str());
        put(&mut hasher, if self.essential { "essential" } else { "minimal" });
        hasher.update(&(packages.len() as u64).to_be_bytes());
        for package in packages {
            put(&mut hasher, package);
        }
        hasher.finish()
    }
}
