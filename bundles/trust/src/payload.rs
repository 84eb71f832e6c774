//! The documents that people sign, and the exact bytes that they sign.

use bundles_release::ProductName;
use registry_wire::{Digest, MediaType};
use serde_json::value::RawValue;

use crate::{
    ChannelRecord, PrivateKey, RecordFault, RootFault, SignatureBundle, StatementError, TrustRoot,
    statement::Statement,
};

/// A document that is refused.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Larger than any such document.
    #[error("the {what} {digest} has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// What kind of document.
        what: &'static str,
        /// Digest of the payload.
        digest: Digest,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Not a statement of its kind.
    #[error("the {what} is not a statement of its kind")]
    Statement {
        /// What kind of document.
        what: &'static str,
        /// What is wrong.
        source: StatementError,
    },
    /// The predicate has another form.
    #[error("the {what} {digest} does not have the form of one")]
    Predicate {
        /// What kind of document.
        what: &'static str,
        /// Digest of the payload.
        digest: Digest,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The subject is not what the predicate is about.
    #[error("the subject of the {what} {digest} is not what its predicate is about")]
    Subject {
        /// What kind of document.
        what: &'static str,
        /// Digest of the payload.
        digest: Digest,
    },
    /// A trust root breaks a rule.
    #[error("the trust root {digest} breaks a rule")]
    Root {
        /// Digest of the payload.
        digest: Digest,
        /// Which one.
        source: RootFault,
    },
    /// A channel record breaks a rule.
    #[error("the channel record {digest} breaks a rule")]
    Record {
        /// Digest of the payload.
        digest: Digest,
        /// Which one.
        source: RecordFault,
    },
}

/// A kind of signed document: a trust root or a channel record.
pub trait Document: sealed::Sealed + Clone + std::fmt::Debug + PartialEq + Eq {
    /// What people call it.
    const NAME: &'static str;
    /// Type of the artifact that carries it.
    const ARTIFACT: MediaType;
    /// Predicate type of its statement.
    const PREDICATE: &'static str;
    /// Largest payload in bytes.
    const LARGEST: usize;

    /// The product that the document is for.
    fn product(&self) -> &ProductName;
}

pub(crate) mod sealed {
    use registry_wire::Digest;
    use serde_json::value::RawValue;

    use super::DocumentError;

    /// What a statement is about: a name and a digest.
    pub struct Subject {
        pub(crate) name: &'static str,
        pub(crate) digest: Digest,
    }

    /// The other side of [`super::Document`], closed to other crates.
    pub trait Sealed: Sized {
        fn write_predicate(&self) -> Box<RawValue>;
        fn subject(&self, predicate: &RawValue) -> Subject;
        /// `payload` is for errors only.
        fn read_predicate(
            payload: Digest,
            subject: Digest,
            predicate: &RawValue,
        ) -> Result<Self, DocumentError>;
    }
}

/// A checked document with the bytes that are signed. The bytes are never written anew: a document that was read keeps
/// those it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload<D> {
    bytes: Vec<u8>,
    digest: Digest,
    document: D,
}

impl<D: Document> Payload<D> {
    /// Writes a new document.
    pub fn new(document: &D) -> Result<Self, DocumentError> {
        let predicate = document.write_predicate();
        let subject = document.subject(&predicate);
        // The reader's rules are the rules: what cannot be read back is never signed.
        Self::parse(Statement::write(Some(subject.name), subject.digest, D::PREDICATE, &predicate))
    }

    /// Reads a document. This says nothing about who signed it.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, DocumentError> {
        let digest = Digest::of(&bytes);
        if bytes.len() > D::LARGEST {
            return Err(DocumentError::TooLarge {
                what: D::NAME,
                digest,
                size: bytes.len(),
                limit: D::LARGEST,
            });
        }
        let document = {
            let statement = Statement::parse(&bytes, D::PREDICATE)
                .map_err(|source| DocumentError::Statement { what: D::NAME, source })?;
            let document = D::read_predicate(digest, statement.subject, statement.predicate)?;
            let subject = document.subject(statement.predicate);
            if statement.name.as_deref() != Some(subject.name) || statement.subject != subject.digest {
                return Err(DocumentError::Subject { what: D::NAME, digest });
            }
            document
        };
        Ok(Self { bytes, digest, document })
    }

    /// The bytes that are signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes. It names the document in later documents.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The document.
    pub const fn document(&self) -> &D {
        &self.document
    }

    /// Signs the bytes.
    pub fn sign(&self, key: &PrivateKey) -> SignatureBundle {
        SignatureBundle::sign(key, &self.bytes)
    }
}

/// Turns a serialisable predicate into its canonical bytes.
#[allow(
    clippy::expect_used,
    reason = "predicates are structs with string keys, so JSON can always hold them"
)]
pub(crate) fn raw(predicate: &impl serde::Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(predicate).expect("a predicate is plain JSON")
}

impl sealed::Sealed for TrustRoot {
    fn write_predicate(&self) -> Box<RawValue> {
        raw(&self.to_document())
    }

    /// A root is about its own contents.
    fn subject(&self, predicate: &RawValue) -> sealed::Subject {
        sealed::Subject { name: "trust-root", digest: Digest::of(predicate.get().as_bytes()) }
    }

    fn read_predicate(payload: Digest, _: Digest, predicate: &RawValue) -> Result<Self, DocumentError> {
        let document = serde_json::from_str(predicate.get()).map_err(|source| DocumentError::Predicate {
            what: Self::NAME,
            digest: payload,
            source,
        })?;
        Self::from_document(document).map_err(|source| DocumentError::Root { digest: payload, source })
    }
}

impl sealed::Sealed for ChannelRecord {
    fn write_predicate(&self) -> Box<RawValue> {
        raw(&self.to_document())
    }

    /// A record is about the release that the channel names.
    fn subject(&self, _: &RawValue) -> sealed::Subject {
        sealed::Subject { name: "release", digest: self.release.digest }
    }

    fn read_predicate(payload: Digest, subject: Digest, predicate: &RawValue) -> Result<Self, DocumentError> {
        let document = serde_json::from_str(predicate.get()).map_err(|source| DocumentError::Predicate {
            what: Self::NAME,
            digest: payload,
            source,
        })?;
        Self::from_document(document, subject)
            .map_err(|source| DocumentError::Record { digest: payload, source })
    }
}
