//! The embedded registry as a process of its own, recorded so that the next command finds it and `bundle down` ends it.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use registry_wire::RegistryAddress;
use serde::{Deserialize, Serialize};

/// How long a registry may take to answer after its start.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a registry may take to finish its requests.
const STOP_LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// A registry that was started detached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegistryProcess {
    /// Process id.
    pid: u32,
    /// When the process started, in clock ticks since boot: tells it from a later process with the same id.
    started_ticks: u64,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// Whether a start was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// It ran already.
    Running,
    /// It was started now.
    Started,
    /// It listened elsewhere; it was ended and started again, with the same data.
    Moved {
        /// Where it listened.
        from: SocketAddr,
    },
}

/// Whether there was something to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was stopped.
    Stopped,
    /// Nothing ran.
    NotRunning,
}

/// A registry that does not start or stop.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryProcessError {
    /// The record cannot be read or written.
    #[error("the record of the registry process, {}, is not usable", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The record is not of its form.
    #[error("the record of the registry process, {}, is not valid", path.display())]
    Form {
        /// The record.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The executable does not start.
    #[error("the embedded registry does not start")]
    Spawn(#[source] io::Error),
    /// It ended, or does not answer.
    #[error("the embedded registry does not answer on {address}; its log is {}", log.display())]
    Silent {
        /// Where it was to listen.
        address: SocketAddr,
        /// Its log.
        log: PathBuf,
    },
    /// Another program listens there.
    #[error("another program listens on {address}")]
    Taken {
        /// Where the registry was to listen.
        address: SocketAddr,
    },
    /// It does not end.
    #[error("the embedded registry, process {pid}, did not end within {} seconds", STOP_LIMIT.as_secs())]
    Stuck {
        /// Its process id.
        pid: u32,
    },
    /// The signal was refused.
    #[error("process {pid} of the embedded registry cannot be signalled")]
    Signal {
        /// Its process id.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
}

/// The registry that is recorded in `folder`, if it is alive.
pub(crate) fn running(folder: &Path) -> Result<Option<RegistryProcess>, RegistryProcessError> {
    let path = record_path(folder);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RegistryProcessError::Record { path, source }),
    };
    let process: RegistryProcess =
        serde_json::from_slice(&text).map_err(|source| RegistryProcessError::Form { path, source })?;
    Ok((started_ticks(process.pid) == Some(process.started_ticks)).then_some(process))
}

/// Makes sure that a registry with its data below `folder` listens on `wanted`, or anywhere near it when the port is
/// taken and the caller does not insist. One that listens elsewhere goes on there, unless the caller insists. Port 0 is any
/// port of that address.
pub(crate) fn start(
    executable: &Path,
    folder: &Path,
    wanted: SocketAddr,
    insist: bool,
) -> Result<(RegistryProcess, Start), RegistryProcessError> {
    let mut moved = None;
    if let Some(process) = running(folder)? {
        let is_there = wanted.port() == 0 && process.address.ip() == wanted.ip();
        if !insist || is_there || process.address == wanted {
            return Ok((process, Start::Running));
        }
        moved = Some(process.address);
    }
    let path = record_path(folder);
    let record = |source| RegistryProcessError::Record { path: path.clone(), source };
    fs::create_dir_all(folder).map_err(record)?;
    // Asked before the start: afterwards an answer could be the other program's.
    let is_taken = TcpStream::connect(wanted).is_ok();
    if is_taken && insist && wanted.port() != 0 {
        return Err(RegistryProcessError::Taken { address: wanted });
    }
    if moved.is_some() {
        stop(folder)?;
    }
    let address = if is_taken || wanted.port() == 0 {
        free_port(wanted).map_err(RegistryProcessError::Spawn)?
    } else {
        wanted
    };
    let log_path = folder.join("registry.log");
    let log = fs::File::options().create(true).append(true).open(&log_path).map_err(record)?;
    // What the caller left open to us would stay open in the registry, and a caller that waits for the end of such a
    // pipe would wait for the registry's.
    close_fds::set_fds_cloexec_threadsafe(3, &[]);
    let mut child = Command::new(executable)
        .args(["registry", "serve", "--address", &address.to_string(), "--root"])
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(record)?)
        .stderr(log)
        .current_dir("/")
        .process_group(0)
        .spawn()
        .map_err(RegistryProcessError::Spawn)?;
    let begun = Instant::now();
    let silent = || RegistryProcessError::Silent { address, log: log_path.clone() };
    while TcpStream::connect(address).is_err() {
        if begun.elapsed() > START_LIMIT || child.try_wait().map_err(RegistryProcessError::Spawn)?.is_some() {
            return Err(silent());
        }
        std::thread::sleep(PAUSE);
    }
    let started_ticks = started_ticks(child.id()).ok_or_else(silent)?;
    let process = RegistryProcess { pid: child.id(), started_ticks, address };
    let temporary = path.with_extension("new");
    let text = serde_json::to_vec(&process).map_err(io::Error::from).map_err(record)?;
    fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &path)).map_err(record)?;
    Ok((process, moved.map_or(Start::Started, |from| Start::Moved { from })))
}

