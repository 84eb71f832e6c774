//! Manifests: read, write, delete.

use axum::{body::Body, response::Response};
use http::{HeaderMap, StatusCode, header};
use registry_wire::{
    ErrorCode, MANIFEST_LIMIT, MediaType, Reference, RepositoryName, Request, StoredManifest, Tag,
};

use crate::{
    answer::{Answer, CONTENT_DIGEST, OCI_SUBJECT, OCI_TAG, has_already, read_body, text},
    fault::Fault,
    router::State,
};

pub(crate) async fn read(
    state: &State,
    repository: &RepositoryName,
    reference: &Reference,
    head: bool,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    let Some(manifest) = state.meta.manifest(repository, reference).await? else {
        return Err(unknown(repository, reference));
    };
    if has_already(headers, &manifest.digest) {
        return Ok(Answer::new(StatusCode::NOT_MODIFIED).with_digest(&manifest.digest).finish());
    }
    let answer = Answer::new(StatusCode::OK)
        .with_digest(&manifest.digest)
        .with(header::CONTENT_TYPE, &manifest.media_type)
        .with(header::CONTENT_LENGTH, manifest.bytes.len());
    Ok(if head { answer.finish() } else { answer.body(manifest.bytes) })
}

pub(crate) async fn write(
    state: &State,
    repository: &RepositoryName,
    reference: &Reference,
    tags: Vec<Tag>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let invalid = |code, message: String| Fault::refused(StatusCode::BAD_REQUEST, code, message);
    let media_type = text(headers, &header::CONTENT_TYPE)
        .and_then(|text| text.split(';').next())
        .and_then(|text| text.trim().parse::<MediaType>().ok())
        .ok_or_else(|| {
            invalid(ErrorCode::ManifestInvalid, "a manifest needs its media type as Content-Type".to_owned())
        })?;
    let bytes = read_body(headers, body, MANIFEST_LIMIT).await?;
    let manifest = StoredManifest::parse(media_type, bytes).map_err(|error| {
        let source =
            std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        invalid(ErrorCode::ManifestInvalid, format!("{error}{source}"))
    })?;
    let digest = manifest.digest();
    let mut all = tags.clone();
    match reference {
        Reference::Tag(tag) => all.push(tag.clone()),
        Reference::Digest(asked) if *asked == digest => {}
        Reference::Digest(asked) => {
            return Err(invalid(
                ErrorCode::DigestInvalid,
                format!("the manifest has digest {digest}, not {asked}"),
            ));
        }
    }
    state.meta.put_manifest(repository, &manifest, &all).await?;
    let stored =
        Request::ReadManifest { repository: repository.clone(), reference: digest.into(), head: false };
    let mut answer =
        Answer::new(StatusCode::CREATED).with(header::LOCATION, stored.target()).with(CONTENT_DIGEST, digest);
    if let Some(subject) = manifest.subject() {
        answer = answer.with(OCI_SUBJECT, subject.digest);
    }
    for tag in tags {
        answer = answer.with(OCI_TAG, tag);
    }
    Ok(answer.finish())
}

pub(crate) async fn delete(
    state: &State,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Response, Fault> {
    if state.meta.delete_manifest(repository, reference).await? {
        Ok(Answer::new(StatusCode::ACCEPTED).finish())
    } else {
        Err(unknown(repository, reference))
    }
}

fn unknown(repository: &RepositoryName, reference: &Reference) -> Fault {
    Fault::absent(ErrorCode::ManifestUnknown, format!("repository {repository} has no manifest {reference}"))
}
