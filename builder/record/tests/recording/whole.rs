//! The whole run: every set of popular packages that cannot be built without a recording, with what was recorded, beside
//! dpkg's tree, into a table that is kept in the repository.
//!
//! `cargo test --release --workspace --features builder-record/popular --test recording popular -- --nocapture`, after the
//! run of the oracle of `builder/tree`, whose table names the sets. `BUNDLE_POPULAR` names a package that sets must hold.

use std::{fmt::Write as _, fs, path::PathBuf};

use crate::{
    EPOCH, kept,
    real::{Outcome, Recorded, record},
    system::System,
};

const SUITES: [&str; 2] = ["bookworm", "trixie"];
/// Longest text of a refusal in the table.
const LONGEST: usize = 240;

/// The sets of a suite that were refused.
fn refused(suite: &str) -> Vec<Vec<&'static str>> {
    let cells = |line: &'static str| line.split('|').map(str::trim).skip(1).collect::<Vec<_>>();
    include_str!("../../../tree/tests/oracle/popular.md")
        .lines()
        .map(cells)
        .filter(|cells| {
            cells.first() == Some(&suite) && cells.get(6).is_some_and(|cell| cell.starts_with("refused"))
        })
        .map(|cells| cells[1].split_whitespace().collect())
        .collect()
}

/// In one cell of a table.
fn cell(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Equal => "equal".to_owned(),
        Outcome::Different(paths) => {
            let first: Vec<&str> = paths.iter().take(3).filter_map(|line| line.split(": ").next()).collect();
            format!("{} differ: {}", paths.len(), first.join(", "))
        }
        Outcome::Refused(why) => {
            let line = why.replace('|', "/").replace('\n', " ");
            format!("refused: {}", line.chars().take(LONGEST).collect::<String>())
        }
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "the run takes long; a person watches")]
fn popular() {
    let only = std::env::var("BUNDLE_POPULAR").ok().filter(|word| !word.is_empty());
    let is_wanted = |set: &Vec<&str>| only.as_ref().is_none_or(|only| set.contains(&only.as_str()));
    let (mut rows, mut equal, mut different, mut count) = (String::new(), 0, 0, 0);
    for suite in SUITES {
        let system = System::new(suite, kept(), EPOCH);
        for set in refused(suite).into_iter().filter(is_wanted) {
            let name = set.join(" ");
            let recorded = record(&system, &set);
            let Recorded { unknown, outcome } = recorded.unwrap_or_else(|why| Recorded {
                unknown: Vec::new(),
                outcome: Outcome::Refused(format!("apt does not install it: {why}")),
            });
            let row = format!("| {suite} | {name} | {} | {} |", unknown.join(" "), cell(&outcome));
            println!("{row}");
            if let Outcome::Different(paths) = &outcome {
                println!("    {}", paths.join("\n    "));
            }
            count += 1;
            equal += usize::from(matches!(outcome, Outcome::Equal));
            different += usize::from(matches!(outcome, Outcome::Different(_)));
            let _infallible = writeln!(rows, "{row}");
        }
    }
    assert!(count > 0);
    if only.is_some() {
        return;
    }
    let text = format!(
        "# Recorded scripts of popular packages\n\n\
         Each set of `builder/tree/tests/oracle/popular.md` that is refused there, most for a script that nobody declared: all such\n\
         scripts recorded, the image made with that, beside dpkg's. Made by the test `popular` of `tests/recording`.\n\n\
         {count} sets: {equal} equal, {different} different, {} refused.\n\n| Suite | Set | Recorded packages | Outcome |\n|---|---|---|---|\n{rows}",
        count - equal - different
    );
    fs::write(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recording/popular.md")), text)
        .unwrap();
}
