//! Tokens: a registry that wants one names its token service in a challenge (`WWW-Authenticate: Bearer`).
//!
//! The service is asked, and told our credentials, only when it has the registry's own origin or one that the caller
//! named: a challenge is the word of the other side and must not send us anywhere else.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use http::{HeaderMap, StatusCode, header};
use registry_wire::Request;
use reqwest::Url;
use serde::Deserialize;

use crate::{ClientError, Registry, transport::header_text};

/// A token service's answer is not longer.
const LIMIT: usize = 64 * 1024;

/// The tokens that we have, by repository.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<String, String>>);

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("tokens")
    }
}

impl Tokens {
    pub(crate) fn of(&self, request: &Request) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key(request)).cloned()
    }

    fn keep(&self, request: &Request, token: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key(request), token);
    }
}

fn key(request: &Request) -> String {
    request.repository().map(ToString::to_string).unwrap_or_default()
}

/// What a challenge says.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: Option<String>,
    scope: Option<String>,
}

impl Challenge {
    fn parse(text: &str) -> Option<Self> {
        let (kind, mut rest) = text.trim().split_once(' ')?;
        if !kind.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        while let Some((key, after)) = rest.split_once('=') {
            let (value, next) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').map_or((after, ""), |(value, next)| (value, next)),
            };
            match key.trim_matches([' ', ',']).to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                "scope" => scope = Some(value.to_owned()),
                _ => {}
            }
            rest = next;
        }
        Some(Self { realm: realm?, service, scope })
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry {
    /// Gets a token for a request that was answered with 401. `false` when the answer asks for none.
    pub(crate) async fn answer_challenge(
        &self,
        request: &Request,
        headers: &HeaderMap,
    ) -> Result<bool, ClientError> {
        let Some(challenge) = header_text(headers, &header::WWW_AUTHENTICATE).and_then(Challenge::parse)
        else {
            return Ok(false);
        };
        let realm: Url =
            challenge.realm.parse().map_err(|_| self.strange(request, "a token service that is no URL"))?;
        let origin = realm.origin().ascii_serialization();
        let is_ours = realm.origin() == self.inner.base.origin();
        if !is_ours && !self.inner.options.token_services.contains(&origin) {
            return Err(ClientError::ForeignTokens { registry: self.inner.address.clone(), origin });
        }
        let mut url = realm;
        for (key, value) in [("service", &challenge.service), ("scope", &challenge.scope)] {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(key, value);
            }
        }
        let mut builder = self.inner.http.get(url);
        if let Some(credentials) = &self.inner.options.credentials {
            builder = builder.basic_auth(&credentials.username, Some(&credentials.password));
        }
        let mut response = builder.send().await.map_err(|source| self.interrupted(request, source))?;
        if response.status() != StatusCode::OK {
            return Ok(false);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|source| self.interrupted(request, source))? {
            if body.len() + chunk.len() > LIMIT {
                return Err(self.strange(request, "a token without an end"));
            }
            body.extend_from_slice(&chunk);
        }
        let token: Token =
            serde_json::from_slice(&body).map_err(|_| self.strange(request, "a token that is none"))?;
        let token = token.token.or(token.access_token);
        self.inner.tokens.keep(request, token.ok_or_else(|| self.strange(request, "a token that is none"))?);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let all =
            Challenge::parse(r#"Bearer realm="https://a/token",service="a",scope="repository:x:pull,push""#);
        let expected = Challenge {
            realm: "https://a/token".to_owned(),
            service: Some("a".to_owned()),
            scope: Some("repository:x:pull,push".to_owned()),
        };
        assert_eq!(all, Some(expected));
        let bare = Challenge::parse("bearer realm=https://a/token, error=\"insufficient_scope\"").unwrap();
        assert_eq!((bare.realm.as_str(), bare.service, bare.scope), ("https://a/token", None, None));
        for other in ["", "Bearer", "Basic realm=\"x\"", "Bearer scope=\"x\"", "Bearer realm=\"x", "Bearer ="]
        {
            assert_eq!(Challenge::parse(other), None, "{other}");
        }
    }
}
