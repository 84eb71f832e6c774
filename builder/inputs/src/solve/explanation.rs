//! Why a set cannot be installed, in words: which package asks for what, and which package of the recipe began it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bundles_release::lock::PackageName;
use resolvo::{
    Interner as _, SolvableId, Solver,
    conflict::{Conflict, ConflictCause, ConflictEdge, ConflictNode},
};

use super::{provider::Provider, rules::Rules};
use crate::packages::{Entry, Packages, PackagesError};

/// Dead ends that are told; of more only the number is.
const MOST: usize = 6;

/// Why a set cannot be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Explanation {
    /// Packages that the recipe asks for and that cannot be together, sorted.
    pub(super) asked: Vec<PackageName>,
    /// One line for each dead end, and indented ones for how it comes into play.
    pub(super) text: String,
}

/// Where a package comes from: another package, or the recipe itself.
type Origins = BTreeMap<usize, Option<usize>>;

struct Teller<'t, 'a> {
    packages: &'t Packages<'a>,
    rules: &'t Rules<'t, 'a>,
    origins: Origins,
}

/// Tells a conflict of the solver.
pub(super) fn explain(
    rules: &Rules<'_, '_>,
    solver: &Solver<Provider<'_, '_>>,
    conflict: &Conflict,
) -> Result<Explanation, PackagesError> {
    let graph = conflict.graph(solver).graph;
    let entry_of = |solvable: SolvableId| solver.provider().entry_of(solvable);
    let node = |index| match graph.node_weight(index) {
        Some(ConflictNode::Solvable(solvable)) => Some(entry_of(*solvable)),
        _ => None,
    };
    let mut needed: BTreeMap<Option<usize>, BTreeSet<usize>> = BTreeMap::new();
    let mut unmet = BTreeSet::new();
    let mut exclusions = BTreeSet::new();
    let mut versions = BTreeSet::new();
    let mut refused = BTreeSet::new();
    for edge in graph.edge_indices() {
        let Some(((from, to), weight)) = graph.edge_endpoints(edge).zip(graph.edge_weight(edge)) else {
            continue;
        };
        match (weight, node(from), node(to)) {
            (ConflictEdge::Requires(_), parent, Some(child)) => {
                needed.entry(parent).or_default().insert(child);
            }
            (ConflictEdge::Requires(_), Some(parent), None) => {
                unmet.insert(parent);
            }
            (ConflictEdge::Conflict(ConflictCause::Constrains(_)), Some(one), Some(other)) => {
                exclusions.insert((one, other));
            }
            (ConflictEdge::Conflict(ConflictCause::ForbidMultipleInstances), Some(one), Some(other)) => {
                versions.insert((one, other));
            }
            (ConflictEdge::Conflict(ConflictCause::Excluded), Some(one), _) => {
                if let Some(ConflictNode::Excluded(reason)) = graph.node_weight(to) {
                    refused.insert((one, solver.provider().display_string(*reason).to_string()));
                }
            }
            _ => {}
        }
    }
    let teller = Teller { packages: rules.packages, rules, origins: origins(&needed) };
    let mut told = Vec::new();
    for entry in unmet {
        told.extend(teller.unmet(entry)?);
    }
    for (one, other) in exclusions {
        told.push((teller.exclusion(one, other)?, vec![one, other]));
    }
    for (one, other) in versions {
        let line = format!("{} and {} cannot both be there", teller.shown(one), teller.shown(other));
        told.push((line, vec![one, other]));
    }
    for (entry, reason) in refused {
        told.push((format!("{} may not be taken: {reason}", teller.shown(entry)), vec![entry]));
    }
    teller.finish(told)
}

/// For each package, who first leads to it from the recipe.
fn origins(needed: &BTreeMap<Option<usize>, BTreeSet<usize>>) -> Origins {
    let mut origins = Origins::new();
    let mut queue = VecDeque::from([None]);
    while let Some(parent) = queue.pop_front() {
        for child in needed.get(&parent).into_iter().flatten() {
            if !origins.contains_key(child) {
                origins.insert(*child, parent);
                queue.push_back(Some(*child));
            }
        }
    }
    origins
}

