//! A real Kubernetes beside the executable: where `bundle up` installs what it has built.

use std::{
    path::Path,
    process::Output,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use test_cluster::{Cluster, ClusterOptions, Registry};

use crate::tool::Bundle;

/// A cluster, and the registry of this machine that its nodes take images from.
pub struct Place {
    /// The cluster.
    pub cluster: Cluster,
    /// The executable with a home of its own.
    pub bundle: Bundle,
    /// `HOST:PORT` of the registry, for the nodes and for this machine. `bundle up` starts it.
    pub registry: String,
}

impl Place {
    /// Starts a cluster of one node; everything of `bundle` is kept below `home`.
    pub fn start(home: &Path) -> Result<Self> {
        let cluster = Cluster::start(&ClusterOptions::default())?;
        let registry = format!("{}:5000", cluster.host_address());
        cluster.add_registry(&Registry { name: registry.clone(), address: format!("http://{registry}") })?;
        Ok(Self { cluster, bundle: Bundle::new(home)?, registry })
    }

    /// `bundle up` of a platform, into the cluster.
    pub fn up(&self, platform: &Path, wait: u32) -> Result<Output> {
        let kubeconfig = self.cluster.kubeconfig().display().to_string();
        let platform = platform.display().to_string();
        let wait = wait.to_string();
        self.bundle.output([
            "--json",
            "up",
            &platform,
            "--listen",
            &self.registry,
            "--registry",
            &self.registry,
            "--context",
            "bed",
            "--kubeconfig",
            &kubeconfig,
            "--poll",
            "1",
            "--soak",
            "3",
            "--wait",
            &wait,
        ])
    }

    /// `bundle up` until the release is kept. Returns what it says.
    pub fn up_and_kept(&self, platform: &Path, wait: u32) -> Result<Value> {
        let output = self.up(platform, wait)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "bundle up: {}\n{said}\n{}", output.status, self.describe());
        serde_json::from_slice(&output.stdout).context("bundle up writes JSON")
    }

    /// What a person would look at.
    pub fn describe(&self) -> String {
        let ask =
            |arguments: &[&str]| self.cluster.kubectl(arguments).unwrap_or_else(|error| error.to_string());
        [
            ask(&["describe", "subscription", "-n", "bundle-system"]),
            ask(&["get", "pods,events", "-A"]),
            ask(&["logs", "-n", "bundle-system", "deploy/bundle-daemon", "--tail=60"]),
        ]
        .join("\n")
    }

    /// A verb that speaks to the cluster.
    pub fn operator(&self, arguments: &[&str]) -> Result<Value> {
        let kubeconfig = self.cluster.kubeconfig().display().to_string();
        self.bundle.json(arguments.iter().copied().chain(["--context", "bed", "--kubeconfig", &kubeconfig]))
    }

    /// The status of a product.
    pub fn status(&self, product: &str) -> Result<Value> {
        Ok(self.operator(&["status", product])?[0]["status"].clone())
    }

    /// A subscription, as the API server has it.
    pub fn subscription(&self, name: &str) -> Result<Value> {
        let text =
            self.cluster.kubectl(&["get", "subscription", name, "-n", "bundle-system", "-o", "json"])?;
        serde_json::from_str(&text).context("kubectl writes JSON")
    }

    /// Waits until the status of a product is as wanted.
    pub fn wait_for(
        &self,
        product: &str,
        what: &str,
        limit: Duration,
        is_so: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let begun = Instant::now();
        loop {
            let status = self.status(product)?;
            if is_so(&status) {
                return Ok(status);
            }
            if begun.elapsed() > limit {
                bail!("{what} did not come in {limit:?}: {status:#}\n{}", self.describe());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// A test that fails must not leave its registry on the port of the next one.
#[allow(clippy::print_stderr, reason = "nobody else hears of it")]
impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = self.bundle.run(["down"]) {
            eprintln!("the registry is not stopped: {error}");
        }
    }
}
