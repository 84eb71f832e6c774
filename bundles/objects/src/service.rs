//! The service model: how an image runs. What a recipe's `[service]` part holds.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AbsolutePath, ConfigKey, Cpu, HttpPath, Memory, Peer, PortName, Seconds, SecretReference, ServiceName,
    SourcePath, StorageName, VariableName,
};

/// How a service runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Service {
    /// `deployment` for interchangeable replicas, `statefulset` for replicas with a name and volumes of their own.
    #[serde(default)]
    pub kind: Kind,
    /// Number of replicas: 2 for a deployment and 1 for a statefulset unless given. Under `scaling` the autoscaler
    /// decides and this only has to fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: Option<u32>,
    /// Ports that the service listens on, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<PortName, Port>,
    /// What one replica is promised and may use at most.
    pub resources: Resources,
    /// Horizontal autoscaling; only for a deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Services that this one talks to. They are applied first and may be reached over the network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<ServiceName>,
    /// How the daemon and Kubernetes learn that a replica is well.
    pub health: Health,
    /// Environment variables: a text, `{ config = "key" }` or `{ secret = "name/key" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<VariableName, EnvironmentValue>,
    /// Files of the recipe that are mounted read-only: path in the container = path in the recipe's folder. The
    /// folder that holds such a file is replaced as a whole.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config_files: BTreeMap<AbsolutePath, SourcePath>,
    /// Volumes that outlive releases; only for a statefulset.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub storage: BTreeMap<StorageName, Storage>,
    /// Writable folders that live as long as the pod: path = largest size. All else is read-only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scratch: BTreeMap<AbsolutePath, Memory>,
    /// Who may talk to the service, beside the services that need it, and whom it may talk to.
    #[serde(default)]
    pub network: Network,
    /// How a new version replaces the old one.
    #[serde(default)]
    pub rollout: Rollout,
    /// How a replica ends.
    #[serde(default)]
    pub stop: Stop,
    /// What is saved before each release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
}

/// The number of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Port(#[schemars(range(min = 1, max = 65535))] std::num::NonZeroU16);

impl Port {
    /// The number.
    pub const fn number(self) -> u16 {
        self.0.get()
    }
}

impl Service {
    /// The number of replicas before any scaling.
    pub fn replicas(&self) -> u32 {
        self.replicas.unwrap_or(match self.kind {
            Kind::Deployment => self.scaling.map_or(2, |scaling| scaling.min),
            Kind::Statefulset => 1,
        })
    }

    /// The number of replicas below which it never falls: the autoscaler's least, or the fixed number.
    pub fn least_replicas(&self) -> u32 {
        self.scaling.map_or_else(|| self.replicas(), |scaling| scaling.min)
    }

    /// How long a replica stays in service after it was asked to go.
    pub fn stop_delay(&self) -> Seconds {
        self.stop.delay.unwrap_or(match self.kind {
            Kind::Deployment if !self.ports.is_empty() => Seconds::new(5),
            Kind::Deployment | Kind::Statefulset => Seconds::new(0),
        })
    }
}

/// The kind of workload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Interchangeable replicas.
    #[default]
    Deployment,
    /// Replicas with a name and volumes of their own.
    Statefulset,
}

/// What one replica is promised and may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Resources {
    /// Processor time that is kept for a replica.
    pub cpu: Cpu,
    /// Memory that is kept for a replica.
    pub memory: Memory,
    /// The most that a replica may use. Without it memory is limited to what is kept and processor time is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

impl Resources {
    /// The most memory that a replica may use.
    pub fn memory_limit(&self) -> Memory {
        self.limit.and_then(|limit| limit.memory).unwrap_or(self.memory)
    }

    /// The most processor time that a replica may use, when there is a bound.
    pub fn cpu_limit(&self) -> Option<Cpu> {
        self.limit.and_then(|limit| limit.cpu)
    }
}

/// The most that a replica may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Limit {
    /// Processor time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

/// Horizontal autoscaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scaling {
    /// Least number of replicas.
    #[schemars(range(min = 1, max = 1000))]
    pub min: u32,
    /// Largest number of replicas.
    #[schemars(range(min = 1, max = 1000))]
    pub max: u32,
    /// Processor use to aim at, in percent of what `resources.cpu` keeps.
    #[schemars(range(min = 1, max = 100))]
    pub cpu: u32,
}

/// How the daemon and Kubernetes learn that a replica is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Health {
    /// A replica gets requests while this succeeds.
    pub ready: Probe,
    /// A replica is started anew when this fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alive: Option<Probe>,
    /// The other probes wait until this has succeeded once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// A release that is not well after this time is taken back.
    #[serde(default = "default_deadline")]
    pub deadline: Seconds,
    /// How long it has to stay well before the release is kept.
    #[serde(default = "default_soak")]
    pub soak: Seconds,
}

