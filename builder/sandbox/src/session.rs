//! The caller's side: starts a helper, gives it its order, and watches until everything inside is gone.

use std::{
    io::{self, IoSliceMut, Read, Write as _},
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};

use crate::{
    changed::Changed,
    channel::{Order, Report},
    error::SandboxError,
    executor::{End, Outcome},
    level::{Gap, Reached},
    observation::{Listening, Observer, Watch},
    specification::Limits,
};

/// Reports of one helper are few and short.
const REPORTS_LIMIT: usize = 1 << 20;
/// How long a killed sandbox may take to be gone.
const GRACE: Duration = Duration::from_secs(20);

/// How a process comes to be the helper: a program that calls [`crate::enter`] when it is started with these arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    /// The program, linked statically so that it runs in any root.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// What came of an order.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The command ran, or the walls were measured.
    Done(Outcome),
    /// Nothing ran: too few walls stand.
    Weaker(Reached),
    /// There are no namespaces on this machine.
    NoNamespaces(Vec<Gap>),
}

/// What was received so far.
#[derive(Default)]
struct Received {
    output: Vec<u8>,
    errors: Vec<u8>,
    reports: Vec<u8>,
}

/// Starts `command`, whose standard input becomes the helper's socket, and waits for the end.
///
/// With an observer, it sees the command's calls.
pub(crate) fn converse(
    mut command: Command,
    order: &Order,
    observer: Option<(Watch, &mut dyn Observer)>,
) -> Result<Answer, SandboxError> {
    let program = PathBuf::from(command.get_program());
    let (ours, theirs) = UnixStream::pair().map_err(SandboxError::Order)?;
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_clear().current_dir("/");
    let begun = Instant::now();
    let mut child = command.spawn().map_err(|source| SandboxError::Start { program, source })?;
    // Ours is the only end left, so that its end is seen.
    drop(command);
    let watched = watch(&mut child, &ours, order, begun, observer);
    if watched.is_err() {
        child.kill().map_err(SandboxError::Watch)?;
    }
    let status = child.wait().map_err(SandboxError::Watch)?;
    let (received, cut) = watched?;
    conclude(received, cut, &status.to_string())
}

/// Sends the order and reads everything until nobody can write any more.
fn watch(
    child: &mut Child,
    socket: &UnixStream,
    order: &Order,
    begun: Instant,
    mut observer: Option<(Watch, &mut dyn Observer)>,
) -> Result<(Received, Option<End>), SandboxError> {
    let text = serde_json::to_vec(order).map_err(|error| SandboxError::Order(error.into()))?;
    let sent = { socket }.write_all(&text).and_then(|()| socket.shutdown(Shutdown::Write));
    // Who does not read his order has ended, and said why on standard error.
    if let Err(error) = sent
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(SandboxError::Order(error));
    }
    let limits = order.specification.limits;
    let mut output = child.stdout.take();
    let mut errors = child.stderr.take();
    let mut reports = Some(socket);
    let mut listening: Option<Listening<'_>> = None;
    let mut received = Received::default();
    let mut cut = None;
    let mut deadline = begun + limits.time;
    let mut changed = Changed::of(&order.specification, begun);
    while output.is_some() || errors.is_some() || reports.is_some() {
        let calls = listening.as_ref().map(|listening| listening.listener().as_fd());
        let sources = [fd(output.as_ref()), fd(errors.as_ref()), fd(reports.as_ref()), calls];
        let wake = changed.next().filter(|_| cut.is_none()).map_or(deadline, |next| deadline.min(next));
        let [output_is_ready, errors_are_ready, reports_are_ready, call_is_ready] =
            wait_until(wake, sources).map_err(SandboxError::Watch)?;
        if output_is_ready != Readiness::Not {
            read_some(&mut output, &mut received.output).map_err(SandboxError::Watch)?;
        }
        if errors_are_ready != Readiness::Not {
            read_some(&mut errors, &mut received.errors).map_err(SandboxError::Watch)?;
        }
        if reports_are_ready != Readiness::Not {
            let handed = read_reports(&mut reports, &mut received.reports).map_err(SandboxError::Watch)?;
            if let Some(listener) = handed
                && let Some((watch, observer)) = observer.take()
            {
                listening = Some(Listening::new(listener, observer, watch));
            }
        }
        if call_is_ready == Readiness::Ended {
            listening = None;
        } else if call_is_ready == Readiness::Ready
            && let Some(listening) = &mut listening
        {
            listening.hear()?;
        }
        // Each turn, for one who is never quiet is bounded too.
        let is_late = Instant::now() >= deadline;
        if cut.is_some() && is_late {
            return Err(SandboxError::Watch(io::ErrorKind::TimedOut.into()));
        }
        if cut.is_none() {
            cut = if is_late {
                Some(End::OverTime)
            } else if is_over(&received, limits) {
                Some(End::OverOutput)
            } else if changed.are_over().map_err(SandboxError::Watch)? {
                Some(End::OverChanges)
            } else {
                None
            };
            if cut.is_some() {
                child.kill().map_err(SandboxError::Watch)?;
                deadline = Instant::now() + GRACE;
            }
        }
        if cut.is_some() {
            // Only the end is waited for; what still comes is not kept.
            received.output.truncate(usize::try_from(limits.output).unwrap_or(usize::MAX));
            received.errors.truncate(usize::try_from(limits.output).unwrap_or(usize::MAX));
        }
    }
    if cut.is_none() && changed.were_over().map_err(SandboxError::Watch)? {
        cut = Some(End::OverChanges);
    }
    Ok((received, cut))
}

