//! What a test asks for.

use serde::{Deserialize, Serialize};

/// A registry that the nodes reach over plain HTTP.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registry {
    /// The name in image references, such as `registry.test:5000`.
    pub name: String,
    /// Where it listens, such as `http://10.77.0.254:5000`. `HOST` in it stands for [`crate::Cluster::host_address`],
    /// which is known only once the cluster has its slot.
    pub address: String,
}

/// What a test asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterOptions {
    /// How many nodes, one to three.
    pub nodes: u8,
    /// The name for the command line; no two living beds share one. Without it, the bed is called after its slot.
    pub name: Option<String>,
    /// Registries over plain HTTP; [`crate::Cluster::add_registry`] adds more later.
    pub registries: Vec<Registry>,
    /// How many `PersistentVolumes` of class `local` each node has.
    pub volumes_per_node: u8,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self { nodes: 1, name: None, registries: Vec::new(), volumes_per_node: 8 }
    }
}
