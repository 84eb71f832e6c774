//! `bundle daemon` as a process of this machine.

use std::{
    fs::File,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use tokio::process::{Child, Command};

use crate::proxy::Door;

const KILLED: i32 = 9;

/// The executable that was built beside this test.
pub fn executable() -> Result<PathBuf> {
    let test = std::env::current_exe().context("the test knows its own path")?;
    // target/TRIPLE/release/deps/TEST
    let folder = test.ancestors().nth(2).context("a test lies in target/TRIPLE/release/deps")?;
    let executable = folder.join("bundle");
    ensure!(executable.exists(), "{} is missing: cargo build --release -p bundle", executable.display());
    Ok(executable)
}

/// One process of the daemon, behind a door of its own; and the next one when it has ended.
pub struct Process {
    child: Arc<Mutex<Child>>,
    door: Door,
    home: String,
    guest_image: String,
    folder: PathBuf,
}

/// Kills the process, whichever it is by then.
#[derive(Clone)]
pub struct Killer(Arc<Mutex<Child>>);

impl Killer {
    /// Sends SIGKILL. A process that has ended cannot be killed, which is an error.
    pub fn kill(&self) -> Result<()> {
        lock(&self.0).start_kill().context("the daemon had ended before it was killed")
    }
}

/// How a process ended.
#[derive(Debug)]
pub enum End {
    /// By signal 9.
    Killed,
    /// By itself, with what it told.
    Itself(ExitStatus, String),
}

impl Process {
    /// Starts the daemon of the namespace `home` with the shortest times that it takes: a lease of 1 s and a look each
    /// second. Its log lies in `folder`.
    pub fn start(home: &str, guest_image: &str, door: Door, folder: &Path) -> Result<Self> {
        let child = spawn(home, guest_image, &door, folder)?;
        Ok(Self {
            child: Arc::new(Mutex::new(child)),
            door,
            home: home.to_owned(),
            guest_image: guest_image.to_owned(),
            folder: folder.to_owned(),
        })
    }

    /// Starts the next one behind another door; the old door is shut.
    pub fn start_next(&mut self, door: Door) -> Result<()> {
        *lock(&self.child) = spawn(&self.home, &self.guest_image, &door, &self.folder)?;
        self.door = door;
        Ok(())
    }

    /// What kills it.
    pub fn killer(&self) -> Killer {
        Killer(Arc::clone(&self.child))
    }

    /// The number of its door.
    pub const fn door(&self) -> usize {
        self.door.number
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Result<Option<End>> {
        let Some(status) = lock(&self.child).try_wait()? else { return Ok(None) };
        Ok(Some(if status.signal() == Some(KILLED) {
            End::Killed
        } else {
            End::Itself(status, self.story()?)
        }))
    }

    /// What it told.
    pub fn story(&self) -> Result<String> {
        let path = log_of(&self.folder, self.door.number);
        std::fs::read_to_string(&path).with_context(|| format!("{} is read", path.display()))
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

fn log_of(folder: &Path, door: usize) -> PathBuf {
    folder.join(format!("daemon-{door}.log"))
}

fn spawn(home: &str, guest_image: &str, door: &Door, folder: &Path) -> Result<Child> {
    Command::new(executable()?)
        .args(["daemon", "--context", "bed", "--health", "127.0.0.1:0", "--lease", "1", "--resync", "1"])
        .args(["--guest-image", guest_image, "--namespace", home])
        .args(["--name", &format!("door-{}", door.number)])
        .arg("--kubeconfig")
        .arg(&door.kubeconfig)
        .env("BUNDLE_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(log_of(folder, door.number))?)
        .kill_on_drop(true)
        .spawn()
        .context("bundle starts")
}
