//! A small cluster, registry and operator, with an executor that can be told to fail or die at every step. It checks
//! what must hold at each of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use daemon_plan::{
    Failure, Health, Inventory, ObjectKey, Observed, Phase, Reason, RolloutPlan, RolloutState, Step, Target,
    decide_target,
    inventory::Live,
    next,
    rollout::{Fact, Limits, ObjectFact, PodReference, RestorePoint},
    target::{Channel, Circumstances, rollout_for},
};
use jiff::{SignedDuration, Timestamp};
use registry_wire::Digest;

use crate::{
    releases::{Behaviour, digest, plan},
    weather::{Trouble, Weather},
};

#[derive(Debug, Clone)]
struct Object {
    live: Live,
    intent: Digest,
    /// When it was written, and by which release.
    written: Timestamp,
    release: Digest,
    terminating: u8,
}

#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) behaviours: BTreeMap<Digest, Behaviour>,
    plans: BTreeMap<Digest, RolloutPlan>,
    documents: BTreeSet<Digest>,
    objects: BTreeMap<ObjectKey, Object>,
    pub(crate) inventory: Inventory,
    pub(crate) journals: BTreeMap<Digest, RolloutState>,
    latest: Option<Digest>,
    pub(crate) kept: Option<Digest>,
    pub(crate) denied: BTreeMap<Digest, String>,
    pub(crate) channel: Channel,
    pub(crate) pin: Option<Digest>,
    pub(crate) hold: bool,
    /// Restore points by name, and how often each was looked at.
    pub(crate) restore_points: BTreeMap<String, u32>,
    pub(crate) troubles: BTreeSet<Trouble>,
    preflighted: BTreeSet<(Digest, u32)>,
    warmed: BTreeSet<Digest>,
    /// Since when the executor looks without a gap.
    looking_since: Timestamp,
    /// Time that health must hold, in place of what the release asks for.
    pub(crate) soak: Option<Duration>,
    seen: Observed,
    seen_of: Option<(Digest, u32)>,
    uids: u32,
    pub(crate) jobs_run: BTreeMap<ObjectKey, u32>,
    /// Steps, phases and reasons that were reached.
    pub(crate) reached: BTreeSet<String>,
    pub(crate) writes: usize,
}

impl World {
    /// A world with releases `a`, `b` and `c`, all good, and an empty cluster.
    pub(crate) fn new() -> Self {
        let names = ["a", "b", "c"];
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        Self {
            now,
            behaviours: names.iter().map(|name| (digest(name), Behaviour::Good)).collect(),
            plans: names.iter().map(|name| (digest(name), plan(name))).collect(),
            documents: BTreeSet::new(),
            objects: BTreeMap::new(),
            inventory: Inventory::default(),
            journals: BTreeMap::new(),
            latest: None,
            kept: None,
            denied: BTreeMap::new(),
            channel: Channel::Unknown,
            pin: None,
            hold: false,
            restore_points: BTreeMap::new(),
            troubles: BTreeSet::new(),
            preflighted: BTreeSet::new(),
            warmed: BTreeSet::new(),
            looking_since: now,
            soak: None,
            seen: Observed::default(),
            seen_of: None,
            uids: 0,
            jobs_run: BTreeMap::new(),
            reached: BTreeSet::new(),
            writes: 0,
        }
    }

    /// A world in which `a` is installed and kept.
    pub(crate) fn installed() -> Self {
        let mut world = Self::new();
        world.promote("a");
        world.settle(&[]);
        assert_eq!(world.kept, Some(digest("a")));
        world
    }

    fn has(&self, trouble: Trouble) -> bool {
        self.troubles.contains(&trouble)
    }

    pub(crate) fn promote(&mut self, name: &str) {
        self.channel = Channel::Accepted { release: digest(name) };
    }

    pub(crate) fn phase(&self, name: &str) -> &Phase {
        &self.journals[&digest(name)].phase
    }

    /// Objects and what they are, to compare worlds.
    pub(crate) fn state(&self) -> BTreeMap<String, Digest> {
        self.objects.iter().map(|(key, object)| (key.to_string(), object.intent)).collect()
    }

    pub(crate) fn intents(&self, name: &str) -> BTreeMap<String, Digest> {
        self.plans[&digest(name)].objects().map(|object| (object.key.to_string(), object.intent)).collect()
    }

    /// Someone deletes an object or changes it.
    pub(crate) fn meddle(&mut self, kind: &str, delete: bool) {
        let key = self.objects.keys().find(|key| key.kind() == kind).cloned().expect("there is one");
        if delete {
            self.objects.remove(&key);
        } else if let Some(object) = self.objects.get_mut(&key) {
            object.intent = digest("meddled");
        }
    }

