//! Whether a lock still answers what the recipes ask.

use std::collections::BTreeMap;

use super::{Lock, LockedRecipe, PackageKey, PackageRequest, RecipeName, SuiteName};

/// Whether a lock still answers what the recipes ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// It does.
    Fresh,
    /// It does not, for these reasons, in order of recipe names.
    Stale(Vec<Staleness>),
}

/// One reason why a lock is stale.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Staleness {
    /// A recipe was added after the lock was made.
    #[error("recipe {recipe} is not in bundle.lock; `bundle lock` adds it")]
    Missing {
        /// The recipe.
        recipe: RecipeName,
    },
    /// A recipe asks for other packages, another suite or architecture than the lock answers.
    #[error(
        "recipe {recipe} asks for other packages than bundle.lock holds; `bundle lock` brings it up to date"
    )]
    Changed {
        /// The recipe.
        recipe: RecipeName,
    },
    /// A suite is defined otherwise than when the lock was made.
    #[error("suite {suite} has {what} now than bundle.lock was made with; `bundle lock` asks it again")]
    Suite {
        /// The suite.
        suite: SuiteName,
        /// What is different.
        what: &'static str,
    },
    /// Images would be made with other encoders than the lock says, so their digests would be others.
    #[error(
        "bundle.lock is for images made with {locked}, and this program makes them with {own}: other digests; `bundle lock` takes those"
    )]
    Encoders {
        /// Those of the lock.
        locked: String,
        /// Those of the program.
        own: String,
    },
    /// A recipe is gone.
    #[error("bundle.lock still holds recipe {recipe}, which is gone; `bundle lock` removes it")]
    Gone {
        /// The recipe.
        recipe: RecipeName,
    },
}

impl Staleness {
    /// The recipe that it is about; none for a suite and for encoders.
    pub const fn recipe(&self) -> Option<&RecipeName> {
        match self {
            Self::Missing { recipe } | Self::Changed { recipe } | Self::Gone { recipe } => Some(recipe),
            Self::Suite { .. } | Self::Encoders { .. } => None,
        }
    }
}

impl Lock {
    /// Compares the lock with what all recipes of the platform ask now, a request for each architecture of an image. No
    /// network.
    pub fn check(&self, requests: &[PackageRequest]) -> Freshness {
        let mut of_recipes: BTreeMap<&RecipeName, Vec<&PackageRequest>> = BTreeMap::new();
        for request in requests {
            of_recipes.entry(&request.recipe).or_default().push(request);
        }
        let asked = of_recipes.into_iter().filter_map(|(name, requests)| match self.recipes.get(name) {
            None => Some(Staleness::Missing { recipe: name.clone() }),
            Some(locked) if !answers(locked, &requests) => Some(Staleness::Changed { recipe: name.clone() }),
            Some(_) => None,
        });
        let gone = self
            .recipes
            .keys()
            .filter(|recipe| !requests.iter().any(|request| request.recipe == **recipe))
            .map(|recipe| Staleness::Gone { recipe: recipe.clone() });
        let mut reasons: Vec<Staleness> = asked.chain(gone).collect();
        reasons.sort_by(|left, right| left.recipe().cmp(&right.recipe()));
        if reasons.is_empty() { Freshness::Fresh } else { Freshness::Stale(reasons) }
    }
}

/// Whether a recipe is locked for what it asks and for nothing else.
fn answers(locked: &LockedRecipe, requests: &[&PackageRequest]) -> bool {
    locked.selections().count() == requests.len()
        && requests.iter().all(|request| {
            // The hash is of the request alone: what else the lock says of suite and architecture is held to it too.
            let fits =
                |key: &PackageKey| key.architecture.is_all() || key.architecture == request.architecture;
            locked.suite == request.suite
                && locked.selection(&request.architecture).is_some_and(|selection| {
                    selection.request == request.digest() && selection.packages.iter().all(fits)
                })
        })
}
