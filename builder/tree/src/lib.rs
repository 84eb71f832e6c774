//! Virtual file tree with an owner for every path; package effects.
//!
//! [`Package`] is what one `.deb` holds, [`Tree`] what an image holds, [`install`] makes the second from the first the
//! way dpkg would. No maintainer script is run: each is known by the SHA-256 of its text or of its parts, and a table
//! says what it does; or it was run elsewhere, and a [`Recording`] says what it did. Deliberately absent: the network, the clock, the machine's own files, and any system call that would need
//! rights.

mod capabilities;
mod effect;
mod error;
mod install;
mod package;
mod path;
mod payload;
mod record;
mod recorded;
mod tree;

pub use capabilities::{Capabilities, CapabilitiesError};
pub use effect::{EffectError, Level, ScriptKnowledge, UnknownPart, fixed_user, script_knowledge};
pub use error::{ChangedRead, InstallError, undeclared_hint};
pub use install::{
    InstallOptions, Installed, RecordScriptsError, Recorded, Recorder, SourceFile, UnknownRun,
    accounts_needed, install, place_sources, record_scripts, unknown_scripts,
};
pub use package::{
    Charset, ControlFile, MemberKind, Package, PackageError, PackageInput, PackageMember, Unpacked,
};
pub use path::{TreePath, TreePathError};
pub use payload::{PayloadError, Payloads};
pub use recorded::{
    AccountEffects, AccountFiles, AccountType, AccountsError, Allowed, Change, HostNames, Ids, Outcome,
    Recording, RecordingError, Recordings, ScriptName, ScriptNameError, ScriptRun, Seen, StatOverride,
    StatOverrideError, State, Stored,
};
pub use tree::{Content, Entry, Kind, Owner, Tree};
