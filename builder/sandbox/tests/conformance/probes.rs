//! Every attempt on both executors, started by root and by somebody else, beside its control.

use std::{
    fmt::{self, Write as _},
    process::Command,
};

use builder_sandbox::{End, Level, Outcome};

use crate::{
    bed::{Bed, Came, EVERYBODY, Which, Who, text},
    scene::Scene,
    table::{Control, PROBES, Probe, Through},
};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Through,
    /// And what the system said.
    Held(String),
}

/// Who starts what, column by column.
const COLUMNS: [(Who, Which); 5] = [
    (Who::Root, Which::Own),
    (Who::Root, Which::Bubblewrap),
    (Who::Somebody, Which::Own),
    (Who::Somebody, Which::Bubblewrap),
    (Who::Somebody, Which::Confined),
];

#[test]
fn attempts_are_held_back() {
    assert!(PROBES.len() >= 40, "only {} attempts", PROBES.len());
    let bed = Bed::make();
    let mut table = Table::new();
    let mut wrong = Vec::new();
    for who in EVERYBODY {
        let mut scene = Scene::make(&bed, who);
        table.head(&format!("control, {who:?}"));
        for (row, probe) in PROBES.iter().enumerate() {
            let shown = control(&scene, probe).unwrap_or_else(|said| {
                wrong.push(format!("{} as {who:?}: the control was held back: {said}", probe.name));
                format!("HELD: {said}")
            });
            table.add(row, &shown);
        }
        for which in COLUMNS.into_iter().filter(|column| column.0 == who).map(|column| column.1) {
            table.head(&format!("{which:?}, {who:?}"));
            for (row, probe) in PROBES.iter().enumerate() {
                if which == Which::Confined && probe.needs_root {
                    table.add(row, "no root of its own");
                    continue;
                }
                let verdict = inside(&scene, which, probe);
                let is_through = verdict == Verdict::Through;
                if is_through != goes_through(probe.through, who, which) || !scene.victim_lives() {
                    wrong.push(format!("{} in {which:?} as {who:?}: {verdict:?}", probe.name));
                }
                table.add(row, &verdict.to_string());
            }
        }
        scene.end();
    }
    println!("{}\n{} attempts, {} wrong", table.text(), PROBES.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn goes_through(through: Through, who: Who, which: Which) -> bool {
    match through {
        Through::Nowhere => false,
        Through::Confined => which == Which::Confined,
        Through::WithoutFacts => which == Which::Bubblewrap,
        Through::AsRoot => (who, which) == (Who::Root, Which::Bubblewrap),
        Through::NotConfined => which != Which::Confined,
    }
}

fn inside(scene: &Scene<'_>, which: Which, probe: &Probe) -> Verdict {
    let (words, least) = if which == Which::Confined {
        (attempt(probe, &(probe.outside)(scene)), Level::Confined)
    } else {
        (attempt(probe, &(probe.inside)(scene)), Level::Isolated)
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let specification = if which == Which::Confined {
        scene.confined_specification(&words)
    } else {
        scene.specification(&words)
    };
    match scene.bed.run(scene.who, which, least, &specification) {
        Came::Ran(outcome) => verdict(probe, &outcome),
        Came::Refused { error, .. } => panic!("{} in {which:?}: {error}", probe.name),
    }
}

fn attempt(probe: &Probe, words: &[String]) -> Vec<String> {
    [&["attempt".to_owned(), probe.attempt.to_owned()], words].concat()
}

/// What the attempt does outside, or what the system said.
fn control(scene: &Scene<'_>, probe: &Probe) -> Result<String, String> {
    if let Control::Impossible(reason) = probe.control {
        return Ok(format!("not shown: {reason}"));
    }
    let words = attempt(probe, &(probe.outside)(scene));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut command: Command = scene.control(&probe.control, &words);
    let output = command.output().expect("the program starts");
    let said = text(&output.stderr);
    match probe.control {
        Control::RootIfBuilt if !output.status.success() && is_unknown(&said) => {
            Ok("not shown: not in this kernel".to_owned())
        }
        _ if output.status.success() => Ok(format!("through, {:?}", probe.control)),
        _ => Err(format!("{} {said}", output.status)),
    }
}

/// ENOSYS, EAFNOSUPPORT, EOPNOTSUPP, and ENOENT for a file of /proc.
fn is_unknown(said: &str) -> bool {
    ["os error 38)", "os error 97)", "os error 95)", "os error 2)"].iter().any(|number| said.contains(number))
}

fn verdict(probe: &Probe, outcome: &Outcome) -> Verdict {
    match outcome.end {
        End::Exited(0) => Verdict::Through,
        End::Exited(1) => Verdict::Held(text(&outcome.errors)),
        End::Killed(signal) => Verdict::Held(format!("ended by signal {signal}")),
        end => panic!("{}: {end:?} {}", probe.name, text(&outcome.errors)),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Through => formatter.write_str("THROUGH"),
            Self::Held(said) => write!(formatter, "held: {said}"),
        }
    }
}

/// Lines that grow to the right.
struct Table {
    heading: String,
    rows: Vec<String>,
}

impl Table {
    fn new() -> Self {
        let first = |name: &str| format!("{name:<26}");
        Self { heading: first("attempt"), rows: PROBES.iter().map(|probe| first(probe.name)).collect() }
    }

    fn head(&mut self, text: &str) {
        write!(self.heading, "{text:<34}").expect("a text takes more");
    }

    fn add(&mut self, row: usize, text: &str) {
        let short: String = text.lines().next().unwrap_or_default().chars().take(32).collect();
        write!(self.rows[row], "{short:<34}").expect("a text takes more");
    }

    fn text(&self) -> String {
        format!("{}\n{}", self.heading, self.rows.join("\n"))
    }
}
