//! The Kubernetes adapter: what the daemon reads from a cluster and writes to it.
//!
//! Invariants:
//! - an error of the API server is an error, never an absence: absent is only what a 404 or a complete list says;
//! - objects of a release are written by server-side apply that is not forced, one request an object, and deleted
//!   only with the UID and the resource version that were seen;
//! - every status is written by compare-and-swap on its resource version;
//! - a writer that lost its lease writes nothing more ([`Fence`]).
//!
//! What is absent: decisions. Which object is written when, and what an answer means for a rollout, is the planner's.

mod apply;
mod condition;
mod connection;
mod documents;
mod error;
mod events;
mod fence;
mod floor;
mod install;
mod jobs;
mod lease;
mod nodes;
mod objects;
mod permissions;
mod release;
mod resources;
mod security;
mod statuses;
mod subscription;

pub use apply::{ApplyMode, ApplyOutcome, RefusalCause};
pub use condition::{Condition, ConditionStatus, set_condition};
pub use connection::{Cluster, KubernetesVersion, connect, connect_in_cluster};
pub use documents::{DocumentOwner, DocumentReference};
pub use error::{ClusterError, Verb};
pub use events::{EventKind, Events};
pub use fence::Fence;
pub use floor::{StoredFloor, floor_name};
pub use install::{
    DAEMON_PODS, DaemonState, InstallOptions, crd_names, crds, install_objects, target_objects, target_role,
};
pub use jobs::JobState;
pub use lease::{HeldLease, LeaseOptions, LeaseTiming, acquire};
pub use nodes::{NodeImages, WarmRequest, warm_pod};
pub use objects::{DeleteOutcome, Present};
pub use permissions::{PERMISSIONS, PermissionReason, PermissionScope};
pub use release::{
    DocumentPart, Release, ReleaseObjectSpec, ReleaseObjectStatus, ReleasePlace, RestorePointRecord,
    release_object_name, release_title,
};
pub use security::{container_security, pod_security};
pub use subscription::{
    AcceptedRecord, BackupVolume, Cleared, ConfigMapKey, ConfirmedPrune, Denied, Hold, InventoryReference,
    NodeRegistry, Pin, RegistryEndpoint, RegistryScheme, RunningRelease, Subscription, SubscriptionSpec,
    SubscriptionStatus, TrustRootSource,
};
