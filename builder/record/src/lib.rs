//! Runs unknown maintainer scripts once, in a sandbox, and writes down what they do.
//!
//! [`ScriptRecorder`] is what [`builder_tree::record_scripts`] asks for each unknown script. It lays the tree that the
//! script would find into a folder, starts the script there as dpkg would, behind the walls of `builder/sandbox`, sees
//! every path that it looks at, and compares the files afterwards with those before. It does so twice, with other process
//! ids, another clock and time of files, and another version of dpkg; what differs between both is refused.
//!
//! **How reads are measured.** Each system call that names a file waits until the recorder has followed the path, link by
//! link, in the script's own root; all that was met on the way counts, that something was not there included. A program
//! that is started counts with its interpreter. So a recording depends on more than what was read and never on less, but
//! for a program that changes a path while another of its threads uses it, and but for facts of the machine that have no
//! path, such as the number of processors.
//!
//! **What is not recorded**: times of files; what belongs to one run (`leavings.rs`); anything below `/dev`, `/proc`, `/sys`
//! and `/tmp`.
//!
//! **Absent.** The network, a service that starts, an answer to a question: wanting one is an error.

mod difference;
mod error;
mod leavings;
mod place;
mod recorder;
mod rooted;
mod scene;
mod upper;
mod watcher;

pub use error::RecordError;
pub use recorder::{Machine, ScriptRecorder};
