//! Real packages whose scripts nobody declared.

use builder_record::ScriptRecorder;
use builder_tree::{InstallOptions, Recordings, record_scripts, unknown_scripts};

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

/// Records what is unknown of a set, builds it, and compares with what the real dpkg made.
fn equals_dpkgs(system: &System, set: &[&str], unknown: &[&str]) {
    let oracle = system.install(set).unwrap();
    let inputs = system.archive.inputs(&oracle.text(STATUS), &system.debs);
    let installed = Installed::unpack(&inputs, &[&system.essential]);
    let (packages, payloads) = (&installed.packages, &installed.payloads);
    let mut found: Vec<String> = unknown_scripts(packages, &Recordings::none())
        .iter()
        .map(|(run, _)| run.package.to_string())
        .collect();
    found.dedup();
    assert_eq!(found, unknown, "{set:?}");
    let folder = tempfile::tempdir().unwrap();
    let machine = machine();
    let mut recorder = ScriptRecorder::new(&machine, payloads);
    let (mut all, mut recordings) = (Vec::new(), Recordings::none());
    for package in unknown {
        let accounts = installed.accounts(&oracle, &recordings).unwrap();
        let options = InstallOptions { accounts: &accounts, epoch: EPOCH, recordings: &recordings };
        let wanted = package.parse().unwrap();
        let made = record_scripts(packages, payloads, &options, &wanted, &mut recorder)
            .unwrap_or_else(|error| panic!("{package}: {}", chain(&error)));
        assert!(made.missing.is_none(), "{package}: {:?}", made.missing);
        let made = made.recordings;
        assert!(!made.is_empty(), "{package}");
        all.extend(made);
        recordings = through_files(&all, folder.path());
    }
    let tree = installed
        .recorded_tree(&oracle, EPOCH, &recordings)
        .unwrap_or_else(|error| panic!("{set:?}: {}", chain(&error)));
    let listing = Listing::of_tree(&tree, payloads);
    let Differences { unexpected, .. } = differences(&listing, &oracle, &tree);
    assert!(unexpected.is_empty(), "{set:?}: {} differences:\n{}", unexpected.len(), unexpected.join("\n"));
}

#[test]
fn recorded_images_equal_dpkgs() {
    let system = System::new("bookworm", kept(), EPOCH);
    equals_dpkgs(&system, &["shared-mime-info"], &["shared-mime-info"]);
    equals_dpkgs(&system, &["apparmor"], &["apparmor"]);
}
