//! The whole run: every popular package and every mixed set, in both suites, into a table that is kept in the repository.
//!
//! `cargo test --release -p builder-tree --features popular --test oracle popular -- --nocapture`. A run ends after
//! `BUNDLE_POPULAR_MINUTES`; `BUNDLE_POPULAR` names a package that sets must hold, `BUNDLE_POPULAR_SKIP` a word of an
//! outcome that need not be found out again. What an earlier run found out about the rest stays in the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use builder_tree::{Level, Package, PackageInput, Recordings, script_knowledge};
use registry_wire::Digest;

use crate::{
    EPOCH,
    popular::{Row, compare, kept},
    system::System,
};

const SUITES: [&str; 2] = ["bookworm", "trixie"];

fn table_path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/popular.md"))
}

/// The sets of a suite: the lines of `popular.txt`, those of one suite after its name and a colon.
fn sets(suite: &str) -> Vec<Vec<&'static str>> {
    include_str!("popular.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| match line.split_once(": ") {
            Some((of, set)) => (of == suite).then_some(set),
            None => Some(line),
        })
        .map(|line| line.split_whitespace().collect())
        .collect()
}

fn line(row: &Row) -> String {
    let count = |level| row.levels.get(&level).copied().unwrap_or_default();
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | `{}` |",
        row.suite,
        row.set,
        row.count,
        count(Level::Snippets),
        count(Level::Declared),
        count(Level::Unknown),
        row.outcome.cell().replace('|', "/"),
        row.versions.short(),
    )
}

/// The rows of the table that was written before, by suite and set.
fn earlier() -> BTreeMap<(String, String), String> {
    let text = fs::read_to_string(table_path()).unwrap_or_default();
    let rows =
        text.lines().filter(|line| SUITES.iter().any(|suite| line.starts_with(&format!("| {suite} |"))));
    rows.filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        Some(((cells.next()?.to_owned(), cells.next()?.to_owned()), line.to_owned()))
    })
    .collect()
}

/// What the table that was written before says of all packages.
fn earlier_shares() -> String {
    let text = fs::read_to_string(table_path()).unwrap_or_default();
    let lines = text.lines().filter(|line| line.contains(" packages were seen"));
    lines.flat_map(|line| [line, "\n\n"]).collect()
}

fn write(rows: &BTreeMap<(String, String), String>, missing: usize, shares: &str) {
    let outcome = |word: &str| {
        let is = |line: &&String| line.split('|').nth(7).is_some_and(|cell| cell.trim().contains(word));
        rows.values().filter(is).count()
    };
    let body = rows.values().fold(String::new(), |mut text, line| {
        let _infallible = writeln!(text, "{line}");
        text
    });
    let text = format!(
        "# Our trees beside dpkg's\n\n\
         Each set of packages, with all that it needs, on top of the essential set. Equal: every path, kind, mode, owner,\n\
         capabilities, link and content, but for `reasons.txt`. Made by the test `popular` of `tests/oracle`; the last column is the\n\
         start of the SHA-256 of all names, versions and architectures of a set.\n\n\
         {} sets: {} equal, {} different, {} refused; {missing} of the list have not run. SHA-256 of the rows: `{}`.\n\n\
         {shares}\n\
         | Suite | Set | Packages | Snippets | Declared | Unknown | Outcome | Versions |\n\
         |---|---|---|---|---|---|---|---|\n{body}",
        rows.len(),
        outcome("equal"),
        outcome("differ"),
        outcome("refused"),
        Digest::of(body.as_bytes()).hex(),
    );
    fs::write(table_path(), text).unwrap();
}