    fn target(&self) -> Target {
        decide_target(
            &Circumstances {
                pin: self.pin,
                hold: self.hold,
                channel: &self.channel,
                denied: &self.denied,
                kept: self.kept,
                rollout: self.latest.and_then(|latest| self.journals.get(&latest)),
            },
            self.now,
        )
    }

    /// The journal that is at work, stored if it is a new one; none if there is nothing to do.
    fn journal(&mut self, target: &Target) -> Option<RolloutState> {
        let latest = self.latest.and_then(|latest| self.journals.get(&latest)).cloned();
        let unfinished = latest.clone().filter(|journal| journal.phase.outcome().is_none());
        let journal = match (target, unfinished) {
            (_, Some(journal)) => journal,
            (Target::RollOut { release }, None) => {
                assert!(!self.denied.contains_key(release), "a denied release is not rolled out");
                let journal = rollout_for(*release, self.kept, self.journals.get(release), self.now);
                self.journals.insert(*release, journal.clone());
                self.latest = Some(*release);
                journal
            }
            _ => self.journals.get(&self.kept?)?.clone(),
        };
        Some(journal)
    }

    /// Runs until nothing is to do in the steady state, under this weather and fair weather after it.
    pub(crate) fn settle(&mut self, weather: &[Weather]) -> usize {
        let mut weather = weather.iter();
        let mut idle = 0;
        for count in 0..3000 {
            let today = weather.next().copied().unwrap_or(Weather::Fair);
            let before = self.journals.clone();
            let busy = self.turn(today);
            // What is still being deleted is gone at the second look.
            idle = if before == self.journals { idle + u32::from(!busy) } else { 0 };
            if idle == 3 {
                self.check_ended();
                return count;
            }
        }
        panic!("the rollout does not end: {:?}", self.journals);
    }

    /// Nothing follows from a rollout that has ended, unless its release is kept in place.
    fn check_ended(&mut self) {
        for journal in self.journals.values() {
            if journal.phase.outcome().is_some() && journal.phase != Phase::Kept {
                assert_eq!(next(journal, &self.seen, self.now), Step::Done);
                self.reached.insert("Done".to_owned());
            }
        }
    }

    /// One turn of the executor; false when nothing is left to do.
    pub(crate) fn turn(&mut self, weather: Weather) -> bool {
        let target = self.target();
        let Some(journal) = self.journal(&target) else { return false };
        if self.seen_of != Some((journal.release, journal.attempt)) {
            self.forget();
            self.seen_of = Some((journal.release, journal.attempt));
        }
        self.seen.target = Some(target.clone());
        self.seen.denied = self.denied.contains_key(&journal.release);
        let step = next(&journal, &self.seen, self.now);
        self.reached.insert(step.name().to_owned());
        self.check(&journal, &step, &target);
        self.now += SignedDuration::from_secs(1);
        let steady = journal.phase.outcome().is_some();
        match weather {
            Weather::DiesBefore => self.start_anew(),
            Weather::Error => {}
            Weather::Forgets => self.forget(),
            Weather::Outage => {
                self.now += SignedDuration::from_mins(11);
                self.start_anew();
            }
            Weather::Fair => self.execute(&journal, step.clone()),
            Weather::Lost | Weather::DiesAfter => {
                let seen = self.seen.clone();
                self.execute(&journal, step.clone());
                self.seen = seen;
                if weather == Weather::DiesAfter {
                    self.start_anew();
                } else {
                    // What was known of objects before is no longer to be relied on.
                    self.seen.objects.clear();
                    self.seen.health.clear();
                    self.seen.inventory = Fact::Unknown;
                }
            }
        }
        let ended = steady && matches!(step, Step::Idle { .. } | Step::Done);
        !ended
    }

    /// Nobody looked until now.
    fn start_anew(&mut self) {
        self.looking_since = self.now;
        self.forget();
    }

    /// As the daemon does when a turn is cut off or another rollout begins: it looks on, and knows nothing.
    fn forget(&mut self) {
        self.seen = Observed {
            looking_since: Some(self.looking_since),
            memory_since: Some(self.now),
            // Whoever soaks long looks less often.
            limits: Limits {
                soak: self.soak,
                poll: Duration::from_secs(if self.soak.is_some() { 10 } else { 1 }),
                ..Limits::default()
            },
            ..Observed::default()
        };
    }

