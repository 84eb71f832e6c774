//! `kubectl` against one bed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Bed, Error, programs};

/// Runs `kubectl` with a kubeconfig of a bed. It keeps nothing in the user's home.
pub(crate) struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    cache: PathBuf,
}

impl Kubectl {
    /// As the administrator.
    pub(crate) fn new(bed: &Bed) -> Result<Self, Error> {
        Ok(Self {
            program: programs::program("kubernetes")?,
            kubeconfig: bed.kubeconfig.clone(),
            cache: bed.folder.join("kubectl"),
        })
    }

    /// As whoever the kubeconfig is for.
    pub(crate) fn with(&self, kubeconfig: &Path) -> Self {
        let kubeconfig = kubeconfig.to_owned();
        Self { program: self.program.clone(), kubeconfig, cache: self.cache.clone() }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String, Error> {
        self.run_with_input(arguments, "")
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Result<String, Error> {
        let failed =
            |source| Error::CommandNotStarted { command: format!("kubectl {}", arguments.join(" ")), source };
        let mut child = Command::new(&self.program)
            .arg("kubectl")
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", &self.cache)
            .env("KUBERC", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut pipe) = child.stdin.take() {
            // kubectl may end before it has read everything; its exit code says why.
            drop(pipe.write_all(input.as_bytes()));
        }
        let output = child.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::KubectlFailed {
            arguments: arguments.join(" "),
            message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}
