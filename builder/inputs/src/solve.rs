//! Which packages a recipe installs.
//!
//! First a [`walk`] as apt does it. Where it meets a conflict, Debian's relations become clauses for a SAT solver: one
//! variable for each version of a package, alternatives from left to right, a virtual package as the list of its
//! providers by priority and name. Recommends are followed for the
//! packages that the recipe says, as far as they can be.

mod explanation;
mod order;
mod provider;
mod rules;
mod satisfied;
mod siblings;
mod walk;

use std::{collections::BTreeSet, fmt};

use bundles_release::lock::{
    Architecture, Constraint, PackageName, PackageRequest, RecipeName, Satisfied, SuiteName, Version,
};
use resolvo::{Problem, Solver, UnsolvableOrCancelled};

use crate::{
    packages::{Packages, PackagesError},
    relation::Group,
};
use explanation::Explanation;
use provider::Provider;
use rules::Rules;
pub(crate) use rules::{Chosen, Kept};
pub(crate) use siblings::{Available, Siblings};

/// Packages that every image has: its name, its users and groups, its layout.
const ALWAYS: [&str; 2] = ["base-files", "base-passwd"];

/// What a recipe installs: places in the index, what is needed first.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) entries: Vec<usize>,
    pub(crate) satisfied: Vec<Satisfied>,
}

/// Why a recipe cannot be solved.
#[derive(Debug, thiserror::Error)]
pub enum SolveError {
    /// A package that the suite does not have.
    #[error(
        "recipe {recipe} asks for package {package}, which suite {suite} {}{}",
        has_not(architecture, elsewhere),
        did_you_mean(similar)
    )]
    Unknown {
        /// The recipe.
        recipe: RecipeName,
        /// The suite.
        suite: SuiteName,
        /// The package.
        package: PackageName,
        /// The architecture that was looked at.
        architecture: Architecture,
        /// Other architectures of the image, for which the suite has it.
        elsewhere: Vec<Architecture>,
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
        "the packages of recipe {recipe} cannot be installed together{} from suite {}:\n{explanation}",
        on_architecture(on.as_ref()),
        joined(suites)
    )]
    Unsatisfiable {
        /// The recipe.
        recipe: RecipeName,
        /// The architecture, for an image that is for others too.
        on: Option<Architecture>,
        /// Its suites.
        suites: Vec<SuiteName>,
        /// Packages that the recipe asks for and that cannot be together, sorted.
        asked: Vec<PackageName>,
        /// Which package asks for what, and why that cannot be.
        explanation: String,
    },
    /// A pin that no version meets.
    #[error(
        "recipe {recipe} pins {package} to `{pin}`, but suite {} has {}{}",
        joined(suites),
        if versions.is_empty() { "no such package".to_owned() } else { joined(versions) },
        on_architecture(on.as_ref())
    )]
    Pin {
        /// The recipe.
        recipe: RecipeName,
        /// The architecture, for an image that is for others too.
        on: Option<Architecture>,
        /// Its suites.
        suites: Vec<SuiteName>,
        /// The package.
        package: PackageName,
        /// The versions that the recipe allows.
        pin: Constraint,
        /// The versions that are there.
        versions: Vec<Version>,
    },
    /// A hold of a package that is nowhere.
    #[error(
        "recipe {recipe} holds {package}, which suite {} does not have{}",
        joined(suites),
        did_you_mean(similar)
    )]
    Hold {
        /// The recipe.
        recipe: RecipeName,
        /// Its suites.
        suites: Vec<SuiteName>,
        /// The package.
        package: PackageName,
        /// Packages of similar names, the most similar first.
        similar: Vec<String>,
    },
    /// An index that cannot be read.
    #[error("the index of suite {suite} cannot be used for recipe {recipe}")]
    Index {
        /// The recipe.
        recipe: RecipeName,
        /// The suite.
        suite: SuiteName,
        /// What is wrong with it.
        source: Box<PackagesError>,
    },
}

impl SolveError {
    /// The recipe that cannot be solved.
    pub const fn recipe(&self) -> &RecipeName {
        match self {
            Self::Unknown { recipe, .. }
            | Self::Virtual { recipe, .. }
            | Self::Unsatisfiable { recipe, .. }
            | Self::Pin { recipe, .. }
            | Self::Hold { recipe, .. }
            | Self::Index { recipe, .. } => recipe,
        }
    }

