//! Keys, signatures, trust root, channel records and the decisions about them.
//!
//! Invariants: signed bytes are kept as received and never written anew; a signature counts only for the statement
//! that it makes (its predicate type) and the role that its key has; every decision is a pure function of documents,
//! the stored floor and a clock that comes in as an argument. There is no network and no file here.

mod artifact;
mod bundle;
mod channel;
mod decision;
mod envelope;
mod floor;
mod key;
mod key_file;
mod payload;
mod random;
mod record;
mod referrer;
mod root;
mod signature;
mod statement;
mod tally;
mod timestamp;
mod trusted;

pub use artifact::{ArtifactError, Signed, SignedRecord, SignedRoot};
pub use bundle::{BundleError, SignatureBundle};
pub use channel::{Channel, ChannelError, ChannelName, ChannelNameError, Owner, OwnerError, Role, RoleError};
pub use decision::{
    Decision, Reason, RecordLink, check_release, decide, standing, verify_record, verify_release,
};
pub use envelope::pre_authentication_encoding;
pub use floor::{RecordFloor, TrustFloor};
pub use key::{KeyError, KeyHint, KeyHintError, PrivateKey, PublicKey};
pub use key_file::KeyFileError;
pub use payload::{Document, DocumentError, Payload};
pub use random::{Randomness, RandomnessError, SystemRandomness};
pub use record::{Action, ChannelRecord, Evidence, RecordFault, ReleaseMark, RootMark};
pub use referrer::{bundle_layer, referrer};
pub use root::{Revoked, RoleKeys, RootFault, TrustRoot, TrustRootParts, TrustedKey};
pub use signature::{SignatureError, sign_release, verify_signature};
pub use statement::StatementError;
pub use tally::{Ignored, Tally};
pub use trusted::{RootRefusal, TrustedRoot};