fn default_deadline() -> Seconds {
    Seconds::new(120)
}

fn default_soak() -> Seconds {
    Seconds::new(15)
}

/// One check: exactly one of `path`, `tcp` and `command`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Probe {
    /// Succeeds when a GET request for this path is answered with a status from 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPath>,
    /// The port that `path` is asked on; may be left out when the service has one port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
    /// Succeeds when a connection to this port is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<PortName>,
    /// Succeeds when this command, run in the container without a shell, ends with status 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Time from the start of the container to the first check.
    #[serde(default = "default_after")]
    pub after: Seconds,
    /// Time from one check to the next.
    #[serde(default = "default_period")]
    pub period: Seconds,
    /// A check that takes longer has failed.
    #[serde(default = "default_timeout")]
    pub timeout: Seconds,
    /// Number of failures in a row that count.
    #[serde(default = "default_failures")]
    #[schemars(range(min = 1, max = 1000))]
    pub failures: u32,
}

fn default_after() -> Seconds {
    Seconds::new(0)
}

fn default_period() -> Seconds {
    Seconds::new(10)
}

fn default_timeout() -> Seconds {
    Seconds::new(3)
}

const fn default_failures() -> u32 {
    3
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAction<'a> {
    /// A GET request.
    Http {
        /// The path.
        path: &'a HttpPath,
        /// The port.
        port: &'a PortName,
    },
    /// A connection.
    Tcp {
        /// The port.
        port: &'a PortName,
    },
    /// A command.
    Command(&'a [String]),
}

impl Probe {
    /// What the probe does in a service with these ports; `None` when it says nothing, too much, or leaves the port
    /// open.
    pub fn action<'a>(&'a self, ports: &'a BTreeMap<PortName, Port>) -> Option<ProbeAction<'a>> {
        match (&self.path, &self.tcp, self.command.as_slice()) {
            (Some(path), None, []) => {
                let port = match &self.port {
                    Some(port) => port,
                    None if ports.len() == 1 => ports.keys().next()?,
                    None => return None,
                };
                Some(ProbeAction::Http { path, port })
            }
            (None, Some(port), []) if self.port.is_none() => Some(ProbeAction::Tcp { port }),
            (None, None, command) if !command.is_empty() && self.port.is_none() => {
                Some(ProbeAction::Command(command))
            }
            _ => None,
        }
    }
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EnvironmentValue {
    /// The text itself.
    Literal(String),
    /// A value that each environment gives.
    Config(ConfigReference),
    /// A value that only the cluster has.
    Secret(SecretValue),
}

/// A value that each environment gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigReference {
    /// The key in `[config]` of `environments/*.toml`.
    pub config: ConfigKey,
}

/// A value that only the cluster has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretValue {
    /// The Secret and the key in it.
    pub secret: SecretReference,
}

/// A volume that outlives releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Storage {
    /// How much is asked for.
    pub size: Memory,
    /// Where it is in the container.
    pub mount: AbsolutePath,
}

/// Network borders. What is not allowed here or by `needs` is refused; names can always be resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Network {
    /// Who may talk to the service, beside the services that need it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposed_to: Vec<Peer>,
    /// Whom the service may talk to, beside the services that it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reaches: Vec<Peer>,
}

/// How a new version replaces the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rollout {
    /// The way to replace.
    #[serde(default)]
    pub strategy: RolloutStrategy,
    /// Number of replicas above the wanted number during a rollout of a deployment.
    #[serde(default = "default_surge")]
    #[schemars(range(max = 1000))]
    pub surge: u32,
    /// Number of replicas that may be missing during a rollout of a deployment. 0 loses no request.
    #[serde(default)]
    #[schemars(range(max = 1000))]
    pub unavailable: u32,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { strategy: RolloutStrategy::Rolling, surge: default_surge(), unavailable: 0 }
    }
}

const fn default_surge() -> u32 {
    1
}

/// The way to replace replicas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutStrategy {
    /// One after the other.
    #[default]
    Rolling,
}

/// How a replica ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stop {
    /// Time in which requests still come in before the process gets SIGTERM: 5 s for a deployment with ports, none
    /// for others, unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Seconds>,
    /// Time from SIGTERM to SIGKILL.
    #[serde(default = "default_grace")]
    pub grace: Seconds,
}

impl Default for Stop {
    fn default() -> Self {
        Self { delay: None, grace: default_grace() }
    }
}

fn default_grace() -> Seconds {
    Seconds::new(30)
}

/// What is saved before each release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Backup {
    /// The way to save.
    pub kind: BackupKind,
    /// The port to save from; may be left out when the service has one port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
}

/// The way to save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BackupKind {
    /// A Redis snapshot (`redis-cli --rdb`), checked by Redis's own checker.
    RedisRdb,
}
