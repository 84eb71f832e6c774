//! The connection to one API server.

use std::{path::Path, time::Duration};

use kube::{
    Api, Client, Config, Resource,
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};

use crate::{ClusterError, Fence, Verb, resources::Resources};

/// Connecting takes at most this long, and so does each wait for more of an answer. A write of the daemon ends with its
/// lease besides.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects through a kubeconfig. There is no default context: who changes a cluster names it.
pub async fn connect(kubeconfig: Option<&Path>, context: &str) -> Result<Client, ClusterError> {
    let read = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let kubeconfig = read.map_err(|source| ClusterError::Kubeconfig {
        path: kubeconfig.map_or_else(|| "of this user".to_owned(), |path| path.display().to_string()),
        source: Box::new(source),
    })?;
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|source| ClusterError::Context { context: context.to_owned(), source: Box::new(source) })?;
    client(config)
}

/// Connects as the service account of the pod that this process runs in.
pub fn connect_in_cluster() -> Result<Client, ClusterError> {
    client(Config::incluster().map_err(|source| ClusterError::NotInCluster { source: Box::new(source) })?)
}

fn client(mut config: Config) -> Result<Client, ClusterError> {
    config.connect_timeout = Some(REQUEST_TIMEOUT);
    config.read_timeout = Some(REQUEST_TIMEOUT);
    config.reset_reader_on_write = true;
    // A repeated write is a decision of the rollout, which reads first.
    config.default_retry = false;
    Client::try_from(config).map_err(|source| ClusterError::Client { source: Box::new(source) })
}

/// The version of an API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KubernetesVersion {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// One cluster, and the namespace in which the daemon keeps its own objects.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    home: String,
    fence: Fence,
    resources: Resources,
}

impl Cluster {
    /// A cluster whose daemon lives in namespace `home`.
    pub fn new(client: Client, home: impl Into<String>) -> Self {
        Self { client, home: home.into(), fence: Fence::open(), resources: Resources::default() }
    }

    /// The same cluster, written to only while the fence is open. Called on a runtime.
    #[must_use]
    pub fn fenced(mut self, fence: Fence) -> Self {
        self.client = fence.around(self.client);
        self.fence = fence;
        self
    }

    /// The namespace of the daemon's own objects.
    pub fn home(&self) -> &str {
        &self.home
    }

    /// The client.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Whether this process may still write.
    pub const fn fence(&self) -> &Fence {
        &self.fence
    }

    pub(crate) const fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Objects of one kind in the daemon's namespace.
    pub(crate) fn own<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.home)
    }

    /// The version of the API server.
    pub async fn version(&self) -> Result<KubernetesVersion, ClusterError> {
        let info =
            self.client.apiserver_version().await.map_err(|source| {
                ClusterError::request(Verb::Get, "the version of the API server", source)
            })?;
        // Some distributions write `34+`.
        let number =
            |text: &str| text.trim_end_matches(|end: char| !end.is_ascii_digit()).parse().unwrap_or(0);
        Ok(KubernetesVersion { major: number(&info.major), minor: number(&info.minor) })
    }
}
