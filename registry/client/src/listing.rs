//! Lists and their pages.

use http::{HeaderMap, StatusCode, header};
use registry_wire::{MANIFEST_LIMIT, Page, RepositoryName, Request, Tag};
use reqwest::Url;
use serde::Deserialize;

use crate::{
    ClientError, Registry,
    transport::{Answer, header_text},
};

/// No list has more pages: a registry that never ends is refused.
const PAGES: usize = 10_000;

#[derive(Deserialize)]
struct Tags {
    // Registries write an empty list as `null`.
    tags: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
struct Repositories {
    repositories: Option<Vec<RepositoryName>>,
}

impl Registry {
    /// The tags of a repository, in the registry's order. A repository that the registry does not have has none.
    pub async fn tags(&self, repository: &RepositoryName) -> Result<Vec<Tag>, ClientError> {
        let request = Request::ListTags { repository: repository.clone(), page: Page::default() };
        let mut all = Vec::new();
        for body in self.pages(&request).await?.unwrap_or_default() {
            let page: Tags = serde_json::from_slice(&body)
                .map_err(|_| self.strange(&request, "a list of tags that is none"))?;
            all.extend(page.tags.unwrap_or_default());
        }
        Ok(all)
    }

    /// The repositories of the registry, in its order.
    pub async fn repositories(&self) -> Result<Vec<RepositoryName>, ClientError> {
        let request = Request::ListRepositories { page: Page::default() };
        let mut all = Vec::new();
        for body in self.pages(&request).await?.unwrap_or_default() {
            let page: Repositories = serde_json::from_slice(&body)
                .map_err(|_| self.strange(&request, "a list of repositories that is none"))?;
            all.extend(page.repositories.unwrap_or_default());
        }
        Ok(all)
    }

    /// All pages of a list; `None` when the registry says that it does not have what is listed.
    async fn pages(&self, request: &Request) -> Result<Option<Vec<bytes::Bytes>>, ClientError> {
        let mut next = Some(self.url(request)?);
        let mut bodies = Vec::new();
        while let Some(url) = next {
            let answer =
                self.fetch_url(request, url.clone(), &HeaderMap::new(), None, MANIFEST_LIMIT).await?;
            if self.is_absent(request, &answer)? {
                return Ok(None);
            }
            if answer.status != StatusCode::OK {
                return Err(self.refusal(request, &answer));
            }
            next = self.next_page(request, &url, &answer)?;
            bodies.push(answer.body);
            if bodies.len() > PAGES || next.as_ref() == Some(&url) {
                return Err(self.strange(request, "a list without an end"));
            }
        }
        Ok(Some(bodies))
    }

    /// The page that an answer's `Link` names.
    pub(crate) fn next_page(
        &self,
        request: &Request,
        current: &Url,
        answer: &Answer,
    ) -> Result<Option<Url>, ClientError> {
        let Some(link) =
            header_text(&answer.headers, &header::LINK).filter(|link| link.contains("rel=\"next\""))
        else {
            return Ok(None);
        };
        let target = link.strip_prefix('<').and_then(|link| link.split_once('>')).map(|(target, _)| target);
        let target = target.and_then(|target| current.join(target).ok());
        let target = target.ok_or_else(|| self.strange(request, "a link to the next page that is none"))?;
        self.resolve_location(request, target.as_str()).map(Some)
    }
}
