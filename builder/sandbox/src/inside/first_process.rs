//! The process that starts the command, waits for it, and takes everything with it at the end.

use std::{fs, io, os::unix::process::CommandExt as _, process::Command};

use rustix::{
    process::{DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus},
    thread::{CapabilitySet, CapabilitySets},
};

use super::{OfStep as _, Stop, confinement};
use crate::{
    channel::{Action, Channel, Order, Report, Stage},
    executor::End,
    kernel::{Fork, SingleThread},
    level::Gap,
};

/// Starts the command behind the last walls, and reports its end.
pub(crate) fn run_command(
    channel: &Channel,
    alone: &SingleThread,
    order: &Order,
    gaps: &[Gap],
) -> Result<(), Stop> {
    for _ in 0..order.watch.map_or(0, |watch| watch.skipped_processes) {
        use_up_an_id(alone)?;
    }
    match alone.fork().of_step("start the command's process")? {
        Fork::Child => become_command(channel, order, gaps),
        Fork::Parent(command) => {
            harden()?;
            let status = await_command(command)?;
            let left = match order.stage {
                Stage::WithoutNamespaces(_) => {
                    end_orphans()?;
                    0
                }
                // Only a watched command's caller cares, and waiting takes time.
                Stage::Machine if order.watch.is_some() => count_left()?,
                Stage::Machine | Stage::Inside => 0,
            };
            let end = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => End::Exited(code),
                (None, signal) => End::Killed(signal.unwrap_or_default()),
            };
            channel.report(&Report::Ended(end, left)).map_err(|_| Stop::Over)?;
            Ok(())
        }
    }
}

/// A process that does nothing, so that the next one has another id.
fn use_up_an_id(alone: &SingleThread) -> Result<(), Stop> {
    match alone.fork().of_step("start a process")? {
        Fork::Child => Err(Stop::Over),
        Fork::Parent(process) => {
            rustix::process::waitpid(Some(process), WaitOptions::empty()).of_step("end a process")?;
            Ok(())
        }
    }
}

/// Nothing inside may look into this process, and it needs no right any more.
fn harden() -> Result<(), Stop> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).of_step("drop capabilities")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).of_step("close its memory")?;
    // The end of the output is the end of the command's.
    let empty = rustix::stdio::stdin();
    rustix::stdio::dup2_stdout(empty).of_step("leave standard output")?;
    rustix::stdio::dup2_stderr(empty).of_step("leave standard error")
}

fn become_command(channel: &Channel, order: &Order, gaps: &[Gap]) -> Result<(), Stop> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).of_step("bind to the helper")?;
    rustix::process::setsid().of_step("start a session")?;
    let specification = &order.specification;
    rustix::process::chdir(&specification.folder).of_step_on("enter", &specification.folder)?;
    let reached = confinement::confine(channel, order, gaps)?;
    if reached.level() < order.minimum {
        channel.report(&Report::Weaker(reached)).map_err(|_| Stop::Over)?;
        return Err(Stop::Over);
    }
    channel.report(&Report::Reached(reached)).map_err(|_| Stop::Over)?;
    if order.action == Action::Measure {
        return Ok(());
    }
    let mut command = Command::new(&specification.program);
    command.args(&specification.arguments).env_clear().envs(specification.whole_environment());
    let error: io::Error = command.exec();
    Err(error).of_step_on("start", &specification.program)
}

/// Waits for the command, and for whatever else ends meanwhile.
fn await_command(command: Pid) -> Result<WaitStatus, Stop> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == command => return Ok(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).of_step("wait for the command"),
        }
    }
}

/// Counts what the command left running in this process namespace, whose first process this is. What is about to end is
/// given a moment for it.
fn count_left() -> Result<u32, Stop> {
    const ROUNDS: usize = 50;
    let own = rustix::process::getpid().as_raw_nonzero().to_string();
    let mut left = 0;
    for _ in 0..ROUNDS {
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        let processes = fs::read_dir("/proc").of_step("look for processes")?;
        let is_other = |name: &str| name != own && name.bytes().all(|byte| byte.is_ascii_digit());
        let others = processes.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_other));
        left = u32::try_from(others.count()).unwrap_or(u32::MAX);
        if left == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(4));
    }
    Ok(left)
}

/// Without a process namespace what the command left has to be found. What leaves processes faster than they are found
/// stays, which is why this is not a wall.
fn end_orphans() -> Result<(), Stop> {
    const ROUNDS: usize = 100;
    for _ in 0..ROUNDS {
        let children = fs::read_to_string("/proc/thread-self/children").of_step("find orphans")?;
        for child in
            children.split_whitespace().filter_map(|child| child.parse().ok()).filter_map(Pid::from_raw)
        {
            // It may have ended by itself.
            rustix::process::kill_process(child, Signal::KILL).ok();
        }
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return Ok(()),
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Ok(())
}
