//! Unknown scripts run once in a sandbox, and what is written down of them holds: for real packages of Debian the image
//! equals that of the real dpkg; for scripts made by hand, all that must not be recorded is refused, and a recording stops
//! to hold when anything changes that it depends on.
//!
//! Needs root, which mounts copies of a system and gives files to their owners, and the machine's apt configuration.
//! Debian packages: mmdebstrap, apt, mount.

#![allow(clippy::unwrap_used, reason = "the functions that the tests share may panic too")]

#[allow(dead_code, reason = "the oracle of builder/tree needs more of it")]
#[path = "../../../tree/tests/oracle/compare.rs"]
mod compare;
#[allow(dead_code, reason = "the oracle of builder/tree needs more of it")]
#[path = "../../../tree/tests/oracle/debian.rs"]
mod debian;
#[allow(dead_code, reason = "the oracle of builder/tree needs more of it")]
#[path = "../../../tree/tests/oracle/listing.rs"]
mod listing;
#[path = "../../../tree/tests/oracle/system.rs"]
mod system;

mod essential;
mod real;
mod table;
#[cfg(feature = "popular")]
mod whole;

use std::path::{Path, PathBuf};

use builder_record::Machine;
use builder_sandbox::{Helper, Level, Own};
use builder_tree::{Recording, Recordings};

/// Time of generated files and of the oracle's clock.
const EPOCH: i64 = 1_700_000_000;

/// This machine, which runs the helper of these tests.
fn machine() -> Machine {
    let helper =
        Helper { program: PathBuf::from(env!("CARGO_BIN_EXE_record-helper")), arguments: Vec::new() };
    Machine { sandbox: Own::new(helper), minimum: Level::Isolated, epoch: EPOCH }
}

/// Where packages and systems are kept from one run to the next.
fn kept() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Writes recordings into `folder` as a platform has them, and reads them again.
fn through_files(recordings: &[Recording], folder: &Path) -> Recordings {
    let mut read = Recordings::none();
    for recording in recordings {
        let package = &recording.run.package;
        if !read.of(package).is_empty() {
            continue;
        }
        let of_package: Vec<Recording> =
            recordings.iter().filter(|one| one.run.package == *package).cloned().collect();
        let stored = Recordings::store(package, &of_package);
        let beside = folder.join(package.as_str());
        std::fs::create_dir_all(&beside).unwrap();
        for (name, content) in &stored.contents {
            let mut file = std::fs::File::create(beside.join(name)).unwrap();
            builder_tree::Payloads::new().copy(content, &mut file).unwrap();
        }
        read.add_file(&stored.text, &beside).unwrap();
    }
    read
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
