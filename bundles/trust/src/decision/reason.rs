//! Why a record or a release is refused.

use bundles_release::ProductName;
use jiff::Timestamp;
use registry_wire::Digest;

use crate::{Channel, ReleaseMark, Role, Tally};

/// Why a record or a release is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Not enough owners signed.
    #[error("{} of {} signatures for {}{}", tally.counted.len(), tally.needed, tally.role, tally.ignored_text())]
    TooFewSignatures {
        /// What was counted.
        tally: Box<Tally>,
    },
    /// Signed, but by nobody who may.
    #[error("signed by the wrong key for {}{}", tally.role, tally.ignored_text())]
    WrongKey {
        /// What was counted.
        tally: Box<Tally>,
    },
    /// Nobody may sign this.
    #[error("the trust root names no keys for {role}")]
    NoRole {
        /// The role that is missing.
        role: Role,
    },
    /// No signature at all.
    #[error("the release {release} is not signed")]
    Unsigned {
        /// The release.
        release: Digest,
    },
    /// A record of another channel.
    #[error("the record is for the channel {found}, not for {expected}")]
    WrongChannel {
        /// The channel that is followed.
        expected: Channel,
        /// The channel of the record.
        found: Channel,
    },
    /// A root of another product.
    #[error("the trust root is for the product {found}, not for {expected}")]
    WrongProduct {
        /// The product that is followed.
        expected: ProductName,
        /// The product of the root.
        found: ProductName,
    },
    /// A release of another product, which the same owners may have signed.
    #[error("the release {release} is of the product {found}, the channel of {expected}")]
    OtherProduct {
        /// The release.
        release: Digest,
        /// The product of the channel.
        expected: ProductName,
        /// The product of the release.
        found: ProductName,
    },
    /// The record says something else of the release than the release itself.
    #[error(
        "record {record} names the release {} as version {} of {} bytes, it is version {} of {} bytes",
        named.digest, named.version, named.size, found.version, found.size
    )]
    OtherRelease {
        /// Version of the record.
        record: u64,
        /// What the record says.
        named: Box<ReleaseMark>,
        /// What the release is.
        found: Box<ReleaseMark>,
    },
    /// An older record.
    #[error(
        "the record has version {found}, but version {have} was accepted before: an older record is replayed"
    )]
    Replayed {
        /// The accepted version.
        have: u64,
        /// The version of the record.
        found: u64,
    },
    /// Two different records of one version, both signed.
    #[error("version {version} of the channel exists twice, {first} and {second}: somebody signed both")]
    Equivocation {
        /// The version.
        version: u64,
        /// Payload digest of the accepted record.
        first: Digest,
        /// Payload digest of the other one.
        second: Digest,
    },
    /// Records in between are missing.
    #[error("the records {from} to {to} of the channel are missing")]
    Gap {
        /// First missing version.
        from: u64,
        /// Last missing version.
        to: u64,
    },
    /// A record does not name the one before it.
    #[error("version {version} of the channel does not follow {expected}: the chain of records is broken")]
    BrokenChain {
        /// The version.
        version: u64,
        /// Payload digest of the version before.
        expected: Digest,
        /// Payload digest that the record names.
        found: Option<Digest>,
    },
    /// Out of date.
    #[error("the record expired at {expires}")]
    Expired {
        /// Since when.
        expires: Timestamp,
    },
    /// To be taken later.
    #[error("the record is not to be taken before {not_before}")]
    NotYet {
        /// From when on.
        not_before: Timestamp,
    },
    /// First seen too late.
    #[error("the record was to be taken by {apply_by} and is seen for the first time after that")]
    TooLate {
        /// Until when.
        apply_by: Timestamp,
    },
    /// The release is revoked.
    #[error("the release {release} is revoked")]
    Revoked {
        /// The release.
        release: Digest,
    },
    /// A promotion to a release that the channel left.
    #[error("the channel has left the release {release} before and comes back to it only by a rollback")]
    OldRelease {
        /// The release.
        release: Digest,
    },
    /// A hold that names another release.
    #[error("the channel stands at release {stands}, a hold cannot move it to {named}")]
    HoldMoves {
        /// The release at which the channel stands.
        stands: Digest,
        /// The release that the record names.
        named: Digest,
    },
    /// The record was made under a newer root.
    #[error("the record was made under version {need} of the trust root, version {have} is known")]
    RootBehind {
        /// Known version.
        have: u64,
        /// Version that the record names.
        need: u64,
    },
    /// Two different roots of one version.
    #[error("version {version} of the trust root is {found}, {expected} is trusted")]
    RootMismatch {
        /// The version.
        version: u64,
        /// The trusted one.
        expected: Digest,
        /// The other one.
        found: Digest,
    },
    /// An older root.
    #[error(
        "the trust root has version {found}, but version {have} was trusted before: an older root is replayed"
    )]
    RootReplayed {
        /// The version that was trusted before.
        have: u64,
        /// The version now.
        found: u64,
    },
    /// The root is out of date.
    #[error("version {version} of the trust root expired at {expires}")]
    RootExpired {
        /// The version.
        version: u64,
        /// Since when.
        expires: Timestamp,
    },
    /// The clock is behind what was seen.
    #[error("the clock says {now}, but a record of {last} was accepted before: the clock is wrong")]
    ClockBehind {
        /// What the clock says.
        now: Timestamp,
        /// When the accepted record was proposed.
        last: Timestamp,
    },
}

