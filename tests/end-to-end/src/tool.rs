//! The executable as a user runs it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// The folder of the programs built with this test.
fn programs() -> Result<PathBuf> {
    let test = std::env::current_exe().context("the test knows its own path")?;
    // target/TRIPLE/release/deps/TEST
    Ok(test.ancestors().nth(2).context("a test lies in target/TRIPLE/release/deps")?.to_owned())
}

/// `bundle`, with a home of its own.
#[derive(Debug, Clone)]
pub struct Bundle {
    executable: PathBuf,
    home: PathBuf,
}

impl Bundle {
    /// Uses the executable that was built beside this test and keeps everything below `home`.
    pub fn new(home: &Path) -> Result<Self> {
        let executable = programs()?.join("bundle");
        ensure!(executable.exists(), "{} is missing: cargo build --release -p bundle", executable.display());
        Ok(Self { executable, home: home.to_owned() })
    }

    /// The executable.
    pub fn executable(&self) -> &Path {
        &self.executable
    }

    /// A command with `arguments`.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.executable);
        command.args(arguments).env("BUNDLE_HOME", &self.home).stdin(Stdio::null());
        command
    }

    /// Runs and returns whatever comes.
    pub fn output<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Output> {
        self.command(arguments).output().context("bundle starts")
    }

    /// Runs; success is expected. Returns standard output.
    pub fn run<A: AsRef<OsStr> + Clone>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        let arguments: Vec<A> = arguments.into_iter().collect();
        let output = self.output(arguments.clone())?;
        let shown: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect();
        ensure!(
            output.status.success(),
            "bundle {}: {}\n{}{}",
            shown.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        String::from_utf8(output.stdout).context("the output is UTF-8")
    }

    /// Runs with `--json` and reads the document.
    pub fn json<A: AsRef<OsStr> + Clone>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<serde_json::Value> {
        let arguments: Vec<_> = std::iter::once("--json".into())
            .chain(arguments.into_iter().map(|a| a.as_ref().to_owned()))
            .collect();
        let text = self.run::<std::ffi::OsString>(arguments)?;
        serde_json::from_str(&text).with_context(|| format!("`{text}` is JSON"))
    }

    /// Starts and leaves it running.
    pub fn spawn<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        log: &Path,
    ) -> Result<Child> {
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        self.command(arguments).stdout(log.try_clone()?).stderr(log).spawn().context("bundle starts")
    }
}
