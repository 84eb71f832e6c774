//! `sandbox`: how much longer a command takes to start in a sandbox than without one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use builder_sandbox::{Bubblewrap, End, Executor, Helper, Level, Mount, Own, Specification};
use test_interop::program::installed;

use crate::{
    figures::{Goal, Pair, Report, Unit, median},
    measure::note,
    workshop::Workshop,
};

/// Starts of each kind in a round; a round's figure is their median.
const STARTS: usize = 20;
/// Over a bare process.
const LIMIT: f64 = 0.005;
/// What is started: a program of the machine that does nothing.
const NOTHING: &str = "/usr/bin/true";

pub(crate) fn run_bench(workshop: &Workshop, rounds: u32) -> Result<Report> {
    let helper = Helper { program: workshop.executable().to_owned(), arguments: vec!["sandbox".to_owned()] };
    let peer = installed("bwrap")?;
    let own = Own::new(helper.clone());
    let other = Bubblewrap::new(peer.clone(), helper);
    let specification = specification()?;
    let mut starts = Starts::default();
    let (mut alone, mut equal) = (Pair::default(), Pair::default());
    let mut whole = Pair::default();
    for round in 0..=rounds {
        for _ in 0..STARTS {
            starts.bare.push(timed(|| run(&mut Command::new(NOTHING)))?);
            starts.own.push(timed(|| start(&own, &specification))?);
            starts.peer.push(timed(|| run(&mut bare_peer(&peer, &specification)))?);
            starts.other.push(timed(|| start(&other, &specification))?);
        }
        let [bare, own, peer, other] = std::mem::take(&mut starts).medians();
        // The first round makes files warm.
        if round == 0 {
            continue;
        }
        note(&format!(
            "round {round} of {rounds}: bare {:.1} ms, own {:.1} ms, bwrap {:.1} ms, bwrap with all walls {:.1} ms",
            bare * 1e3,
            own * 1e3,
            peer * 1e3,
            other * 1e3
        ));
        alone.push(own - bare, peer - bare);
        equal.push(own - bare, other - bare);
        whole.push(own, bare);
    }
    Ok(Report {
        ours: format!(
            "a start of {NOTHING} by the own executor, until all of the sandbox is gone: every wall, among them seccomp, \
             Landlock and limits, seen from inside; medians of {STARTS} starts"
        ),
        peers: vec![
            "bwrap with the same inputs and namespaces: no seccomp, no Landlock, no limits, nothing is looked at; it \
             ends before its sandbox does"
                .to_owned(),
            "bubblewrap as the second executor: the same walls as ours, except those that it cannot have".to_owned(),
            format!("{NOTHING}, started without anything"),
        ],
        rows: vec![
            alone.row("over a bare process", Unit::Seconds, "bwrap alone", vec![Goal::AtMost(LIMIT)]),
            equal.row("the same, equal walls", Unit::Seconds, "bubblewrap executor", Vec::new()),
            whole.row("whole start", Unit::Seconds, "bare process", Vec::new()),
        ],
    })
}

/// Seconds of each start.
#[derive(Debug, Default)]
struct Starts {
    bare: Vec<f64>,
    own: Vec<f64>,
    peer: Vec<f64>,
    other: Vec<f64>,
}

impl Starts {
    fn medians(self) -> [f64; 4] {
        [self.bare, self.own, self.peer, self.other].map(|seconds| median(&seconds))
    }
}

fn timed(start: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    start()?;
    Ok(begun.elapsed().as_secs_f64())
}

fn run(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn start(executor: &dyn Executor, specification: &Specification) -> Result<()> {
    let outcome = executor.run(specification, Level::Isolated)?;
    ensure!(outcome.end == End::Exited(0), "{}: {outcome:?}", executor.name());
    Ok(())
}

/// The program, and the libraries of the machine where it finds them.
fn specification() -> Result<Specification> {
    let mut specification = Specification::new(NOTHING);
    let usr = PathBuf::from("/usr");
    specification.mounts.push(Mount::ReadOnly { source: usr.clone(), target: usr });
    for name in ["lib", "lib64"] {
        let target = Path::new("/").join(name);
        let text = fs::read_link(&target).with_context(|| format!("{} is a link", target.display()))?;
        specification.mounts.push(Mount::Link { target, text });
    }
    Ok(specification)
}

/// Bubblewrap as people use it, with the same mounts.
fn bare_peer(program: &Path, specification: &Specification) -> Command {
    let mut command = Command::new(program);
    command.args([
        "--unshare-all",
        "--unshare-user",
        "--die-with-parent",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
    ]);
    for mount in &specification.mounts {
        match mount {
            Mount::ReadOnly { source, target } => command.arg("--ro-bind").arg(source).arg(target),
            Mount::Writable { source, target } => command.arg("--bind").arg(source).arg(target),
            Mount::Temporary { target, .. } => command.arg("--tmpfs").arg(target),
            Mount::Link { target, text } => command.arg("--symlink").arg(text).arg(target),
        };
    }
    command.arg("--").arg(NOTHING);
    command
}
