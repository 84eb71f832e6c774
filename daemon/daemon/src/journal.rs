//! The journals of a subscription's releases, as the cluster stores them.

use std::collections::BTreeSet;

use daemon_cluster::{
    Cluster, ClusterError, Condition, ConditionStatus, DocumentOwner, DocumentPart, Release,
    ReleaseObjectStatus, ReleasePlace, RestorePointRecord, Subscription, set_condition,
};
use daemon_plan::{Phase, RolloutState, names::ShortName};
use jiff::Timestamp;
use kube::ResourceExt;
use registry_wire::Digest;

use crate::{
    contents::{ContentsError, Documents, read_release},
    error::Trouble,
};

/// How many releases are remembered beside those that matter.
const REMEMBERED: usize = 10;

/// How many restore points one Job deletes at most: their names have to fit in it.
const DISCARDED_AT_ONCE: usize = 200;

/// Why documents are not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotKept {
    /// Nothing is there that could own them.
    #[error("the object of release {release} is gone")]
    Gone { release: Digest },
    /// What should own them cannot be named.
    #[error("the object of release {release} has no identity")]
    Nameless { release: Digest },
    /// They are not those of a release.
    #[error(transparent)]
    Contents {
        #[from]
        source: ContentsError,
    },
}

/// All journals of one subscription.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journals {
    releases: Vec<Release>,
    epoch: u64,
}

impl Journals {
    pub(crate) async fn read(
        cluster: &Cluster,
        subscription: &str,
        epoch: u64,
    ) -> Result<Self, ClusterError> {
        Ok(Self { releases: cluster.releases(subscription).await?, epoch })
    }

    fn states(&self) -> impl DoubleEndedIterator<Item = &RolloutState> {
        self.releases.iter().filter_map(|release| release.status.as_ref()?.journal.as_ref())
    }

    /// The newest rollout.
    pub(crate) fn latest(&self) -> Option<&RolloutState> {
        self.states().next_back()
    }

    /// The release that was kept last.
    pub(crate) fn kept(&self) -> Option<&RolloutState> {
        self.states().rev().find(|state| matches!(state.phase, Phase::Kept))
    }

    /// The journal of a release.
    pub(crate) fn of(&self, digest: Digest) -> Option<&RolloutState> {
        self.states().find(|state| state.release == digest)
    }

    /// The object of a release.
    pub(crate) fn release(&self, digest: Digest) -> Option<&Release> {
        self.releases.iter().find(|release| release.spec.digest == digest)
    }

    /// Where a release runs: as it was when the attempt at it began.
    pub(crate) fn place(&self, digest: Digest, subscription: &Subscription) -> ReleasePlace {
        let stored = self.release(digest).and_then(|release| release.status.as_ref()?.place.clone());
        stored.unwrap_or_else(|| subscription.spec.place())
    }

    /// Stores a journal. The object of the release is made if it is not there.
    ///
    /// # Atomicity
    ///
    /// Compare-and-swap on what was read; a stored journal of a later epoch is never overwritten.
    pub(crate) async fn record(
        &mut self,
        cluster: &Cluster,
        subscription: &Subscription,
        state: &RolloutState,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let mut release = match self.release(state.release) {
            Some(release) => release.clone(),
            None => cluster.ensure_release(subscription, state.release).await?,
        };
        let newest = self
            .releases
            .iter()
            .filter_map(|release| release.status.as_ref())
            .map(|status| status.sequence)
            .max();
        let epoch = self.epoch;
        let status = release.status.get_or_insert_default();
        if status.epoch > epoch {
            return Err(Trouble::Outranked { release: state.release, stored: status.epoch, epoch });
        }
        let is_new = status.journal.as_ref().is_none_or(|journal| journal.attempt != state.attempt);
        if is_new {
            status.sequence = newest.unwrap_or(0) + 1;
            status.place = Some(subscription.spec.place());
        }
        status.epoch = epoch;
        describe(status, state, now);
        self.put(cluster.replace_release_status(&release).await?);
        Ok(())
    }

    /// Notes which documents of a release are in the cluster.
    pub(crate) async fn note_documents(
        &mut self,
        cluster: &Cluster,
        digest: Digest,
        documents: Vec<DocumentPart>,
        contents: &bundles_release::Release,
    ) -> Result<(), Trouble> {
        let Some(mut release) = self.release(digest).cloned() else { return Ok(()) };
        let status = release.status.get_or_insert_default();
        let before = status.clone();
        status.documents = documents;
        status.product = Some(contents.product().clone());
        status.version = Some(contents.version().clone());
        if *status != before {
            self.put(cluster.replace_release_status(&release).await?);
        }
        Ok(())
    }

