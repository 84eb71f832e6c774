//! Doing what the planner says, one step at a time. Each step may be repeated.

use std::collections::{BTreeMap, BTreeSet};

use bundles_objects::BackupKind;
use bundles_trust::verify_release;
use daemon_backup::{RestorePointProgress, RestorePointRequest, restore_point};
use daemon_cluster::{
    Cluster, ClusterError, DeleteOutcome, Denied, DocumentOwner, DocumentReference, InventoryReference,
    WarmRequest,
};
use daemon_plan::{
    Failure, Inventory, ObjectKey, Phase, Reason, RolloutState, Step,
    field::FieldPath,
    names::ShortName,
    prune::Doomed,
    rollout::{Fact, ObjectFact, PodReference, RestorePoint},
};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use registry_wire::Digest;
use serde_json::Value;

use crate::{
    contents::{Contents, ContentsError, Documents},
    error::{Trouble, chain},
    follower::{Flow, Follower, Table, binding_of, remembered, target_of},
    observe::{Intents, observe},
    preflight::preflight,
    source::{SourceError, fetch_documents},
    write::{Written, write_object},
};

/// How many objects are written at once.
const AT_ONCE: usize = 8;
/// Denials that are remembered.
const MOST_DENIED: usize = 50;

/// Why the documents of a release are not whole in the cluster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// They were never complete.
    #[error("the documents of release {release} are not in the cluster")]
    Absent { release: Digest },
    /// What is there is not what was stored.
    #[error(transparent)]
    Broken { source: ClusterError },
}

impl Follower {
    /// Does one step.
    pub(crate) async fn take(&mut self, table: &mut Table, step: Step) -> Result<Flow, Trouble> {
        match step {
            Step::Record(state) => self.record(table, *state).await?,
            Step::FetchRelease { release } => self.fetch(table, release).await?,
            Step::LoadRelease { release } => self.load(table, release).await?,
            Step::VerifyRelease { release } => self.verify(release),
            Step::ReadInventory => self.read_inventory(table).await?,
            Step::Preflight { release } => self.preflight(table, release).await?,
            Step::WarmNodes { images } => self.warm(table, &images).await?,
            Step::TakeRestorePoint { service, backup, name } => {
                self.protect(table, &service, backup, &name).await?;
            }
            Step::WriteInventory { inventory, .. } => self.write_inventory(table, inventory).await?,
            Step::Observe { release, objects } => self.refresh(release, &objects).await,
            Step::Apply { release, objects, .. } => self.apply(release, &objects).await,
            Step::DeletePods { pods } => self.delete_pods(&pods).await?,
            Step::Prune { objects } => self.prune(objects).await?,
            Step::Deny { release, failure } => self.deny(table, release, &failure).await?,
            Step::WaitHealthy { until, .. } | Step::Soak { until, .. } | Step::Idle { until } => {
                return Ok(Flow::Wait(until));
            }
            Step::Done => return Ok(Flow::Over),
        }
        Ok(Flow::Again)
    }

    async fn record(&mut self, table: &mut Table, state: RolloutState) -> Result<(), Trouble> {
        let now = self.clock.now();
        table.journals.record(&self.cluster, &table.subscription, &state, now).await?;
        let was = self.work.as_ref().map(|work| work.state.phase_name());
        let release_before = self.work.as_ref().map(crate::work::Work::release_at_work);
        if let Some(work) = &mut self.work {
            work.state = state.clone();
            if matches!(state.phase, Phase::OnNodes) {
                work.seen.verified = Fact::Unknown;
            }
            if Some(work.release_at_work()) != release_before {
                work.seen.objects.clear();
                work.seen.health.clear();
                work.seen.stuck_pods.clear();
            }
        }
        if was != Some(state.phase_name()) {
            self.tell(table, &state).await;
        }
        match state.phase {
            Phase::Kept => {
                table.journals.forget_old(&self.cluster, &remembered(table), &[]).await?;
                self.contents.retain(|digest, _| *digest == state.release);
            }
            Phase::Refused { .. } | Phase::Superseded { .. } => self.cluster.cool_nodes(&self.name).await?,
            _ => {}
        }
        if state.phase.outcome().is_some() {
            // What is told now is what follows from the end, not what was wanted before it.
            table.target = target_of(&table.subscription, &table.journals, &table.view, now);
        }
        self.publish(table).await
    }

