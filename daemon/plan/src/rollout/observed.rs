//! What the executor sees.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use registry_wire::Digest;

use crate::{
    health::Health,
    inventory::{Inventory, Live},
    key::{ObjectKey, Uid},
    plan::RolloutPlan,
    reason::Failure,
    target::Target,
};

/// Something that is known, definitely not so, or not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Fact<T> {
    /// Not asked yet, or the answer was an error: never to be taken for an absence.
    #[default]
    Unknown,
    /// Known.
    Known(T),
    /// Known that it cannot be; asking again gives the same answer.
    Refused {
        /// What a person should read.
        message: String,
    },
}

/// What is known of one object of the cluster. What is not known has no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectFact {
    /// The API server answered that it does not exist.
    Absent,
    /// It is being deleted. Writing to it now would be lost.
    Terminating,
    /// It exists.
    Present {
        /// Its identity.
        live: Live,
        /// Whether it is as the plan that is at work wants it (see [`crate::drift`]).
        in_sync: bool,
        /// Whether our field manager has written to it.
        ours: bool,
    },
    /// The API server refuses to write it for good (invalid, forbidden, a conflict that may not be decided), or to
    /// delete it.
    Rejected(Failure),
}

/// What is known of a service's restore point of this attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestorePoint {
    /// The service has no data in the cluster that could be saved: its workload was confirmed absent, or no volume of it
    /// was ever bound.
    NoData,
    /// None of that name exists.
    Absent,
    /// It is being taken.
    Running,
    /// It is taken and was checked.
    Confirmed,
    /// It failed for good.
    Failed {
        /// What a person should read.
        message: String,
    },
}

/// Names one life of a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodReference {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// It is deleted only if it still is this one.
    pub uid: Uid,
}

impl PodReference {
    /// Whether it is one of a set's pods, by its name: that of the set and an ordinal.
    pub(crate) fn is_of(&self, set: &ObjectKey) -> bool {
        let ordinal = self.name.strip_prefix(set.name()).and_then(|rest| rest.strip_prefix('-'));
        set.is("apps", "StatefulSet")
            && set.namespace() == Some(self.namespace.as_str())
            && ordinal.is_some_and(|ordinal| ordinal.parse::<u32>().is_ok())
    }
}

/// A person's word on pruning more than [`crate::prune::prune_limit`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneWord {
    /// Whether it was given for the release.
    pub given: bool,
    /// How it is given: a command for people.
    pub command: String,
}

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For fetching and for verifying, each.
    pub prepare: Duration,
    /// For preflight and for putting images on nodes, together.
    pub nodes: Duration,
    /// For all restore points.
    pub protect: Duration,
    /// For deleting what is no longer wanted; what is left then is deleted later.
    pub prune: Duration,
    /// Beyond the longest deadline of a service, for going back.
    pub rollback: Duration,
    /// Between looks while something is awaited.
    pub poll: Duration,
    /// Between looks at a release that is kept in place.
    pub resync: Duration,
    /// Time that health must hold, in place of what the release asks for.
    pub soak: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            prepare: Duration::from_mins(10),
            nodes: Duration::from_mins(10),
            protect: Duration::from_mins(10),
            prune: Duration::from_mins(1),
            rollback: Duration::from_mins(1),
            poll: Duration::from_secs(1),
            resync: Duration::from_secs(30),
            soak: None,
        }
    }
}

/// What the executor sees of one rollout. A new one after a restart knows nothing.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Since when this process looks without a gap. Time in which nobody looked counts against no deadline.
    pub looking_since: Option<Timestamp>,
    /// Since when what stands here is remembered. An error may end a memory while the process goes on looking: what is
    /// unknown then was asked for before, but nobody has had the time to answer this memory.
    pub memory_since: Option<Timestamp>,
    /// What the subscription should run now, by [`crate::decide_target`]; none if that is not known.
    pub target: Option<Target>,
    /// The plan of the release, from documents that are in the cluster.
    pub plan: Fact<RolloutPlan>,
    /// The plan of the last kept release.
    pub kept_plan: Fact<RolloutPlan>,
    /// Whether the release is of the product of the channel, and as its record names it.
    pub belongs: Fact<()>,
    /// The verification of the release; forgotten when [`crate::Phase::OnNodes`] is recorded, since it is asked for again
    /// just before the first write.
    pub verified: Fact<()>,
    /// The dry run of all objects, the Secrets that they refer to, and the rights to write them.
    pub preflight: Fact<()>,
    /// Images that some node which will run them lacks.
    pub missing_images: Fact<BTreeSet<String>>,
    /// Restore points of this attempt, by service.
    pub restore_points: BTreeMap<String, RestorePoint>,
    /// The stored inventory of the subscription; `Known` and empty only if the API server said that there is none.
    pub inventory: Fact<Inventory>,
    /// The release whose plan `objects` and `health` were compared with: while going back the last kept one, else
    /// the release of the rollout. Facts about another release count as unknown.
    pub compared_with: Option<Digest>,
    /// Objects: those of the plan at work, and candidates for pruning.
    pub objects: BTreeMap<ObjectKey, ObjectFact>,
    /// Health of the objects of the plan at work.
    pub health: BTreeMap<ObjectKey, Health>,
    /// Pods of an abandoned revision that hold up their `StatefulSet` (see [`crate::pods::stuck_pods`]).
    pub stuck_pods: Vec<PodReference>,
    /// Whether the release stands on the list of denied ones.
    pub denied: bool,
    /// What kept the last step from being done, if something did: the explanation when patience ends.
    pub trouble: Option<String>,
    /// What a person says about the limit on pruning.
    pub prune_word: PruneWord,
    /// Limits from the subscription.
    pub limits: Limits,
}

impl Observed {
    /// What is known of an object compared with the plan of `release`.
    pub fn object(&self, release: Digest, key: &ObjectKey) -> Option<&ObjectFact> {
        self.objects.get(key).filter(|_| self.compared_with == Some(release))
    }

    /// What is known of an object's health under the plan of `release`.
    pub fn health_of(&self, release: Digest, key: &ObjectKey) -> Option<&Health> {
        self.health.get(key).filter(|_| self.compared_with == Some(release))
    }
}
