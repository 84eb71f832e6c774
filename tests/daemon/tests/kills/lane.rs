//! One daemon with its namespaces and channel, and rollouts through it.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bundles_release::Release;
use bundles_trust::Action;
use daemon_cluster::{Cluster, SubscriptionStatus};
use registry_client::Registry;
use test_daemon::{
    goods::{Behaviour, Goods},
    lab::{Lab, Place},
    process::{End, Process},
    proxy::{Moment, Others, Proxy},
    shop::Shop,
};

use crate::{
    call::{NamedCall, name, named},
    end_state::{EndState, Lives, lives},
    words::Words,
};

/// How long a rollout may take, a kill and the next daemon included.
const PATIENCE: Duration = Duration::from_mins(3);
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(300);
/// A cluster in which nothing was called for so long is at rest.
const REST: Duration = Duration::from_secs(3);
/// Releases that the daemon remembers; one more is forgotten in each rollout that keeps another.
const REMEMBERED: usize = 10;

/// Numbers releases, so that no two are the same.
static NEXT: AtomicU32 = AtomicU32::new(1001);

/// What is rolled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A good release over a good one: a restore point, writes, a prune, and the oldest release forgotten.
    Update,
    /// A release that crashes: it is denied, and the good one is written again.
    Rollback,
}

/// Which call of a rollout the daemon is killed at, and on which side of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aim {
    pub(crate) call: NamedCall,
    pub(crate) moment: Moment,
}

/// What a rollout came to.
#[derive(Debug)]
pub(crate) struct Run {
    /// Its calls.
    pub(crate) calls: Vec<NamedCall>,
    /// Whether the daemon was killed, which only signal 9 counts as.
    pub(crate) fired: bool,
    /// Whether a daemon lost its lease by itself meanwhile, so that calls were made that the rollout does not need.
    pub(crate) disturbed: bool,
    /// What it left.
    pub(crate) end: EndState,
    /// How long it took.
    pub(crate) took: Duration,
}

/// What a lane wrote down, to be compared with the audit log.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) place: Place,
    /// How many rollouts came to writing.
    pub(crate) rollouts: usize,
    /// How many daemons were killed.
    pub(crate) kills: usize,
    /// How many daemons lost their lease of one second by themselves, on a machine that was busy.
    pub(crate) lost_leases: usize,
    /// Calls that the API server answered with success.
    pub(crate) succeeded: usize,
    /// Calls whose answer nobody knows.
    pub(crate) unknown: usize,
}

/// One daemon with its namespaces and channel.
pub(crate) struct Lane {
    place: Place,
    proxy: Proxy,
    shop: Shop,
    process: Process,
    cluster: Cluster,
    goods: Goods,
    kept: Release,
    lives: Lives,
    /// What was there at the end of the last rollout; nothing may change until the next.
    left: Option<(Words, EndState)>,
    folder: PathBuf,
    ledger: Ledger,
}

