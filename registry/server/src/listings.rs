//! Lists: repositories, tags, referrers.

use axum::response::Response;
use http::{StatusCode, header};
use registry_wire::{Digest, ErrorCode, Index, MediaType, Page, RepositoryName, Request, StoredManifest};
use serde_json::json;

use crate::{
    answer::{Answer, OCI_FILTERS, json as answer_json},
    fault::Fault,
    router::State,
};

pub(crate) async fn repositories(state: &State, page: Page) -> Result<Response, Fault> {
    let listing = state.meta.repositories(&page).await?;
    let answer = answer_json(&json!({ "repositories": &listing.entries }));
    let last = listing.entries.last().filter(|_| listing.more).map(ToString::to_string);
    let next = last.map(|last| Request::ListRepositories { page: Page { after: Some(last), ..page } });
    Ok(with_next(answer, next.as_ref()).finish())
}

pub(crate) async fn tags(state: &State, repository: RepositoryName, page: Page) -> Result<Response, Fault> {
    let listing = state.meta.tags(&repository, &page).await?;
    if listing.entries.is_empty() && !state.meta.has_repository(&repository).await? {
        return Err(Fault::absent(ErrorCode::NameUnknown, format!("there is no repository {repository}")));
    }
    let answer = answer_json(&json!({ "name": &repository, "tags": &listing.entries }));
    let last = listing.entries.last().filter(|_| listing.more).map(ToString::to_string);
    let next = last.map(|last| Request::ListTags { repository, page: Page { after: Some(last), ..page } });
    Ok(with_next(answer, next.as_ref()).finish())
}

pub(crate) async fn referrers(
    state: &State,
    repository: &RepositoryName,
    subject: &Digest,
    artifact_type: Option<&MediaType>,
) -> Result<Response, Fault> {
    let manifests = state.meta.referrers(repository, subject, artifact_type).await?;
    let index = StoredManifest::from_index(Index::of(manifests));
    let mut answer = Answer::new(StatusCode::OK)
        .with(header::CONTENT_TYPE, MediaType::IMAGE_INDEX)
        .with(header::CONTENT_LENGTH, index.bytes().len());
    if artifact_type.is_some() {
        answer = answer.with(OCI_FILTERS, "artifactType");
    }
    Ok(answer.body(index.bytes().to_vec()))
}

fn with_next(answer: Answer, next: Option<&Request>) -> Answer {
    match next {
        Some(next) => answer.with(header::LINK, format!("<{}>; rel=\"next\"", next.target())),
        None => answer,
    }
}
