//! A cluster that runs the reference platform, and the daemon as a process of this machine.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bundles_release::names::FIELD_MANAGER;
use jiff::Timestamp;
use serde_json::{Value, json};
use test_cluster::{AuditEvent, Cluster, ClusterOptions, Registry};
use test_interop::{platform, program, served::text, tool::Bundle};

use super::{
    objects::{Place, objects},
    watch::{self, Kind, Look},
};
use crate::{
    measure::{descendants, note},
    workshop::Workshop,
};

/// The namespace of the daemon.
const HOME: &str = "bundle-system";
const ACCOUNT: &str = "bundle-daemon";
/// The context of a bed's kubeconfigs.
const CONTEXT: &str = "bed";
/// Longest time until something of the cluster has happened.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// A cluster, the release that it keeps, and the daemon that looks at it. The order of the fields is that of the end.
pub(super) struct Stage {
    daemon: Running,
    release: Published,
    cluster: Cluster,
    folder: PathBuf,
}

/// A release in a registry, which stops with this value.
struct Published {
    bundle: Bundle,
    /// The subscription, and the namespace of the objects.
    name: String,
    /// The objects for kubectl, and how many they are.
    manifest: PathBuf,
    objects: usize,
}

/// A process that ends with this value.
struct Running(Child);

impl Drop for Published {
    fn drop(&mut self) {
        if let Err(error) = program::run(&mut self.bundle.command(["down"])) {
            note(&format!("the registry is not stopped: {error:#}"));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            note(&format!("the daemon is not stopped: {error}"));
        }
    }
}

impl Published {
    /// Publishes the platform, and lets the daemon in the cluster install it.
    fn install(bundle: Bundle, cluster: &Cluster, address: &str, folder: &Path) -> Result<Self> {
        note("installing the reference platform");
        let manifest = folder.join("objects.json");
        let mut published = Self { bundle, name: String::new(), manifest, objects: 0 };
        let (recipes, kubeconfig) = (platform::recipes()?, text(cluster.kubeconfig())?);
        let mut words = vec!["up", text(&recipes)?, "--listen", address, "--registry", address];
        words.extend(["--context", CONTEXT, "--kubeconfig", kubeconfig]);
        words.extend(["--poll", "1", "--soak", "1", "--wait", "300"]);
        let document = published.bundle.json(words)?;
        let word = |key: &str| document[key].as_str().with_context(|| format!("{key} of {document}"));
        let (product, _) = word("channel")?.split_once('/').context("a channel begins with its product")?;
        product.clone_into(&mut published.name);
        let repository = word("reference")?
            .strip_prefix(&format!("{address}/"))
            .and_then(|rest| rest.split_once('@'))
            .context("the release is in the registry that was asked for")?;
        let place = Place {
            registry: address,
            repository: repository.0,
            release: word("release")?,
            environment: word("environment")?,
            namespace: product,
        };
        let items = tokio::runtime::Runtime::new()?.block_on(objects(&place))?;
        published.objects = items.len();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        fs::write(&published.manifest, list.to_string())?;
        Ok(published)
    }
}

impl Stage {
    pub(super) fn set_up(workshop: &Workshop) -> Result<Self> {
        let stocked = workshop.reference()?;
        let folder = workshop.empty("cluster")?;
        note("starting a cluster");
        let cluster = Cluster::start(&ClusterOptions::default())
            .map_err(|error| anyhow::anyhow!(error.full()))
            .context("a cluster needs root and what `tests/run cluster` installs")?;
        let address = format!("{}:5000", cluster.host_address());
        cluster.add_registry(&Registry { name: address.clone(), address: format!("http://{address}") })?;
        let bundle = Bundle::new(stocked.bundle.executable(), &folder.join("home"));
        fs::create_dir_all(bundle.home())?;
        symlink(stocked.downloads(), bundle.home().join("downloads"))?;
        let release = Published::install(bundle, &cluster, &address, &folder)?;
        let since = Timestamp::now();
        let daemon = take_over(&cluster, &release.bundle, &folder.join("daemon.log"))?;
        let stage = Self { daemon, release, cluster, folder };
        match stage.settle(since) {
            Ok(()) => Ok(stage),
            Err(error) => Err(error.context(stage.story())),
        }
    }

    /// Waits until the daemon looks at what is kept, also after kubectl has applied the objects once; from then on it
    /// changes nothing.
    fn settle(&self, since: Timestamp) -> Result<()> {
        note("waiting for the daemon");
        self.looks(since, 5)?;
        program::run(&mut self.apply()?)?;
        self.looks(Timestamp::now(), 5).map(drop)
    }

