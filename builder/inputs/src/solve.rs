//! Which packages a recipe installs.
//!
//! Debian's relations become clauses for a SAT solver: one variable for each version of a package, alternatives from
//! left to right, a virtual package as the list of its providers by priority and name. Recommends are not followed.

mod order;
mod provider;
mod satisfied;

use std::collections::{BTreeMap, BTreeSet};

use bundles_release::lock::{PackageName, PackageRequest, RecipeName, Satisfied, SuiteName, Version};
use resolvo::{Problem, Solver, UnsolvableOrCancelled};

use crate::packages::{Packages, PackagesError};
use provider::Provider;

/// Packages that every image has: its name, its users and groups, its layout.
const ALWAYS: [&str; 2] = ["base-files", "base-passwd"];

/// What a recipe installs: places in the index, what is needed first.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) entries: Vec<usize>,
    pub(crate) satisfied: Vec<Satisfied>,
}

/// Versions that other recipes of the platform have chosen in the same suite.
pub(crate) type Chosen = BTreeMap<PackageName, Version>;

/// Why a recipe cannot be solved.
#[derive(Debug, thiserror::Error)]
pub enum SolveError {
    /// A package that the suite does not have.
    #[error(
        "recipe {recipe} asks for package {package}, which suite {suite} does not have{}",
        did_you_mean(similar)
    )]
    Unknown {
        /// The recipe.
        recipe: RecipeName,
        /// The suite.
        suite: SuiteName,
        /// The package.
        package: PackageName,
        /// Packages of similar names, the most similar first.
        similar: Vec<String>,
    },
    /// A name that only other packages provide.
    #[error(
        "recipe {recipe} asks for {package}, which is only a virtual package in suite {suite}; name one of {}",
        providers.join(", ")
    )]
    Virtual {
        /// The recipe.
        recipe: RecipeName,
        /// The suite.
        suite: SuiteName,
        /// The package.
        package: PackageName,
        /// Packages that provide it.
        providers: Vec<String>,
    },
    /// Packages that cannot be installed together.
    #[error(
        "the packages of recipe {recipe} cannot be installed together from suite {suite}:\n{explanation}"
    )]
    Unsatisfiable {
        /// The recipe.
        recipe: RecipeName,
        /// The suite.
        suite: SuiteName,
        /// Which package asks for what, and why that cannot be.
        explanation: String,
    },
    /// An index that cannot be read.
    #[error("the index of suite {suite} cannot be used for recipe {recipe}")]
    Index {
        /// The recipe.
        recipe: RecipeName,
        /// The suite.
        suite: SuiteName,
        /// What is wrong with it.
        source: PackagesError,
    },
}

fn did_you_mean(similar: &[String]) -> String {
    if similar.is_empty() { String::new() } else { format!("; did you mean {}?", similar.join(" or ")) }
}

/// Solves one recipe.
pub(crate) fn solve(
    packages: &Packages<'_>,
    request: &PackageRequest,
    chosen: &Chosen,
) -> Result<Selection, SolveError> {
    let roots = roots(packages, request)?;
    let provider = Provider::new(packages, request, chosen);
    let requirements = roots.iter().map(|root| provider.root(root)).collect();
    let mut solver = Solver::new(provider);
    let outcome = solver.solve(Problem::new().requirements(requirements));
    let index_error =
        |source| SolveError::Index { recipe: request.recipe.clone(), suite: request.suite.clone(), source };
    if let Some(source) = solver.provider().take_error() {
        return Err(index_error(source));
    }
    let solvables = outcome.map_err(|failure| SolveError::Unsatisfiable {
        recipe: request.recipe.clone(),
        suite: request.suite.clone(),
        explanation: match failure {
            UnsolvableOrCancelled::Unsolvable(conflict) => {
                conflict.display_user_friendly(&solver).to_string().trim_end().to_owned()
            }
            UnsolvableOrCancelled::Cancelled(_) => "the search was cancelled".to_owned(),
        },
    })?;
    let selected: BTreeSet<usize> =
        solvables.into_iter().map(|solvable| solver.provider().entry_of(solvable)).collect();
    let entries = order::ordered(packages, request, &selected).map_err(index_error)?;
    let satisfied = satisfied::declared(packages, request, &selected).map_err(index_error)?;
    Ok(Selection { entries, satisfied })
}

/// Names of the packages that must be there: those asked for, the two that always are, and the essential set if wanted.
fn roots<'a>(packages: &Packages<'a>, request: &'a PackageRequest) -> Result<Vec<&'a str>, SolveError> {
    let mut roots: Vec<&str> = ALWAYS.into_iter().filter(|name| !packages.named(name).is_empty()).collect();
    if request.essential {
        roots.extend(packages.entries().iter().filter(|entry| entry.essential).map(|entry| entry.name));
    }
    for package in &request.packages {
        let name = package.as_str();
        if packages.named(name).is_empty() {
            return Err(not_a_package(packages, request, package));
        }
        roots.push(name);
    }
    roots.sort_unstable();
    roots.dedup();
    Ok(roots)
}

fn not_a_package(packages: &Packages<'_>, request: &PackageRequest, package: &PackageName) -> SolveError {
    let (recipe, suite, package) = (request.recipe.clone(), request.suite.clone(), package.clone());
    let mut providers: Vec<String> = packages
        .providers(package.as_str())
        .iter()
        .map(|provider| packages.entry(provider.entry).name.to_owned())
        .collect();
    if !providers.is_empty() {
        providers.sort_unstable();
        providers.dedup();
        return SolveError::Virtual { recipe, suite, package, providers };
    }
    let mut scored: Vec<(f64, &str)> = packages
        .names()
        .map(|name| (strsim::jaro_winkler(package.as_str(), name), name))
        .filter(|(score, _)| *score > 0.88)
        .collect();
    scored.sort_unstable_by(|left, right| right.0.total_cmp(&left.0).then_with(|| left.1.cmp(right.1)));
    let similar = scored.into_iter().take(3).map(|(_, name)| name.to_owned()).collect();
    SolveError::Unknown { recipe, suite, package, similar }
}

#[cfg(test)]
mod tests;
