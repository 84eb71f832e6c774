//! What is written down about a bed: who holds it, and which processes are its first ones.
//!
//! A process is known by its id *and* its start time, so that an id that the kernel gave to another since is never
//! mistaken for it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::slot::{self, Slot};

const PATIENCE: Duration = Duration::from_secs(10);

/// A bed that stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bed {
    /// What the command line calls it.
    pub name: String,
    /// Its slot, from which all its addresses follow.
    pub slot: u8,
    /// How many nodes it has.
    pub nodes: u8,
    /// Everything of it: kubeconfig, logs, data.
    pub folder: PathBuf,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// How long it took until all nodes were ready, in milliseconds.
    pub ready_ms: u64,
    pub(crate) supervisor: Process,
}

/// A process that is not mistaken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pid: u32,
    /// In clock ticks since the machine started.
    started: u64,
}

impl Process {
    /// The process that has this id now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in brackets, and may itself hold blanks and brackets.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        // An ended process that its parent has not collected is gone for every purpose here.
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        Some(Self { pid, started: fields.nth(18)?.parse().ok()? })
    }

    pub(crate) fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Kills it, if it is still the same, and waits until it is gone.
    pub(crate) fn kill(self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        while self.lives() {
            if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
                // An error says that it is gone already, which the condition of the loop finds out.
                rustix::process::kill_process(pid, Signal::KILL).ok();
            }
            if Instant::now() > deadline {
                return Err(Error::ProcessNotKilled { pid: self.pid });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Writes the record of a bed whole or not at all.
pub(crate) fn write(bed: &Bed) -> Result<(), Error> {
    let path = bed.folder.join("bed.json");
    let draft = bed.folder.join("bed.json.draft");
    let bytes = serde_json::to_vec(bed).map_err(Error::DocumentNotWritten)?;
    fs::write(&draft, bytes)
        .and_then(|()| fs::rename(&draft, &path))
        .map_err(|source| Error::FileNotWritten { path, source })
}

/// Appends a first process to the record of a bed.
pub(crate) fn add_process(folder: &Path, pid: u32) -> Result<(), Error> {
    let Some(process) = Process::of(pid) else {
        return Ok(());
    };
    let path = folder.join("processes");
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| writeln!(file, "{} {}", process.pid, process.started))
        .map_err(|source| Error::FileNotWritten { path, source })
}

/// The recorded first processes of a bed.
pub(crate) fn processes(folder: &Path) -> Result<Vec<Process>, Error> {
    let path = folder.join("processes");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::FileNotRead { path, source }),
    };
    let process = |line: &str| {
        let (pid, started) = line.split_once(' ')?;
        Some(Process { pid: pid.parse().ok()?, started: started.parse().ok()? })
    };
    // A line that was cut short by a kill names no process that can be told from others.
    Ok(text.lines().filter_map(process).collect())
}

/// Every bed whose supervisor lives.
pub fn beds() -> Result<Vec<Bed>, Error> {
    let mut found = Vec::new();
    for folder in slot::folders() {
        if let Ok(bytes) = fs::read(folder.join("bed.json")) {
            let bed: Bed = serde_json::from_slice(&bytes)
                .map_err(|source| Error::RecordNotUnderstood { path: folder.join("bed.json"), source })?;
            if bed.supervisor.lives() {
                found.push(bed);
            }
        }
    }
    Ok(found)
}

/// The living bed of this name.
pub fn find_bed(name: &str) -> Result<Bed, Error> {
    beds()?.into_iter().find(|bed| bed.name == name).ok_or_else(|| Error::NoSuchBed { name: name.to_owned() })
}

/// Ends the supervisor of a bed, and clears what it held.
pub fn kill_bed(bed: &Bed) -> Result<(), Error> {
    bed.supervisor.kill()?;
    clear_dead_beds()
}

/// Clears every slot that no living supervisor holds.
pub fn clear_dead_beds() -> Result<(), Error> {
    Slot::sweep()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(own.lives());
        assert!(!Process { started: own.started + 1, ..own }.lives());
    }

    #[test]
    fn another_process_with_a_recorded_id_is_left_alone() {
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let real = Process::of(sleeper.id()).unwrap();
        Process { started: real.started + 1, ..real }.kill().unwrap();
        assert!(real.lives());
        real.kill().unwrap();
        assert!(!real.lives());
        sleeper.wait().unwrap();
    }
}
