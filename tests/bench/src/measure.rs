//! Running a command and measuring it.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use test_interop::program::installed;

/// From one look at the memory of all processes to the next.
const LOOK: Duration = Duration::from_millis(4);

/// What a command took.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    /// Standard output.
    pub(crate) output: Vec<u8>,
    /// From start to end.
    pub(crate) seconds: f64,
}

/// What a command took of the machine.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    /// Standard output.
    pub(crate) output: Vec<u8>,
    /// From start to end.
    pub(crate) seconds: f64,
    /// Processor time of all its processes.
    pub(crate) processor: f64,
    /// Most resident bytes of any one process, by the kernel's own count.
    pub(crate) largest: f64,
}

/// Tells how far the bench is.
pub(crate) fn note(text: &str) {
    // Nobody reads a closed standard error; the result still comes.
    writeln!(std::io::stderr().lock(), "{text}").unwrap_or_default();
}

/// Runs a command; success is expected. What earlier commands wrote is on disk before it starts, so that nobody pays
/// for another's writing.
pub(crate) fn run(command: &mut Command) -> Result<Taken> {
    rustix::fs::sync();
    let begun = Instant::now();
    let child = start(command)?;
    let (output, seconds) = end(child, begun, command)?;
    Ok(Taken { output, seconds })
}

/// Runs a command below GNU time; success is expected.
pub(crate) fn run_with_usage(command: &Command, scratch: &Path) -> Result<Usage> {
    watched(command, scratch, |_, _| ()).map(|(usage, ())| usage)
}

/// The same, with the most bytes of all processes at one moment, shared pages counted once, among the moments that were
/// looked at: a lower bound.
pub(crate) fn run_with_memory(command: &Command, scratch: &Path) -> Result<(Usage, f64)> {
    let (usage, sum) = watched(command, scratch, most_memory_below)?;
    ensure!(sum > 0.0, "{command:?} ended before its memory was looked at");
    Ok((usage, sum))
}

/// Runs a command below GNU time, while `watch` is given the process of GNU time and whether it is over.
fn watched<T: Send>(
    command: &Command,
    scratch: &Path,
    watch: impl FnOnce(u32, &AtomicBool) -> T + Send,
) -> Result<(Usage, T)> {
    let figures = scratch.join("time");
    let mut timed = Command::new(installed("time")?);
    timed.args(["--format=%U %S %M", "--output"]).arg(&figures).arg("--").arg(command.get_program());
    timed.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        timed.current_dir(folder);
    }
    rustix::fs::sync();
    let begun = Instant::now();
    let child = start(&mut timed)?;
    let process = child.id();
    let is_over = AtomicBool::new(false);
    let (ended, seen) = thread::scope(|scope| {
        let watch = scope.spawn(|| watch(process, &is_over));
        let ended = end(child, begun, &timed);
        is_over.store(true, Ordering::Relaxed);
        (ended, watch.join())
    });
    let (output, seconds) = ended?;
    let seen = seen.ok().context("the watch ends")?;
    let text = fs::read_to_string(&figures)?;
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .context("GNU time writes numbers")?;
    let [user, system, largest] = numbers[..] else { anyhow::bail!("GNU time writes three numbers: {text}") };
    Ok((Usage { output, seconds, processor: user + system, largest: largest * 1024.0 }, seen))
}

fn start(command: &mut Command) -> Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().with_context(|| format!("{command:?} starts"))
}

fn end(child: Child, begun: Instant, command: &Command) -> Result<(Vec<u8>, f64)> {
    let output = child.wait_with_output()?;
    let seconds = begun.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    Ok((output.stdout, seconds))
}

/// Most bytes of all processes below `process` at one time, until it is over.
fn most_memory_below(process: u32, is_over: &AtomicBool) -> f64 {
    let mut most = 0.0_f64;
    while !is_over.load(Ordering::Relaxed) {
        // GNU time itself does not count.
        let sum = descendants(process).into_iter().filter_map(proportional).sum();
        most = most.max(sum);
        thread::sleep(LOOK);
    }
    most
}

/// All processes below `process`.
pub(crate) fn descendants(process: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut pending = vec![process];
    while let Some(process) = pending.pop() {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        for task in tasks {
            // Processes come and go while one looks.
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            pending.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse().ok())
                    .filter(|child| found.insert(*child)),
            );
        }
    }
    found
}

/// Resident bytes, a page that several processes share counted in parts; nothing if the process is gone.
fn proportional(process: u32) -> Option<f64> {
    kibibytes(&format!("/proc/{process}/smaps_rollup"), "Pss:")
}

/// Resident bytes now.
pub(crate) fn resident(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    kibibytes(&path, "VmRSS:").with_context(|| format!("{path} tells resident memory"))
}

/// Most resident bytes so far.
pub(crate) fn most_resident(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    kibibytes(&path, "VmHWM:").with_context(|| format!("{path} tells most resident memory"))
}

/// Processor time so far, of all threads that live.
pub(crate) fn processor_time(process: u32) -> Result<f64> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{process}/task")).context("the process lives")? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let on_processor = text.split_whitespace().next().context("schedstat has numbers")?;
        nanoseconds += on_processor.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds).as_secs_f64())
}

fn kibibytes(path: &str, key: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_largest_and_of_all() {
        let scratch = tempfile::tempdir().unwrap();
        // One program waits with 8 MB in its buffer while another one does.
        let script = "hold() { { head -c 8000000 /dev/zero; $1; } | dd bs=16M iflag=fullblock of=/dev/null; }
inner() { hold 'sleep 1' >&2; }
hold inner";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let (usage, sum) = run_with_memory(&command, scratch.path()).unwrap();
        assert!(usage.largest > 8e6, "{usage:?}");
        assert!(sum > usage.largest * 1.5, "{sum} {usage:?}");
    }

    #[test]
    fn failure_tells_what_was_said() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo no >&2; exit 3"]);
        let error = run(&mut command).unwrap_err().to_string();
        assert!(error.contains("no") && error.contains('3'), "{error}");
    }

    #[test]
    fn own_figures() {
        let process = std::process::id();
        // Looked at in this order: other tests of this process take memory meanwhile.
        let now = resident(process).unwrap();
        assert!(most_resident(process).unwrap() >= now);
        assert!(processor_time(process).unwrap() > 0.0);
    }
}
