//! What can go wrong between a client and a registry.

use std::{io, path::PathBuf, time::Duration};

use registry_wire::{Digest, ErrorCode, ManifestError, RegistryAddress, Request};

/// A failed operation. No variant but [`ClientError::Absent`] says that something does not exist.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The client cannot be made.
    #[error("cannot make a client of registry {registry}")]
    Setup {
        /// The registry.
        registry: RegistryAddress,
        /// The reason.
        source: reqwest::Error,
    },
    /// The address does not make a URL.
    #[error("{registry} cannot be the address of a registry")]
    Address {
        /// The address.
        registry: RegistryAddress,
    },
    /// A certificate authority cannot be read or trusted.
    #[error("a certificate authority for registry {registry} cannot be used")]
    Authority {
        /// The registry.
        registry: RegistryAddress,
        /// The reason.
        source: rustls::Error,
    },
    /// The registry does not answer.
    #[error("registry {registry} does not answer: cannot {request}")]
    Unreachable {
        /// The registry.
        registry: RegistryAddress,
        /// What was asked.
        request: Box<Request>,
        /// The reason.
        source: reqwest::Error,
    },
    /// The answer, or what was sent, was cut.
    #[error("the connection to registry {registry} was cut: cannot {request}")]
    Interrupted {
        /// The registry.
        registry: RegistryAddress,
        /// What was asked.
        request: Box<Request>,
        /// The reason.
        source: reqwest::Error,
    },
    /// The registry is overloaded or broken.
    #[error("registry {registry} answers {status}{}: cannot {request}", said(message))]
    Unavailable {
        /// The registry.
        registry: RegistryAddress,
        /// What was asked.
        request: Box<Request>,
        /// The HTTP status.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
        /// What it said.
        message: String,
    },
    /// The registry wants to know who asks, or refuses who asked.
    #[error("registry {registry} does not let us {request} ({status}{})", said(message))]
    Denied {
        /// The registry.
        registry: RegistryAddress,
        /// What was asked.
        request: Box<Request>,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The registry sends us for a token to a service that is not its own.
    #[error(
        "registry {registry} wants a token of {origin}, which it was not said to use: nothing was sent there"
    )]
    ForeignTokens {
        /// The registry.
        registry: RegistryAddress,
        /// The service's origin.
        origin: String,
    },
    /// The registry refuses the request.
    #[error("registry {registry} refuses to {request} ({status}{})", said(message))]
    Refused {
        /// The registry.
        registry: RegistryAddress,
        /// What was asked.
        request: Box<Request>,
        /// The HTTP status.
        status: u16,
        /// Its code.
        code: ErrorCode,
        /// What it said.
        message: String,
    },
    /// Something that must be there is not.
    #[error("registry {registry} does not have it: cannot {request}")]
    Absent {
        /// The registry.
        registry: RegistryAddress,
        /// What was asked.
        request: Box<Request>,
    },
    /// The answer is not one of a registry.
    #[error("{registry} does not answer as a registry does ({reason}): cannot {request}")]
    Strange {
        /// The registry.
        registry: RegistryAddress,
        /// What was asked.
        request: Box<Request>,
        /// What is strange about it.
        reason: &'static str,
    },
    /// The bytes are not those that were asked for.
    #[error("registry {registry} gave bytes with digest {found} instead of {expected}: they are not used")]
    Tampered {
        /// The registry.
        registry: RegistryAddress,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// The blob has another size than its descriptor says.
    #[error(
        "registry {registry} gave {found} bytes of blob {digest} instead of {expected}: they are not used"
    )]
    Size {
        /// The registry.
        registry: RegistryAddress,
        /// The blob.
        digest: Digest,
        /// The size in the descriptor.
        expected: u64,
        /// The bytes that came, when fewer; one more than expected, when more.
        found: u64,
    },
    /// More than the caller or the format allows.
    #[error("the answer of registry {registry} is longer than {limit} bytes: cannot {request}")]
    TooLarge {
        /// The registry.
        registry: RegistryAddress,
        /// What was asked.
        request: Box<Request>,
        /// The limit.
        limit: u64,
    },
    /// The manifest cannot be read.
    #[error("registry {registry} gave a manifest that is refused")]
    Manifest {
        /// The registry.
        registry: RegistryAddress,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// A manifest that is to be attached names no subject.
    #[error("manifest {digest} names no subject to attach it to")]
    NoSubject {
        /// The manifest.
        digest: Digest,
    },
    /// The bytes cannot be written where the caller wants them.
    #[error("cannot write the bytes of blob {digest}")]
    Sink {
        /// The blob.
        digest: Digest,
        /// The reason.
        source: io::Error,
    },
    /// The file that is to be sent cannot be read.
    #[error("cannot read {}", path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// What is to be sent has another size than said.
    #[error("blob {digest} has {found} bytes instead of {expected}")]
    SourceSize {
        /// The blob.
        digest: Digest,
        /// The size that was said.
        expected: u64,
        /// The size that it has.
        found: u64,
    },
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl ClientError {
    /// May the same succeed a moment later?
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Interrupted { .. } | Self::Unavailable { .. })
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { registry, .. } => Some(format!(
                "is it running and is the address right? `bundle registry serve` starts one for `--scheme http`; `curl {registry}/v2/` asks it"
            )),
            Self::Interrupted { .. } | Self::Unavailable { .. } => {
                Some("nothing half-written was left; run the same command again".to_owned())
            }
            Self::Denied { registry, .. } => Some(format!("give credentials for {registry} that may do this")),
            Self::Tampered { .. } | Self::Size { .. } => {
                Some("the registry or something on the way to it changes content: push again from a source you trust".to_owned())
            }
            Self::ForeignTokens { origin, .. } => {
                Some(format!("if {origin} is the registry's token service, name it in the registry's options"))
            }
            Self::Absent { .. } => Some("push it first, or check the name".to_owned()),
            _ => None,
        }
    }

    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