    /// Removes what a process that ended in the middle of a step has left: what follows from a stored word may not have
    /// been done, and nobody would do it until the next such word.
    pub(crate) async fn clear_up(&self, table: &mut Table, state: &RolloutState) -> Result<(), Trouble> {
        if let Some(owner) = DocumentOwner::subscription(&table.subscription) {
            let stored = table.subscription.status.as_ref().and_then(|status| status.inventory.as_ref());
            let keep = stored.map(|inventory| inventory.digest).into_iter().collect();
            self.cluster.drop_documents(&owner, &keep).await?;
        }
        if matches!(state.phase, Phase::Kept) {
            table.journals.forget_old(&self.cluster, &remembered(table), &[]).await?;
            // No rollout is under way, so no image has to come onto a node.
            self.cluster.cool_nodes(&self.name).await?;
        }
        Ok(())
    }

    /// Fetches all documents from the registry and keeps them in the cluster.
    async fn fetch(&mut self, table: &mut Table, release: Digest) -> Result<(), Trouble> {
        let Some(registry) = self.registry_of(&table.subscription) else {
            self.set_plan(release, Fact::Refused { message: "spec.registry cannot be asked".to_owned() });
            return Ok(());
        };
        let repository = &table.subscription.spec.repository;
        let environment = table.journals.place(release, &table.subscription).environment;
        let record = self.channel.record().map(bundles_trust::SignedRecord::document);
        let fetched = fetch_documents(&registry, repository, release, &environment, record).await;
        let documents = match fetched {
            Ok(documents) => documents,
            Err(SourceError::Refused(message)) => {
                self.set_plan(release, Fact::Refused { message });
                return Ok(());
            }
            Err(SourceError::Silent(message)) => {
                // What an earlier attempt kept is as good: it goes by digest.
                match self.stored(table, release).await? {
                    Ok(documents) => self.read_contents(table, release, &documents),
                    Err(lost) => {
                        let lost = chain(&lost);
                        tracing::warn!(subscription = self.name, error = message, "the registry is silent");
                        self.trouble = Some(format!("{lost}, and the registry is silent: {message}"));
                    }
                }
                return Ok(());
            }
        };
        match table.journals.keep_documents(&self.cluster, release, &documents).await? {
            Ok(()) => self.read_contents(table, release, &documents),
            Err(error) => self.set_plan(release, Fact::Refused { message: chain(&error) }),
        }
        Ok(())
    }

    /// Reads a release from the cluster. Documents that were lost there are fetched again, by the same digest.
    async fn load(&mut self, table: &mut Table, release: Digest) -> Result<(), Trouble> {
        if let Some(contents) = self.contents.get(&release) {
            let plan = contents.plan.clone();
            self.set_plan(release, Fact::Known(plan));
            return Ok(());
        }
        match self.stored(table, release).await? {
            Ok(documents) => self.read_contents(table, release, &documents),
            Err(lost) => {
                tracing::warn!(subscription = self.name, %release, lost = chain(&lost), "the registry is asked for documents again");
                self.fetch(table, release).await?;
            }
        }
        Ok(())
    }

    /// The documents of a release that the cluster holds, or why they are not whole.
    async fn stored(&self, table: &Table, release: Digest) -> Result<Result<Documents, Lost>, Trouble> {
        match table.journals.documents(&self.cluster, release).await {
            Ok(Some(documents)) => Ok(Ok(documents)),
            Ok(None) => Ok(Err(Lost::Absent { release })),
            Err(Trouble::Cluster { source: source @ ClusterError::Document { .. } }) => {
                Ok(Err(Lost::Broken { source }))
            }
            Err(error) => Err(error),
        }
    }

    fn read_contents(&mut self, table: &Table, release: Digest, documents: &Documents) {
        let place = table.journals.place(release, &table.subscription);
        let read = binding_of(&self.name, &place)
            .map_err(ContentsError::from)
            .and_then(|binding| Contents::read(documents, &place.environment, &binding))
            .and_then(|contents| match contents.release.digest() {
                found if found == release => Ok(contents),
                found => Err(ContentsError::Other { found }),
            });
        match read {
            Ok(contents) => {
                let plan = contents.plan.clone();
                self.contents.insert(release, contents);
                self.set_plan(release, Fact::Known(plan));
            }
            Err(error) => self.set_plan(release, Fact::Refused { message: chain(&error) }),
        }
    }

