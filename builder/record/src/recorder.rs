//! Runs a script twice and says what it did, if both did the same.

use std::collections::BTreeMap;

use builder_sandbox::{End, Level, Own, Watch};
use builder_tree::{
    AccountEffects, Change, HostNames, Outcome, Payloads, Recorder, Recording, ScriptRun, Seen, StatOverride,
    State, TreePath, UnknownRun,
};

use crate::{
    RecordError,
    difference::{Reader, digest},
    scene::{Owners, Scene},
    upper::Upper,
    watcher::{NOTED_LIMIT, Watcher},
};

/// How the second run differs from the first, so that what depends on it shows: its clock is more than a year ahead, as is
/// the time that files are to carry, its process ids are others, and dpkg says that it is of a later version.
const LATER: u64 = 400 * 86_400 + 12_345;
const SKIPPED_PROCESSES: u32 = 37;
const LATER_DPKG: &str = "99.0";
/// Lines of a script's output that an error shows.
const SHOWN: usize = 8;
/// Longest line of them.
const LINE_LIMIT: usize = 300;

/// Where scripts run.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What makes the sandbox.
    pub sandbox: Own,
    /// Below it nothing runs.
    pub minimum: Level,
    /// The time that scripts see first, and that files are to carry.
    pub epoch: i64,
}

/// Records scripts on this machine.
#[derive(Debug)]
pub struct ScriptRecorder<'a> {
    machine: &'a Machine,
    payloads: &'a Payloads,
    /// Contents of recordings lie in them.
    scenes: Vec<Scene>,
}

/// What one run came to.
struct Ran {
    level: Level,
    reads: BTreeMap<TreePath, Seen>,
    changes: Vec<Change>,
    accounts: AccountEffects,
    triggers: Vec<String>,
    overrides: Vec<StatOverride>,
    host_names: HostNames,
}

impl<'a> ScriptRecorder<'a> {
    /// Nothing ran yet. What recordings hold lies in temporary folders that end with this.
    pub const fn new(machine: &'a Machine, payloads: &'a Payloads) -> Self {
        Self { machine, payloads, scenes: Vec::new() }
    }

    fn reader<'b>(
        &'b self,
        scene: &'b Scene,
        unknown: &UnknownRun<'b>,
        number: usize,
    ) -> Result<Reader<'b>, RecordError> {
        let path = scene.changes(number).join("upper");
        let upper = Upper::open(path.clone()).map_err(|source| RecordError::Look {
            run: Box::new(unknown.run.clone()),
            path,
            source,
        })?;
        Ok(Reader {
            run: unknown.run,
            before: unknown.before,
            payloads: self.payloads,
            props: &scene.props,
            owners: scene.owners,
            upper,
        })
    }

    fn run(&self, scene: &Scene, unknown: &UnknownRun<'_>, number: usize) -> Result<Ran, RecordError> {
        let run = unknown.run;
        let first = u64::try_from(self.machine.epoch).unwrap_or_default();
        let (watch, dpkg_version) = match number {
            0 => (Watch { clock: first, skipped_processes: 0 }, unknown.dpkg_version.as_str()),
            _ => (Watch { clock: first + LATER, skipped_processes: SKIPPED_PROCESSES }, LATER_DPKG),
        };
        let specification = scene.specification(unknown, number, watch.clock, dpkg_version)?;
        let mut watcher = Watcher::default();
        let outcome =
            self.machine.sandbox.run_watched(&specification, self.machine.minimum, watch, &mut watcher);
        let opened = scene.open_up(number);
        let outcome = outcome.map_err(|source| RecordError::Sandbox {
            run: Box::new(run.clone()),
            source: Box::new(source),
        })?;
        opened?;
        let said = last_lines(&[outcome.output, outcome.errors].concat());
        if outcome.left_running > 0 && outcome.end == End::Exited(0) {
            return Err(RecordError::LeftRunning {
                run: Box::new(run.clone()),
                count: outcome.left_running,
                said,
            });
        }
        check(run, outcome.end, &watcher, said)?;
        let reader = self.reader(scene, unknown, number)?;
        let difference = reader.read()?;
        let accounts = AccountEffects::between(&reader.accounts_before()?, &difference.accounts)
            .map_err(|source| RecordError::Accounts { run: Box::new(run.clone()), source })?;
        Ok(Ran {
            level: outcome.reached.level(),
            reads: watcher.reads,
            changes: difference.changes,
            accounts,
            triggers: difference.triggers,
            overrides: difference.overrides,
            host_names: watcher.host_names,
        })
    }
}

