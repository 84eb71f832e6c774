//! What we would install beside what apt would, for random sets of packages of the real archive.
//!
//! Sets, the seed that they were drawn with, and the reasons of the few that differ stand in `tests/resolver`. A sample
//! runs with all tests; all sets run with
//!
//!     cargo test --release -p builder-inputs --features whole --test inputs resolver::whole -- --nocapture
//!
//! which also writes `tests/resolver/table.txt`. With `BUNDLE_DRAW_SETS=1` the sets are drawn anew before.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Mutex,
};

use anyhow::{Context as _, Result, ensure};
use builder_inputs::{Lock, LockingError};

use crate::{
    peer::Apt,
    support::{Bench, named, packages, request},
};

const SUITES: [&str; 2] = ["bookworm", "trixie"];
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/resolver");
/// Of so many sets, the sample takes one.
const SAMPLE: usize = 8;

/// A set of packages.
struct Set {
    /// Such as `bookworm-001`; also the name of the recipe that asks for it.
    name: String,
    suite: String,
    packages: Vec<String>,
}

/// How our answer stands beside apt's.
enum Outcome {
    Same(usize),
    BothRefuse,
    Differs(String),
}

/// Reads `name package…` lines; `#` begins a comment.
fn sets() -> Result<Vec<Set>> {
    let text = std::fs::read_to_string(format!("{FOLDER}/sets.txt"))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let read = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        let name = words.next()?;
        let suite = name.split('-').next()?.to_owned();
        Some(Set { name, suite, packages: words.collect() })
    };
    lines.map(|line| read(line).with_context(|| format!("a set: {line}"))).collect()
}

/// Why sets differ, by name.
fn reasons() -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(format!("{FOLDER}/reasons.txt"))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let read = |line: &str| line.split_once(": ").map(|(name, reason)| (name.to_owned(), reason.to_owned()));
    lines.map(|line| read(line).with_context(|| format!("a reason: {line}"))).collect()
}

/// The indices of both suites, brought once; what comes after reads them from the cache.
async fn begin() -> Result<(Bench, Lock)> {
    let mut bench = Bench::of_debian()?;
    let requests = SUITES.map(|suite| named(suite, request(suite, &[], true)));
    let base = bench.lock(&requests, None).await?.lock;
    bench.update = false;
    Ok((bench, base))
}

/// Our answers to all sets.
async fn ours(
    bench: &Bench,
    base: &Lock,
    sets: &[Set],
) -> Result<BTreeMap<String, Result<BTreeSet<String>, String>>> {
    let mut answers = BTreeMap::new();
    let mut requests: Vec<_> = sets
        .iter()
        .map(|set| {
            let packages: Vec<&str> = set.packages.iter().map(String::as_str).collect();
            named(&set.name, request(&set.suite, &packages, true))
        })
        .collect();
    match bench.lock(&requests, Some(base)).await {
        Err(LockingError::Unsolved { problems }) => {
            for problem in problems {
                answers.insert(problem.recipe().to_string(), Err(problem.to_string()));
            }
        }
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    requests.retain(|request| !answers.contains_key(request.recipe.as_str()));
    let lock = bench.lock(&requests, Some(base)).await?.lock;
    for request in &requests {
        answers.insert(request.recipe.to_string(), Ok(packages(&lock, request.recipe.as_str())));
    }
    Ok(answers)
}

fn beside(apt: &Apt, set: &Set, ours: &Result<BTreeSet<String>, String>) -> Result<Outcome> {
    // The order in which a recipe asks says nothing, so apt gets that in which we begin.
    let asked: BTreeSet<&str> = set.packages.iter().map(String::as_str).collect();
    let theirs = apt.chooses(&Vec::from_iter(asked))?;
    Ok(match (ours, theirs) {
        (Ok(ours), Ok(theirs)) if *ours == theirs => Outcome::Same(ours.len()),
        (Err(_), Err(_)) => Outcome::BothRefuse,
        (Ok(ours), Ok(theirs)) => Outcome::Differs(format!(
            "only we install {:?}, only apt installs {:?}; {}",
            ours.difference(&theirs).collect::<Vec<_>>(),
            theirs.difference(ours).collect::<Vec<_>>(),
            judged(apt, ours)?
        )),
        (Ok(ours), Err(refusal)) => {
            let refusal: Vec<&str> = refusal.lines().filter(|line| line.contains("Depends")).collect();
            Outcome::Differs(format!("only apt refuses: {refusal:?}; {}", judged(apt, ours)?))
        }
        (Err(refusal), Ok(theirs)) => {
            Outcome::Differs(format!("only we refuse, apt installs {} packages: {refusal}", theirs.len()))
        }
    })
}

/// Whether apt finds our whole set in order when each of its packages is asked for by name.
fn judged(apt: &Apt, ours: &BTreeSet<String>) -> Result<&'static str> {
    let by_name: Vec<&str> = ours.iter().filter_map(|package| package.split(' ').next()).collect();
    Ok(match apt.chooses(&by_name)? {
        Ok(theirs) if theirs == *ours => "asked for by name, apt installs exactly our set",
        Ok(_) => "asked for by name, apt changes our set",
        Err(_) => "asked for by name, apt refuses our set",
    })
}

