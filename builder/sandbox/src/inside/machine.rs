//! The helper on the machine: makes namespaces, starts the first process in them, and waits for it.

use std::os::fd::OwnedFd;

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Signal, WaitOptions},
};

use super::{OfStep as _, Stop, first_process, namespaces, owners::Owners, root::Root};
use crate::{
    channel::{Channel, Order},
    kernel::{Fork, SingleThread},
    level::Gap,
};

/// Makes a sandbox with namespaces.
pub(crate) fn build(channel: &Channel, alone: &SingleThread, order: &Order) -> Result<(), Stop> {
    let owners = Owners::choose(alone, order.specification.identity)?;
    let mut root = Root::new(&order.specification, &owners);
    if owners.are_delegated() {
        // Root reaches inputs that the sandbox's own user may not: they are opened before that user is taken on.
        root.open_sources()?;
    }
    namespaces::leave(alone, &owners)?;
    // The bond to the caller ended with the change of user.
    super::bind_to_caller(order)?;
    let (alive, held) = pipe_with(PipeFlags::CLOEXEC).of_step("make a pipe")?;
    match alone.fork().of_step("start the first process")? {
        Fork::Child => {
            drop(held);
            bind_to_helper(&alive)?;
            namespaces::settle()?;
            root.build()?;
            first_process::run_command(channel, alone, order, &[])
        }
        Fork::Parent(first) => {
            drop(alive);
            await_end(first)
        }
    }
}

/// Confines a command that shares the machine's namespaces.
pub(crate) fn confine_only(
    channel: &Channel,
    alone: &SingleThread,
    order: &Order,
    gaps: &[Gap],
) -> Result<(), Stop> {
    Root::check_is_possible_without_namespaces(&order.specification)?;
    // Descendants whose parents end come here, so that they can be ended.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).of_step("adopt orphans")?;
    first_process::run_command(channel, alone, order, gaps)
}

/// Without the helper nobody waits for the first process.
fn bind_to_helper(alive: &OwnedFd) -> Result<(), Stop> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).of_step("bind to the helper")?;
    let mut polled = [PollFd::new(alive, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).of_step("look for the helper")?;
    if polled[0].revents().is_empty() { Ok(()) } else { Err(Stop::Over) }
}

fn await_end(first: Pid) -> Result<(), Stop> {
    loop {
        match rustix::process::waitpid(Some(first), WaitOptions::empty()) {
            // What there is to say the first process has said.
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).of_step("wait for the first process"),
        }
    }
}
