//! A cluster with a registry, the daemon's account in it, and daemons to start and stop.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use daemon::{Clock, DaemonError, DaemonOptions};
use daemon_cluster::{
    Cluster as Adapter, InstallOptions, LeaseTiming, connect, crd_names, crds, install_objects,
};
use jiff::Timestamp;
use kube::Client;
use registry_client::{Registry, Scheme};
use registry_server::{Server, ServerOptions};
use serde_json::{Value, json};
use tempfile::TempDir;
use test_cluster::{AuditEvent, Cluster, ClusterOptions};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{proxy::Door, shop::CHANNEL};

/// The namespace of the daemon.
pub const HOME: &str = "bundle-system";
/// The namespace of the objects.
pub const TARGET: &str = "shop";
/// The account of the daemon.
const ACCOUNT: &str = "bundle-daemon";
/// The user that the daemon is.
pub const USER: &str = "system:serviceaccount:bundle-system:bundle-daemon";
/// The registry as nodes know it.
pub const NODE_REGISTRY: &str = "registry.test:5000";

/// Where a daemon and what it runs live, and which channel it follows.
#[derive(Debug, Clone)]
pub struct Place {
    /// The namespace of the daemon.
    pub home: String,
    /// The namespace of the objects.
    pub target: String,
    /// The channel.
    pub channel: String,
}

impl Default for Place {
    fn default() -> Self {
        Self { home: HOME.to_owned(), target: TARGET.to_owned(), channel: CHANNEL.to_owned() }
    }
}

impl Place {
    /// The user that the daemon is.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{ACCOUNT}", self.home)
    }

    /// A subscription to the channel.
    pub fn subscription(&self, registry: &Registry, root: &(registry_wire::Digest, String)) -> Value {
        json!({
            "apiVersion": "bundle.build/v1alpha1",
            "kind": "Subscription",
            "metadata": { "name": "shop", "namespace": self.home },
            "spec": {
                "registry": { "address": registry.address().to_string(), "scheme": "http" },
                "repository": "shop",
                "channel": self.channel,
                "environment": "test",
                "namespace": self.target,
                "trustRoot": { "digest": root.0, "inline": root.1 },
                "registryMap": { "registry": NODE_REGISTRY },
                "pollSeconds": 1,
                "soakSeconds": 1,
                "backup": { "size": "10Mi", "storageClass": "local" },
            },
        })
    }
}

/// A cluster with everything around the daemon.
pub struct Lab {
    /// The cluster.
    pub bed: Cluster,
    /// The client of the daemon's account.
    pub client: Client,
    /// The client of an administrator.
    pub administrator: Client,
    folder: TempDir,
    /// Places share objects of the cluster, and two who apply one for the first time exclude each other.
    installing: Mutex<()>,
}

impl Lab {
    /// Starts a cluster and installs all of the daemon but its Deployment: it runs in this process.
    pub async fn start(nodes: u8) -> Result<Self> {
        let mut lab = Self::start_bare(ClusterOptions { nodes, ..ClusterOptions::default() }).await?;
        let own = lab.install(&Place::default())?;
        lab.client = client(&own).await?;
        Ok(lab)
    }

    /// Starts a cluster that knows the daemon's definitions and nothing more; the daemon's client is an
    /// administrator's.
    pub async fn start_bare(options: ClusterOptions) -> Result<Self> {
        let bed = tokio::task::spawn_blocking(move || Cluster::start(&options)).await??;
        for definition in crds() {
            bed.apply(&definition.to_string())?;
        }
        for name in crd_names() {
            bed.kubectl(&["wait", "--for=condition=Established", "--timeout=20s", &format!("crd/{name}")])?;
        }
        let administrator = client(bed.kubeconfig()).await?;
        Ok(Self {
            bed,
            client: administrator.clone(),
            administrator,
            folder: TempDir::new()?,
            installing: Mutex::default(),
        })
    }

    /// Installs all of the daemon but its Deployment in a place; the kubeconfig of its account.
    pub fn install(&self, place: &Place) -> Result<PathBuf> {
        let _alone = self.installing.lock().unwrap_or_else(PoisonError::into_inner);
        let options = InstallOptions {
            namespace: place.home.clone(),
            targets: vec![place.target.clone()],
            ..InstallOptions::default()
        };
        for mut object in install_objects("not-started.example/bundle:0", &options) {
            match object["kind"].as_str() {
                Some("Deployment") => continue,
                // A cluster has one daemon; each of these has its own, so the binding of the one must not be taken.
                Some("ClusterRoleBinding") => object["metadata"]["name"] = json!(place.home),
                _ => {}
            }
            self.bed.apply(&object.to_string())?;
        }
        Ok(self.bed.kubeconfig_of_service_account(&place.home, ACCOUNT)?)
    }

    /// A folder that goes with the lab.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a registry that this process and the nodes reach.
    pub async fn registry(&self) -> Result<(Server, Registry)> {
        let server = self.serve(0).await?;
        let address = server.address();
        self.bed.add_registry(&test_cluster::Registry {
            name: NODE_REGISTRY.to_owned(),
            address: format!("http://{address}"),
        })?;
        let registry = Registry::new(address.to_string().parse()?, Scheme::Http)?;
        Ok((server, registry))
    }

