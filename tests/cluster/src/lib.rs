//! A real Kubernetes of one to three nodes for tests.
//!
//! [`Cluster::start`] gives a test its own cluster in about five seconds: etcd, API server, controllers, scheduler, `CoreDNS`
//! and, per node, containerd, kubelet and kube-proxy. Nothing is simulated, so what a test sees here is what a user sees.
//!
//! # How it stands and falls
//!
//! Each *machine* (one for the control plane, one per node) is a set of namespaces (processes, mounts, network) with a
//! first process of ours. The first processes read orders from a pipe that the *supervisor* holds, and the supervisor
//! reads requests from a pipe that the test holds. So when the test ends, however it ends, the supervisor tears
//! everything down; and when the supervisor itself is killed, the first processes end and the kernel ends all that ran
//! in their namespaces. What can be left then (control groups, a link, a folder) belongs to a numbered slot, and
//! whoever claims a slot clears every one that no living supervisor has locked.
//!
//! Deliberately absent: any search for processes by name, and any clean-up in `Drop`.
//!
//! ```no_run
//! use test_cluster::{Cluster, ClusterOptions};
//!
//! let cluster = Cluster::start(&ClusterOptions::default())?;
//! assert!(cluster.kubectl(&["get", "nodes"])?.contains("node1"));
//! cluster.stop()?;
//! # Ok::<(), test_cluster::Error>(())
//! ```

mod audit;
mod authority;
mod bed;
mod cgroups;
mod cluster;
mod control;
mod error;
mod first_process;
mod image;
mod kubeconfig;
mod kubectl;
mod machine;
mod network;
mod node;
mod objects;
mod options;
mod programs;
mod protocol;
mod record;
mod slot;
mod supervisor;
mod worker;

pub use audit::{AuditEvent, ObjectReference};
pub use cluster::Cluster;
pub use error::Error;
pub use first_process::hold_machine;
pub use image::image_archive;
pub use node::Node;
pub use options::{ClusterOptions, Registry};
pub use programs::program;
pub use protocol::Output;
pub use record::{Bed, beds, clear_dead_beds, find_bed, kill_bed};
pub use supervisor::supervise;