    fn set_plan(&mut self, release: Digest, plan: Fact<daemon_plan::RolloutPlan>) {
        let Some(work) = &mut self.work else { return };
        if work.state.release == release {
            work.seen.plan = plan;
        } else {
            work.seen.kept_plan = plan;
        }
    }

    fn verify(&mut self, release: Digest) {
        let now = self.clock.now();
        let (Some(root), Some(channel)) = (self.channel.root(), self.channel.channel()) else {
            self.trouble = Some("no trust root is known to verify the release with".to_owned());
            return;
        };
        let Some(contents) = self.contents.get(&release) else {
            // After a restart the documents are read first.
            if let Some(work) = &mut self.work {
                work.seen.plan = Fact::Unknown;
            }
            return;
        };
        let refused =
            |reason: bundles_trust::Reason| Fact::Refused { message: format!("{reason}; {}", reason.hint()) };
        let belongs =
            contents.belongs(channel, self.channel.record().map(bundles_trust::SignedRecord::document));
        let verified = verify_release(release, &contents.signatures, root, now);
        if let Some(work) = &mut self.work {
            work.seen.belongs = belongs.map_or_else(refused, Fact::Known);
            work.seen.verified = verified.map_or_else(refused, |_| Fact::Known(()));
        }
    }

    async fn read_inventory(&mut self, table: &Table) -> Result<(), Trouble> {
        let stored = table.subscription.status.as_ref().and_then(|status| status.inventory.as_ref());
        let inventory = match (stored, DocumentOwner::subscription(&table.subscription)) {
            (None, _) => Fact::Known(Inventory::default()),
            (Some(_), None) => Fact::Unknown,
            (Some(stored), Some(owner)) => {
                let reference = DocumentReference { digest: stored.digest, chunks: stored.chunks };
                match self.cluster.load_document(&owner, &reference).await {
                    Ok(bytes) => match Inventory::decode(&bytes) {
                        Ok(inventory) => Fact::Known(inventory),
                        Err(error) => Fact::Refused { message: chain(&error) },
                    },
                    Err(error @ ClusterError::Document { .. }) => Fact::Refused { message: chain(&error) },
                    Err(error) => return Err(error.into()),
                }
            }
        };
        if let Some(work) = &mut self.work {
            work.seen.inventory = inventory;
        }
        Ok(())
    }

    /// Stores an inventory: pieces first, then the word in the status that names them, then the old pieces go.
    async fn write_inventory(&mut self, table: &mut Table, inventory: Inventory) -> Result<(), Trouble> {
        let Some(owner) = DocumentOwner::subscription(&table.subscription) else { return Ok(()) };
        let bytes = inventory.encode().map_err(|source| Trouble::Inventory { source })?;
        let reference = self.cluster.store_document(&owner, &bytes).await?;
        let mut changed = table.subscription.clone();
        changed.status.get_or_insert_default().inventory = Some(InventoryReference {
            digest: reference.digest,
            objects: inventory.len(),
            chunks: reference.chunks,
        });
        table.subscription = self.cluster.replace_subscription_status(&changed).await?;
        if let Some(work) = &mut self.work {
            // What left the inventory is no longer looked at.
            work.seen.objects.retain(|key, _| inventory.get(key).is_some());
            work.seen.health.retain(|key, _| inventory.get(key).is_some());
            work.seen.inventory = Fact::Known(inventory);
        }
        self.cluster.drop_documents(&owner, &BTreeSet::from([reference.digest])).await?;
        Ok(())
    }

    async fn preflight(&mut self, table: &Table, release: Digest) -> Result<(), Trouble> {
        let Some(contents) = self.contents.get(&release) else {
            if let Some(work) = &mut self.work {
                work.seen.plan = Fact::Unknown;
            }
            return Ok(());
        };
        let namespace = table.journals.place(release, &table.subscription).namespace;
        let fact = preflight(&self.cluster, contents, &self.name, &namespace, self.options.version).await?;
        if let Some(work) = &mut self.work {
            work.seen.preflight = fact;
        }
        Ok(())
    }

