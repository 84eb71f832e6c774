//! What ends the daemon, and what keeps a subscription from going on.

use daemon_backup::BackupError;
use daemon_cluster::ClusterError;
use registry_wire::Digest;

/// What ends the daemon.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The lease cannot be had.
    #[error("cannot get the lease that lets one daemon lead")]
    Lease {
        /// Why.
        source: ClusterError,
    },
    /// Another process took the lease.
    #[error("the lease was lost; another daemon leads now")]
    LeaseLost,
    /// The health address cannot be listened on.
    #[error("cannot listen on {address} to say that the daemon is well")]
    Health {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// What keeps one subscription from going on for now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The cluster.
    #[error("the cluster does not do what is asked")]
    Cluster {
        #[from]
        source: ClusterError,
    },
    /// A restore point.
    #[error("nothing is known of a restore point")]
    Backup {
        #[from]
        source: BackupError,
    },
    /// The trust floor has no form in which it could be stored.
    #[error("the trust floor cannot be written")]
    Floor { source: serde_json::Error },
    /// The inventory has no form in which it could be stored.
    #[error("the inventory cannot be stored")]
    Inventory { source: daemon_plan::inventory::InventoryError },
    /// A daemon that was chosen later has written: this one does not lead, whatever its lease says.
    #[error("the journal of release {release} is of epoch {stored}, this daemon leads in epoch {epoch}")]
    Outranked { release: Digest, stored: u64, epoch: u64 },
}

impl Trouble {
    /// Whether this process leads no more.
    pub(crate) const fn is_lost(&self) -> bool {
        matches!(self, Self::Outranked { .. } | Self::Cluster { source: ClusterError::LeaseLost { .. } })
    }

    /// Whether all that was read must be read again.
    pub(crate) const fn is_stale(&self) -> bool {
        matches!(self, Self::Cluster { source: ClusterError::Stale { .. } })
    }
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
