//! The executable as a user runs it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::program;

/// `bundle`, with a home of its own.
#[derive(Debug, Clone)]
pub struct Bundle {
    executable: PathBuf,
    home: PathBuf,
}

/// The executable that was built beside this test.
pub fn executable() -> Result<PathBuf> {
    let test = std::env::current_exe().context("the test knows its own path")?;
    // target/TRIPLE/release/deps/TEST
    let folder = test.ancestors().nth(2).context("a test lies in target/TRIPLE/release/deps")?;
    let executable = folder.join("bundle");
    ensure!(executable.exists(), "{} is missing: cargo build --release -p bundle", executable.display());
    Ok(executable)
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