impl Lane {
    /// Starts a daemon and lets it install a first release.
    pub(crate) async fn open(
        lab: &Lab,
        registry: &Registry,
        goods: &Goods,
        scenario: Scenario,
        number: usize,
    ) -> Result<Self> {
        let name = format!("{}-{number}", format!("{scenario:?}").to_lowercase());
        let place = Place {
            home: format!("home-{name}"),
            target: format!("target-{name}"),
            channel: format!("shop/{}", name.replace('-', ".")),
        };
        let folder = lab.folder().join(&name);
        std::fs::create_dir_all(&folder)?;
        let proxy = Proxy::new(&lab.install(&place)?)?;
        let shop = Shop::on_channel(registry.clone(), &place.channel)?;
        lab.bed.apply(&place.subscription(registry, &shop.root()).to_string())?;
        let process = Process::start(&place.home, &goods.guest(), proxy.door(&folder).await?, &folder)?;
        let cluster = Cluster::new(lab.administrator.clone(), &place.home);
        let kept = release(&shop, goods, Scenario::Update, true).await?;
        let ledger =
            Ledger { place: place.clone(), rollouts: 0, kills: 0, lost_leases: 0, succeeded: 0, unknown: 0 };
        let mut lane = Self {
            place,
            proxy,
            shop,
            process,
            cluster,
            goods: goods.clone(),
            kept: kept.clone(),
            lives: Lives::new(),
            left: None,
            folder,
            ledger,
        };
        // Releases that are refused fill the memory, so that each rollout after them forgets one.
        let past = if scenario == Scenario::Update { REMEMBERED } else { 0 };
        for _ in 0..past {
            let unsigned = release(&lane.shop, goods, Scenario::Update, false).await?;
            lane.promote_until(&unsigned, refused).await?;
        }
        lane.promote_until(&kept, keeps).await?;
        // The first rollout makes what all others find: the volume of the restore points, a release of before.
        lane.roll_out(scenario, None, None).await?;
        lane.lives = lives(&lane.cluster, &lane.place).await?;
        lane.left = None;
        Ok(lane)
    }

    /// What it wrote down.
    pub(crate) fn into_ledger(self) -> Ledger {
        let calls = self.proxy.calls_since(0);
        let succeeded = calls.iter().filter(|call| call.status.is_some_and(|status| status < 300)).count();
        let unknown = calls.iter().filter(|call| call.forwarded && call.status.is_none()).count();
        Ledger { succeeded, unknown, ..self.ledger }
    }

    /// Rolls out a fresh release, with a kill if there is an aim, until the cluster is at rest; or, when it is known
    /// what shall be there in the end, until that is there.
    ///
    /// After an error the lane is as the rollout left it, and what is left is looked at no more.
    pub(crate) async fn roll_out(
        &mut self,
        scenario: Scenario,
        aim: Option<&Aim>,
        expected: Option<&EndState>,
    ) -> Result<Run> {
        let start = Instant::now();
        if let Some((words, left)) = &self.left {
            let now = EndState::look(&self.cluster, &self.place, words, &self.lives).await?;
            ensure!(now == *left, "the cluster did not stay as it was left:\n{}", left.differences(&now));
        }
        self.left = None;
        let before = self.proxy.count();
        let (kills, lost_leases) = (self.ledger.kills, self.ledger.lost_leases);
        let release = release(&self.shop, &self.goods, scenario, true).await?;
        let words = Words::of(&self.place, &release, &self.kept, &self.goods.words());
        if let Some(aim) = aim {
            self.set_trap(aim, words.clone());
        }
        self.shop.promote(&release, Action::Promote).await?;
        self.ledger.rollouts += 1;
        let mut last: (usize, Instant) = (before, Instant::now());
        let run = loop {
            tokio::time::sleep(LOOK).await;
            self.see_to_the_daemon().await?;
            let fired = self.ledger.kills > kills;
            if self.proxy.count() != last.0 {
                last = (self.proxy.count(), Instant::now());
            }
            let is_over = status(&self.cluster).await.is_ok_and(|status| match scenario {
                Scenario::Update => keeps(&status, &release),
                Scenario::Rollback => denies(&status, &release, &self.kept),
            });
            let is_resting = last.1.elapsed() > REST;
            let is_late = start.elapsed() > PATIENCE;
            if !is_over && !is_late {
                continue;
            }
            let end = EndState::look(&self.cluster, &self.place, &words, &self.lives).await?;
            let is_there = expected.is_none_or(|expected| *expected == end);
            // A kill that has come proves that nothing more has to be waited for.
            if is_over && is_there && (is_resting || (fired && expected.is_some())) {
                break Run {
                    calls: named(&self.proxy.calls_since(before), &words),
                    fired,
                    disturbed: self.ledger.lost_leases > lost_leases,
                    end,
                    took: start.elapsed(),
                };
            }
            if is_late {
                let calls = named(&self.proxy.calls_since(before), &words);
                let differs = expected.map(|expected| expected.differences(&end)).unwrap_or_default();
                let story = self.process.story()?;
                bail!(
                    "killed: {fired}, over: {is_over}, at rest: {is_resting}; differences:\n{differs}{story}\ncalls: \
                     {calls:#?}"
                );
            }
        };
        self.proxy.disarm();
        self.left = Some((words, run.end.clone()));
        if scenario == Scenario::Update {
            self.kept = release;
        }
        Ok(run)
    }