/// Of all packages that were ever downloaded for a run, how many need no script, by suite.
fn shares() -> String {
    SUITES.iter().fold(String::new(), |mut text, suite| {
        let mut levels: BTreeMap<Option<Level>, usize> = BTreeMap::new();
        for file in fs::read_dir(kept().join("debs").join(suite)).unwrap().map(|entry| entry.unwrap().path()) {
            let Some(input) = input(&file) else { continue };
            let mut nothing = std::io::sink();
            // What cannot be read is not known either.
            let level = match Package::unpack(&input, &mut nothing) {
                Ok(unpacked) => script_knowledge(&unpacked.package, &BTreeSet::new(), &Recordings::none()).iter().map(|script| script.level).max(),
                Err(_) => Some(Level::Unknown),
            };
            *levels.entry(level).or_default() += 1;
        }
        let all: usize = levels.values().sum();
        let count = |level| levels.get(&level).copied().unwrap_or_default();
        let unknown = count(Some(Level::Unknown));
        let _infallible = writeln!(
            text,
            "{suite}: {all} packages were seen; {} have no script, {} only snippets, {} declared ones, {unknown} unknown \
             ones: {}.{} % need no script to run.\n",
            count(None),
            count(Some(Level::Snippets)),
            count(Some(Level::Declared)),
            (all - unknown) * 100 / all.max(1),
            (all - unknown) * 1000 / all.max(1) % 10,
        );
        text
    })
}

fn input(file: &std::path::Path) -> Option<PackageInput> {
    let name = file.file_name()?.to_str()?.strip_suffix(".deb")?.replace("%3a", ":");
    let mut parts = name.split('_');
    Some(PackageInput {
        name: parts.next()?.parse().ok()?,
        version: parts.next()?.parse().ok()?,
        architecture: parts.next()?.parse().ok()?,
        source: None,
        sha256: Digest::of(&fs::read(file).ok()?),
        deb: file.to_owned(),
    })
}

type Systems = [(&'static str, System, Vec<Vec<&'static str>>); 2];

/// How many sets no run has compared.
fn missing_of(systems: &Systems, rows: &BTreeMap<(String, String), String>) -> usize {
    let sets = systems
        .iter()
        .flat_map(|(suite, _, sets)| sets.iter().map(move |set| ((*suite).to_owned(), set.join(" "))));
    sets.filter(|set| !rows.contains_key(set)).count()
}

#[test]
#[allow(clippy::print_stdout, reason = "the run takes hours; a person watches")]
fn popular() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let end =
        number("BUNDLE_POPULAR_MINUTES").map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let word = |name: &str| std::env::var(name).ok().filter(|word| !word.is_empty());
    let (only, known) = (word("BUNDLE_POPULAR"), word("BUNDLE_POPULAR_SKIP"));
    let mut rows = earlier();
    // One set of each suite in turn, so that a short run sees both.
    let systems: Systems = SUITES.map(|suite| (suite, System::new(suite, kept(), EPOCH), sets(suite)));
    let longest = systems.iter().map(|(_, _, sets)| sets.len()).max().unwrap();
    for at in 0..longest {
        for (suite, system, sets) in &systems {
            let is_wanted = |set: &&Vec<&str>| only.as_ref().is_none_or(|only| set.contains(&only.as_str()));
            let Some(set) = sets.get(at).filter(is_wanted) else { continue };
            let key = ((*suite).to_owned(), set.join(" "));
            if rows.get(&key).zip(known.as_ref()).is_some_and(|(line, known)| line.contains(known.as_str())) {
                continue;
            }
            if end.is_some_and(|end| Instant::now() > end) {
                continue;
            }
            match compare(system, suite, set) {
                Ok(row) => {
                    let line = line(&row);
                    println!("{line}");
                    if let crate::popular::Outcome::Different(paths) = &row.outcome {
                        for path in paths {
                            println!("    {path}");
                        }
                    }
                    rows.insert(key, line);
                    write(&rows, missing_of(&systems, &rows), &earlier_shares());
                }
                Err(why) => println!("{suite} {}: apt refuses: {why}", set.join(" ")),
            }
        }
    }
    assert!(!rows.is_empty());
    // Who asks for one package only has downloaded few.
    let shares = if only.is_some() { earlier_shares() } else { shares() };
    write(&rows, missing_of(&systems, &rows), &shares);
}