    async fn warm(&mut self, table: &Table, images: &BTreeSet<String>) -> Result<(), Trouble> {
        let Some(work) = &mut self.work else { return Ok(()) };
        let owner = table.journals.release(work.state.release).and_then(DocumentOwner::release);
        let Some(owner) = owner else { return Ok(()) };
        let request = WarmRequest {
            subscription: &self.name,
            release: work.state.release,
            attempt: work.state.attempt,
            images,
            guest: &self.options.guest_image,
            owner: &owner,
        };
        let found = self.cluster.warm_nodes(&request, self.clock.now()).await?;
        self.trouble = found.waits;
        work.seen.missing_images = match found.refused {
            Some(message) => Fact::Refused { message },
            None => Fact::Known(found.missing),
        };
        Ok(())
    }

    async fn protect(
        &mut self,
        table: &mut Table,
        service: &str,
        way: BackupKind,
        name: &ShortName,
    ) -> Result<(), Trouble> {
        let Some(work) = &self.work else { return Ok(()) };
        let (release, attempt, previous) = (work.state.release, work.state.attempt, work.state.previous);
        let taken = table
            .journals
            .release(release)
            .and_then(|object| object.status.as_ref())
            .is_some_and(|status| status.restore_points.iter().any(|point| point.name == *name));
        let point = if taken {
            RestorePoint::Confirmed
        } else {
            // The running release's own words count first: it is its data that is saved.
            let mut policies =
                previous.into_iter().chain([release]).filter_map(|digest| self.contents.get(&digest));
            let backup = policies.find_map(|contents| contents.policies.get(service)?.backup.as_ref());
            let forgotten = table.journals.old_restore_points(&remembered(table));
            // The data is where the running release is.
            let place = table.journals.place(previous.unwrap_or(release), &table.subscription);
            match backup {
                None => {
                    RestorePoint::Failed { message: format!("nothing says how service {service} is saved") }
                }
                Some(backup) => {
                    let request = RestorePointRequest {
                        subscription: &self.name,
                        release,
                        attempt,
                        service,
                        namespace: &place.namespace,
                        way,
                        port: backup.port,
                        name,
                        guest: &self.options.guest_image,
                        volume: &table.subscription.spec.backup,
                        forgotten: &forgotten,
                        was_kept: previous.is_some(),
                    };
                    match restore_point(&self.cluster, &request).await? {
                        RestorePointProgress::NothingToProtect => RestorePoint::NoData,
                        RestorePointProgress::Waits { message } => {
                            self.trouble = Some(message);
                            RestorePoint::Absent
                        }
                        RestorePointProgress::Running => RestorePoint::Running,
                        RestorePointProgress::Failed { message } => RestorePoint::Failed { message },
                        RestorePointProgress::Confirmed { record, forgotten } => {
                            // Once it is noted nobody looks at the Job again, which says what it deleted.
                            let keep = remembered(table);
                            table.journals.forget_old(&self.cluster, &keep, &forgotten).await?;
                            table.journals.note_restore_point(&self.cluster, release, record).await?;
                            RestorePoint::Confirmed
                        }
                    }
                }
            }
        };
        if let Some(work) = &mut self.work {
            work.seen.restore_points.insert(service.to_owned(), point);
        }
        Ok(())
    }

    /// Looks at objects anew. What cannot be seen is unknown afterwards.
    pub(crate) async fn refresh(&mut self, release: Digest, keys: &BTreeSet<ObjectKey>) {
        let Some(work) = &mut self.work else { return };
        let nothing = BTreeMap::new();
        let contents = self.contents.get(&release);
        let intents = Intents {
            subscription: &self.name,
            objects: contents.map_or(&nothing, |contents| &contents.objects),
            left: &work.left,
            since: work.state.pods_count_from(),
        };
        let sight = observe(&self.cluster, &intents, keys, self.clock.now()).await;
        if work.seen.compared_with != Some(release) {
            work.seen.objects.clear();
            work.seen.health.clear();
        }
        for key in keys {
            work.seen.objects.remove(key);
            work.seen.health.remove(key);
        }
        work.seen.compared_with = Some(release);
        work.seen.objects.extend(sight.objects);
        work.seen.health.extend(sight.health);
        work.seen.stuck_pods = sight.stuck_pods;
        if let Some(error) = sight.trouble {
            self.trouble = Some(self.tell_trouble("not everything could be seen", &error));
        }
    }