    /// What must hold of every step.
    fn check(&self, journal: &RolloutState, step: &Step, target: &Target) {
        let release = journal.release;
        if let Step::Record(new) = step {
            assert!(new.phase.rank() >= journal.phase.rank(), "{journal:?} → {new:?}");
            assert_ne!(**new, *journal, "a record that says nothing new");
            assert!(journal.phase.outcome().is_none(), "an ended rollout goes on: {new:?}");
            if matches!(new.phase, Phase::Protected { .. }) && !journal.phase.may_have_written() {
                let stops = matches!(target, Target::Refused { .. } | Target::Held { .. });
                assert!(!stops, "a first write although the target is {target:?}");
            }
        }
        if step.writes() {
            let ready =
                self.preflighted.contains(&(release, journal.attempt)) && self.warmed.contains(&release);
            assert!(ready, "{step:?} before preflight and images");
            assert!(journal.protection.is_some(), "{step:?} before protection");
            let data = self.objects.keys().any(|key| key.kind() == "StatefulSet");
            let point = journal.restore_point("cache").to_string();
            let first = journal.previous.is_none();
            assert!(
                first || !data || self.restore_points.get(&point) >= Some(&2),
                "{step:?} without {point}"
            );
        }
        match step {
            Step::Apply { release: of, objects, .. } => {
                let back = matches!(journal.phase, Phase::RollingBack { .. });
                assert_eq!(*of, if back { journal.previous.expect("there is a way back") } else { release });
                assert!(back || !self.denied.contains_key(of), "a denied release is written");
                for key in objects {
                    assert!(
                        self.inventory.get(key).is_some(),
                        "{key} is written before it is in the inventory"
                    );
                }
            }
            Step::Prune { objects } => {
                let back = matches!(journal.phase, Phase::RollingBack { .. });
                let of = if back { journal.previous.expect("there is a way back") } else { release };
                let wanted = self.plans[&of].keys();
                self.check_healthy(of);
                for doomed in objects {
                    assert!(!wanted.contains(&doomed.key), "{} is wanted", doomed.key);
                    assert_ne!(doomed.key.kind(), "PersistentVolumeClaim", "data is pruned without a word");
                }
                let judged =
                    matches!(journal.phase, Phase::Judged { .. } | Phase::Kept | Phase::RollingBack { .. });
                assert!(judged, "prune before health");
            }
            _ => {}
        }
    }

    /// What is there now is this release and well, whatever the executor believes.
    fn check_healthy(&self, of: Digest) {
        for planned in self.plans[&of].objects() {
            let entry = self.inventory.get(&planned.key);
            if planned.is_job() && entry.is_some_and(|entry| entry.completed) {
                continue;
            }
            let object =
                self.objects.get(&planned.key).unwrap_or_else(|| panic!("{} is absent", planned.key));
            assert_eq!(object.intent, planned.intent, "prune while {} differs", planned.key);
            // Health may have broken since the last look, which is a step ago.
            let health = [0, 1, 2]
                .map(|ago| self.health(of, &planned.key, object, self.now - SignedDuration::from_secs(ago)));
            let is_well = health.contains(&Some(Health::Healthy));
            assert!(is_well, "prune while {} is not well: {health:?}", planned.key);
        }
    }

