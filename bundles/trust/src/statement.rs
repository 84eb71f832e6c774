//! In-toto statements, version 1: a subject by digest and a typed predicate about it.

use std::collections::BTreeMap;

use bundles_release::{canonical, names::STATEMENT_TYPE};
use registry_wire::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

/// A payload that is not the statement that is expected.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Not a statement.
    #[error("the signed payload {digest} is not an in-toto statement with one subject")]
    Json {
        /// Digest of the payload.
        digest: Digest,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// Another version of the format.
    #[error("the signed payload {digest} has the type `{found}`, `{STATEMENT_TYPE}` is expected")]
    Type {
        /// Digest of the payload.
        digest: Digest,
        /// What stands there.
        found: String,
    },
    /// A statement of another kind.
    #[error("the signed payload {digest} states `{found}`, `{expected}` is expected")]
    PredicateType {
        /// Digest of the payload.
        digest: Digest,
        /// What it states.
        found: String,
        /// What is expected.
        expected: &'static str,
    },
    /// None or several subjects.
    #[error("the signed payload {digest} has {count} subjects, exactly one is expected")]
    SubjectCount {
        /// Digest of the payload.
        digest: Digest,
        /// How many.
        count: usize,
    },
    /// A statement about something else.
    #[error("the signed payload {digest} is about {found}, not about {expected}")]
    Subject {
        /// Digest of the payload.
        digest: Digest,
        /// What it is about.
        found: Digest,
        /// What it should be about.
        expected: Digest,
    },
    /// A predicate that says more than nothing.
    #[error("the signed payload {digest} has a predicate where an empty one is expected")]
    Predicate {
        /// Digest of the payload.
        digest: Digest,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document<'bytes> {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<SubjectDocument>,
    predicate_type: String,
    #[serde(borrow)]
    predicate: &'bytes RawValue,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectDocument {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    digest: DigestDocument,
    /// cosign writes what `-a key=value` gives, or an empty map.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DigestDocument {
    sha256: Hexadecimal,
}

/// A digest as in-toto writes it, without the algorithm.
struct Hexadecimal(Digest);

impl Serialize for Hexadecimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.hex())
    }
}

impl<'de> Deserialize<'de> for Hexadecimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Digest::from_hex(&text).map(Self).map_err(de::Error::custom)
    }
}

/// A statement with one subject, its predicate still in the bytes it was received in.
#[derive(Debug)]
pub(crate) struct Statement<'bytes> {
    pub(crate) name: Option<String>,
    pub(crate) subject: Digest,
    pub(crate) predicate: &'bytes RawValue,
}

impl<'bytes> Statement<'bytes> {
    /// Writes a statement.
    pub(crate) fn write(
        name: Option<&str>,
        subject: Digest,
        predicate_type: &'static str,
        predicate: &RawValue,
    ) -> Vec<u8> {
        canonical::write(&Document {
            kind: STATEMENT_TYPE.to_owned(),
            subject: vec![SubjectDocument {
                name: name.map(str::to_owned),
                digest: DigestDocument { sha256: Hexadecimal(subject) },
                annotations: BTreeMap::new(),
            }],
            predicate_type: predicate_type.to_owned(),
            predicate,
        })
    }

    /// Reads a statement of one kind.
    pub(crate) fn parse(payload: &'bytes [u8], expected: &'static str) -> Result<Self, StatementError> {
        let digest = Digest::of(payload);
        let document: Document<'bytes> =
            serde_json::from_slice(payload).map_err(|source| StatementError::Json { digest, source })?;
        if document.kind != STATEMENT_TYPE {
            return Err(StatementError::Type { digest, found: document.kind });
        }
        if document.predicate_type != expected {
            return Err(StatementError::PredicateType { digest, found: document.predicate_type, expected });
        }
        let count = document.subject.len();
        let Ok([subject]) = <[SubjectDocument; 1]>::try_from(document.subject) else {
            return Err(StatementError::SubjectCount { digest, count });
        };
        Ok(Self { name: subject.name, subject: subject.digest.sha256.0, predicate: document.predicate })
    }
}
