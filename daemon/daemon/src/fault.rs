//! What keeps a channel from being followed: one word for conditions, what is wrong, and what to type.

use bundles_release::EnvironmentName;
use bundles_trust::{ArtifactError, Channel, ChannelError, Reason, RootRefusal};
use registry_client::ClientError;
use registry_wire::{Digest, ManifestError, RepositoryName, Tag};

/// Why nothing new is taken from a channel. All but silence wants a person.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Nothing is known: the registry does not answer.
    #[error("the registry cannot be asked for the channel")]
    Silent { source: ClientError },
    /// A version of the trust root that the way from the pinned one needs is nowhere at hand for now.
    #[error(
        "version {version} of the trust root, on the way from the pinned one to the one that is trusted, is not stored \
         here, and the registry does not give it now; it is asked again, or pin a newer version: spec.trustRoot"
    )]
    RootUnread { version: u64 },
    /// The same, and the registry has no such version.
    #[error(
        "version {version} of the trust root, on the way from the pinned one to the one that is trusted, is neither stored \
         here nor under {tag} in {repository}: publish it there, or pin a newer version: spec.trustRoot"
    )]
    RootMissing { version: u64, tag: Tag, repository: RepositoryName },
    /// The channel has no name.
    #[error("spec.channel")]
    Channel { source: ChannelError },
    /// The subscription followed another channel.
    #[error(
        "the subscription followed {before} before; a subscription stays with its channel, make another one"
    )]
    OtherChannel { before: Channel },
    /// Nothing says which root to trust.
    #[error("spec.trustRoot has neither inline nor configMap")]
    NoTrustRoot,
    /// The root is not where it should be.
    #[error(
        "ConfigMap {home}/{name} has no key {key}: kubectl -n {home} create configmap {name} --from-file={key}=FILE"
    )]
    NoTrustRootKey { home: String, name: String, key: String },
    /// The pinned root cannot be read.
    #[error("spec.trustRoot is no signed trust root")]
    TrustRootText { source: TextError },
    /// The pinned root is not what was pinned.
    #[error("{refusal}; {}", refusal.hint())]
    TrustRoot { refusal: RootRefusal },
    /// Another root is pinned than the one that led to the trusted one.
    #[error(
        "spec.trustRoot: {reason}, and the pinned one did not lead there; {}, or, to begin anew under the pinned one and \
         forget which records were accepted: {reset}",
        reason.hint()
    )]
    OtherTrustRoot { reason: Box<Reason>, reset: String },
    /// What was stored of the channel cannot be read.
    #[error(
        "the stored {what} of subscription {subscription} cannot be read; to begin anew and forget it: {reset}"
    )]
    Lost { what: Stored, subscription: String, reset: String },
    /// The stored root is not one that the pinned root led to: whoever can write the floor cannot choose whom to trust.
    #[error(
        "the stored version {version} of the trust root of subscription {subscription} does not follow from the pinned \
         one: {step}; look who changed it, and to begin anew under the pinned one and forget which records were accepted: \
         {reset}"
    )]
    StoredRoot { version: u64, subscription: String, step: Box<StepError>, reset: String },
    /// Nothing was promoted yet.
    #[error("the registry has no tag {tag} in {repository}: bundle promote")]
    NoRecord { tag: Tag, repository: RepositoryName },
    /// The channel's tag was there before.
    #[error("the tag {tag} is gone from {repository}; what was accepted stays")]
    RecordGone { tag: Tag, repository: RepositoryName },
    /// A record is none.
    #[error("what the channel names is no record")]
    Record { source: ArtifactError },
    /// The record is for another environment.
    #[error("record {version} is for environment {found}, the subscription for {expected}")]
    Environment { version: u64, found: EnvironmentName, expected: EnvironmentName },
    /// The record is refused.
    #[error("{reason}; {}", reason.hint())]
    Refused { reason: Box<Reason> },
}

impl Fault {
    /// One word for conditions.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Silent { .. } | Self::RootUnread { .. } => "RegistrySilent",
            Self::RootMissing { .. } => "RootMissing",
            Self::Channel { .. } | Self::OtherChannel { .. } => "BadChannel",
            Self::NoTrustRoot | Self::NoTrustRootKey { .. } => "NoTrustRoot",
            Self::TrustRootText { .. } | Self::TrustRoot { .. } => "BadTrustRoot",
            Self::Lost { .. } | Self::StoredRoot { .. } => "BadTrustFloor",
            Self::NoRecord { .. } | Self::RecordGone { .. } => "NoRecord",
            Self::Record { .. } => "BadRecord",
            Self::Environment { .. } => "WrongEnvironment",
            Self::OtherTrustRoot { reason, .. } | Self::Refused { reason } => reason.word(),
        }
    }

    /// Whether it says nothing but that the registry is silent.
    pub(crate) const fn is_silence(&self) -> bool {
        matches!(self, Self::Silent { .. } | Self::RootUnread { .. })
    }
}

/// What is stored of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    Floor,
    Record,
}

impl std::fmt::Display for Stored {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Floor => "trust floor",
            Self::Record => "record",
        })
    }
}

/// A text that is no signed document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TextError {
    /// It is no manifest.
    #[error("it cannot be read")]
    Manifest {
        #[from]
        source: ManifestError,
    },
    /// It is another one.
    #[error("it cannot be taken")]
    Artifact {
        #[from]
        source: ArtifactError,
    },
}

/// Why a trust root does not follow from the one before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// It cannot be read.
    #[error("{}", crate::error::chain(error))]
    Text { error: TextError },
    /// Its signatures or what it says do not fit.
    #[error(transparent)]
    Refused { refusal: RootRefusal },
    /// It is another root than the one that was trusted.
    #[error("it is {found}, trusted was {trusted}")]
    Other { found: Digest, trusted: Digest },
}
