//! What the executor does next.

use std::collections::BTreeSet;

use bundles_objects::BackupKind;
use jiff::Timestamp;
use registry_wire::Digest;

use crate::{
    inventory::Inventory,
    key::ObjectKey,
    names::ShortName,
    order::Stage,
    prune::Doomed,
    reason::Failure,
    rollout::{PodReference, RolloutState},
};

/// Why the inventory is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InventoryChange {
    /// Objects that are about to be written join.
    Superset,
    /// What was written is noted.
    Noted,
    /// Objects that are confirmed absent leave.
    Shrink,
}

/// One step. Each may be repeated: doing it twice is doing it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Store this journal, if the stored one is still the one that was read. Nothing else before.
    Record(Box<RolloutState>),
    /// Fetch all documents of the release from the registry, check every digest, keep them in the cluster, and
    /// plan it.
    FetchRelease {
        /// The release.
        release: Digest,
    },
    /// Read the documents of a release from the cluster and plan it. The registry is not needed.
    LoadRelease {
        /// The release: this one or the last kept.
        release: Digest,
    },
    /// Check that the release is what the channel says, and its signatures against the trust root.
    VerifyRelease {
        /// The release.
        release: Digest,
    },
    /// Read the inventory of the subscription.
    ReadInventory,
    /// Dry-run all objects, look for the Secrets that they need.
    Preflight {
        /// The release.
        release: Digest,
    },
    /// Put images on the nodes that will run them.
    WarmNodes {
        /// References as nodes pull them.
        images: BTreeSet<String>,
    },
    /// Take a restore point, or look how the one under way is.
    TakeRestorePoint {
        /// The service with data.
        service: String,
        /// How it is done.
        backup: BackupKind,
        /// Its name.
        name: ShortName,
    },
    /// Store this inventory, if the stored one is still the one that was read.
    WriteInventory {
        /// The inventory.
        inventory: Inventory,
        /// What changes.
        change: InventoryChange,
    },
    /// Look at objects that nothing is known of.
    Observe {
        /// The release whose plan they are compared with.
        release: Digest,
        /// The objects.
        objects: BTreeSet<ObjectKey>,
    },
    /// Apply objects of a release, each with one request.
    Apply {
        /// Whose objects: this release's, or those of the last kept one.
        release: Digest,
        /// Their stage.
        stage: Stage,
        /// The objects.
        objects: BTreeSet<ObjectKey>,
    },
    /// Wait until something changes or the time comes.
    WaitHealthy {
        /// Objects that are not healthy yet.
        objects: BTreeSet<ObjectKey>,
        /// When patience ends.
        deadline: Timestamp,
        /// When to look again.
        until: Timestamp,
    },
    /// All are healthy: see that it holds.
    Soak {
        /// When it has held long enough.
        end: Timestamp,
        /// When to look again.
        until: Timestamp,
    },
    /// Delete pods of an abandoned revision that hold up their set.
    DeletePods {
        /// The pods.
        pods: Vec<PodReference>,
    },
    /// Delete objects in this order, with their preconditions.
    Prune {
        /// The objects.
        objects: Vec<Doomed>,
    },
    /// Put the release on the list of denied ones.
    Deny {
        /// The release.
        release: Digest,
        /// Why.
        failure: Failure,
    },
    /// Nothing to do until then, or until something changes.
    Idle {
        /// When to look again.
        until: Timestamp,
    },
    /// The rollout has ended.
    Done,
}

impl Step {
    /// The name of the step, for logs, events and coverage.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Record(_) => "Record",
            Self::FetchRelease { .. } => "FetchRelease",
            Self::LoadRelease { .. } => "LoadRelease",
            Self::VerifyRelease { .. } => "VerifyRelease",
            Self::ReadInventory => "ReadInventory",
            Self::Preflight { .. } => "Preflight",
            Self::WarmNodes { .. } => "WarmNodes",
            Self::TakeRestorePoint { .. } => "TakeRestorePoint",
            Self::WriteInventory { .. } => "WriteInventory",
            Self::Observe { .. } => "Observe",
            Self::Apply { .. } => "Apply",
            Self::WaitHealthy { .. } => "WaitHealthy",
            Self::Soak { .. } => "Soak",
            Self::DeletePods { .. } => "DeletePods",
            Self::Prune { .. } => "Prune",
            Self::Deny { .. } => "Deny",
            Self::Idle { .. } => "Idle",
            Self::Done => "Done",
        }
    }

    /// Every name of a step.
    pub const NAMES: [&'static str; 18] = [
        "Record",
        "FetchRelease",
        "LoadRelease",
        "VerifyRelease",
        "ReadInventory",
        "Preflight",
        "WarmNodes",
        "TakeRestorePoint",
        "WriteInventory",
        "Observe",
        "Apply",
        "WaitHealthy",
        "Soak",
        "DeletePods",
        "Prune",
        "Deny",
        "Idle",
        "Done",
    ];

    /// Whether the step changes an object that comes from a release.
    pub const fn writes(&self) -> bool {
        matches!(self, Self::Apply { .. } | Self::DeletePods { .. } | Self::Prune { .. })
    }
}
