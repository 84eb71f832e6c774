//! The signature on a release, as cosign writes it and `cosign verify --key` reads it.

use bundles_release::names::SIGNATURE_PREDICATE;
use registry_wire::Digest;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    BundleError, KeyHint, PrivateKey, PublicKey, SignatureBundle, StatementError, statement::Statement,
};

/// A signature that is refused.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The cryptography does not hold.
    #[error("the release {release} is not signed by key {key}")]
    Bundle {
        /// The release.
        release: Digest,
        /// The key.
        key: KeyHint,
        /// What is wrong.
        source: Box<BundleError>,
    },
    /// The statement is another one.
    #[error("what is signed is not a signature on the release {release}")]
    Statement {
        /// The release.
        release: Digest,
        /// What is wrong.
        source: Box<StatementError>,
    },
}

/// Signs the manifest of digest `release`. The same key and digest always give the same bundle.
pub fn sign_release(key: &PrivateKey, release: Digest) -> SignatureBundle {
    SignatureBundle::sign(key, &Statement::write(None, release, SIGNATURE_PREDICATE, empty()))
}

/// Checks that `bundle` is the signature of `key` on the manifest of digest `release`: the cryptography, the kind of
/// the statement and what it is about. Another statement by the same key is no signature.
pub fn verify_signature(
    bundle: &SignatureBundle,
    key: &PublicKey,
    release: Digest,
) -> Result<(), SignatureError> {
    let payload = bundle.verify(key).map_err(|source| SignatureError::Bundle {
        release,
        key: key.hint(),
        source: Box::new(source),
    })?;
    signs(payload, release).map_err(|source| SignatureError::Statement { release, source: Box::new(source) })
}

/// Whether `payload` states a signature on `release`.
pub(crate) fn signs(payload: &[u8], release: Digest) -> Result<(), StatementError> {
    let statement = Statement::parse(payload, SIGNATURE_PREDICATE)?;
    let digest = Digest::of(payload);
    if serde_json::from_str::<Nothing>(statement.predicate.get()).is_err() {
        return Err(StatementError::Predicate { digest });
    }
    if statement.subject != release {
        return Err(StatementError::Subject { digest, found: statement.subject, expected: release });
    }
    Ok(())
}

/// The predicate of a signature: `{}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[allow(clippy::expect_used, reason = "the text is constant")]
fn empty() -> &'static RawValue {
    serde_json::from_str("{}").expect("{} is JSON")
}