    /// What to do about it.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unknown { elsewhere, .. } if !elsewhere.is_empty() => {
                Some("correct `packages` or `platforms` in the recipe, then `bundle lock`")
            }
            Self::Unknown { .. } | Self::Virtual { .. } => {
                Some("correct `packages` in the recipe, then `bundle lock`")
            }
            Self::Unsatisfiable { .. } => {
                Some("leave out one of the packages that exclude each other, then `bundle lock`")
            }
            Self::Pin { .. } => Some("correct `pins` in the recipe, then `bundle lock`"),
            Self::Hold { .. } => Some("correct `holds` in the recipe, then `bundle lock`"),
            Self::Index { .. } => None,
        }
    }
}

fn joined<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn did_you_mean(similar: &[String]) -> String {
    if similar.is_empty() { String::new() } else { format!("; did you mean {}?", similar.join(" or ")) }
}

/// What a suite says of a package that it does not have for an architecture.
fn has_not(architecture: &Architecture, elsewhere: &[Architecture]) -> String {
    if elsewhere.is_empty() {
        return "does not have".to_owned();
    }
    format!("has for {} but not for {architecture}", joined(elsewhere))
}

fn on_architecture(architecture: Option<&Architecture>) -> String {
    architecture.map(|architecture| format!(" on {architecture}")).unwrap_or_default()
}

/// Solves one recipe on one architecture.
pub(crate) fn solve(
    packages: &Packages<'_>,
    request: &PackageRequest,
    chosen: &Chosen,
    kept: &Kept,
    siblings: &Siblings<'_>,
) -> Result<Selection, SolveError> {
    let mut rules = Rules::new(packages, request, chosen, kept, siblings);
    let roots = roots(&rules)?;
    pins_are_there(&rules)?;
    holds_are_there(&rules)?;
    let mut selected = select(&rules, &roots)?;
    if !request.recommends.is_empty() {
        selected = with_recommends(&mut rules, &roots, selected)?;
    }
    let entries = order::ordered(packages, &selected).map_err(|source| index_error(request, source))?;
    let satisfied =
        satisfied::declared(packages, request, &selected).map_err(|source| index_error(request, source))?;
    Ok(Selection { entries, satisfied })
}

fn index_error(request: &PackageRequest, source: PackagesError) -> SolveError {
    SolveError::Index {
        recipe: request.recipe.clone(),
        suite: request.suite.clone(),
        source: Box::new(source),
    }
}

/// A set in which all relations hold: the one that a walk finds, else one that the solver searches.
fn select(rules: &Rules<'_, '_>, roots: &[&str]) -> Result<BTreeSet<usize>, SolveError> {
    let firm: Option<Vec<usize>> = roots.iter().map(|root| rules.candidate(root)).collect();
    if let Some(firm) = firm {
        let walked = walk::walk(rules, &firm).map_err(|source| index_error(rules.request, source))?;
        if let Some(selected) = walked {
            return Ok(selected);
        }
    }
    search(rules, roots)
}

/// Has the solver search for a set in which all relations hold.
fn search(rules: &Rules<'_, '_>, roots: &[&str]) -> Result<BTreeSet<usize>, SolveError> {
    let request = rules.request;
    let provider = Provider::new(rules);
    let requirements = roots.iter().map(|root| provider.root(root)).collect();
    let mut solver = Solver::new(provider);
    let outcome = solver.solve(Problem::new().requirements(requirements));
    if let Some(source) = solver.provider().take_error() {
        return Err(index_error(request, source));
    }
    let unsatisfiable = |told: Explanation| SolveError::Unsatisfiable {
        recipe: request.recipe.clone(),
        on: rules.named_architecture(),
        suites: request.suites().cloned().collect(),
        asked: told.asked,
        explanation: told.text,
    };
    match outcome {
        Ok(solvables) => {
            let entries = solvables.into_iter().map(|solvable| solver.provider().entry_of(solvable));
            Ok(entries.collect())
        }
        Err(UnsolvableOrCancelled::Unsolvable(conflict)) => {
            let told = explanation::explain(rules, &solver, &conflict);
            Err(unsatisfiable(told.map_err(|source| index_error(request, source))?))
        }
        Err(UnsolvableOrCancelled::Cancelled(_)) => {
            let text = "the search was cancelled".to_owned();
            Err(unsatisfiable(Explanation { asked: Vec::new(), text }))
        }
    }
}

