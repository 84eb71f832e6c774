//! What only maintainer scripts need. No maintainer script runs, so an image without the essential set does without it.

use std::collections::{BTreeMap, BTreeSet};

use bundles_release::lock::{PackageName, PackageRequest, Satisfied};

use crate::{
    packages::{Packages, PackagesError},
    relation::Group,
};

/// A package that is not pulled in by others. Asked for by name, it is installed like any other.
#[derive(Debug)]
pub(crate) struct Declared {
    package: &'static str,
    /// Only if this package needs it; otherwise whoever needs it.
    needed_by: Option<&'static str>,
    reason: &'static str,
}

const fn by_any(package: &'static str, reason: &'static str) -> Declared {
    Declared { package, needed_by: None, reason }
}

const fn by(needed_by: &'static str, package: &'static str, reason: &'static str) -> Declared {
    Declared { package, needed_by: Some(needed_by), reason }
}

const ACCOUNTS: &str = "makes users and groups at installation; the lock allocates them";
const BOOT: &str = "starts and stops services of a booted system; an image has one process";
const QUESTIONS: &str = "asks questions at installation; the package's defaults hold";
const LAYOUT: &str = "moves files of old systems; images have merged directories from the start";

/// The table. A name is looked up among all alternatives of a relation, virtual names included.
pub(crate) const DECLARED: &[Declared] = &[
    by_any("adduser", ACCOUNTS),
    by_any("passwd", ACCOUNTS),
    by_any("systemd-sysusers", ACCOUNTS),
    by_any("debconf", QUESTIONS),
    by_any("debconf-2.0", QUESTIONS),
    by_any("cdebconf", QUESTIONS),
    by_any("dpkg", "installs packages; nothing is installed in an image"),
    by_any("init-system-helpers", BOOT),
    by_any("lsb-base", BOOT),
    by_any("sysvinit-utils", BOOT),
    by_any("usr-is-merged", LAYOUT),
    by_any("usrmerge", LAYOUT),
    by_any("ucf", "merges configuration files at an upgrade; images are not upgraded in place"),
    by_any("install-info", "indexes manuals at installation"),
    by("base-files", "awk", "makes awk part of the essential set; no file of base-files uses it"),
];

/// The entry of the table that makes a relation of `package` hold.
pub(super) fn entry_for(
    request: &PackageRequest,
    package: &str,
    group: &Group<'_>,
) -> Option<&'static Declared> {
    if request.essential {
        return None;
    }
    DECLARED.iter().find(|declared| {
        declared.needed_by.is_none_or(|by| by == package)
            && group.iter().any(|alternative| alternative.name == declared.package)
            && !group
                .iter()
                .any(|alternative| request.packages.iter().any(|asked| asked.as_str() == alternative.name))
    })
}

/// What the table left out of a selection, by name.
pub(super) fn declared(
    packages: &Packages<'_>,
    request: &PackageRequest,
    selected: &BTreeSet<usize>,
) -> Result<Vec<Satisfied>, PackagesError> {
    let mut found: BTreeMap<&str, (BTreeSet<&str>, &str)> = BTreeMap::new();
    for entry in selected {
        let package = packages.entry(*entry);
        for group in package.needs()? {
            let Some(declared) = entry_for(request, package.name, &group) else { continue };
            let there = group
                .iter()
                .any(|alternative| packages.satisfying(alternative).any(|entry| selected.contains(&entry)));
            if !there {
                found
                    .entry(declared.package)
                    .or_insert((BTreeSet::new(), declared.reason))
                    .0
                    .insert(package.name);
            }
        }
    }
    let name = |text: &str| text.parse::<PackageName>().ok();
    Ok(found
        .into_iter()
        .filter_map(|(package, (needed_by, reason))| {
            Some(Satisfied {
                package: name(package)?,
                needed_by: needed_by.into_iter().filter_map(name).collect(),
                reason: reason.to_owned(),
            })
        })
        .collect())
}
