//! Debian's relations as the solver wants them.

use std::{cell::RefCell, fmt};

use bundles_release::lock::{Constraint, Version};
use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, Dependencies, DependencyProvider,
    HintDependenciesAvailable, Interner, KnownDependencies, NameId, Requirement, SolvableId, SolverCache,
    StringId, VersionSetId, VersionSetUnionId,
    utils::{Pool, VersionSet},
};

use super::rules::Rules;
use crate::{
    packages::PackagesError,
    relation::{Alternative, Group, Reach},
};

/// A set of versions of one package.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Set {
    /// All, or those that a relation names.
    Within(Option<Constraint>),
    /// None, or those that a relation does not name.
    Outside(Option<Constraint>),
    /// Those that provide what is asked for: places in the index.
    Providing(Vec<usize>),
    /// Those that do not provide what is excluded: places in the index.
    NotProviding(Vec<usize>),
}

/// One version of a package.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    entry: usize,
    version: Version,
}

impl fmt::Display for Candidate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.version.fmt(formatter)
    }
}

impl VersionSet for Set {
    type V = Candidate;
}

impl Set {
    fn contains(&self, candidate: &Candidate) -> bool {
        let within = |constraint: &Option<Constraint>| {
            constraint.as_ref().is_none_or(|constraint| constraint.contains(&candidate.version))
        };
        match self {
            Self::Within(constraint) => within(constraint),
            Self::Outside(constraint) => !within(constraint),
            Self::Providing(entries) => entries.contains(&candidate.entry),
            Self::NotProviding(entries) => !entries.contains(&candidate.entry),
        }
    }
}

/// Answers the solver from an index.
pub(super) struct Provider<'p, 'a> {
    rules: &'p Rules<'p, 'a>,
    pool: Pool<Set, String>,
    /// The first thing in the index that could not be read; the solver has no way to hand it on.
    error: RefCell<Option<PackagesError>>,
}

impl<'p, 'a> Provider<'p, 'a> {
    pub(super) fn new(rules: &'p Rules<'p, 'a>) -> Self {
        Self { rules, pool: Pool::new(), error: RefCell::new(None) }
    }

    pub(super) fn take_error(&self) -> Option<PackagesError> {
        self.error.borrow_mut().take()
    }

    pub(super) fn entry_of(&self, solvable: SolvableId) -> usize {
        self.pool.resolve_solvable(solvable).record.entry
    }

    /// A package that must be there.
    pub(super) fn root(&self, name: &str) -> ConditionalRequirement {
        Requirement::Single(self.set(name, Set::Within(None))).into()
    }

    fn set(&self, name: &str, set: Set) -> VersionSetId {
        self.pool.intern_version_set(self.pool.intern_package_name(name), set)
    }

    /// The packages that satisfy an alternative by what they provide, grouped by name, best first.
    fn providers(&self, alternative: &Alternative<'_>) -> Vec<(&'a str, Vec<usize>)> {
        let mut found: Vec<(&str, Vec<usize>)> = Vec::new();
        for entry in self.rules.packages.satisfying(alternative) {
            let name = self.rules.packages.entry(entry).name;
            match found.iter_mut().find(|(other, _)| *other == name) {
                Some((_, entries)) => entries.push(entry),
                None if name == alternative.name => {}
                None => found.push((name, vec![entry])),
            }
        }
        found.sort_by(|(_, left), (_, right)| self.rules.packages.compare_providers(left[0], right[0]));
        found
    }

    /// The packages of an alternative's own name that satisfy it.
    fn of_name(&self, alternative: &Alternative<'_>) -> Option<VersionSetId> {
        if self.rules.packages.named(alternative.name).is_empty() {
            return None;
        }
        match alternative.reach(self.rules.request.architecture.as_str()) {
            Reach::All => Some(self.set(alternative.name, Set::Within(alternative.constraint.clone()))),
            Reach::Allowed => {
                let named = |entry: &usize| self.rules.packages.entry(*entry).name == alternative.name;
                let entries = self.rules.packages.satisfying(alternative).filter(named).collect();
                Some(self.set(alternative.name, Set::Providing(entries)))
            }
            Reach::None => None,
        }
    }