impl Reason {
    /// One word for conditions and events.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::TooFewSignatures { .. } => "TooFewSignatures",
            Self::WrongKey { .. } => "WrongKey",
            Self::NoRole { .. } => "NoRole",
            Self::Unsigned { .. } => "Unsigned",
            Self::WrongChannel { .. } => "WrongChannel",
            Self::WrongProduct { .. } => "WrongProduct",
            Self::OtherProduct { .. } => "OtherProduct",
            Self::OtherRelease { .. } => "OtherRelease",
            Self::Replayed { .. } => "Replayed",
            Self::Equivocation { .. } => "Equivocation",
            Self::Gap { .. } => "RecordsMissing",
            Self::BrokenChain { .. } => "BrokenChain",
            Self::Expired { .. } => "Expired",
            Self::NotYet { .. } => "NotYet",
            Self::TooLate { .. } => "TooLate",
            Self::Revoked { .. } => "Revoked",
            Self::OldRelease { .. } => "OldRelease",
            Self::HoldMoves { .. } => "HoldMoves",
            Self::RootBehind { .. } => "RootBehind",
            Self::RootMismatch { .. } => "RootMismatch",
            Self::RootReplayed { .. } => "RootReplayed",
            Self::RootExpired { .. } => "RootExpired",
            Self::ClockBehind { .. } => "ClockBehind",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::TooFewSignatures { tally } if tally.role == Role::Release => {
                "sign the release: bundle sign".to_owned()
            }
            Self::TooFewSignatures { .. } => {
                "sign one record with the keys of enough owners: bundle promote --key A --key B".to_owned()
            }
            Self::WrongKey { .. } => "sign with a key that has this role in the trust root".to_owned(),
            Self::NoRole { role } => {
                format!("add the role {role} in the next version of the trust root: bundle trust next")
            }
            Self::Unsigned { .. } => "sign the release: bundle sign".to_owned(),
            Self::WrongChannel { expected, .. } => {
                format!("look who moved the tag {}, and promote anew: bundle promote", expected.tag())
            }
            Self::WrongProduct { .. } | Self::RootMismatch { .. } | Self::RootReplayed { .. } => {
                "check the pinned trust root against the one that its owners published".to_owned()
            }
            Self::Replayed { have, .. } => {
                format!("look who moved the channel's tag back, and move it to version {have} or promote anew")
            }
            Self::Equivocation { .. } => {
                "find the owner who signed both, and promote the next version on top of the first".to_owned()
            }
            Self::Gap { .. } | Self::BrokenChain { .. } => {
                "restore the records of the channel, each under its own tag, or promote on top of the last accepted one"
                    .to_owned()
            }
            Self::OtherProduct { expected, .. } => {
                format!("name a release of {expected}: bundle promote, or bundle pin --release for a pin")
            }
            Self::Expired { .. } | Self::TooLate { .. } | Self::OtherRelease { .. } => {
                "promote anew: bundle promote".to_owned()
            }
            Self::NotYet { .. } => "wait, it is taken by itself when its time comes".to_owned(),
            Self::Revoked { .. } => "promote another release: bundle promote".to_owned(),
            Self::OldRelease { .. } => "make the record with the action rollback".to_owned(),
            Self::HoldMoves { .. } => "name the release at which the channel stands".to_owned(),
            Self::RootBehind { have, .. } => {
                format!("publish the versions of the trust root after {have}, each under its own tag")
            }
            Self::RootExpired { .. } => {
                "make its next version, and promote with that: bundle trust next".to_owned()
            }
            Self::ClockBehind { .. } => "set the clock of this machine".to_owned(),
        }
    }
}