    /// Starts the registry again after it was stopped.
    pub async fn serve(&self, port: u16) -> Result<Server> {
        let address = SocketAddr::new(IpAddr::V4(self.bed.host_address()), port);
        Ok(Server::start(ServerOptions::new(address, self.folder.path().join("registry"))).await?)
    }

    /// The adapter with the daemon's rights.
    pub fn adapter(&self) -> Adapter {
        Adapter::new(self.client.clone(), HOME)
    }

    /// The adapter with a person's rights.
    pub fn person(&self) -> Adapter {
        Adapter::new(self.administrator.clone(), HOME)
    }

    /// Starts a daemon.
    pub fn daemon(&self, guest_image: &str, identity: &str) -> RunningDaemon {
        Self::daemon_of(self.client.clone(), guest_image, identity)
    }

    /// Starts a daemon that comes in through a door.
    pub async fn daemon_behind(
        &self,
        door: &Door,
        guest_image: &str,
        identity: &str,
    ) -> Result<RunningDaemon> {
        Ok(Self::daemon_of(client(&door.kubeconfig).await?, guest_image, identity))
    }

    fn daemon_of(client: Client, guest_image: &str, identity: &str) -> RunningDaemon {
        let options = DaemonOptions {
            namespace: HOME.to_owned(),
            lease: DaemonOptions::LEASE.to_owned(),
            lease_timing: LeaseTiming {
                duration: Duration::from_secs(5),
                renew: Duration::from_secs(3),
                retry: Duration::from_millis(500),
            },
            identity: identity.to_owned(),
            guest_image: guest_image.to_owned(),
            health_address: None,
            resync: Duration::from_secs(1),
            version: (0, 1),
        };
        let (stop, asked) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let shutdown = async move {
                if asked.await.is_err() {
                    // Nobody will ask any more: run until aborted.
                    std::future::pending::<()>().await;
                }
            };
            daemon::run(options, client, Clock::new(Timestamp::now), shutdown).await
        });
        RunningDaemon { stop: Some(stop), task }
    }

    /// An object as JSON, null if there is none; without a name a list.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Value> {
        let mut words = vec!["-n", namespace, "get", kind, "-o", "json", "--ignore-not-found"];
        words.extend((!name.is_empty()).then_some(name));
        let text = self.bed.kubectl(&words)?;
        if text.trim().is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    /// Waits until the object says what is wanted.
    pub async fn wait(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let start = Instant::now();
        loop {
            let object = self.get(kind, namespace, name)?;
            if wanted(&object) {
                return Ok(object);
            }
            if start.elapsed() > patience {
                let story = self.bed.kubectl(&["-n", HOME, "describe", "subscriptions,releases"])?;
                let pods = self.bed.kubectl(&["get", "pods", "-A", "-o", "wide"])?;
                bail!("{kind} {name} did not become what is wanted: {object:#}\n{story}\n{pods}");
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// What the daemon's account wrote since a moment: all of it but leases and events.
    pub fn writes(&self, since: Timestamp, namespace: Option<&str>) -> Result<Vec<AuditEvent>> {
        let all = self.bed.audit_log()?;
        Ok(all
            .into_iter()
            .filter(|event| event.user == USER && event.received >= since && event.is_write())
            .filter(|event| event.stage == "ResponseComplete")
            .filter(|event| {
                event.object.as_ref().is_some_and(|object| {
                    !matches!(object.resource.as_str(), "leases" | "events")
                        && namespace.is_none_or(|namespace| object.namespace == namespace)
                })
            })
            .collect())
    }

    /// A subscription to the shop's channel.
    pub fn subscription(&self, registry: &Registry, root: &(registry_wire::Digest, String)) -> Value {
        Place::default().subscription(registry, root)
    }
}

/// A daemon in this process.
pub struct RunningDaemon {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), DaemonError>>,
}

impl RunningDaemon {
    /// Stops it as SIGTERM does.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok().context("the daemon has ended already")?;
        }
        self.task.await??;
        Ok(())
    }

    /// Waits until it ends by itself, and gives why.
    pub async fn ended(self) -> Result<DaemonError> {
        match self.task.await? {
            Err(error) => Ok(error),
            Ok(()) => bail!("nobody asked the daemon to stop"),
        }
    }

    /// Ends it as SIGKILL does: nothing is given back.
    pub async fn kill(self) -> Result<()> {
        self.task.abort();
        match self.task.await {
            Err(error) if error.is_cancelled() => Ok(()),
            Err(error) => Err(error.into()),
            Ok(ended) => Ok(ended?),
        }
    }
}

/// The beds' kubeconfigs have one context.
const CONTEXT: &str = "bed";

async fn client(kubeconfig: &Path) -> Result<Client> {
    Ok(connect(Some(kubeconfig), CONTEXT).await?)
}