    fn execute(&mut self, journal: &RolloutState, step: Step) {
        let release = journal.release;
        let behaviour = self.behaviours[&release];
        self.seen.trouble = None;
        match step {
            Step::Record(new) => {
                self.reached.insert(new.phase.name().to_owned());
                self.reached.insert(new.phase_name().to_owned());
                if let Some(failure) = new.phase.failure() {
                    self.reached.insert(format!("{}", failure.reason));
                }
                if let Phase::Refused { refusal, .. } = &new.phase {
                    self.reached.insert(format!("Refused{}", refusal.reason));
                }
                if new.phase == Phase::Kept {
                    self.kept = Some(release);
                }
                if new.phase == Phase::OnNodes {
                    self.seen.verified = Fact::Unknown;
                }
                self.journals.insert(release, *new);
            }
            Step::FetchRelease { .. } if self.has(Trouble::RegistryDown) => {
                self.seen.trouble = Some("registry.example does not answer".to_owned());
            }
            Step::FetchRelease { .. } if behaviour == Behaviour::Broken => {
                self.seen.plan = Fact::Refused { message: "not a release".to_owned() };
            }
            Step::FetchRelease { release } => {
                self.documents.insert(release);
                self.seen.plan = Fact::Known(self.plans[&release].clone());
            }
            Step::LoadRelease { release: of } => {
                assert!(self.documents.contains(&of), "documents are read before they are kept");
                let plan = Fact::Known(self.plans[&of].clone());
                if of == release {
                    self.seen.plan = plan;
                } else {
                    self.seen.kept_plan = plan;
                }
            }
            Step::VerifyRelease { .. } => {
                let is_read = matches!(self.seen.plan, Fact::Known(_));
                assert!(is_read, "signatures are verified before the documents that hold them are read");
                self.seen.belongs = match behaviour {
                    Behaviour::Foreign => Fact::Refused { message: "of another product".to_owned() },
                    _ => Fact::Known(()),
                };
                self.seen.verified = match behaviour {
                    Behaviour::Unsigned => Fact::Refused { message: "no signature".to_owned() },
                    _ => Fact::Known(()),
                };
            }
            Step::ReadInventory => self.seen.inventory = Fact::Known(self.inventory.clone()),
            Step::Preflight { .. } if behaviour == Behaviour::FailsPreflight => {
                self.seen.preflight = Fact::Refused { message: "Secret shop/token is missing".to_owned() };
            }
            Step::Preflight { .. } => {
                self.preflighted.insert((release, journal.attempt));
                self.seen.preflight = Fact::Known(());
            }
            Step::WarmNodes { .. } if behaviour == Behaviour::ImageMissing => {
                self.seen.missing_images = Fact::Refused { message: "no such image".to_owned() };
            }
            Step::WarmNodes { .. } if self.has(Trouble::RegistryDown) => {
                self.seen.trouble = Some("registry.example does not answer".to_owned());
            }
            Step::WarmNodes { .. } => {
                self.warmed.insert(release);
                self.seen.missing_images = Fact::Known(BTreeSet::new());
            }
            Step::TakeRestorePoint { service, name, .. } => {
                let data = self.objects.keys().any(|key| key.kind() == "StatefulSet");
                let fact = if data { self.take(name.as_str()) } else { RestorePoint::NoData };
                self.seen.restore_points.insert(service, fact);
            }
            Step::WriteInventory { inventory, .. } => {
                for key in self.objects.keys() {
                    assert!(inventory.get(key).is_some(), "{key} is in the cluster and in no inventory");
                }
                let (digest, chunks) = inventory.to_chunks().expect("an inventory is plain JSON");
                self.inventory = Inventory::from_chunks(digest, &chunks).expect("what was stored is read");
                self.seen.inventory = Fact::Known(self.inventory.clone());
            }
            Step::Observe { release: of, objects } => self.observe(of, &objects),
            Step::Apply { release: of, objects, .. } => {
                self.apply(of, &objects);
                self.observe(of, &objects);
                let rejected = self.behaviours[&of] == Behaviour::Rejected
                    || self.has(Trouble::NoReturn) && matches!(journal.phase, Phase::RollingBack { .. });
                if let Some(key) = objects.iter().find(|key| rejected && key.kind() == "Deployment") {
                    let failure = Failure::new(Reason::ApplyRejected, "invalid");
                    self.objects.remove(key);
                    self.seen.objects.insert(key.clone(), ObjectFact::Rejected(failure));
                }
            }
            Step::DeletePods { .. } => {
                self.troubles.remove(&Trouble::StuckPod);
                self.seen.stuck_pods.clear();
            }
            Step::Prune { objects } => {
                let of = self.seen.compared_with.expect("they were looked at");
                let keys: BTreeSet<ObjectKey> = objects.iter().map(|doomed| doomed.key.clone()).collect();
                let refused = self.has(Trouble::Undeletable);
                for doomed in objects.iter().filter(|_| !refused) {
                    if let Some(object) = self.objects.get_mut(&doomed.key) {
                        assert_eq!(object.live.uid, doomed.uid, "another life of the object is deleted");
                        self.writes += 1;
                        object.terminating = 2;
                    }
                }
                self.observe(of, &keys);
                if self.has(Trouble::Undeletable) {
                    let refused = || ObjectFact::Rejected(Failure::new(Reason::ApplyRejected, "forbidden"));
                    self.seen.objects.extend(keys.into_iter().map(|key| (key, refused())));
                }
            }
            Step::Deny { release, failure } => {
                self.denied.insert(release, failure.to_string());
            }
            Step::WaitHealthy { until, .. } | Step::Soak { until, .. } | Step::Idle { until } => {
                self.wait(until);
            }
            Step::Done => {}
        }
    }

    fn wait(&mut self, until: Timestamp) {
        self.now = self.now.max(until);
        if let Some(of) = self.seen.compared_with {
            let keys = self.seen.objects.keys().cloned().collect();
            self.observe(of, &keys);
        }
        let stuck = PodReference {
            namespace: "shop".to_owned(),
            name: "cache-0".to_owned(),
            uid: "pod".parse().expect("a uid"),
        };
        self.seen.stuck_pods = if self.has(Trouble::StuckPod) { vec![stuck] } else { Vec::new() };
    }