    fn requirement(&self, group: &Group<'_>) -> Option<ConditionalRequirement> {
        let mut sets = Vec::new();
        for alternative in group {
            sets.extend(self.of_name(alternative));
            let providers = self.providers(alternative).into_iter();
            sets.extend(providers.map(|(name, entries)| self.set(name, Set::Providing(entries))));
        }
        if sets.is_empty() {
            // Nothing has it: asked for all the same, so that the explanation names it.
            let first = group.first()?;
            sets.push(self.set(first.name, Set::Providing(Vec::new())));
        }
        let requirement = match sets[..] {
            [only] => Requirement::Single(only),
            [first, ref others @ ..] => {
                Requirement::Union(self.pool.intern_version_set_union(first, others.iter().copied()))
            }
            [] => return None,
        };
        Some(requirement.into())
    }

    fn known(&self, entry: usize) -> Result<KnownDependencies, PackagesError> {
        let package = self.rules.packages.entry(entry);
        let mut known = KnownDependencies::default();
        for group in self.rules.needs(entry)? {
            known.requirements.extend(self.requirement(&group));
        }
        for excluded in package.excludes()?.iter().flatten() {
            // A package never excludes itself, neither by its name nor by what it provides.
            if excluded.name != package.name && !self.rules.packages.named(excluded.name).is_empty() {
                known.constrains.push(self.set(excluded.name, Set::Outside(excluded.constraint.clone())));
            }
            for (name, entries) in self.providers(excluded) {
                if name != package.name {
                    known.constrains.push(self.set(name, Set::NotProviding(entries)));
                }
            }
        }
        Ok(known)
    }
}

impl Interner for Provider<'_, '_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl fmt::Display + '_ {
        let solvable = self.pool.resolve_solvable(solvable);
        format!("{} {}", self.pool.resolve_package_name(solvable.name), solvable.record)
    }

    fn display_merged_solvables(&self, solvables: &[SolvableId]) -> impl fmt::Display + '_ {
        let shown: Vec<String> =
            solvables.iter().map(|solvable| self.display_solvable(*solvable).to_string()).collect();
        shown.join(" | ")
    }

    fn display_name(&self, name: NameId) -> impl fmt::Display + '_ {
        self.pool.resolve_package_name(name)
    }

    fn display_version_set(&self, set: VersionSetId) -> impl fmt::Display + '_ {
        match self.pool.resolve_version_set(set) {
            Set::Within(None) => "(any version)".to_owned(),
            Set::Within(Some(constraint)) => format!("({constraint})"),
            Set::Outside(None) => "(no version)".to_owned(),
            Set::Outside(Some(constraint)) => format!("(not {constraint})"),
            Set::Providing(_) => "(as provider)".to_owned(),
            Set::NotProviding(_) => "(not as provider)".to_owned(),
        }
    }

    fn display_string(&self, string: StringId) -> impl fmt::Display + '_ {
        self.pool.resolve_string(string)
    }

    fn version_set_name(&self, set: VersionSetId) -> NameId {
        self.pool.resolve_version_set_package_name(set)
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        self.pool.resolve_solvable(solvable).name
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.pool.resolve_version_set_union(union)
    }

    fn resolve_condition(&self, condition: ConditionId) -> Condition {
        self.pool.resolve_condition(condition).clone()
    }
}

// The solver polls each of these once: none of them waits for anything.
impl DependencyProvider for Provider<'_, '_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let set = self.pool.resolve_version_set(set);
        let matches =
            |solvable: &SolvableId| set.contains(&self.pool.resolve_solvable(*solvable).record) != inverse;
        candidates.iter().copied().filter(matches).collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates> {
        let text = self.pool.resolve_package_name(name);
        let entries = self.rules.packages.named(text);
        if entries.is_empty() {
            return None;
        }
        let mut candidates = Candidates {
            hint_dependencies_available: HintDependenciesAvailable::All,
            ..Candidates::default()
        };
        for entry in entries {
            let version = self.rules.packages.entry(*entry).version.clone();
            let solvable = self.pool.intern_solvable(name, Candidate { entry: *entry, version });
            candidates.candidates.push(solvable);
            if let Some(reason) = self.rules.refusal(*entry) {
                candidates.excluded.push((solvable, self.pool.intern_string(reason)));
            }
        }
        Some(candidates)
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        solvables.sort_by(|left, right| self.rules.compare(self.entry_of(*left), self.entry_of(*right)));
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        match self.known(self.entry_of(solvable)) {
            Ok(known) => Dependencies::Known(known),
            Err(error) => {
                let reason = self.pool.intern_string(error.to_string());
                self.error.borrow_mut().get_or_insert(error);
                Dependencies::Unknown(reason)
            }
        }
    }
}