    /// Looks again at everything that is being written or kept.
    pub(crate) async fn refresh_watched(&mut self) {
        let Some(work) = &self.work else { return };
        let (release, keys) = (work.release_at_work(), work.watched());
        if work.watches_objects() && work.seen.compared_with == Some(release) && !keys.is_empty() {
            self.refresh(release, &keys).await;
        }
    }

    /// Applies objects, each with one request, then looks what became of them.
    async fn apply(&mut self, release: Digest, keys: &BTreeSet<ObjectKey>) {
        let (Some(work), Some(contents)) = (&mut self.work, self.contents.get(&release)) else { return };
        let mut tasks = Vec::new();
        for key in keys {
            if let Some(intent) = contents.objects.get(key) {
                let left = work.left.get(key).map(Vec::as_slice).unwrap_or_default();
                tasks.push(write_named(&self.cluster, key, intent, left));
            }
        }
        let written: Vec<_> = stream::iter(tasks).buffer_unordered(AT_ONCE).collect().await;
        let mut rejected = BTreeMap::new();
        for (key, result) in written {
            match result {
                Ok(Written::Done { left, .. }) => {
                    if !left.is_empty() {
                        tracing::info!(object = %key, fields = left.len(), "fields are left to controllers");
                        work.left.insert(key, left);
                    }
                }
                Ok(Written::Terminating | Written::Unknown) => {}
                Ok(Written::Rejected(failure)) => {
                    rejected.insert(key, ObjectFact::Rejected(failure));
                }
                Err(error) => {
                    tracing::warn!(object = %key, error = chain(&error), "nobody knows whether the object was written");
                    self.trouble = Some(chain(&error));
                }
            }
        }
        self.refresh(release, keys).await;
        if let Some(work) = &mut self.work {
            work.seen.objects.extend(rejected);
        }
    }

    async fn delete_pods(&mut self, pods: &[PodReference]) -> Result<(), Trouble> {
        for pod in pods {
            let Ok(key) = ObjectKey::new("", "v1", "Pod", Some(&pod.namespace), &pod.name) else { continue };
            self.cluster.delete_life(&key, &pod.uid).await?;
            tracing::info!(pod = %key, "a pod that held up its set was deleted");
        }
        let Some(work) = &self.work else { return Ok(()) };
        let (release, keys) = (work.release_at_work(), work.watched());
        self.refresh(release, &keys).await;
        Ok(())
    }

    async fn prune(&mut self, doomed: Vec<Doomed>) -> Result<(), Trouble> {
        let mut keys = BTreeSet::new();
        let mut forbidden = BTreeMap::new();
        for object in doomed {
            let outcome = self.cluster.delete(&object).await?;
            tracing::info!(object = %object.key, ?outcome, "pruned");
            if outcome == DeleteOutcome::Forbidden {
                let failure =
                    Failure::new(Reason::ApplyRejected, format!("{} may not be deleted", object.key));
                forbidden.insert(object.key.clone(), ObjectFact::Rejected(failure));
            }
            keys.insert(object.key);
        }
        let Some(work) = &mut self.work else { return Ok(()) };
        // An autoscaler may have been among them, and what was left to it is ours again.
        work.left.clear();
        let release = work.release_at_work();
        self.refresh(release, &keys).await;
        if let Some(work) = &mut self.work {
            work.seen.objects.extend(forbidden);
        }
        Ok(())
    }

    async fn deny(&mut self, table: &mut Table, release: Digest, failure: &Failure) -> Result<(), Trouble> {
        let Some(work) = &mut self.work else { return Ok(()) };
        let at: Timestamp = self.clock.now();
        let mut changed = table.subscription.clone();
        let status = changed.status.get_or_insert_default();
        status.denied.retain(|denied| denied.digest != release);
        status.denied.push(Denied {
            digest: release,
            attempt: work.state.attempt,
            reason: failure.reason.to_string(),
            message: failure.message.clone(),
            at,
        });
        let surplus = status.denied.len().saturating_sub(MOST_DENIED);
        status.denied.drain(..surplus);
        table.subscription = self.cluster.replace_subscription_status(&changed).await?;
        work.seen.denied = true;
        Ok(())
    }
}

async fn write_named(
    cluster: &Cluster,
    key: &ObjectKey,
    intent: &Value,
    left: &[FieldPath],
) -> (ObjectKey, Result<Written, ClusterError>) {
    (key.clone(), write_object(cluster, key, intent, left, false).await)
}
