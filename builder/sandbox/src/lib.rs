//! Runs one command against declared inputs and nothing else.
//!
//! [`Executor`] is who runs it: [`Own`] makes namespaces, a root and all other walls with system calls; [`Bubblewrap`]
//! leaves the first two to that program. Both start a [`Helper`], a process of one thread that calls [`enter`], becomes
//! the sandbox and then the command.
//!
//! **Invariants.** A wall counts only when it was seen from inside, at the last moment before the command begins
//! ([`Reached`]). Less than was asked for is an error, and nothing has run ([`SandboxError::Weaker`]). No descriptor but
//! the output's goes in. When the caller's thread ends, everything inside ends.
//!
//! **Watching.** With [`Own::run_watched`] an [`Observer`] outside sees each call of the command that names a file before
//! the kernel carries it out, and the command's clock stands still where [`Watch`] says.
//!
//! **What no level holds back.** Flaws of the kernel. The wall clock, the processor's model and count, the kernel's release.
//! Load of the machine within the limits: those of memory and time are for each process, so a command has at most
//! `memory × processes`; writable folders are bounded for each file and not in sum; changes of a
//! tree are measured about once a second and in the end, so for that long they may be more than their limit. What one level lacks against a higher
//! one stands at [`Level`].
//!
//! **In a Kubernetes pod**, on Linux 6.18 with containerd 1.6 and runc 1.1 (`tests/sandbox` looks each time):
//!
//! | `securityContext` | Level | What keeps it from more |
//! |---|---|---|
//! | `seccompProfile: RuntimeDefault`, as root or not | confined | the profile refuses user namespaces |
//! | nothing, where the kubelet sets no profile | confined | masked parts of `/proc`: the kernel gives no other `/proc` |
//! | `privileged: true` | full | |
//!
//! **Absent.** A container runtime, control groups, a network of any kind, work in `Drop`.

mod bubblewrap;
mod changed;
mod channel;
mod clock;
mod error;
mod executor;
mod inside;
mod kernel;
mod level;
mod observation;
mod observed;
mod own;
mod session;
mod specification;

pub use bubblewrap::Bubblewrap;
pub use error::{FailedStep, SandboxError};
pub use executor::{End, Executor, Outcome};
pub use inside::{enter, users_are_delegated};
pub use level::{Gap, Level, Reached, Wall};
pub use observation::{Access, Attempt, Observer, Use, Watch};
pub use own::Own;
pub use session::Helper;
pub use specification::{
    FIXED_ENVIRONMENT, HOST_NAME, Identity, Limits, Mount, Root, SOURCE_DATE_EPOCH, Specification,
};