    fn take(&mut self, name: &str) -> RestorePoint {
        if self.has(Trouble::RestoreFails) {
            return RestorePoint::Failed { message: "the disk is full".to_owned() };
        }
        let looked = self.restore_points.entry(name.to_owned()).or_default();
        *looked += 1;
        if *looked >= 2 { RestorePoint::Confirmed } else { RestorePoint::Running }
    }

    fn apply(&mut self, of: Digest, keys: &BTreeSet<ObjectKey>) {
        for planned in self.plans[&of].objects().filter(|object| keys.contains(&object.key)) {
            self.uids += 1;
            self.writes += 1;
            let version = self.uids;
            let uid = format!("uid-{version}").parse().expect("a uid");
            let object = self.objects.entry(planned.key.clone()).or_insert_with(|| {
                if planned.is_job() {
                    *self.jobs_run.entry(planned.key.clone()).or_default() += 1;
                }
                Object {
                    live: Live { uid, generation: Some(1), resource_version: String::new() },
                    intent: planned.intent,
                    written: self.now,
                    release: of,
                    terminating: 0,
                }
            });
            object.live.resource_version = version.to_string();
            object.intent = planned.intent;
            object.written = self.now;
            object.release = of;
        }
    }

    fn observe(&mut self, of: Digest, keys: &BTreeSet<ObjectKey>) {
        if self.seen.compared_with != Some(of) {
            self.seen.objects.clear();
            self.seen.health.clear();
            self.seen.compared_with = Some(of);
        }
        for key in keys {
            let planned = self.plans[&of].objects().find(|object| object.key == *key).cloned();
            let Some(object) = self.objects.get_mut(key) else {
                self.seen.objects.insert(key.clone(), ObjectFact::Absent);
                self.seen.health.remove(key);
                continue;
            };
            if object.terminating > 0 {
                object.terminating -= 1;
                if object.terminating == 0 {
                    self.objects.remove(key);
                    self.seen.objects.insert(key.clone(), ObjectFact::Absent);
                } else {
                    self.seen.objects.insert(key.clone(), ObjectFact::Terminating);
                }
                continue;
            }
            let in_sync = planned.as_ref().is_some_and(|planned| planned.intent == object.intent);
            let fact = ObjectFact::Present { live: object.live.clone(), in_sync, ours: true };
            self.seen.objects.insert(key.clone(), fact);
            let object = object.clone();
            match self.health(of, key, &object, self.now) {
                Some(health) => self.seen.health.insert(key.clone(), health),
                None => self.seen.health.remove(key),
            };
        }
    }

    fn health(&self, of: Digest, key: &ObjectKey, object: &Object, at: Timestamp) -> Option<Health> {
        let age = at.duration_since(object.written).as_secs();
        let waits = || Some(Health::Progressing { message: "0 of 2 replicas are ready".to_owned() });
        if key.kind() == "StatefulSet" && self.has(Trouble::StuckPod) && of != digest("b") {
            return waits();
        }
        if key.kind() == "Job" {
            return if age < 3 { waits() } else { Some(Health::Healthy) };
        }
        if key.kind() != "Deployment" {
            return Some(Health::Healthy);
        }
        let returns = self.has(Trouble::SlowReturn) && object.release == digest("a") && self.kept.is_some();
        if returns && age < 100 {
            return waits();
        }
        let crash = || Some(Health::Failed(Failure::new(Reason::CrashLoop, "container api of pod api-0")));
        match self.behaviours[&object.release] {
            Behaviour::Crashes if age >= 5 => crash(),
            Behaviour::NeverReady => waits(),
            Behaviour::Silent => None,
            Behaviour::Regresses if age >= 10 => crash(),
            Behaviour::LosesReadiness if age >= 10 => {
                Some(Health::Degraded { message: "pod api-0 was ready and is not any more".to_owned() })
            }
            _ if age < 4 => waits(),
            Behaviour::Grows => {
                let soak = self.soak.map_or(15, |soak| i64::try_from(soak.as_secs()).unwrap_or(i64::MAX));
                // The second break comes after a deadline that counts from the beginning of the soak.
                let breaks = [soak - 10..soak + 20, soak + 125..soak + 140];
                if breaks.iter().any(|times| times.contains(&age)) { waits() } else { Some(Health::Healthy) }
            }
            Behaviour::Flaps if age % 12 >= 8 => waits(),
            _ => Some(Health::Healthy),
        }
    }
}