    /// Notes a restore point.
    pub(crate) async fn note_restore_point(
        &mut self,
        cluster: &Cluster,
        digest: Digest,
        record: RestorePointRecord,
    ) -> Result<(), Trouble> {
        let Some(mut release) = self.release(digest).cloned() else { return Ok(()) };
        let status = release.status.get_or_insert_default();
        if !status.restore_points.contains(&record) {
            status.restore_points.push(record);
            self.put(cluster.replace_release_status(&release).await?);
        }
        Ok(())
    }

    fn put(&mut self, release: Release) {
        self.releases.retain(|other| other.name_any() != release.name_any());
        self.releases.push(release);
        self.releases.sort_by_key(|release| release.status.as_ref().map_or(0, |status| status.sequence));
    }

    /// Old releases: all but the newest, and those in `keep`.
    fn old(&self, keep: &BTreeSet<Digest>) -> impl Iterator<Item = &Release> {
        let surplus = self.releases.len().saturating_sub(REMEMBERED);
        self.releases.iter().take(surplus).filter(|release| !keep.contains(&release.spec.digest))
    }

    /// The restore points of old releases, oldest first and no more than one Job deletes.
    pub(crate) fn old_restore_points(&self, keep: &BTreeSet<Digest>) -> Vec<ShortName> {
        self.old(keep).flat_map(restore_points).take(DISCARDED_AT_ONCE).cloned().collect()
    }

    /// Old releases that may be forgotten when these restore points are deleted. A release is the only record of its
    /// restore points, so it stays as long as one of them does.
    fn forgettable(&self, keep: &BTreeSet<Digest>, deleted: &[ShortName]) -> impl Iterator<Item = &Release> {
        self.old(keep).filter(|release| restore_points(release).all(|point| deleted.contains(point)))
    }

    /// Forgets old releases of which nothing is left on the volume when these restore points are deleted.
    pub(crate) async fn forget_old(
        &mut self,
        cluster: &Cluster,
        keep: &BTreeSet<Digest>,
        deleted: &[ShortName],
    ) -> Result<(), Trouble> {
        let old: Vec<Release> = self.forgettable(keep, deleted).cloned().collect();
        for release in old {
            cluster.forget_release(&release).await?;
            self.releases.retain(|other| other.name_any() != release.name_any());
        }
        Ok(())
    }

    /// Reads the documents of a release from the cluster; none if they were never complete.
    pub(crate) async fn documents(
        &self,
        cluster: &Cluster,
        digest: Digest,
    ) -> Result<Option<Documents>, Trouble> {
        let Some(release) = self.release(digest) else { return Ok(None) };
        let Some(owner) = DocumentOwner::release(release) else { return Ok(None) };
        let parts = release.status.as_ref().map(|status| status.documents.as_slice()).unwrap_or_default();
        let mut documents = Documents::default();
        for part in parts {
            let bytes = cluster.load_document(&owner, &part.reference).await?;
            match part.role.split_once('/') {
                None if part.role == "manifest" => documents.manifest = bytes,
                None if part.role == "configuration" => documents.configuration = bytes,
                Some(("objects", name)) => {
                    if let Ok(name) = name.parse() {
                        documents.objects.insert(name, bytes);
                    }
                }
                Some(("signature", _)) => documents.signatures.push(bytes),
                _ => tracing::warn!(role = part.role, "a document of unknown role is passed over"),
            }
        }
        Ok((!documents.manifest.is_empty()).then_some(documents))
    }

    /// Keeps the documents of a release in the cluster.
    pub(crate) async fn keep_documents(
        &mut self,
        cluster: &Cluster,
        digest: Digest,
        documents: &Documents,
    ) -> Result<Result<(), NotKept>, Trouble> {
        let Some(release) = self.release(digest) else {
            return Ok(Err(NotKept::Gone { release: digest }));
        };
        let Some(owner) = DocumentOwner::release(release) else {
            return Ok(Err(NotKept::Nameless { release: digest }));
        };
        let contents = match read_release(&documents.manifest, &documents.configuration) {
            Ok(contents) => contents,
            Err(source) => return Ok(Err(source.into())),
        };
        let mut parts = Vec::new();
        let mut all = vec![
            ("manifest".to_owned(), &documents.manifest),
            ("configuration".to_owned(), &documents.configuration),
        ];
        all.extend(documents.objects.iter().map(|(part, bytes)| (format!("objects/{part}"), bytes)));
        all.extend(
            documents
                .signatures
                .iter()
                .enumerate()
                .map(|(index, bytes)| (format!("signature/{index}"), bytes)),
        );
        for (role, bytes) in all {
            let reference = cluster.store_document(&owner, bytes).await?;
            parts.push(DocumentPart { role, reference });
        }
        self.note_documents(cluster, digest, parts, &contents).await?;
        Ok(Ok(()))
    }
}