impl Recorder for ScriptRecorder<'_> {
    type Error = RecordError;

    fn record(&mut self, unknown: &UnknownRun<'_>) -> Result<Recording, RecordError> {
        check_interpreter(unknown)?;
        let scene = Scene::lay(unknown, self.payloads)?;
        let first = self.run(&scene, unknown, 0)?;
        let second = self.run(&scene, unknown, 1)?;
        compare(unknown.run, &first, &second)?;
        let reader = self.reader(&scene, unknown, 0)?;
        let reads = reader.states(both(&first.reads, &second.reads))?;
        if scene.owners == Owners::Flat {
            check_owners(unknown, reads.keys().chain(first.changes.iter().map(|change| &change.path)))?;
        }
        let reads = without_names_of_chance(reads, &first.reads, &second.reads);
        self.scenes.push(scene);
        Ok(Recording {
            run: unknown.run.clone(),
            sandbox: first.level.name().to_owned(),
            reads,
            accounts: first.accounts,
            changes: first.changes,
            triggers: first.triggers,
            overrides: first.overrides,
            host_names: first.host_names.max(second.host_names),
        })
    }
}

/// A script without its interpreter would end without a word.
fn check_interpreter(unknown: &UnknownRun<'_>) -> Result<(), RecordError> {
    let line = unknown.text.lines().next().and_then(|line| line.strip_prefix("#!"));
    let Some(interpreter) = line.and_then(|line| line.split_whitespace().next()) else { return Ok(()) };
    let path: Option<TreePath> = interpreter.parse().ok();
    if path.is_some_and(|path| unknown.before.lookup(&path).is_some()) {
        return Ok(());
    }
    Err(RecordError::Interpreter { run: Box::new(unknown.run.clone()), interpreter: interpreter.to_owned() })
}

/// Where all files are one user's, a run may only have to do with root's.
fn check_owners<'a>(
    unknown: &UnknownRun<'_>,
    mut paths: impl Iterator<Item = &'a TreePath>,
) -> Result<(), RecordError> {
    let is_others =
        |path: &&TreePath| unknown.before.get(path).is_some_and(|entry| (entry.uid, entry.gid) != (0, 0));
    match paths.find(is_others) {
        None => Ok(()),
        Some(path) => Err(RecordError::Owners { run: Box::new(unknown.run.clone()), path: path.clone() }),
    }
}

/// Whether a run was one that can be recorded.
fn check(run: &ScriptRun, end: End, watcher: &Watcher, said: Vec<String>) -> Result<(), RecordError> {
    let run = || Box::new(run.clone());
    if watcher.noted > NOTED_LIMIT {
        return Err(RecordError::TooManyReads { run: run(), count: watcher.reads.len() });
    }
    if let Some(address) = &watcher.network {
        return Err(RecordError::Network { run: run(), address: *address, said });
    }
    if let Some(program) = &watcher.service {
        return Err(RecordError::Service { run: run(), program: program.clone(), said });
    }
    if watcher.questions > 0 {
        return Err(RecordError::Question { run: run(), said });
    }
    let how = match end {
        End::Exited(0) => match &watcher.nameless {
            Some(path) => return Err(RecordError::Name { run: run(), path: path.clone() }),
            None => return Ok(()),
        },
        End::Exited(code) => format!("with exit code {code}"),
        End::Killed(signal) => format!("by signal {signal}"),
        End::OverTime => "since it did not end in ten minutes".to_owned(),
        End::OverOutput => "since it did not stop to write".to_owned(),
        End::OverChanges => "since it changed more than 4 GiB".to_owned(),
    };
    Err(RecordError::Failed { run: run(), how, said })
}