fn is_over(received: &Received, limits: Limits) -> bool {
    let written = received.output.len() + received.errors.len();
    u64::try_from(written).unwrap_or(u64::MAX) > limits.output || received.reports.len() > REPORTS_LIMIT
}

fn fd<F: AsFd>(source: Option<&F>) -> Option<std::os::fd::BorrowedFd<'_>> {
    source.map(AsFd::as_fd)
}

/// Waits until one of them can be read or has ended, or until that time.
fn wait_until(
    time: Instant,
    sources: [Option<std::os::fd::BorrowedFd<'_>>; 4],
) -> io::Result<[Readiness; 4]> {
    let left = time.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
    let mut polled: Vec<_> =
        sources.iter().flatten().map(|source| PollFd::new(source, PollFlags::IN)).collect();
    match poll(&mut polled, Some(&timeout)) {
        Ok(0) | Err(Errno::INTR) => return Ok([Readiness::Not; 4]),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let mut events = polled.iter().map(|polled| Readiness::of(polled.revents()));
    let ready = sources.map(|source| source.and_then(|_| events.next()).unwrap_or(Readiness::Not));
    Ok(ready)
}

/// Whether there is something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readiness {
    Not,
    Ready,
    /// Nothing will come any more.
    Ended,
}

impl Readiness {
    fn of(events: PollFlags) -> Self {
        if events.is_empty() {
            Self::Not
        } else if events.contains(PollFlags::IN) {
            Self::Ready
        } else {
            Self::Ended
        }
    }
}

/// Reads reports once, and the descriptor that may come with them.
fn read_reports(source: &mut Option<&UnixStream>, into: &mut Vec<u8>) -> io::Result<Option<OwnedFd>> {
    let Some(socket) = source else { return Ok(None) };
    let mut part = [0; 16 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    match recvmsg(*socket, &mut [IoSliceMut::new(&mut part)], &mut control, flags) {
        Ok(received) if received.bytes == 0 => *source = None,
        Ok(received) => into.extend_from_slice(&part[..received.bytes]),
        Err(Errno::INTR) => {}
        // A helper that was killed before it read its whole order.
        Err(Errno::CONNRESET) => *source = None,
        Err(error) => return Err(error.into()),
    }
    let mut handed = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            handed = descriptors.last();
        }
    }
    Ok(handed)
}

/// Reads once; at the end the source is gone.
fn read_some<R: Read>(source: &mut Option<R>, into: &mut Vec<u8>) -> io::Result<()> {
    let Some(reader) = source else { return Ok(()) };
    let mut part = [0; 16 << 10];
    match reader.read(&mut part) {
        Ok(0) => *source = None,
        Ok(length) => into.extend_from_slice(&part[..length]),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// What the reports say.
fn conclude(received: Received, cut: Option<End>, status: &str) -> Result<Answer, SandboxError> {
    let mut reached: Option<Reached> = None;
    let (mut ended, mut left_running) = (None, 0);
    let whole = received.reports.split_inclusive(|byte| *byte == b'\n');
    for line in whole.filter(|line| line.ends_with(b"\n")) {
        match serde_json::from_slice(line).map_err(SandboxError::Report)? {
            Report::Watched => {}
            Report::Reached(walls) => reached = Some(walls),
            Report::Weaker(reached) => return Ok(Answer::Weaker(reached)),
            Report::Unavailable(gaps) => return Ok(Answer::NoNamespaces(gaps)),
            Report::Failed(failed, number) => {
                return Err(SandboxError::Step { failed, source: io::Error::from_raw_os_error(number) });
            }
            Report::Ended(end, left) => (ended, left_running) = (Some(end), left),
        }
    }
    match (reached, cut.or(ended)) {
        (Some(reached), Some(end)) => Ok(Answer::Done(Outcome {
            reached,
            end,
            left_running,
            output: received.output,
            errors: received.errors,
        })),
        _ => Err(SandboxError::Silent {
            status: status.to_owned(),
            said: String::from_utf8_lossy(&received.errors).chars().take(2000).collect(),
        }),
    }
}