/// Where `bundle up` has its registry listen, and whether nothing else will do: where the caller says; else where the
/// nodes of a cluster look for it, if that is an address of this machine.
pub(crate) fn wanted_address(
    listen: Option<SocketAddr>,
    for_nodes: Option<&RegistryAddress>,
) -> (SocketAddr, bool) {
    let is_ours = |address: &SocketAddr| TcpListener::bind((address.ip(), 0)).is_ok();
    let for_nodes = for_nodes.and_then(|address| address.to_string().parse().ok()).filter(is_ours);
    match listen.or(for_nodes) {
        Some(address) => (address, true),
        None => (SocketAddr::from(([127, 0, 0, 1], 5000)), false),
    }
}

/// Ends the recorded registry, if it is alive, and forgets it.
pub(crate) fn stop(folder: &Path) -> Result<Stop, RegistryProcessError> {
    let Some(process) = running(folder)? else { return Ok(Stop::NotRunning) };
    let pid = process.pid;
    let signal = |source: rustix::io::Errno| RegistryProcessError::Signal { pid, source: source.into() };
    if let Some(id) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process(id, rustix::process::Signal::TERM).map_err(signal)?;
    }
    let begun = Instant::now();
    while started_ticks(pid) == Some(process.started_ticks) {
        if begun.elapsed() > STOP_LIMIT {
            return Err(RegistryProcessError::Stuck { pid });
        }
        std::thread::sleep(PAUSE);
    }
    let path = record_path(folder);
    fs::remove_file(&path).map_err(|source| RegistryProcessError::Record { path, source })?;
    Ok(Stop::Stopped)
}

fn record_path(folder: &Path) -> PathBuf {
    folder.join("process.json")
}

fn free_port(near: SocketAddr) -> io::Result<SocketAddr> {
    TcpListener::bind((near.ip(), 0))?.local_addr()
}

/// Field 22 of /proc/PID/stat (proc(5)); none when the process is gone or waits only to be collected.
fn started_ticks(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may hold anything.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = started_ticks(std::process::id()).expect("this process runs");
        assert!(own > 0);
        assert_eq!(started_ticks(u32::MAX), None);
    }

    #[test]
    fn a_record_of_a_dead_process_counts_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(running(folder.path()).unwrap(), None);
        let record = RegistryProcess {
            pid: std::process::id(),
            started_ticks: 1,
            address: "127.0.0.1:1".parse().unwrap(),
        };
        fs::write(record_path(folder.path()), serde_json::to_vec(&record).unwrap()).unwrap();
        assert_eq!(running(folder.path()).unwrap(), None);
        assert_eq!(stop(folder.path()).unwrap(), Stop::NotRunning);
        fs::write(record_path(folder.path()), b"{").unwrap();
        assert!(matches!(running(folder.path()), Err(RegistryProcessError::Form { .. })));
    }

    #[test]
    fn a_registry_listens_where_nodes_look_for_it() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let cases = [
            (None, None, "127.0.0.1:5000", false),
            (None, Some("127.0.0.2:5000"), "127.0.0.2:5000", true),
            (Some("127.0.0.1:6000"), Some("127.0.0.2:5000"), "127.0.0.1:6000", true),
            // Nobody has this one (RFC 5737), and a name may be that of a door in front of this machine.
            (None, Some("192.0.2.1:5000"), "127.0.0.1:5000", false),
            (None, Some("registry.example:5000"), "127.0.0.1:5000", false),
        ];
        for (listen, for_nodes, expected, insists) in cases {
            let for_nodes: Option<RegistryAddress> = for_nodes.map(|text| text.parse().unwrap());
            let wanted = wanted_address(listen.map(address), for_nodes.as_ref());
            assert_eq!(wanted, (address(expected), insists), "{listen:?} {for_nodes:?}");
        }
    }

    #[test]
    fn another_program_is_not_taken_for_our_registry() {
        let folder = tempfile::tempdir().unwrap();
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let started = start(Path::new("/bin/false"), folder.path(), address, true);
        assert!(matches!(started, Err(RegistryProcessError::Taken { .. })), "{started:?}");
    }
}
