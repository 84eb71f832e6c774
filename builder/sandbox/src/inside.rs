//! The helper: a process of one thread that makes the sandbox around itself and becomes the command.

mod confinement;
mod first_process;
mod machine;
mod namespaces;
mod owners;
mod root;
mod system_calls;

use std::io;

use rustix::process::Signal;

pub use owners::users_are_delegated;

use crate::{
    channel::{Channel, Order, Report, Stage},
    error::FailedStep,
    kernel::{self, SingleThread},
    level::Gap,
};

/// Why the helper does not go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A step failed.
    Failed(FailedStep, io::Error),
    /// There are no namespaces.
    Unavailable(Vec<Gap>),
    /// Someone else has reported, or nobody listens any more.
    Over,
}

/// Says which step it was, at the place where it fails.
trait OfStep<T> {
    fn of_step(self, action: &str) -> Result<T, Stop>;
    fn of_step_on(self, action: &str, path: &std::path::Path) -> Result<T, Stop>;
}

impl<T, E: Into<io::Error>> OfStep<T> for Result<T, E> {
    fn of_step(self, action: &str) -> Result<T, Stop> {
        self.map_err(|error| Stop::Failed(FailedStep { action: action.to_owned(), path: None }, error.into()))
    }

    fn of_step_on(self, action: &str, path: &std::path::Path) -> Result<T, Stop> {
        let failed = || FailedStep { action: action.to_owned(), path: Some(path.to_owned()) };
        self.map_err(|error| Stop::Failed(failed(), error.into()))
    }
}

/// Takes the order that a caller of this crate gives to the process that it starts as its [`crate::Helper`], and
/// carries it out. To be called first in `main`, before there is any other thread; then `main` returns. What there is
/// to say goes to the caller, so the exit code means nothing.
pub fn enter() {
    // A caller may ignore its children's ends, and hand that on.
    if kernel::notice_children().is_err() {
        return;
    }
    let Ok(mut channel) = Channel::take() else { return };
    let report = match carry_out(&mut channel) {
        Ok(()) | Err(Stop::Over) => return,
        Err(Stop::Failed(failed, error)) => {
            Report::Failed(failed, error.raw_os_error().unwrap_or(libc::EINVAL))
        }
        Err(Stop::Unavailable(gaps)) => Report::Unavailable(gaps),
    };
    // A caller that is gone cannot be told.
    channel.report(&report).unwrap_or_default();
}

fn carry_out(channel: &mut Channel) -> Result<(), Stop> {
    let order = channel.order().map_err(|_| Stop::Over)?;
    // Descriptors that the caller left open end with the command's start; those are its only ones: 0, 1, 2.
    close_fds::set_fds_cloexec(3, &[]);
    let alone = SingleThread::prove().of_step("have one thread")?;
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    match &order.stage {
        Stage::Machine => {
            bind_to_caller(&order)?;
            machine::build(channel, &alone, &order)
        }
        Stage::WithoutNamespaces(gaps) => {
            bind_to_caller(&order)?;
            machine::confine_only(channel, &alone, &order, gaps)
        }
        Stage::Inside => first_process::run_command(channel, &alone, &order, &[]),
    }
}

/// Makes this process end with the thread that started it.
fn bind_to_caller(order: &Order) -> Result<(), Stop> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).of_step("bind to the caller")?;
    // A caller that ended before that would not end this process any more.
    let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs());
    if parent == Some(order.caller) { Ok(()) } else { Err(Stop::Over) }
}