    async fn promote_until(
        &mut self,
        release: &Release,
        wanted: fn(&SubscriptionStatus, &Release) -> bool,
    ) -> Result<()> {
        self.shop.promote(release, Action::Promote).await?;
        let start = Instant::now();
        loop {
            self.see_to_the_daemon().await?;
            let status = status(&self.cluster).await?;
            if wanted(&status, release) {
                return Ok(());
            }
            ensure!(start.elapsed() < PATIENCE, "the lane does not get ready: {status:#?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Has the daemon killed at the call, at once and without asking this task.
    fn set_trap(&self, aim: &Aim, words: Words) {
        let (wanted, mut left) = (aim.call.name.clone(), aim.call.occurrence);
        let caught = self.proxy.catch(aim.moment, Others::Freeze, move |call| {
            let is_wanted = name(call, &words) == wanted;
            left = left.saturating_sub(usize::from(is_wanted));
            is_wanted && left == 0
        });
        let killer = self.process.killer();
        tokio::spawn(async move {
            // A daemon that ended by itself meanwhile was not killed, and `see_to_the_daemon` says so.
            if caught.await.is_ok() {
                killer.kill().ok();
            }
        });
    }

    /// Starts the next daemon when this one has ended.
    async fn see_to_the_daemon(&mut self) -> Result<()> {
        match self.process.ended()? {
            None => return Ok(()),
            Some(End::Killed) => self.ledger.kills += 1,
            Some(End::Itself(status, story)) => {
                ensure!(story.contains("the lease was lost"), "the daemon ended with {status}\n{story}");
                self.ledger.lost_leases += 1;
            }
        }
        self.process.start_next(self.proxy.door(&self.folder).await?)
    }
}

/// A fresh release.
async fn release(shop: &Shop, goods: &Goods, scenario: Scenario, sign: bool) -> Result<Release> {
    let version = format!("sweep-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let behaviour = match scenario {
        Scenario::Update => Behaviour::Good,
        Scenario::Rollback => Behaviour::Crashing,
    };
    goods.release(shop, &version, behaviour, sign).await
}

async fn status(cluster: &Cluster) -> Result<SubscriptionStatus> {
    let found = cluster.subscription("shop").await?.context("the subscription is there")?;
    Ok(found.status.unwrap_or_default())
}

fn ready(status: &SubscriptionStatus) -> Option<(&str, &str)> {
    let ready = status.conditions.iter().find(|condition| condition.kind == "Ready")?;
    Some((&ready.reason, &ready.message))
}

fn keeps(status: &SubscriptionStatus, release: &Release) -> bool {
    status.running.as_ref().is_some_and(|running| running.digest == release.digest())
        && ready(status).is_some_and(|(reason, _)| reason == "Kept")
}

fn denies(status: &SubscriptionStatus, release: &Release, kept: &Release) -> bool {
    status.denied.iter().any(|denied| denied.digest == release.digest())
        && status.running.as_ref().is_some_and(|running| running.digest == kept.digest())
        && ready(status).is_some_and(|(reason, _)| reason == "Denied")
}

fn refused(status: &SubscriptionStatus, release: &Release) -> bool {
    let accepted = status.accepted.as_ref().is_some_and(|accepted| accepted.release == release.digest());
    accepted && ready(status).is_some_and(|(reason, _)| reason == "Refused")
}