    /// Whole looks of the daemon since a moment, at least so many.
    pub(super) fn looks(&self, since: Timestamp, count: usize) -> Result<Vec<Look>> {
        let begun = Instant::now();
        loop {
            let looks = watch::looks(&self.requests(since, Kind::Daemon)?, &self.release.name);
            if looks.len() >= count {
                return Ok(looks);
            }
            ensure!(begun.elapsed() < PATIENCE, "the daemon looks {} times in {PATIENCE:?}", looks.len());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What somebody asked the API server since a moment.
    pub(super) fn requests(&self, since: Timestamp, kind: Kind) -> Result<Vec<AuditEvent>> {
        Ok(watch::asked(self.cluster.audit_log()?, since, kind))
    }

    /// Writes of the daemon since a moment: to objects of the release, and to its own but the lease.
    pub(super) fn daemon_writes(&self, since: Timestamp) -> Result<(usize, usize)> {
        let mut events = self.requests(since, Kind::Daemon)?;
        events.retain(|event| event.is_write() && !watch::is_about(event, "leases"));
        let of_release = |event: &&AuditEvent| {
            event.object.as_ref().is_some_and(|object| object.namespace == self.release.name)
        };
        let to_objects = events.iter().filter(of_release).count();
        Ok((to_objects, events.len() - to_objects))
    }

    /// A command that applies the objects of the release as the daemon does, under its name: two owners of one
    /// `StatefulSet` would be in conflict over defaults.
    pub(super) fn apply(&self) -> Result<Command> {
        let mut command = Command::new(test_cluster::program("kubernetes")?);
        command.args(["kubectl", "apply", "--server-side", "--field-manager", FIELD_MANAGER]);
        command.arg("--filename").arg(&self.release.manifest);
        command.arg("--kubeconfig").arg(self.cluster.kubeconfig());
        command.env("KUBECACHEDIR", self.folder.join("kubectl")).env("KUBERC", "off");
        Ok(command)
    }

    /// How many objects the release has.
    pub(super) const fn objects(&self) -> usize {
        self.release.objects
    }

    /// The objects of the release as kubectl reads them.
    pub(super) fn manifest(&self) -> &Path {
        &self.release.manifest
    }

    /// Runs kubectl as a person does, in the namespace of the release.
    pub(super) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let words: Vec<&str> = ["--namespace", &self.release.name].iter().chain(arguments).copied().collect();
        self.cluster.kubectl(&words).map_err(|error| anyhow::anyhow!(error.full()))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process of the daemon.
    pub(super) fn daemon(&self) -> u32 {
        self.daemon.0.id()
    }

    /// The process of a program of the cluster.
    pub(super) fn program(&self, name: &str) -> Result<u32> {
        // The cluster is a child of this process.
        for process in descendants(std::process::id()) {
            let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let mut words = words.split(|byte| *byte == 0).map(String::from_utf8_lossy).take(2);
            let is_it = |word: &str| {
                Path::new(word).file_name().is_some_and(|file| file.to_string_lossy().starts_with(name))
            };
            if words.any(|word| is_it(&word)) {
                return Ok(process);
            }
        }
        bail!("the cluster {} runs no {name}", self.cluster.bed().name)
    }

    /// What helps to understand a failure.
    pub(super) fn story(&self) -> String {
        let log = fs::read_to_string(self.folder.join("daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        let told = kubectl(&self.cluster, &["describe", "subscriptions"]);
        format!("the daemon said:\n{tail}\n{}\nthe failure", told.unwrap_or_else(|error| error.to_string()))
    }

    /// Ends everything and waits until nothing is left.
    pub(super) fn stop(self) -> Result<()> {
        drop((self.daemon, self.release));
        self.cluster.stop().map_err(|error| anyhow::anyhow!(error.full()))
    }
}

/// Puts a process of this machine in the place of the daemon in the cluster, with its rights.
fn take_over(cluster: &Cluster, bundle: &Bundle, log: &Path) -> Result<Running> {
    let deployment: Value =
        serde_json::from_str(&kubectl(cluster, &["get", "deployment", ACCOUNT, "-o", "json"])?)?;
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array();
    let words: Vec<&str> = arguments.into_iter().flatten().filter_map(Value::as_str).collect();
    let image = words.iter().position(|word| *word == "--guest-image").and_then(|at| words.get(at + 1));
    let image = image.context("the daemon in the cluster has a helper image")?;
    kubectl(cluster, &["scale", &format!("deployment/{ACCOUNT}"), "--replicas=0"])?;
    let label = format!("--selector=app.kubernetes.io/name={ACCOUNT}");
    kubectl(cluster, &["wait", "pod", &label, "--for=delete", "--timeout=60s"])?;
    let health = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let mut daemon = Command::new(bundle.executable());
    daemon.args([
        "daemon",
        "--guest-image",
        image,
        "--namespace",
        HOME,
        "--context",
        CONTEXT,
        "--kubeconfig",
    ]);
    daemon.arg(cluster.kubeconfig_of_service_account(HOME, ACCOUNT)?);
    daemon.args(["--health", &health, "--resync", "1"]);
    daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(log)?);
    Ok(Running(daemon.spawn().context("the daemon starts")?))
}

fn kubectl(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let words: Vec<&str> = ["--namespace", HOME].iter().chain(arguments).copied().collect();
    cluster.kubectl(&words).map_err(|error| anyhow::anyhow!(error.full()))
}