/// Adds what some packages recommend, as far as it can be installed: all of it, else as much as goes, in order.
fn with_recommends<'a>(
    rules: &mut Rules<'_, 'a>,
    roots: &[&str],
    mut selected: BTreeSet<usize>,
) -> Result<BTreeSet<usize>, SolveError> {
    let mut wanted: Vec<(usize, Group<'a>)> = Vec::new();
    for entry in &selected {
        let package = rules.packages.entry(*entry);
        if rules.request.recommends.iter().any(|name| name.as_str() == package.name) {
            let groups = package.recommends().map_err(|source| index_error(rules.request, source))?;
            wanted.extend(groups.into_iter().map(|group| (*entry, group)));
        }
    }
    for (entry, group) in &wanted {
        rules.recommended.entry(*entry).or_default().push(group.clone());
    }
    match select(rules, roots) {
        Err(SolveError::Unsatisfiable { .. }) => {}
        result => return result,
    }
    rules.recommended.clear();
    for (entry, group) in wanted {
        rules.recommended.entry(entry).or_default().push(group);
        match select(rules, roots) {
            Ok(more) => selected = more,
            Err(SolveError::Unsatisfiable { .. }) => {
                rules.recommended.entry(entry).or_default().pop();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(selected)
}

/// Names of the packages that must be there: the two that always are, the essential set if wanted, those asked for.
fn roots<'r, 'a: 'r>(rules: &Rules<'r, 'a>) -> Result<Vec<&'r str>, SolveError> {
    let (packages, request) = (rules.packages, rules.request);
    let mut roots: Vec<&str> = ALWAYS.into_iter().filter(|name| !packages.named(name).is_empty()).collect();
    if request.essential {
        roots.extend(packages.entries().iter().filter(|entry| entry.essential).map(|entry| entry.name));
    }
    let mut asked = Vec::new();
    for package in &request.packages {
        let name = package.as_str();
        if packages.named(name).is_empty() {
            return Err(not_a_package(rules, package));
        }
        asked.push(name);
    }
    asked.sort_unstable();
    roots.extend(asked);
    let mut seen = BTreeSet::new();
    roots.retain(|root| seen.insert(*root));
    Ok(roots)
}

/// Refuses a pin that no version of its package meets.
fn pins_are_there(rules: &Rules<'_, '_>) -> Result<(), SolveError> {
    let (packages, request) = (rules.packages, rules.request);
    for (package, pin) in &request.pins {
        let entries = packages.named(package.as_str()).iter().map(|entry| &packages.entry(*entry).version);
        if !entries.clone().any(|version| pin.contains(version)) {
            return Err(SolveError::Pin {
                recipe: request.recipe.clone(),
                on: rules.named_architecture(),
                suites: request.suites().cloned().collect(),
                package: package.clone(),
                pin: pin.clone(),
                versions: entries.cloned().collect(),
            });
        }
    }
    Ok(())
}

/// Refuses a hold of a package that is neither in a suite of the recipe nor in its lock: it would hold nothing.
fn holds_are_there(rules: &Rules<'_, '_>) -> Result<(), SolveError> {
    let (packages, request) = (rules.packages, rules.request);
    let is_nowhere = |package: &&PackageName| {
        packages.named(package.as_str()).is_empty() && !rules.kept.held.contains_key(*package)
    };
    // On another architecture of the image there may be one.
    let mut unknown = request.holds.iter().filter(is_nowhere);
    match unknown.find(|package| rules.siblings.with(package.as_str()).is_empty()) {
        None => Ok(()),
        Some(package) => Err(SolveError::Hold {
            recipe: request.recipe.clone(),
            suites: request.suites().cloned().collect(),
            package: package.clone(),
            similar: similar(packages, package),
        }),
    }
}

/// Packages of similar names, the most similar first.
fn similar(packages: &Packages<'_>, package: &PackageName) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> = packages
        .names()
        .map(|name| (strsim::jaro_winkler(package.as_str(), name), name))
        .filter(|(score, _)| *score > 0.88)
        .collect();
    scored.sort_unstable_by(|left, right| right.0.total_cmp(&left.0).then_with(|| left.1.cmp(right.1)));
    scored.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

fn not_a_package(rules: &Rules<'_, '_>, package: &PackageName) -> SolveError {
    let (packages, request) = (rules.packages, rules.request);
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
    let architecture = request.architecture.clone();
    let elsewhere = rules.siblings.with(package.as_str());
    if !elsewhere.is_empty() {
        return SolveError::Unknown { recipe, suite, package, architecture, elsewhere, similar: Vec::new() };
    }
    let similar = similar(packages, &package);
    SolveError::Unknown { recipe, suite, package, architecture, elsewhere, similar }
}

#[cfg(test)]
mod tests;
