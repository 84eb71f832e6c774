//! Popular packages, each with all that it needs on top of the essential set: our tree beside dpkg's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use builder_tree::{Level, Package, Recordings, script_knowledge};
use registry_wire::Digest;

use crate::{
    EPOCH,
    compare::{Differences, differences},
    debian::{Installed, STATUS},
    listing::Listing,
    system::System,
};

/// What came of one set of packages.
#[cfg_attr(not(feature = "popular"), allow(dead_code, reason = "the whole run writes all of it down"))]
pub(crate) struct Row {
    pub(crate) suite: &'static str,
    /// The packages that were asked for.
    pub(crate) set: String,
    /// SHA-256 of names and versions of all that were installed.
    pub(crate) versions: Digest,
    /// How many were installed.
    pub(crate) count: usize,
    /// How many of them have scripts, by how these are known.
    pub(crate) levels: BTreeMap<Level, usize>,
    pub(crate) outcome: Outcome,
}

/// Whether the trees are equal.
pub(crate) enum Outcome {
    Equal,
    /// The differences that no reason is given for.
    Different(Vec<String>),
    /// We make no tree.
    Refused(String),
}

impl Outcome {
    /// In one cell of a table.
    pub(crate) fn cell(&self) -> String {
        match self {
            Self::Equal => "equal".to_owned(),
            Self::Different(paths) => {
                let first: Vec<&str> =
                    paths.iter().take(3).filter_map(|line| line.split(": ").next()).collect();
                format!("{} differ: {}", paths.len(), first.join(", "))
            }
            Self::Refused(why) => format!("refused: {}", why.chars().take(160).collect::<String>()),
        }
    }
}

/// Compares one set. Nothing if apt does not install it.
pub(crate) fn compare(system: &System, suite: &'static str, set: &[&str]) -> Result<Row, String> {
    let oracle = system.install(set)?;
    let inputs = system.archive.inputs(&oracle.text(STATUS), &system.debs);
    let versions = inputs.iter().fold(String::new(), |mut text, input| {
        let _infallible = writeln!(text, "{} {} {}", input.name, input.version, input.architecture);
        text
    });
    let installed = Installed::unpack(&inputs, &[&system.essential]);
    Ok(Row {
        suite,
        set: set.join(" "),
        versions: Digest::of(versions.as_bytes()),
        count: inputs.len(),
        levels: levels(&installed.packages),
        outcome: outcome(&installed, &oracle),
    })
}

/// Packages that have scripts, by how the least known of these is known.
fn levels(packages: &[Package]) -> BTreeMap<Level, usize> {
    let mut levels = BTreeMap::new();
    for package in packages {
        if let Some(level) = script_knowledge(package, &BTreeSet::new(), &Recordings::none())
            .iter()
            .map(|script| script.level)
            .max()
        {
            *levels.entry(level).or_default() += 1;
        }
    }
    levels
}

fn outcome(installed: &Installed, oracle: &Listing) -> Outcome {
    let tree = match installed.try_tree(oracle, EPOCH) {
        Ok(tree) => tree,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            return Outcome::Refused(format!("{error}{}", cause.unwrap_or_default()));
        }
    };
    let listing = Listing::of_tree(&tree, &installed.payloads);
    let Differences { unexpected, .. } = differences(&listing, oracle, &tree);
    if unexpected.is_empty() { Outcome::Equal } else { Outcome::Different(unexpected) }
}

/// Where packages and systems are kept from one run to the next.
pub(crate) fn kept() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}
