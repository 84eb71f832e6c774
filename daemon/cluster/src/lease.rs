//! The lease: one daemon leads, others wait.
//!
//! Why two never write at once: a holder renews every `retry`; if it could not for `renew`, its fence closes, its writes
//! that are under way are given up, and it stops. Others take the lease only after they saw it unchanged for `duration`,
//! which is longer, and by compare-and-swap on the resource version. What is left is a request that the API server has,
//! and ends later than `duration - renew` after it was given up. Journals are compare-and-swap with the epoch.
//!
//! The epoch rises above every stored one whenever the lease is taken. When somebody deleted the lease, whoever held it
//! may still write: it is put back as held by nobody who is known, and waited for as any other.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Client, api::PostParams};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{Cluster, ClusterError, Fence, Verb, error::status_of};

/// Who holds a lease that was deleted: nobody can say.
const UNKNOWN_HOLDER: &str = "unknown";

/// How long things take around a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTiming {
    /// Others wait this long after the last renewal that they saw.
    pub duration: Duration,
    /// The holder gives up after this long without a renewal.
    pub renew: Duration,
    /// From one attempt to renew or take to the next.
    pub retry: Duration,
}

impl Default for LeaseTiming {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Which lease, and who wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseOptions {
    /// Name of the lease, in the daemon's namespace.
    pub name: String,
    /// One start of one process; never used twice.
    pub identity: String,
    /// The times.
    pub timing: LeaseTiming,
}

/// A lease that this process holds. Give it back with [`HeldLease::release`]; one that is only dropped runs out.
#[must_use = "a lease that is not released keeps others waiting until it runs out"]
pub struct HeldLease {
    cluster: Cluster,
    options: LeaseOptions,
    epoch: u64,
    fence: Fence,
    lost: watch::Receiver<bool>,
    renewal: JoinHandle<()>,
}

/// A lease that is let fall is not renewed any more, so it runs out.
impl Drop for HeldLease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl HeldLease {
    /// How often the lease had changed hands when it was taken.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The fence to write behind.
    pub const fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Ends when the lease is lost.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            // The renewal ended without a word: it can only have been stopped.
        }
    }

    /// Gives the lease back, so that another process need not wait for it to run out.
    pub async fn release(self) -> Result<(), ClusterError> {
        self.renewal.abort();
        self.fence.extend(Instant::now());
        let api = self.cluster.own::<Lease>();
        let object = format!("lease {}", self.options.name);
        let current = api
            .get_opt(&self.options.name)
            .await
            .map_err(|source| ClusterError::request(Verb::Get, object.clone(), source))?;
        let Some(mut lease) = current.filter(|lease| holder(lease) == Some(&self.options.identity)) else {
            return Ok(());
        };
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        match api.replace(&self.options.name, &PostParams::default(), &lease).await {
            Ok(_) => Ok(()),
            Err(error) if status_of(&error).is_some_and(|status| status.code == 409) => Ok(()),
            Err(source) => Err(ClusterError::request(Verb::Replace, object, source)),
        }
    }
}

fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref().filter(|holder| !holder.is_empty())
}

/// Waits until this process holds the lease. `now` is read for the times in the object, which are for people; who
/// may take the lease is decided by the time that passed here.
pub async fn acquire(
    client: Client,
    home: &str,
    options: LeaseOptions,
    now: impl Fn() -> Timestamp + Send + Sync + 'static,
) -> Result<HeldLease, ClusterError> {
    let cluster = Cluster::new(client, home);
    let mut seen: Option<(String, Instant)> = None;
    loop {
        match try_take(&cluster, &options, &mut seen, &now).await {
            Ok(Some((lease, asked))) => return Ok(hold(cluster, options, lease, asked, now)),
            Ok(None) => {}
            Err(error) if error.is_forbidden() => return Err(error),
            Err(error) => {
                tracing::warn!(lease = %options.name, error = &error as &dyn std::error::Error, "cannot read the lease");
            }
        }
        sleep(options.timing.retry).await;
    }
}

