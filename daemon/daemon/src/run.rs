//! One daemon leads; it follows every subscription of its namespace at once.

use std::{collections::BTreeMap, time::Duration};

use daemon_cluster::{Cluster, Events, HeldLease, LeaseOptions, acquire};
use kube::{Client, ResourceExt};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

use crate::{
    Clock, DaemonError, DaemonOptions,
    error::chain,
    follower::{Follower, Turn},
    health::{Pulse, serve},
};

/// From one look for new subscriptions to the next.
const LOOK: Duration = Duration::from_secs(2);
/// Shortest pause between two turns of a subscription.
const SHORTEST: Duration = Duration::from_millis(100);

/// Runs until `shutdown` ends, which gives the lease back, or until the lease is lost, which is an error: the process
/// should end then, and whoever started it starts another.
///
/// # Cancel safety
///
/// Dropping it at any point leaves the cluster in a state from which the next daemon goes on; the lease runs out.
pub async fn run(
    options: DaemonOptions,
    client: Client,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), DaemonError> {
    let pulse = Pulse::new();
    let health = match options.health_address {
        Some(address) => {
            let listener =
                TcpListener::bind(address).await.map_err(|source| DaemonError::Health { address, source })?;
            Some(tokio::spawn(serve(listener, pulse.clone())))
        }
        None => None,
    };
    let result = lead(&options, client, &clock, shutdown, &pulse).await;
    if let Some(health) = health {
        health.abort();
    }
    result
}

async fn lead(
    options: &DaemonOptions,
    client: Client,
    clock: &Clock,
    shutdown: impl Future<Output = ()> + Send,
    pulse: &Pulse,
) -> Result<(), DaemonError> {
    tokio::pin!(shutdown);
    let lease = LeaseOptions {
        name: options.lease.clone(),
        identity: options.identity.clone(),
        timing: options.lease_timing,
    };
    tracing::info!(lease = lease.name, identity = lease.identity, "waiting for the lease");
    let time = clock.clone();
    let waiting = acquire(client.clone(), &options.namespace, lease, move || time.now());
    tokio::pin!(waiting);
    let held = loop {
        // Waiting is no hanging.
        pulse.beat();
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            held = &mut waiting => break held.map_err(|source| DaemonError::Lease { source })?,
            () = sleep(LOOK) => {}
        }
    };
    tracing::info!(epoch = held.epoch(), "leading");
    let cluster = Cluster::new(client.clone(), &options.namespace).fenced(held.fence().clone());
    let events = Events::new(client, options.identity.clone());
    let mut followers = Followers { tasks: BTreeMap::new() };
    let result = tokio::select! {
        () = &mut shutdown => Ok(()),
        () = held.lost() => Err(DaemonError::LeaseLost),
        () = followers.supervise(options, &cluster, &events, clock, &held, pulse) => Err(DaemonError::LeaseLost),
    };
    followers.stop().await;
    if result.is_ok() {
        match held.release().await {
            Ok(()) => tracing::info!("the lease is given back"),
            Err(error) => {
                tracing::warn!(error = chain(&error), "the lease could not be given back and will run out");
            }
        }
    }
    result
}

struct Followers {
    tasks: BTreeMap<String, JoinHandle<Ended>>,
}

/// Why a follower ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Its subscription is no longer there.
    Gone,
    /// A daemon that was chosen later has written.
    Outranked,
}

/// Whoever is let fall in the middle follows nothing any more.
impl Drop for Followers {
    fn drop(&mut self) {
        self.tasks.values().for_each(JoinHandle::abort);
    }
}

impl Followers {
    /// Starts a follower for each subscription that has none, until one finds that another daemon leads.
    async fn supervise(
        &mut self,
        options: &DaemonOptions,
        cluster: &Cluster,
        events: &Events,
        clock: &Clock,
        held: &HeldLease,
        pulse: &Pulse,
    ) {
        loop {
            pulse.beat();
            let ended: Vec<_> = self.tasks.extract_if(.., |_, task| task.is_finished()).collect();
            for (name, task) in ended {
                match task.await {
                    Ok(Ended::Gone) => {}
                    Ok(Ended::Outranked) => return,
                    Err(error) => tracing::error!(subscription = name, %error, "a follower panicked"),
                }
            }
            match cluster.subscriptions().await {
                Ok(subscriptions) => {
                    for subscription in subscriptions {
                        match subscription {
                            Ok(subscription) => {
                                let name = subscription.name_any();
                                self.tasks.entry(name.clone()).or_insert_with(|| {
                                    let follower = Follower::new(
                                        options.clone(),
                                        cluster.clone(),
                                        events.clone(),
                                        clock.clone(),
                                        held.epoch(),
                                        name,
                                    );
                                    tokio::spawn(follow(follower))
                                });
                            }
                            Err(error) => {
                                tracing::error!(error = chain(&error), "a subscription is passed over");
                            }
                        }
                    }
                }
                Err(error) => tracing::warn!(error = chain(&error), "cannot look for subscriptions"),
            }
            sleep(LOOK).await;
        }
    }

    async fn stop(&mut self) {
        for (name, task) in std::mem::take(&mut self.tasks) {
            task.abort();
            if let Err(error) = task.await
                && error.is_panic()
            {
                tracing::error!(subscription = name, %error, "a follower panicked");
            }
        }
    }
}

async fn follow(mut follower: Follower) -> Ended {
    loop {
        match follower.turn().await {
            Turn::Gone => return Ended::Gone,
            Turn::Outranked => return Ended::Outranked,
            Turn::Wait(pause) => sleep(pause.max(SHORTEST)).await,
        }
    }
}
