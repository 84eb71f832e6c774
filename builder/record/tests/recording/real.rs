//! Real packages whose scripts nobody declared.

use std::collections::{BTreeMap, BTreeSet};

use builder_record::ScriptRecorder;
use builder_tree::{
    EffectError, InstallError, InstallOptions, PackageInput, RecordScriptsError, Recording, Recordings,
    record_scripts, unknown_scripts,
};

use crate::{
    EPOCH, chain,
    compare::{Differences, differences},
    debian::{Installed, STATUS},
    kept,
    listing::Listing,
    machine,
    system::System,
    through_files,
};

/// What came of a set of packages.
pub(crate) struct Recorded {
    /// The packages whose scripts are not known.
    pub(crate) unknown: Vec<String>,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    /// The image with what was recorded equals dpkg's.
    Equal,
    /// The differences that no reason is given for.
    Different(Vec<String>),
    /// A script was not recorded, or there is no image with what was recorded.
    Refused(String),
}

/// Records what is unknown of a set, builds it, and compares with what the real dpkg made. Otherwise what apt says that does
/// not install the set.
pub(crate) fn record(system: &System, set: &[&str]) -> Result<Recorded, String> {
    let oracle = system.install(set)?;
    let status = oracle.text(STATUS);
    let inputs = in_order(&status, system.archive.inputs(&status, &system.debs));
    let installed = Installed::unpack(&inputs, &[&system.essential]);
    let mut unknown: Vec<String> = unknown_scripts(
        &installed.packages,
        |package| BTreeSet::from([package.architecture.clone()]),
        &Recordings::none(),
    )
    .iter()
    .map(|(run, _)| run.package.to_string())
    .collect();
    unknown.sort();
    unknown.dedup();
    let outcome = compare(&installed, &oracle, &mut unknown).unwrap_or_else(Outcome::Refused);
    Ok(Recorded { unknown, outcome })
}

/// Packages in an order in which they could be configured, as a lock has them: what one depends on comes before it.
fn in_order(status: &str, inputs: Vec<PackageInput>) -> Vec<PackageInput> {
    fn visit(name: &str, needs: &BTreeMap<&str, Vec<&str>>, seen: &mut Vec<String>) {
        if !seen.iter().any(|other| other == name) {
            seen.push(name.to_owned());
            let after = seen.len() - 1;
            for needed in needs.get(name).into_iter().flatten() {
                visit(needed, needs, seen);
            }
            // What was met meanwhile comes first.
            let own = seen.remove(after);
            seen.push(own);
        }
    }
    let mut needs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut essential = Vec::new();
    for stanza in status.split("\n\n") {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let Some(name) = field("Package") else { continue };
        if field("Essential") == Some("yes") || ["base-files", "mawk"].contains(&name) {
            essential.push(name);
        }
        let relations = ["Pre-Depends", "Depends"].into_iter().filter_map(field);
        let names = relations
            .flat_map(|text| text.split([',', '|']))
            .filter_map(|one| one.trim().split([' ', '(', ':']).next());
        needs.insert(name, names.collect());
    }
    let mut order = Vec::new();
    for name in essential.iter().chain(needs.keys()) {
        visit(name, &needs, &mut order);
    }
    let places: BTreeMap<&str, usize> =
        order.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let mut inputs = inputs;
    inputs.sort_by_key(|input| places.get(input.name.as_str()).copied());
    inputs
}

/// Adds the package whose script would have to run a program of the image: that is seen in a tree only.
fn also_unknown(error: &InstallError, unknown: &mut Vec<String>) {
    let InstallError::Effect { package, source: EffectError::Runs { .. }, .. } = error else { return };
    let package = package.to_string();
    if !unknown.contains(&package) {
        unknown.push(package);
    }
}

fn compare(installed: &Installed, oracle: &Listing, unknown: &mut Vec<String>) -> Result<Outcome, String> {
    let (packages, payloads) = (&installed.packages, &installed.payloads);
    let folder = tempfile::tempdir().unwrap();
    let machine = machine();
    let mut recorder = ScriptRecorder::new(&machine, payloads);
    let (mut all, mut recordings) = (Vec::new(), Recordings::none());
    // Some wait for others, so those that fail are tried again as long as others go on.
    let mut left = unknown.clone();
    let tree = loop {
        let (mut waiting, known, found) = (Vec::new(), all.len(), unknown.len());
        let mut why = String::new();
        for package in &left {
            let failed = |error: &dyn std::error::Error| format!("{package}: {}", chain(error));
            let accounts = installed.accounts(oracle, &recordings).map_err(|error| failed(&error))?;
            let options = InstallOptions { accounts: &accounts, epoch: EPOCH, recordings: &recordings };
            let wanted = package.parse().unwrap();
            let made = record_scripts(packages, payloads, &options, &wanted, &mut recorder);
            let missing = match made {
                Ok(made) => {
                    all.retain(|one: &Recording| one.run.package != wanted);
                    all.extend(made.recordings);
                    recordings = through_files(&all, folder.path());
                    made.missing.map(|error| {
                        also_unknown(&error, unknown);
                        failed(&error)
                    })
                }
                Err(error) => {
                    if let RecordScriptsError::Install { source, .. } = &error {
                        also_unknown(source, unknown);
                    }
                    Some(failed(&error))
                }
            };
            if let Some(missing) = missing {
                waiting.push(package.clone());
                why = missing;
            }
        }
        if waiting.is_empty() {
            match installed.recorded_tree(oracle, EPOCH, &recordings) {
                Ok(tree) => break tree,
                Err(error) => {
                    also_unknown(&error, unknown);
                    why = chain(&error);
                }
            }
        }
        let more = unknown[found..].to_vec();
        if more.is_empty() && waiting.len() == left.len() && all.len() == known
            || waiting.is_empty() && more.is_empty()
        {
            return Err(why);
        }
        left = [more, waiting].concat();
    };
    let listing = Listing::of_tree(&tree, payloads);
    let Differences { unexpected, .. } = differences(&listing, oracle, &tree);
    Ok(if unexpected.is_empty() { Outcome::Equal } else { Outcome::Different(unexpected) })
}

#[test]
fn recorded_images_equal_dpkgs() {
    let system = System::new("bookworm", kept(), EPOCH);
    for package in ["shared-mime-info", "apparmor"] {
        let Recorded { unknown, outcome } = record(&system, &[package]).unwrap();
        assert_eq!(unknown, [package]);
        match outcome {
            Outcome::Equal => {}
            Outcome::Different(paths) => panic!("{package}: {}", paths.join("\n")),
            Outcome::Refused(why) => panic!("{package}: {why}"),
        }
    }
}
