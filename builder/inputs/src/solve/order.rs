//! In which order packages could be configured.

use std::collections::{BTreeMap, BTreeSet};

use super::ALWAYS;
use crate::packages::{Packages, PackagesError};

/// Orders packages so that what one needs comes before it, where there is no circle; a function of the set alone.
pub(super) fn ordered(
    packages: &Packages<'_>,
    selected: &BTreeSet<usize>,
) -> Result<Vec<usize>, PackagesError> {
    let mut starts: Vec<usize> = selected.iter().copied().collect();
    starts.sort_by_key(|entry| {
        let name = packages.entry(*entry).name;
        (ALWAYS.iter().position(|always| *always == name).unwrap_or(ALWAYS.len()), name)
    });
    let mut needs = BTreeMap::new();
    for entry in selected {
        let mut found = Vec::new();
        for alternative in packages.entry(*entry).needs()?.iter().flatten() {
            let mut entries: Vec<usize> =
                packages.satisfying(alternative).filter(|entry| selected.contains(entry)).collect();
            entries.sort_by_key(|entry| packages.entry(*entry).name);
            found.extend(entries);
        }
        needs.insert(*entry, found);
    }
    let mut order = Vec::with_capacity(selected.len());
    let mut seen = BTreeSet::new();
    for start in starts {
        // Depth first without recursion: chains of dependencies may be long.
        let mut path = vec![(start, 0_usize)];
        if !seen.insert(start) {
            continue;
        }
        while let Some((entry, next)) = path.last_mut() {
            if let Some(needed) = needs.get(entry).and_then(|needs| needs.get(*next)) {
                *next += 1;
                if seen.insert(*needed) {
                    path.push((*needed, 0));
                }
            } else {
                order.push(*entry);
                path.pop();
            }
        }
    }
    Ok(order)
}
