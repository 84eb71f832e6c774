//! Typed service model rendered to Kubernetes objects per environment.
//!
//! Invariants: nothing here does input or output, reads a clock or draws a random number; the same input gives the
//! same bytes. Objects name no registry and no namespace: [`bind`] sets both in the cluster. A value of a text type
//! in this crate was checked when it was made and is never checked again.

mod bind;
mod check;
mod name;
mod object;
mod part;
mod quantity;
mod render;
mod service;
mod text;

pub use bind::{BindError, Binding, RegistryMap, bind};
pub use check::ServiceProblem;
pub use name::{
    AbsolutePath, ConfigKey, HttpPath, NamespaceName, Peer, PortName, SecretReference, ServiceName,
    SourcePath, StorageName, SubscriptionName, UserId, VariableName,
};
pub use object::{Object, ObjectError, PlacedImage, Stage, images, required_secrets};
pub use part::{BackupPolicy, PartDocument, PartError, ServicePolicy, need_levels};
pub use quantity::{Cpu, Memory, Seconds};
pub use render::{
    EnvironmentInput, ImageIdentity, KUBERNETES_REQUIRED, RenderError, ResolvedService, render,
};
pub use service::{
    Backup, BackupKind, ConfigReference, EnvironmentValue, Health, Kind, Limit, Network, Port, Probe,
    ProbeAction, Resources, Rollout, RolloutStrategy, Scaling, SecretValue, Service, Stop, Storage,
};
pub use text::{TextError, TextFormat, text_formats};
