//! Releases and their signatures, from the registry.

use std::collections::BTreeMap;

use bundles_release::{
    EnvironmentName, Release, ReleaseLimits,
    names::{SIGNATURE_PREDICATE, SIGSTORE_BUNDLE},
};
use bundles_trust::{ChannelRecord, SignatureBundle};
use registry_client::{ClientError, Registry};
use registry_wire::{Descriptor, Digest, Reference, RepositoryName};

use crate::{contents::Documents, error::chain};

/// Most signatures that are looked at.
const MOST_SIGNATURES: usize = 32;
const BUNDLE_LIMIT: u64 = SignatureBundle::LARGEST as u64;

/// Why the documents of a release are not here.
#[derive(Debug)]
pub(crate) enum SourceError {
    /// The registry did not answer: it may later.
    Silent(String),
    /// The registry answered, and the answer is no such release.
    Refused(String),
}

impl From<ClientError> for SourceError {
    fn from(error: ClientError) -> Self {
        let text = chain(&error);
        match error {
            ClientError::Unreachable { .. }
            | ClientError::Interrupted { .. }
            | ClientError::Unavailable { .. }
            | ClientError::Denied { .. } => Self::Silent(text),
            _ => Self::Refused(text),
        }
    }
}

/// Fetches what a release holds for one environment, by digest. Every byte is checked.
pub(crate) async fn fetch_documents(
    registry: &Registry,
    repository: &RepositoryName,
    digest: Digest,
    environment: &EnvironmentName,
    record: Option<&ChannelRecord>,
) -> Result<Documents, SourceError> {
    let refused = |text: String| SourceError::Refused(text);
    let manifest = registry
        .get_manifest(repository, &Reference::Digest(digest))
        .await?
        .ok_or_else(|| refused(format!("the registry has no release {digest} in {repository}")))?;
    let configuration = Release::config_of(&manifest).map_err(|error| refused(chain(&error)))?.clone();
    let configuration = registry.get_blob(repository, &configuration, ReleaseLimits::CONFIG).await?;
    let release = Release::parse(manifest.clone(), &configuration).map_err(|error| refused(chain(&error)))?;
    let mut objects = BTreeMap::new();
    // An environment that is not there is refused where the release is read for it.
    for (part, layer) in
        release.environment(environment).map(bundles_release::ReleaseEnvironment::parts).unwrap_or_default()
    {
        let bytes = registry.get_blob(repository, layer, ReleaseLimits::OBJECTS).await?;
        objects.insert(part.clone(), bytes);
    }
    let signatures = fetch_signatures(registry, repository, digest, record).await?;
    Ok(Documents { manifest: manifest.bytes().to_vec(), configuration, objects, signatures })
}

/// The signatures: those that the record lists, else those that refer to the release.
async fn fetch_signatures(
    registry: &Registry,
    repository: &RepositoryName,
    digest: Digest,
    record: Option<&ChannelRecord>,
) -> Result<Vec<Vec<u8>>, SourceError> {
    let mut signatures = Vec::new();
    let evidence =
        record.filter(|record| record.release.digest == digest).map(|record| record.evidence.as_slice());
    for evidence in evidence.unwrap_or_default() {
        if evidence.predicate_type == SIGNATURE_PREDICATE {
            let descriptor = Descriptor::new(SIGSTORE_BUNDLE, evidence.bundle, evidence.size);
            signatures.push(registry.get_blob(repository, &descriptor, BUNDLE_LIMIT).await?);
        }
    }
    if !signatures.is_empty() {
        return Ok(signatures);
    }
    Ok(registry.attached(repository, &digest, &SIGSTORE_BUNDLE, MOST_SIGNATURES, BUNDLE_LIMIT).await?)
}