/// Compares all `sets` and returns what a person reads; fails where a set differs without a reason, or too many do.
async fn compare(sets: &[Set]) -> Result<String> {
    let (bench, base) = begin().await?;
    let ours = ours(&bench, &base, sets).await?;
    let reasons = reasons()?;
    let mut table = format!("{} sets of 1 to 30 packages with the essential set, amd64\n", sets.len());
    let (mut same, mut unexplained) = (0, Vec::new());
    for suite in SUITES {
        let locked = base.suite(&suite.parse()?).context("a suite")?;
        let apt = Apt::of(&bench.cache, &base, suite)?;
        let queue: Mutex<Vec<&Set>> = Mutex::new(sets.iter().filter(|set| set.suite == suite).collect());
        let outcomes = Mutex::new(BTreeMap::new());
        let work = || -> Result<()> {
            loop {
                let next = queue.lock().expect("no test thread panicked").pop();
                let Some(set) = next else { return Ok(()) };
                let outcome = beside(&apt, set, &ours[&set.name])?;
                outcomes.lock().expect("no test thread panicked").insert(&set.name, outcome);
            }
        };
        std::thread::scope(|scope| {
            let threads = [scope.spawn(work), scope.spawn(work)];
            threads.into_iter().try_for_each(|thread| thread.join().expect("no test thread panicked"))
        })?;
        let outcomes = outcomes.into_inner().expect("no test thread panicked");
        let (mut sizes, mut refused, mut others) = (Vec::new(), 0, Vec::new());
        for (name, outcome) in &outcomes {
            match outcome {
                Outcome::Same(size) => sizes.push(*size),
                Outcome::BothRefuse => refused += 1,
                Outcome::Differs(how) => others.push((name, how)),
            }
        }
        same += sizes.len() + refused;
        sizes.sort_unstable();
        writeln!(table, "\n{suite}, Release of {} with SHA-256 {}", locked.date, locked.release.hex())?;
        writeln!(table, "  {:4} sets", outcomes.len())?;
        writeln!(
            table,
            "  {:4} the same packages and versions ({} to {} packages, median {})",
            sizes.len(),
            sizes.first().unwrap_or(&0),
            sizes.last().unwrap_or(&0),
            sizes.get(sizes.len() / 2).unwrap_or(&0)
        )?;
        writeln!(table, "  {refused:4} refused by both")?;
        writeln!(table, "  {:4} other", others.len())?;
        for (name, how) in others {
            writeln!(table, "       {name}: {how}")?;
            match reasons.get(name.as_str()) {
                Some(reason) => writeln!(table, "         reason: {reason}")?,
                None => unexplained.push((*name).clone()),
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a few hundred sets")]
    let share = same as f64 * 100.0 / sets.len() as f64;
    writeln!(table, "\n{same} of {} alike: {share:.1} %", sets.len())?;
    ensure!(unexplained.is_empty(), "no reason is stated for {unexplained:?}\n{table}");
    ensure!(share >= 99.0, "too many differ\n{table}");
    Ok(table)
}

#[allow(clippy::print_stdout, reason = "the figures are what the run is for")]
#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_random_sets_is_what_apt_would_install() -> Result<()> {
    let sample: Vec<Set> = sets()?.into_iter().step_by(SAMPLE).collect();
    ensure!(sample.len() >= 38, "{} sets", sample.len());
    println!("{}", compare(&sample).await?);
    Ok(())
}

/// What is compared here is what `--simulate` tells.
#[tokio::test(flavor = "multi_thread")]
async fn apt_simulates_what_it_chooses() -> Result<()> {
    let (bench, base) = begin().await?;
    let sets = sets()?;
    for suite in SUITES {
        let apt = Apt::of(&bench.cache, &base, suite)?;
        for set in sets.iter().filter(|set| set.suite == suite && set.packages.len() < 4).take(3) {
            let asked: Vec<&str> = set.packages.iter().map(String::as_str).collect();
            ensure!(apt.chooses(&asked)?.ok() == apt.simulates(&asked)?.ok(), "{}", set.name);
        }
    }
    Ok(())
}

#[cfg(feature = "whole")]
mod whole {
    use std::io::Read as _;

    use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

    use super::*;

    const SEED: u64 = 20_251_125;
    /// Of each suite.
    const SETS: usize = 160;

    /// All sets.
    #[allow(clippy::print_stdout, reason = "the figures are what the run is for")]
    #[tokio::test(flavor = "multi_thread")]
    async fn all_random_sets_are_what_apt_would_install() -> Result<()> {
        if std::env::var_os("BUNDLE_DRAW_SETS").is_some() {
            let (bench, base) = begin().await?;
            std::fs::write(format!("{FOLDER}/sets.txt"), draw(&bench, &base)?)?;
        }
        let sets = sets()?;
        ensure!(sets.len() == SETS * SUITES.len(), "{} sets", sets.len());
        let table = compare(&sets).await?;
        println!("{table}");
        Ok(std::fs::write(format!("{FOLDER}/table.txt"), table)?)
    }

    /// Sets of 1 to 30 packages, each size as often as any other.
    fn draw(bench: &Bench, base: &Lock) -> Result<String> {
        let mut random = StdRng::seed_from_u64(SEED);
        let mut text = format!(
            "# Random sets of packages of Debian's main, drawn with seed {SEED}: a name, then what is asked for.\n"
        );
        for suite in SUITES {
            let locked = base.suite(&suite.parse()?).context("a suite")?;
            let mut names = BTreeSet::new();
            for index in &locked.indices {
                let mut plain = String::new();
                let packed = std::fs::File::open(bench.cache.path(&index.sha256))?;
                liblzma::read::XzDecoder::new(packed).read_to_string(&mut plain)?;
                names.extend(
                    plain.lines().filter_map(|line| line.strip_prefix("Package: ")).map(str::to_owned),
                );
            }
            let names: Vec<String> = names.into_iter().collect();
            for number in 0..SETS {
                let drawn: Vec<&str> =
                    names.choose_multiple(&mut random, number % 30 + 1).map(String::as_str).collect();
                writeln!(text, "{suite}-{:03} {}", number + 1, drawn.join(" "))?;
            }
        }
        Ok(text)
    }
}
