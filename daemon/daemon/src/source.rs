//! Releases and their signatures, from the registry.

use std::collections::BTreeMap;

use bundles_release::{
    EnvironmentName, ReleaseLimits,
    names::{SIGNATURE_PREDICATE, SIGSTORE_BUNDLE},
};
use bundles_remote::{BUNDLE_LIMIT, FetchError, fetch_release};
use bundles_trust::ChannelRecord;
use registry_client::{ClientError, Registry};
use registry_wire::{Descriptor, Digest, Reference, RepositoryName};

use crate::{contents::Documents, error::chain};

/// Why the documents of a release are not here.
#[derive(Debug)]
pub(crate) enum SourceError {
    /// The registry did not answer: it may later.
    Silent(String),
    /// The registry answered, and the answer is no such release.
    Refused(String),
}

impl SourceError {
    fn new(client: Option<&ClientError>, text: String) -> Self {
        match client {
            Some(
                ClientError::Unreachable { .. }
                | ClientError::Interrupted { .. }
                | ClientError::Unavailable { .. }
                | ClientError::Denied { .. },
            ) => Self::Silent(text),
            _ => Self::Refused(text),
        }
    }
}

impl From<ClientError> for SourceError {
    fn from(error: ClientError) -> Self {
        Self::new(Some(&error), chain(&error))
    }
}

impl From<FetchError> for SourceError {
    fn from(error: FetchError) -> Self {
        Self::new(error.client(), chain(&error))
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
    let fetched = fetch_release(registry, repository, &Reference::Digest(digest)).await?;
    let release = fetched.release;
    let mut objects = BTreeMap::new();
    // An environment that is not there is refused where the release is read for it.
    for (part, layer) in
        release.environment(environment).map(bundles_release::ReleaseEnvironment::parts).unwrap_or_default()
    {
        let bytes = registry.get_blob(repository, layer, ReleaseLimits::OBJECTS).await?;
        objects.insert(part.clone(), bytes);
    }
    let signatures = fetch_signatures(registry, repository, digest, record).await?;
    Ok(Documents {
        manifest: release.manifest().bytes().to_vec(),
        configuration: fetched.configuration,
        objects,
        signatures,
    })
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
    let bundles = bundles_remote::fetch_signatures(registry, repository, &digest).await?;
    Ok(bundles.iter().map(|bundle| bundle.bytes().to_vec()).collect())
}
