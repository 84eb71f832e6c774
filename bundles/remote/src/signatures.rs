//! The signatures that refer to a release.

use bundles_release::names::SIGSTORE_BUNDLE;
use bundles_trust::SignatureBundle;
use registry_client::{ClientError, Registry};
use registry_wire::{Digest, Reference, RepositoryName};

/// Most referrers that are opened: anybody who may push can add some.
const MOST_REFERRERS: usize = 64;
/// Longest signature that is read.
pub const BUNDLE_LIMIT: u64 = SignatureBundle::LARGEST as u64;

/// Reads the signatures that refer to `subject`, whoever made them. What the registry does not have after all, and what
/// is no bundle, is passed over; a registry that does not answer is an error.
pub async fn fetch_signatures(
    registry: &Registry,
    repository: &RepositoryName,
    subject: &Digest,
) -> Result<Vec<SignatureBundle>, ClientError> {
    let mut referrers = registry.referrers(repository, subject).await?;
    // Some registries list a wrong type, so all are opened; those that claim to be signatures come first.
    referrers.sort_by_key(|referrer| referrer.artifact_type.as_ref() != Some(&SIGSTORE_BUNDLE));
    let mut bundles = Vec::new();
    for referrer in referrers.iter().take(MOST_REFERRERS) {
        let manifest = registry.get_manifest(repository, &Reference::Digest(referrer.digest)).await;
        let Some(manifest) = known(manifest)?.flatten() else { continue };
        let Some(layer) = manifest.image().and_then(|image| image.layers.first()) else { continue };
        if layer.media_type != SIGSTORE_BUNDLE || layer.size > BUNDLE_LIMIT {
            continue;
        }
        let bytes = known(registry.get_blob(repository, layer, BUNDLE_LIMIT).await)?;
        bundles.extend(bytes.and_then(|bytes| SignatureBundle::parse(bytes).ok()));
    }
    Ok(bundles)
}

/// `None` for an answer that says something about one referrer only: others may be good.
fn known<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(
            error @ (ClientError::Absent { .. }
            | ClientError::Tampered { .. }
            | ClientError::Size { .. }
            | ClientError::TooLarge { .. }
            | ClientError::Manifest { .. }),
        ) => {
            tracing::debug!(%error, "a referrer is passed over");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
