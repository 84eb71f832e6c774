//! A machine as the supervisor holds it: the two pipes to its first process.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::protocol::{Daemon, Order, Output, Report, receive, send};
use crate::{Error, kubeconfig, record};

/// Namespaces with daemons in them. They end when this value goes.
pub(crate) struct Machine {
    name: String,
    folder: PathBuf,
    holder: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
    pid: u32,
}

impl Machine {
    /// Makes the namespaces and waits for the first process. `bed` is the folder of the bed.
    pub(crate) fn boot(bed: &Path, name: &str) -> Result<Self, Error> {
        let not_booted = |source| Error::NotBooted { machine: name.to_owned(), source };
        let folder = bed.join(name);
        for part in ["lib/bed", "log"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).map_err(|source| Error::FileNotWritten { path, source })?;
        }
        let complaints = folder.join("log/first-process.log");
        let log = fs::File::create(&complaints)
            .map_err(|source| Error::FileNotWritten { path: complaints.clone(), source })?;
        let own = std::env::current_exe().map_err(Error::NoOwnPath)?;
        let mut holder = Command::new("unshare")
            .args(["--fork", "--pid", "--mount", "--net", "--propagation", "private"])
            .arg(own)
            .arg("machine")
            .arg(folder.join("lib"))
            .arg(folder.join("log"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(not_booted)?;
        let pipes = holder.stdin.take().zip(holder.stdout.take());
        let (orders, reports) = pipes.ok_or_else(|| Error::FirstProcessGone { machine: name.to_owned() })?;
        let mut reports = BufReader::new(reports);
        match receive(&mut reports)? {
            Some(Report::Up { pid }) => {
                record::add_process(bed, pid)?;
                Ok(Self { name: name.to_owned(), folder, holder, orders, reports, pid })
            }
            _ => Err(Error::FirstProcessFailed {
                machine: name.to_owned(),
                message: fs::read_to_string(&complaints).unwrap_or_default(),
            }),
        }
    }

    /// The id of the first process on the host, which names the namespaces.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// What the machine sees as `/var/lib/bed`: its configuration.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.join("lib/bed")
    }

    /// Writes a file of the configuration.
    pub(crate) fn configure(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
        kubeconfig::write_file(&self.configuration().join(name), bytes.as_ref())
    }

    pub(crate) fn start(&mut self, daemon: Daemon) -> Result<(), Error> {
        self.order(&Order::Start(daemon)).map(drop)
    }

    pub(crate) fn end(&mut self, name: &str, patience: Duration) -> Result<(), Error> {
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.order(&Order::End { name: name.to_owned(), patience_ms }).map(drop)
    }

    /// Runs a command to its end, whatever its exit code.
    pub(crate) fn run(&mut self, words: &[&str]) -> Result<Output, Error> {
        match self.order(&Order::Run(words.iter().map(ToString::to_string).collect()))? {
            Report::Ran(output) => Ok(output),
            other => {
                Err(Error::UnexpectedReport { machine: self.name.clone(), report: format!("{other:?}") })
            }
        }
    }

    /// Runs a command that must succeed.
    pub(crate) fn must_run(&mut self, words: &[&str]) -> Result<(), Error> {
        let output = self.run(words)?;
        if output.code == 0 {
            return Ok(());
        }
        Err(Error::CommandFailed {
            machine: self.name.clone(),
            command: words.join(" "),
            code: output.code,
            message: output.stderr,
        })
    }

    /// Runs `ip` on a list of commands.
    pub(crate) fn run_ip(&mut self, plan: &str) -> Result<(), Error> {
        self.configure("ip", plan)?;
        self.must_run(&["ip", "-batch", "/var/lib/bed/ip"])
    }

    /// Fails with the end of its log if a daemon has ended by itself.
    pub(crate) fn check_daemons(&mut self) -> Result<(), Error> {
        let Report::Ended(ended) = self.order(&Order::Ended)? else {
            return Ok(());
        };
        let Some(daemon) = ended.into_iter().next() else {
            return Ok(());
        };
        let log = self.folder.join(format!("log/{daemon}.log"));
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(12)..].join("\n");
        Err(Error::DaemonEnded { machine: self.name.clone(), daemon, log, tail })
    }

    /// Ends everything of the machine, as a power cut does, and waits until it is gone.
    pub(crate) fn halt(self) -> Result<(), Error> {
        let Self { name, mut holder, orders, reports, .. } = self;
        drop((orders, reports));
        holder.wait().map(drop).map_err(|source| Error::NotHalted { machine: name, source })
    }

    fn order(&mut self, order: &Order) -> Result<Report, Error> {
        send(&mut self.orders, order)?;
        match receive(&mut self.reports)? {
            Some(Report::Failed(message)) => {
                Err(Error::FirstProcessFailed { machine: self.name.clone(), message })
            }
            Some(report) => Ok(report),
            None => Err(Error::FirstProcessGone { machine: self.name.clone() }),
        }
    }
}
