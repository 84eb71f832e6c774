//! The first process of a machine: sets up its mounts, starts and ends its daemons, and collects ended processes.
//!
//! It lives exactly as long as the pipe from the supervisor. When it ends, the kernel kills every process of its
//! namespace, containers included, and drops the mounts: there is no order of clean-up to get wrong.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use crate::Error;
use crate::protocol::{Daemon, Folders, Order, Output, Report, receive, send};

/// How often to look for ended processes while there are none to wait for.
const IDLE: Duration = Duration::from_millis(20);

/// The exit codes of the processes that this one started; `None` while they run.
#[derive(Default)]
struct Children {
    codes: Mutex<HashMap<u32, Option<i32>>>,
    changed: Condvar,
}

impl Children {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Option<i32>>> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process. The lock is held meanwhile, so that its end cannot be collected before it is known.
    fn start(&self, command: &mut Command) -> std::io::Result<std::process::Child> {
        let mut codes = self.lock();
        let child = command.spawn()?;
        codes.insert(child.id(), None);
        Ok(child)
    }

    fn running(&self, pid: u32) -> bool {
        matches!(self.lock().get(&pid), Some(None))
    }

    /// Waits for the end of a process, at most until `deadline`.
    fn wait(&self, pid: u32, deadline: Option<Instant>) -> Option<i32> {
        let mut codes = self.lock();
        loop {
            match codes.get(&pid).copied() {
                Some(Some(code)) => return Some(code),
                Some(None) => {}
                None => return None,
            }
            let patience =
                deadline.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if patience.is_zero() {
                return None;
            }
            codes = self
                .changed
                .wait_timeout(codes, patience.min(Duration::from_secs(1)))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Collects every process that ends, also those that lost their parent.
    fn collect(&self) {
        loop {
            match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => {
                    let pid = pid.as_raw_nonzero().get().unsigned_abs();
                    if let Some(code) = self.lock().get_mut(&pid) {
                        *code = Some(exit_code(status));
                        self.changed.notify_all();
                    }
                }
                Ok(None) | Err(Errno::CHILD) => std::thread::sleep(IDLE),
                Err(_) => {}
            }
        }
    }
}

fn exit_code(status: WaitStatus) -> i32 {
    status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0))
}

/// Runs as the first process of fresh process, mount and network namespaces until standard input ends.
///
/// `library` and `log` become `/var/lib` and `/var/log` of the machine.
pub fn hold_machine(library: PathBuf, log: PathBuf) -> Result<(), Error> {
    // `/proc` is still the host's, so the name that this process has there is the one that the host knows.
    let own = std::fs::read_link("/proc/self").map_err(Error::NoOwnPath)?;
    let pid = own.to_string_lossy().parse().map_err(|_| Error::NotFirstProcess)?;
    set_up_mounts(&Folders { library, log })?;

    let children = Arc::new(Children::default());
    let collector = Arc::clone(&children);
    std::thread::spawn(move || collector.collect());

    let mut daemons = HashMap::new();
    let mut orders = BufReader::new(std::io::stdin());
    let mut reports = std::io::stdout();
    send(&mut reports, &Report::Up { pid })?;
    while let Some(order) = receive::<Order>(&mut orders)? {
        let report = obey(order, &children, &mut daemons);
        send(&mut reports, &report.unwrap_or_else(|error| Report::Failed(error.full())))?;
    }
    Ok(())
}

fn set_up_mounts(folders: &Folders) -> Result<(), Error> {
    let failed = |point: &str| {
        let point = PathBuf::from(point);
        move |source: Errno| Error::NotMounted { point, source: source.into() }
    };
    // Shared within the machine, so that pods may ask for mount propagation; the host is no member.
    rustix::mount::mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)
        .map_err(failed("/"))?;
    rustix::mount::mount("proc", "/proc", "proc", MountFlags::empty(), None).map_err(failed("/proc"))?;
    rustix::mount::mount_bind(&folders.library, "/var/lib").map_err(failed("/var/lib"))?;
    rustix::mount::mount_bind(&folders.log, "/var/log").map_err(failed("/var/log"))?;
    rustix::mount::mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).map_err(failed("/run"))
}

fn obey(order: Order, children: &Children, daemons: &mut HashMap<String, u32>) -> Result<Report, Error> {
    match order {
        Order::Start(daemon) => {
            let pid = start(&daemon, children)?;
            daemons.insert(daemon.name, pid);
            Ok(Report::Done)
        }
        Order::End { name, patience_ms } => {
            let pid = daemons.remove(&name).ok_or_else(|| Error::NoSuchDaemon { name: name.clone() })?;
            end(pid, children, Duration::from_millis(patience_ms));
            Ok(Report::Done)
        }
        Order::Run(command) => run(&command, children).map(Report::Ran),
        Order::Ended => {
            let ended = daemons.iter().filter(|(_, pid)| !children.running(**pid));
            Ok(Report::Ended(ended.map(|(name, _)| name.clone()).collect()))
        }
    }
}

fn start(daemon: &Daemon, children: &Children) -> Result<u32, Error> {
    let path = Path::new("/var/log").join(format!("{}.log", daemon.name));
    let log = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
    let open = |path: &Path| -> std::io::Result<(File, File)> { Ok((log(path)?, log(path)?)) };
    let (out, err) = open(&path).map_err(|source| Error::FileNotWritten { path: path.clone(), source })?;
    let mut command = command(&daemon.command)?;
    command.envs(&daemon.environment).stdin(Stdio::null()).stdout(out).stderr(err);
    let child = children
        .start(&mut command)
        .map_err(|source| Error::CommandNotStarted { command: daemon.command.join(" "), source })?;
    Ok(child.id())
}

fn end(pid: u32, children: &Children, patience: Duration) {
    for (signal, patience) in [(Signal::TERM, Some(patience)), (Signal::KILL, None)] {
        if !children.running(pid) {
            return;
        }
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        if let Some(Err(_)) = raw.map(|target| rustix::process::kill_process(target, signal)) {
            return;
        }
        children.wait(pid, patience.map(|patience| Instant::now() + patience));
    }
}

fn run(words: &[String], children: &Children) -> Result<Output, Error> {
    let failed = |source| Error::CommandNotStarted { command: words.join(" "), source };
    let mut command = command(words)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = children.start(&mut command).map_err(failed)?;
    let errors = child.stderr.take();
    let reader = std::thread::spawn(move || read_all(errors));
    let stdout = read_all(child.stdout.take());
    let stderr = reader.join().unwrap_or_default();
    let code = children.wait(child.id(), None).unwrap_or(-1);
    children.lock().remove(&child.id());
    Ok(Output { code, stdout, stderr })
}

fn command(words: &[String]) -> Result<Command, Error> {
    let (program, arguments) = words.split_first().ok_or(Error::EmptyCommand)?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// What a pipe gives until it ends or breaks.
fn read_all(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What came before a broken pipe is still worth showing.
        drop(pipe.read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