impl<'a> Teller<'_, 'a> {
    fn entry(&self, entry: usize) -> &Entry<'a> {
        self.packages.entry(entry)
    }

    fn shown(&self, entry: usize) -> String {
        let entry = self.entry(entry);
        format!("{} {}", entry.name, entry.version)
    }

    /// The relations of a package that nothing in the index satisfies.
    fn unmet(&self, entry: usize) -> Result<Vec<(String, Vec<usize>)>, PackagesError> {
        let mut told = Vec::new();
        for group in self.rules.needs(entry)? {
            if group.iter().any(|alternative| self.packages.satisfying(alternative).next().is_some()) {
                continue;
            }
            let wanted: Vec<String> = group.iter().map(ToString::to_string).collect();
            let names = group.iter().flat_map(|alternative| self.packages.named(alternative.name));
            let there: BTreeSet<String> = names.map(|entry| self.shown(*entry)).collect();
            let there = if there.is_empty() {
                "which is not there".to_owned()
            } else {
                format!("but there is only {}", there.into_iter().collect::<Vec<_>>().join(", "))
            };
            told.push((format!("{} needs {}, {there}", self.shown(entry), wanted.join(" | ")), vec![entry]));
        }
        Ok(told)
    }

    fn exclusion(&self, one: usize, other: usize) -> Result<String, PackagesError> {
        let relations = self.entry(one).excludes()?;
        let mut alternatives = relations.iter().flatten();
        let excluded =
            alternatives.find(|alternative| self.packages.satisfying(alternative).any(|e| e == other));
        let by = match excluded {
            Some(alternative) if alternative.name == self.entry(other).name => alternative.to_string(),
            Some(alternative) => format!("{alternative}, which {} provides", self.entry(other).name),
            None => self.entry(other).name.to_owned(),
        };
        Ok(format!("{} cannot be beside {by}, and both are needed", self.shown(one)))
    }

    /// How a package comes into play, from the recipe on.
    fn chain(&self, entry: usize) -> Result<(Vec<usize>, String), PackagesError> {
        let mut path = vec![entry];
        while let Some(Some(parent)) = self.origins.get(path.last().unwrap_or(&entry)) {
            path.push(*parent);
        }
        path.reverse();
        let first = self.entry(path[0]);
        let is_asked = self.rules.request.packages.iter().any(|package| package.as_str() == first.name);
        let mut text = if is_asked {
            format!("the recipe asks for {}", first.name)
        } else if first.essential {
            format!("{} is of the essential set", first.name)
        } else {
            format!("every image has {}", first.name)
        };
        for pair in path.windows(2) {
            let groups = self.rules.needs(pair[0])?;
            let group = groups.into_iter().find(|group| {
                group.iter().any(|alternative| self.packages.satisfying(alternative).any(|e| e == pair[1]))
            });
            let group = group.unwrap_or_default();
            let wanted: Vec<String> = group.iter().map(ToString::to_string).collect();
            text.extend(["; ", &self.shown(pair[0]), " needs ", &wanted.join(" | ")]);
        }
        Ok((path, text))
    }

    fn finish(&self, told: Vec<(String, Vec<usize>)>) -> Result<Explanation, PackagesError> {
        let mut asked = BTreeSet::new();
        let mut lines = BTreeSet::new();
        for (line, about) in told {
            let mut chains = BTreeSet::new();
            let mut length = 0;
            for entry in about {
                let (path, chain) = self.chain(entry)?;
                let first = self.entry(path[0]).name;
                asked.extend(self.rules.request.packages.iter().filter(|package| package.as_str() == first));
                length += path.len();
                chains.insert(chain);
            }
            // What is nearest to the recipe first.
            lines.insert((length, line, chains));
        }
        let more = lines.len().saturating_sub(MOST);
        let mut text: Vec<String> = Vec::new();
        for (_, line, chains) in lines.into_iter().take(MOST) {
            text.push(line);
            text.extend(chains.into_iter().map(|chain| format!("  {chain}")));
        }
        if more > 0 {
            text.push(format!("and {more} other ways end likewise"));
        }
        Ok(Explanation { asked: asked.into_iter().cloned().collect(), text: text.join("\n") })
    }
}
