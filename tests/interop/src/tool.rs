//! The executable as a user runs it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::program;

/// `bundle`, with a home of its own.
#[derive(Debug, Clone)]
pub struct Bundle {
    executable: PathBuf,
    home: PathBuf,
}

/// The executable that was built beside this test or program.
pub fn executable() -> Result<PathBuf> {
    let running = std::env::current_exe().context("a program knows its own path")?;
    // target/TRIPLE/release/PROGRAM or target/TRIPLE/release/deps/TEST
    let folders = running.ancestors().skip(1).take(2);
    folders
        .map(|folder| folder.join("bundle"))
        .find(|path| path.is_file())
        .with_context(|| format!("no bundle beside {}: cargo build --release -p bundle", running.display()))
}

/// The root of the workspace.
pub fn workspace() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::canonicalize(&root).with_context(|| format!("{} is there", root.display()))
}

impl Bundle {
    /// Runs `executable` and keeps everything below `home`.
    pub fn new(executable: &Path, home: &Path) -> Self {
        Self { executable: executable.to_owned(), home: home.to_owned() }
    }

    /// Where it keeps everything.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The executable.
    pub fn executable(&self) -> &Path {
        &self.executable
    }

    /// A command with `arguments`.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.executable);
        command.arg("--json").arg("--home").arg(&self.home).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs and reads the document.
    pub fn json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Value> {
        let mut command = self.command(arguments);
        let text = program::run(&mut command)?;
        serde_json::from_slice(&text).with_context(|| format!("{command:?} writes JSON"))
    }
}
