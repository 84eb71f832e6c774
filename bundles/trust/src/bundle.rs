//! Sigstore bundle, version 0.3, in the one form that needs no log and no clock: a DSSE envelope with one signature by
//! a public key. Everything else is refused: unknown fields, certificates, log entries, key ids, several signatures.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bundles_release::{
    canonical,
    names::{SIGSTORE_BUNDLE, STATEMENT_PAYLOAD},
};
use registry_wire::{Digest, MediaType};
use serde::{Deserialize, Serialize};

use crate::{KeyHint, PrivateKey, PublicKey, pre_authentication_encoding};

/// A bundle that is refused.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Larger than any bundle.
    #[error("bundle {digest} has {size} bytes, the limit is {}", SignatureBundle::LARGEST)]
    TooLarge {
        /// Digest of the bytes.
        digest: Digest,
        /// Their number.
        size: usize,
    },
    /// Not a bundle of the one accepted form.
    #[error("bundle {digest} is not a Sigstore bundle with a public key and one signature")]
    Json {
        /// Digest of the bytes.
        digest: Digest,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// Another version of the format, or another payload.
    #[error("bundle {digest} has the {field} `{found}`, `{expected}` is expected")]
    Type {
        /// Digest of the bytes.
        digest: Digest,
        /// Which type.
        field: &'static str,
        /// What stands there.
        found: String,
        /// What is expected.
        expected: String,
    },
    /// None or several signatures.
    #[error("bundle {digest} has {count} signatures, exactly one is expected")]
    SignatureCount {
        /// Digest of the bytes.
        digest: Digest,
        /// How many.
        count: usize,
    },
    /// A field is not canonical base64.
    #[error("field {field} of bundle {digest} is not base64")]
    Base64 {
        /// Digest of the bytes.
        digest: Digest,
        /// The field.
        field: &'static str,
        /// What the parser says.
        source: base64::DecodeError,
    },
    /// The signature does not belong to the payload and the key.
    #[error("the signature of bundle {digest} is not one of key {key} over its payload")]
    Signature {
        /// Digest of the bytes.
        digest: Digest,
        /// The key that was tried.
        key: KeyHint,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    media_type: MediaType,
    verification_material: MaterialDocument,
    dsse_envelope: EnvelopeDocument,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MaterialDocument {
    public_key: PublicKeyDocument,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicKeyDocument {
    hint: KeyHint,
}

/// Without a key id on purpose: verifiers built on securesystemslib skip a signature whose key id is not the one that
/// they make up themselves.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EnvelopeDocument {
    payload: String,
    payload_type: String,
    signatures: Vec<SignatureDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureDocument {
    sig: String,
}

/// One signature by one key over one statement, with the bytes it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureBundle {
    bytes: Vec<u8>,
    digest: Digest,
    hint: KeyHint,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl SignatureBundle {
    /// Largest accepted bundle in bytes.
    pub const LARGEST: usize = 64 * 1024;

    /// Signs the statement `payload` with `key`. The same key and payload always give the same bundle.
    pub fn sign(key: &PrivateKey, payload: &[u8]) -> Self {
        let signature = key.sign(&pre_authentication_encoding(STATEMENT_PAYLOAD, payload));
        let hint = key.hint();
        let bytes = canonical::write(&Document {
            media_type: SIGSTORE_BUNDLE,
            verification_material: MaterialDocument { public_key: PublicKeyDocument { hint } },
            dsse_envelope: EnvelopeDocument {
                payload: STANDARD.encode(payload),
                payload_type: STATEMENT_PAYLOAD.to_owned(),
                signatures: vec![SignatureDocument { sig: STANDARD.encode(&signature) }],
            },
        });
        Self { digest: Digest::of(&bytes), bytes, hint, payload: payload.to_vec(), signature }
    }

    /// Reads a bundle. This proves nothing yet: see [`Self::verify`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BundleError> {
        let digest = Digest::of(&bytes);
        if bytes.len() > Self::LARGEST {
            return Err(BundleError::TooLarge { digest, size: bytes.len() });
        }
        let document: Document =
            serde_json::from_slice(&bytes).map_err(|source| BundleError::Json { digest, source })?;
        let envelope = document.dsse_envelope;
        for (field, found, expected) in [
            ("media type", document.media_type.as_str(), SIGSTORE_BUNDLE.as_str()),
            ("payload type", &envelope.payload_type, STATEMENT_PAYLOAD),
        ] {
            if found != expected {
                let (found, expected) = (found.to_owned(), expected.to_owned());
                return Err(BundleError::Type { digest, field, found, expected });
            }
        }
        let [signature] = envelope.signatures.as_slice() else {
            return Err(BundleError::SignatureCount { digest, count: envelope.signatures.len() });
        };
        let decode = |field: &'static str, text: &str| {
            STANDARD.decode(text).map_err(|source| BundleError::Base64 { digest, field, source })
        };
        let payload = decode("payload", &envelope.payload)?;
        let signature = decode("sig", &signature.sig)?;
        Ok(Self { digest, hint: document.verification_material.public_key.hint, payload, signature, bytes })
    }

    /// The bytes as received.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The key that the bundle claims to be signed by.
    pub const fn hint(&self) -> KeyHint {
        self.hint
    }

    /// The statement, which nobody has verified yet.
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// The statement, if `key` is the key that the bundle names and has signed it.
    pub fn verify(&self, key: &PublicKey) -> Result<&[u8], BundleError> {
        let text = pre_authentication_encoding(STATEMENT_PAYLOAD, &self.payload);
        if key.hint() == self.hint && key.verifies(&text, &self.signature) {
            Ok(&self.payload)
        } else {
            Err(BundleError::Signature { digest: self.digest, key: key.hint() })
        }
    }
}
