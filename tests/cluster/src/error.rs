//! What can go wrong, one variant per place.

use std::path::PathBuf;
use std::time::Duration;

/// What can go wrong with a test bed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum Error {
    #[error("cannot read {}", path.display())]
    FileNotRead { path: PathBuf, source: std::io::Error },
    #[error("cannot write {}", path.display())]
    FileNotWritten { path: PathBuf, source: std::io::Error },
    #[error("cannot remove {}", path.display())]
    FolderNotRemoved { path: PathBuf, source: std::io::Error },
    #[error("cannot make the control group {}", path.display())]
    GroupNotMade { path: PathBuf, source: std::io::Error },
    #[error("cannot read the control group {}", path.display())]
    GroupNotRead { path: PathBuf, source: std::io::Error },
    #[error("cannot remove the control group {}", path.display())]
    GroupNotRemoved { path: PathBuf, source: std::io::Error },
    #[error("cannot mount {}", point.display())]
    NotMounted { point: PathBuf, source: std::io::Error },
    #[error("cannot unmount {}", point.display())]
    NotUnmounted { point: PathBuf, source: std::io::Error },
    #[error("cannot remove the link {name}: {message}")]
    LinkNotRemoved { name: String, message: String },
    #[error("cannot join the host to the bed: {message}")]
    HostNotLinked { message: String },
    #[error("cannot lock {}", path.display())]
    NotLocked { path: PathBuf, source: std::io::Error },
    #[error("all {slots} slots hold living beds; see `test-cluster list`")]
    NoFreeSlot { slots: u8 },
    #[error("a bed called {name} stands already; end it with `test-cluster down --name {name}`")]
    NameTaken { name: String },
    #[error("no bed is called {name}; see `test-cluster list`")]
    NoSuchBed { name: String },
    #[error("the record {} is not understood", path.display())]
    RecordNotUnderstood { path: PathBuf, source: serde_json::Error },
    #[error("process {pid} does not end")]
    ProcessNotKilled { pid: u32 },
    #[error("a bed has one to three nodes, not {nodes}")]
    NodesOutOfRange { nodes: u8 },
    #[error("there is no node {number}")]
    NoSuchNode { number: u8 },
    #[error("node {number} is stopped")]
    NodeStopped { number: u8 },
    #[error("node {number} runs already")]
    NodeRuns { number: u8 },
    #[error("neither BUNDLE_PROGRAMS nor XDG_CACHE_HOME nor HOME says where the programs are")]
    NoHome,
    #[error("{} is not there: run `tests/programs/build {name}`", path.display())]
    ProgramNotBuilt { name: String, path: PathBuf },
    #[error("no CNI plugins in /usr/lib/cni or /opt/cni/bin: install `containernetworking-plugins`")]
    NoCniPlugins,
    #[error("cannot tell the path of the running program")]
    NoOwnPath(#[source] std::io::Error),
    #[error(
        "no `test-cluster` beside {}: run `cargo build --release -p test-cluster`, or set TEST_CLUSTER",
        running.display()
    )]
    SupervisorNotBuilt { running: PathBuf },
    #[error("the supervisor is gone; {} may say why", log.display())]
    SupervisorGone { log: PathBuf },
    #[error("{message}")]
    Refused { message: String },
    #[error("a request out of order")]
    RequestOutOfOrder,
    #[error("cannot start `{command}`")]
    CommandNotStarted { command: String, source: std::io::Error },
    #[error("an empty command")]
    EmptyCommand,
    #[error("`{command}` on {machine} ended with {code}: {message}")]
    CommandFailed { machine: String, command: String, code: i32, message: String },
    #[error("`kubectl {arguments}` failed: {message}")]
    KubectlFailed { arguments: String, message: String },
    #[error("cannot import an image on {node}: {message}")]
    ImageNotImported { node: String, message: String },
    #[error("cannot make the namespaces of {machine}")]
    NotBooted { machine: String, source: std::io::Error },
    #[error("cannot wait for the end of {machine}")]
    NotHalted { machine: String, source: std::io::Error },
    #[error("this is not the first process of a machine")]
    NotFirstProcess,
    #[error("the first process of {machine} is gone")]
    FirstProcessGone { machine: String },
    #[error("the first process of {machine}: {message}")]
    FirstProcessFailed { machine: String, message: String },
    #[error("the first process of {machine} said {report}")]
    UnexpectedReport { machine: String, report: String },
    #[error("no daemon is called {name}")]
    NoSuchDaemon { name: String },
    #[error("{daemon} on {machine} ended by itself; the end of {}:\n{tail}", log.display())]
    DaemonEnded { machine: String, daemon: String, log: PathBuf, tail: String },
    #[error("{what} not ready after {} s", waited.as_secs())]
    NotReady { what: &'static str, waited: Duration },
    #[error("a thread of the supervisor panicked")]
    ThreadPanicked,
    #[error("cannot make a key")]
    KeyNotMade(#[source] rcgen::Error),
    #[error("cannot read the authority's key")]
    KeyNotRead(#[source] rcgen::Error),
    #[error("cannot make the authority")]
    AuthorityNotMade(#[source] rcgen::Error),
    #[error("cannot issue a certificate for {name}")]
    CertificateNotIssued { name: String, source: rcgen::Error },
    #[error("cannot encode a document")]
    DocumentNotWritten(#[source] serde_json::Error),
    #[error("cannot write to the pipe")]
    PipeNotWritten(#[source] std::io::Error),
    #[error("cannot read from the pipe")]
    PipeNotRead(#[source] std::io::Error),
    #[error("not understood: {line}")]
    LineNotUnderstood { line: String, source: serde_json::Error },
}

impl Error {
    /// The message with those of its causes.
    pub fn full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
