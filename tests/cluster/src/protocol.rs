//! What travels over the two kinds of pipe, one JSON document per line: requests from the test to the supervisor, and
//! orders from the supervisor to the first process of a machine.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{ClusterOptions, Error};

/// What a command run on a machine left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Output {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// What it wrote, invalid UTF-8 replaced.
    pub stdout: String,
    /// What it complained of, invalid UTF-8 replaced.
    pub stderr: String,
}

/// From the test to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Start(ClusterOptions),
    StopNode(u8),
    StartNode(u8),
    CutLink(u8),
    HealLink(u8),
    StopApiServer,
    StartApiServer,
    Run {
        node: u8,
        command: Vec<String>,
    },
    AddRegistry(crate::Registry),
    /// From now on the end of the pipe means nothing.
    Detach,
    Stop,
}

/// From the supervisor to the test.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Ready(crate::Bed),
    Ran(Output),
    Done,
    Failed(String),
}

/// A long-running program of a machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Daemon {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
}

/// From the supervisor to a machine's first process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Start(Daemon),
    /// Ends a daemon: asked first, killed when `patience_ms` have passed.
    End {
        name: String,
        patience_ms: u64,
    },
    Run(Vec<String>),
    /// Which daemons have ended by themselves?
    Ended,
}

/// From a machine's first process to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The first process stands; its id as the host sees it.
    Up {
        pid: u32,
    },
    Done,
    Ran(Output),
    Ended(Vec<String>),
    Failed(String),
}

/// Where the first process finds its machine's folders.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    /// What it sees as `/var/lib`.
    pub(crate) library: PathBuf,
    /// What it sees as `/var/log`.
    pub(crate) log: PathBuf,
}

/// Writes one document and its line end.
pub(crate) fn send(to: &mut impl Write, document: &impl Serialize) -> Result<(), Error> {
    let mut line = serde_json::to_vec(document).map_err(Error::DocumentNotWritten)?;
    line.push(b'\n');
    to.write_all(&line).and_then(|()| to.flush()).map_err(Error::PipeNotWritten)
}

/// Reads one document; `None` at the end of the pipe.
pub(crate) fn receive<T: DeserializeOwned>(from: &mut impl BufRead) -> Result<Option<T>, Error> {
    let mut line = String::new();
    if from.read_line(&mut line).map_err(Error::PipeNotRead)? == 0 {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).map_err(|source| Error::LineNotUnderstood { line, source })
}