fn restore_points(release: &Release) -> impl Iterator<Item = &ShortName> {
    release.status.iter().flat_map(|status| &status.restore_points).map(|point| &point.name)
}

/// Writes a journal and what people read of it into a status.
fn describe(status: &mut ReleaseObjectStatus, state: &RolloutState, now: Timestamp) {
    let (reason, message) = told(state);
    status.phase = Some(state.phase_name().to_owned());
    status.attempt = Some(state.attempt);
    status.since = Some(state.since);
    status.reason = reason;
    status.message.clone_from(&message);
    status.journal = Some(state.clone());
    let mut conditions: Vec<Condition> = std::mem::take(&mut status.conditions);
    let message = message.unwrap_or_default();
    let kept = matches!(state.phase, Phase::Kept);
    let name = state.phase_name();
    set_condition(&mut conditions, "Ready", ConditionStatus::from(kept), name, message.clone(), None, now);
    let running = state.phase.outcome().is_none();
    set_condition(&mut conditions, "Progressing", ConditionStatus::from(running), name, message, None, now);
    status.conditions = conditions;
}

/// Reason and message of a journal, if it has something to tell.
pub(crate) fn told(state: &RolloutState) -> (Option<String>, Option<String>) {
    match &state.phase {
        Phase::Refused { refusal, retry_after } => (
            Some(refusal.reason.to_string()),
            Some(format!("{}; next attempt after {retry_after}", refusal.message)),
        ),
        Phase::Superseded { by } => (
            Some("Superseded".to_owned()),
            Some(by.map_or_else(
                || "it is no longer wanted".to_owned(),
                |by| format!("release {by} took its place"),
            )),
        ),
        Phase::RollbackFailed { failure, rollback } => (
            Some(rollback.reason.to_string()),
            Some(format!("{failure}; and the way back failed: {rollback}")),
        ),
        phase => match phase.failure() {
            Some(failure) => (Some(failure.reason.to_string()), Some(failure.message.clone())),
            None => (None, None),
        },
    }
}

#[cfg(test)]
impl Journals {
    pub(crate) fn with(releases: Vec<Release>) -> Self {
        Self { releases, epoch: 1 }
    }
}

#[cfg(test)]
mod tests {
    use daemon_cluster::ReleaseObjectSpec;

    use super::*;

    fn release(sequence: u64, points: &[&ShortName]) -> Release {
        let digest = Digest::of(&sequence.to_be_bytes());
        let spec = ReleaseObjectSpec { subscription: "shop".to_owned(), digest };
        let restore_points = points.iter().map(|name| RestorePointRecord {
            service: "cache".to_owned(),
            name: (*name).clone(),
            volume: "bundle-backup".to_owned(),
            size: 1,
            digest,
            attempt: 1,
            taken: None,
        });
        let status = ReleaseObjectStatus {
            sequence,
            restore_points: restore_points.collect(),
            ..ReleaseObjectStatus::default()
        };
        Release { status: Some(status), ..Release::new(&sequence.to_string(), spec) }
    }

    #[test]
    fn a_release_is_forgotten_with_its_last_restore_point() {
        let [one, two]: [ShortName; 2] = ["pre-one", "pre-two"].map(|name| name.parse().unwrap());
        let mut releases = vec![release(1, &[&one, &two]), release(2, &[])];
        releases.extend((3..3 + REMEMBERED as u64).map(|sequence| release(sequence, &[])));
        let journals = Journals { releases, epoch: 1 };
        let keep = BTreeSet::new();
        let forgotten = |deleted: &[ShortName]| {
            let forgettable = journals.forgettable(&keep, deleted);
            forgettable.map(ResourceExt::name_any).collect::<Vec<_>>()
        };
        assert_eq!(journals.old_restore_points(&keep), [one.clone(), two.clone()]);
        assert_eq!(forgotten(&[]), ["2"], "nothing says where the files of the first lie once it is gone");
        assert_eq!(forgotten(std::slice::from_ref(&one)), ["2"]);
        assert_eq!(forgotten(&[one, two]), ["1", "2"]);
    }
}
