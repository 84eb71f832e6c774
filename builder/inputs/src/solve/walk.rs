//! The set that apt would choose: depth first, from left to right, without going back over what was decided.
//!
//! Most requests meet no conflict. For these a person expects what apt installs, and which of two alternatives that is
//! depends on the order in which packages are met. A walk that ends in a set in which every relation holds is the
//! answer; any other is left to the solver. After apt 2.6 (`MarkInstall`): what is asked for and what it cannot do
//! without is *firm*. Packages that the firm exclude are not looked at any more.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::rules::Rules;
use crate::{
    packages::{Packages, PackagesError},
    relation::Group,
};

/// How deep a chain of dependencies is followed. Debian's have less than a hundred packages.
const DEEPEST: usize = 1000;

/// Why a walk ends early.
enum Stop {
    Index(PackagesError),
    Deep,
}

impl From<PackagesError> for Stop {
    fn from(error: PackagesError) -> Self {
        Self::Index(error)
    }
}

struct Walk<'w, 'a> {
    rules: &'w Rules<'w, 'a>,
    packages: &'w Packages<'a>,
    installed: HashMap<&'a str, usize>,
    firm: HashSet<usize>,
    followed: HashSet<usize>,
    discarded: HashSet<usize>,
}

/// Walks from the packages that must be there. Nothing if the walk ends in a set in which some relation does not hold.
pub(super) fn walk(rules: &Rules<'_, '_>, roots: &[usize]) -> Result<Option<BTreeSet<usize>>, PackagesError> {
    let packages = rules.packages;
    let mut walk = Walk {
        rules,
        packages,
        installed: roots.iter().map(|root| (packages.entry(*root).name, *root)).collect(),
        firm: roots.iter().copied().collect(),
        followed: HashSet::new(),
        discarded: HashSet::new(),
    };
    for root in roots {
        match walk.install(*root, 0) {
            Ok(true) => {}
            Ok(false) | Err(Stop::Deep) => return Ok(None),
            Err(Stop::Index(error)) => return Err(error),
        }
    }
    let installed = walk.installed.values().copied().collect();
    let needed = walk.needed(&installed, roots)?;
    Ok(if walk.holds(&needed)? { Some(needed) } else { None })
}

impl Walk<'_, '_> {
    fn is_installed(&self, entry: usize) -> bool {
        self.installed.get(self.packages.entry(entry).name) == Some(&entry)
    }

    /// Candidates that satisfy a group, best first.
    fn solutions(&self, group: &Group<'_>) -> Vec<usize> {
        let mut solutions = Vec::new();
        for alternative in group {
            let is_candidate = |entry: &usize| {
                !self.discarded.contains(entry)
                    && self.rules.candidate(self.packages.entry(*entry).name) == Some(*entry)
            };
            let mut found: Vec<usize> = self.packages.satisfying(alternative).filter(is_candidate).collect();
            found.sort_by(|left, right| {
                let rank = |entry: &usize| {
                    (!self.firm.contains(entry), self.packages.entry(*entry).name != alternative.name)
                };
                let by_rank = rank(left).cmp(&rank(right));
                by_rank.then_with(|| self.packages.compare_providers(*left, *right))
            });
            solutions.extend(found);
        }
        let mut seen = HashSet::new();
        solutions.retain(|entry| seen.insert(*entry));
        solutions
    }

    /// Installs a package and what it needs; false if that cannot be.
    fn install(&mut self, entry: usize, depth: usize) -> Result<bool, Stop> {
        if depth > DEEPEST {
            return Err(Stop::Deep);
        }
        let package = self.packages.entry(entry);
        if self.installed.get(package.name).is_some_and(|other| *other != entry) {
            return Ok(false);
        }
        let is_firm = self.firm.contains(&entry);
        if self.followed.contains(&entry) && !is_firm {
            return Ok(true);
        }
        let groups = self.rules.needs(entry)?;
        if groups.iter().any(|group| self.solutions(group).is_empty()) {
            self.discarded.insert(entry);
            return Ok(false);
        }
        for excluded in package.excludes()?.iter().flatten() {
            for victim in self.packages.satisfying(excluded) {
                if self.packages.entry(victim).name == package.name {
                    continue;
                }
                if self.is_installed(victim) {
                    return Ok(false);
                }
                if is_firm {
                    self.discarded.insert(victim);
                }
            }
        }
        self.installed.insert(package.name, entry);
        let is_new = self.followed.insert(entry);
        for group in &groups {
            let solutions = self.solutions(group);
            let there = solutions.iter().copied().find(|solution| self.is_installed(*solution));
            let only = if let [only] = solutions[..] { Some(only) } else { None };
            if there.is_some() && !(is_firm && only.is_some_and(|only| !self.firm.contains(&only))) {
                continue;
            }
            if is_firm {
                self.firm.extend(only);
            }
            let mut is_met = false;
            for solution in solutions {
                if self.install(solution, depth + 1)? {
                    is_met = true;
                    break;
                }
            }
            if !is_met {
                if !is_firm && is_new {
                    self.installed.remove(package.name);
                    self.followed.remove(&entry);
                }
                self.discarded.insert(entry);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is needed of a set: attempts that failed leave packages behind.
    fn needed(&self, set: &BTreeSet<usize>, roots: &[usize]) -> Result<BTreeSet<usize>, PackagesError> {
        let mut needed: BTreeSet<usize> = roots.iter().copied().collect();
        let mut queue = roots.to_vec();
        while let Some(entry) = queue.pop() {
            for alternative in self.rules.needs(entry)?.iter().flatten() {
                let there = self.packages.satisfying(alternative).filter(|entry| set.contains(entry));
                queue.extend(there.filter(|entry| needed.insert(*entry)));
            }
        }
        Ok(needed)
    }

    /// Whether every relation holds in a set.
    fn holds(&self, set: &BTreeSet<usize>) -> Result<bool, PackagesError> {
        for entry in set {
            let package = self.packages.entry(*entry);
            for group in self.rules.needs(*entry)? {
                let mut satisfying =
                    group.iter().flat_map(|alternative| self.packages.satisfying(alternative));
                if !satisfying.any(|other| set.contains(&other)) {
                    return Ok(false);
                }
            }
            for excluded in package.excludes()?.iter().flatten() {
                let mut others = self.packages.satisfying(excluded);
                if others.any(|other| set.contains(&other) && self.packages.entry(other).name != package.name)
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
