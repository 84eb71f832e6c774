//! How the daemon runs.

use std::{net::SocketAddr, time::Duration};

use daemon_cluster::LeaseTiming;

/// How the daemon runs.
#[derive(Debug, Clone)]
pub struct DaemonOptions {
    /// The namespace of its own objects.
    pub namespace: String,
    /// Name of the lease.
    pub lease: String,
    /// Times around the lease.
    pub lease_timing: LeaseTiming,
    /// One start of this process: the name of the pod and something random. Never used twice.
    pub identity: String,
    /// The image that holds our static executable, as nodes pull it.
    pub guest_image: String,
    /// Where to say that the loop turns; nowhere when left out.
    pub health_address: Option<SocketAddr>,
    /// From one look at a kept release to the next.
    pub resync: Duration,
    /// Version of this daemon, major and minor, for releases that ask for one.
    pub version: (u32, u32),
}

impl DaemonOptions {
    /// The default name of the lease.
    pub const LEASE: &'static str = "bundle-daemon";
    /// The default time from one look at a kept release to the next.
    pub const RESYNC: Duration = Duration::from_secs(5);
}
