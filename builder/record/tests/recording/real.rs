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

/// Records what is unknown of a set, builds it, and compares with what the real dpkg made. Nothing if apt does not install
/// the set.
pub(crate) fn record(system: &System, set: &[&str]) -> Result<Recorded, String> {
    let oracle = system.install(set)?;
    let inputs = system.archive.inputs(&oracle.text(STATUS), &system.debs);
    let installed = Installed::unpack(&inputs, &[&system.essential]);
    let mut unknown: Vec<String> = unknown_scripts(&installed.packages, &Recordings::none())
        .iter()
        .map(|(run, _)| run.package.to_string())
        .collect();
    unknown.dedup();
    let outcome = compare(&installed, &oracle, &unknown).unwrap_or_else(Outcome::Refused);
    Ok(Recorded { unknown, outcome })
}

fn compare(installed: &Installed, oracle: &Listing, unknown: &[String]) -> Result<Outcome, String> {
    let (packages, payloads) = (&installed.packages, &installed.payloads);
    let folder = tempfile::tempdir().unwrap();
    let machine = machine();
    let mut recorder = ScriptRecorder::new(&machine, payloads);
    let (mut all, mut recordings) = (Vec::new(), Recordings::none());
    for package in unknown {
        let failed = |error: &dyn std::error::Error| format!("{package}: {}", chain(error));
        let accounts = installed.accounts(oracle, &recordings).map_err(|error| failed(&error))?;
        let options = InstallOptions { accounts: &accounts, epoch: EPOCH, recordings: &recordings };
        let wanted = package.parse().unwrap();
        let made = record_scripts(packages, payloads, &options, &wanted, &mut recorder)
            .map_err(|error| failed(&error))?;
        if let Some(missing) = made.missing {
            return Err(failed(&missing));
        }
        assert!(!made.recordings.is_empty(), "{package}");
        all.extend(made.recordings);
        recordings = through_files(&all, folder.path());
    }
    let tree = installed.recorded_tree(oracle, EPOCH, &recordings).map_err(|error| chain(&error))?;
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