fn last_lines(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown =
        |line: &&str| line.chars().filter(|letter| !letter.is_control()).take(LINE_LIMIT).collect::<String>();
    lines.iter().skip(lines.len().saturating_sub(SHOWN)).map(shown).collect()
}

/// The first thing in which two runs differ is an error.
fn compare(run: &ScriptRun, first: &Ran, second: &Ran) -> Result<(), RecordError> {
    let by_path = |ran: &Ran| -> BTreeMap<TreePath, String> {
        ran.changes.iter().map(|change| (change.path.clone(), told(change))).collect()
    };
    let (one, other) = (by_path(first), by_path(second));
    let nothing = || "nothing".to_owned();
    for path in one.keys().chain(other.keys()) {
        let (left, right) = (one.get(path), other.get(path));
        if left != right {
            return Err(RecordError::Nondeterministic {
                run: Box::new(run.clone()),
                path: path.clone(),
                first: left.cloned().unwrap_or_else(nothing),
                second: right.cloned().unwrap_or_else(nothing),
            });
        }
    }
    for (what, differ) in [
        ("accounts", first.accounts != second.accounts),
        ("triggers", first.triggers != second.triggers),
        ("overrides of modes and owners", first.overrides != second.overrides),
    ] {
        if differ {
            return Err(RecordError::NondeterministicList { run: Box::new(run.clone()), what });
        }
    }
    Ok(())
}

/// A change with the hash of its content.
fn told(change: &Change) -> String {
    match &change.outcome {
        Outcome::File { content, .. } => format!("{change}, {}", digest(content)),
        _ => change.to_string(),
    }
}

/// What either run looked at.
fn both<'a>(
    first: &'a BTreeMap<TreePath, Seen>,
    second: &'a BTreeMap<TreePath, Seen>,
) -> impl Iterator<Item = (TreePath, Seen)> + 'a {
    let wider = |path: &TreePath, seen: Seen, other: &BTreeMap<TreePath, Seen>| {
        (path.clone(), other.get(path).map_or(seen, |other| seen.max(*other)))
    };
    let of_second = second.iter().map(move |(path, seen)| wider(path, *seen, first));
    first.iter().map(move |(path, seen)| wider(path, *seen, second)).chain(of_second)
}

/// A name that only one run looked for, and that was not there, was made up by chance, as `mktemp` does.
fn without_names_of_chance(
    mut reads: BTreeMap<TreePath, State>,
    first: &BTreeMap<TreePath, Seen>,
    second: &BTreeMap<TreePath, Seen>,
) -> BTreeMap<TreePath, State> {
    reads.retain(|path, state| {
        *state != State::Absent || (first.contains_key(path) && second.contains_key(path))
    });
    reads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_shown() {
        let text: String = (0..20).map(|number| format!("line {number}\n\n")).collect::<Vec<_>>().concat();
        let lines = last_lines(text.as_bytes());
        assert_eq!((lines.len(), lines[0].as_str(), lines[7].as_str()), (8, "line 12", "line 19"));
        assert_eq!(last_lines(b"\x1b[31mred\x07\n"), ["[31mred"]);
    }

    #[test]
    fn names_of_chance_do_not_count() {
        let path = |text: &str| text.parse::<TreePath>().unwrap();
        let seen = |names: &[&str]| names.iter().map(|name| (path(name), Seen::There)).collect();
        let (first, second) = (seen(&["/a", "/b.x1"]), seen(&["/a", "/b.y2", "/link"]));
        let states = both(&first, &second).map(|(path, _)| {
            let state = if path.as_str() == "link" { State::Link("a".to_owned()) } else { State::Absent };
            (path, state)
        });
        let kept = without_names_of_chance(states.collect(), &first, &second);
        let kept: Vec<String> = kept.keys().map(ToString::to_string).collect();
        assert_eq!(kept, ["/a", "/link"]);
    }
}