/// Takes the lease if it is free; the instant is the one before the request.
async fn try_take(
    cluster: &Cluster,
    options: &LeaseOptions,
    seen: &mut Option<(String, Instant)>,
    now: &impl Fn() -> Timestamp,
) -> Result<Option<(Lease, Instant)>, ClusterError> {
    let api = cluster.own::<Lease>();
    let object = format!("lease {}", options.name);
    let asked = Instant::now();
    let current = api
        .get_opt(&options.name)
        .await
        .map_err(|source| ClusterError::request(Verb::Get, object.clone(), source))?;
    let taken = match current {
        None => {
            let highest = cluster.highest_epoch().await?;
            let (lease, is_taken) = first(options, highest, now());
            let created = api.create(&PostParams::default(), &lease).await;
            if created.is_ok() && !is_taken {
                return Ok(None);
            }
            created
        }
        Some(mut lease) => {
            let version = lease.metadata.resource_version.clone().unwrap_or_default();
            if holder(&lease).is_some() {
                match seen {
                    // A crashed holder's own duration counts, not ours: it may be configured otherwise.
                    Some((last, since)) if *last == version => {
                        let duration =
                            lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
                        let duration = Duration::from_secs(u64::try_from(duration).unwrap_or(0));
                        if since.elapsed() < duration {
                            return Ok(None);
                        }
                    }
                    _ => {
                        *seen = Some((version, asked));
                        return Ok(None);
                    }
                }
            }
            let highest = cluster.highest_epoch().await?;
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = Some(options.identity.clone());
            spec.lease_transitions =
                Some(spec.lease_transitions.unwrap_or(0).max(transitions(highest)).saturating_add(1));
            spec.lease_duration_seconds = Some(seconds(options.timing.duration));
            spec.acquire_time = Some(MicroTime(now()));
            spec.renew_time = Some(MicroTime(now()));
            api.replace(&options.name, &PostParams::default(), &lease).await
        }
    };
    match taken {
        Ok(lease) => Ok(Some((lease, asked))),
        Err(error) if status_of(&error).is_some_and(|status| status.code == 409) => Ok(None),
        Err(source) => Err(ClusterError::request(Verb::Replace, object, source)),
    }
}

/// The lease where there is none, and whether it is ours: only where no daemon ever led.
fn first(options: &LeaseOptions, highest: u64, now: Timestamp) -> (Lease, bool) {
    let is_taken = highest == 0;
    let holder = if is_taken { options.identity.clone() } else { UNKNOWN_HOLDER.to_owned() };
    let lease = Lease {
        metadata: ObjectMeta { name: Some(options.name.clone()), ..ObjectMeta::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder),
            lease_duration_seconds: Some(seconds(options.timing.duration)),
            lease_transitions: Some(transitions(highest).max(1)),
            acquire_time: Some(MicroTime(now)),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    };
    (lease, is_taken)
}

/// An epoch as it stands in a lease, with room for one more.
fn transitions(epoch: u64) -> i32 {
    i32::try_from(epoch).unwrap_or(i32::MAX).min(i32::MAX - 1)
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs().max(1)).unwrap_or(i32::MAX)
}

fn hold(
    cluster: Cluster,
    options: LeaseOptions,
    lease: Lease,
    asked: Instant,
    now: impl Fn() -> Timestamp + Send + Sync + 'static,
) -> HeldLease {
    let epoch = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
    let epoch = u64::try_from(epoch).unwrap_or(0);
    let fence = Fence::until(asked + options.timing.renew);
    let (end, lost) = watch::channel(false);
    let renewal = tokio::spawn(renew(cluster.clone(), options.clone(), lease, fence.clone(), end, now));
    HeldLease { cluster, options, epoch, fence, lost, renewal }
}

async fn renew(
    cluster: Cluster,
    options: LeaseOptions,
    mut lease: Lease,
    fence: Fence,
    end: watch::Sender<bool>,
    now: impl Fn() -> Timestamp + Send + Sync + 'static,
) {
    let api = cluster.own::<Lease>();
    loop {
        sleep(options.timing.retry).await;
        let asked = Instant::now();
        let left = fence.remaining().unwrap_or_default();
        lease.spec.get_or_insert_default().renew_time = Some(MicroTime(now()));
        let renewed = timeout(left, api.replace(&options.name, &PostParams::default(), &lease)).await;
        match renewed {
            Ok(Ok(renewed)) => {
                lease = renewed;
                fence.extend(asked + options.timing.renew);
            }
            Ok(Err(error)) => {
                tracing::warn!(lease = %options.name, error = &error as &dyn std::error::Error, "cannot renew the lease");
                // Our own write may have arrived although its answer did not: read what is there now.
                if let Ok(Ok(current)) = timeout(left, api.get_opt(&options.name)).await {
                    // A lease that is gone is free for others, so it is lost as well.
                    let Some(current) = current.filter(|current| holder(current) == Some(&options.identity))
                    else {
                        fence.extend(Instant::now());
                        break;
                    };
                    lease = current;
                }
            }
            Err(_) => {}
        }
        if !fence.is_open() {
            break;
        }
    }
    end.send_replace(true);
}
