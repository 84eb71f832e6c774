//! Sends requests and reads answers: limits, repetitions, errors.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use registry_wire::{ErrorCode, ErrorDocument, RegistryAddress, Request};
use reqwest::{Response, Url};

use crate::{ClientError, Options, Scheme, attempts::Attempts, authentication::Tokens, tls};

const USER_AGENT: &str = concat!("bundle/", env!("CARGO_PKG_VERSION"));
const REDIRECTS: usize = 5;
/// An error document is not longer.
const ERROR_LIMIT: u64 = 64 * 1024;

/// A client of one registry. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) address: RegistryAddress,
    pub(crate) options: Options,
    pub(crate) base: Url,
    pub(crate) http: reqwest::Client,
    pub(crate) tokens: Tokens,
}

/// An answer that was read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Registry {
    /// A client with the usual options.
    pub fn new(address: RegistryAddress, scheme: Scheme) -> Result<Self, ClientError> {
        Self::with_options(address, scheme, Options::default())
    }

    /// A client.
    pub fn with_options(
        address: RegistryAddress,
        scheme: Scheme,
        options: Options,
    ) -> Result<Self, ClientError> {
        let base: Url = format!("{scheme}://{address}/")
            .parse()
            .map_err(|_| ClientError::Address { registry: address.clone() })?;
        // Storage behind a registry may be elsewhere, but never less protected than the registry.
        let redirects = reqwest::redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS {
                attempt.error("too many redirects")
            } else if scheme == Scheme::Https && attempt.url().scheme() != "https" {
                attempt.error("a redirect from https to http is not followed")
            } else {
                attempt.follow()
            }
        });
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirects)
            .retry(reqwest::retry::never())
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout)
            .tls_backend_preconfigured(tls::configuration(&address, &options.authorities)?);
        if is_loopback(&base) {
            // A proxy of the environment cannot reach this machine's own registry.
            builder = builder.no_proxy();
        }
        let http =
            builder.build().map_err(|source| ClientError::Setup { registry: address.clone(), source })?;
        Ok(Self { inner: Arc::new(Inner { address, options, base, http, tokens: Tokens::default() }) })
    }

    /// The registry's address.
    pub fn address(&self) -> &RegistryAddress {
        &self.inner.address
    }

    /// How the registry is spoken to.
    pub fn scheme(&self) -> Scheme {
        if self.inner.base.scheme() == Scheme::Http.name() { Scheme::Http } else { Scheme::Https }
    }

    /// Asks whether there is a registry at the address.
    pub async fn check(&self) -> Result<(), ClientError> {
        let request = Request::Check { head: false };
        let answer = self.fetch(&request, &HeaderMap::new(), None, ERROR_LIMIT).await?;
        if answer.status == StatusCode::OK { Ok(()) } else { Err(self.refusal(&request, &answer)) }
    }

    pub(crate) fn attempts(&self) -> Attempts {
        Attempts::new(&self.inner.options)
    }

    pub(crate) fn moved(&self, bytes: usize) {
        if let Some(progress) = &self.inner.options.progress {
            progress(bytes as u64);
        }
    }

    /// The URL of an operation.
    pub(crate) fn url(&self, request: &Request) -> Result<Url, ClientError> {
        self.resolve_location(request, &request.target())
    }

    /// The URL that a header of an answer names. It must be of the registry itself: what follows may carry
    /// credentials.
    pub(crate) fn resolve_location(&self, request: &Request, location: &str) -> Result<Url, ClientError> {
        let base = &self.inner.base;
        match base.join(location) {
            Ok(url) if url.origin() == base.origin() => Ok(url),
            Ok(_) => Err(self.strange(request, "it sends us to another host")),
            Err(_) => Err(self.strange(request, "a location is not a URL")),
        }
    }

    /// Sends a request once and reads the head of its answer. An overloaded, broken or refusing registry is an error.
    pub(crate) async fn send(
        &self,
        request: &Request,
        url: Url,
        headers: &HeaderMap,
        body: Option<reqwest::Body>,
    ) -> Result<Response, ClientError> {
        let method = match request.method() {
            registry_wire::Method::Get => http::Method::GET,
            registry_wire::Method::Head => http::Method::HEAD,
            registry_wire::Method::Post => http::Method::POST,
            registry_wire::Method::Put => http::Method::PUT,
            registry_wire::Method::Patch => http::Method::PATCH,
            registry_wire::Method::Delete => http::Method::DELETE,
        };
        let mut builder = self.inner.http.request(method, url).headers(headers.clone());
        if let Some(body) = body {
            builder = builder.body(body);
        }
        // A body that is a stream can be sent once; the request that began its upload has brought the token.
        let again = builder.try_clone();
        let mut response = self.send_authorized(request, builder).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(again) = again
            && self.answer_challenge(request, response.headers()).await?
        {
            response = self.send_authorized(request, again).await?;
        }
        let status = response.status();
        if !(status.is_server_error() || matches!(status.as_u16(), 401 | 403 | 429)) {
            return Ok(response);
        }
        let retry_after = header_text(response.headers(), &header::RETRY_AFTER)
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs);
        let body = self.read_body(request, response, ERROR_LIMIT).await.unwrap_or_default();
        let message = message_of(&body).1;
        let (registry, request, status) =
            (self.inner.address.clone(), Box::new(request.clone()), status.as_u16());
        Err(match status {
            401 | 403 => ClientError::Denied { registry, request, status, message },
            // What is not implemented or does not fit will not be a moment later.
            501 | 505 | 507 => {
                ClientError::Refused { registry, request, status, code: ErrorCode::Unsupported, message }
            }
            _ => ClientError::Unavailable { registry, request, status, retry_after, message },
        })
    }

    async fn send_authorized(
        &self,
        request: &Request,
        builder: reqwest::RequestBuilder,
    ) -> Result<Response, ClientError> {
        let builder = match (self.inner.tokens.of(request), &self.inner.options.credentials) {
            (Some(token), _) => builder.bearer_auth(token),
            (None, Some(credentials)) => {
                builder.basic_auth(&credentials.username, Some(&credentials.password))
            }
            (None, None) => builder,
        };
        builder.send().await.map_err(|source| {
            let (registry, request) = (self.inner.address.clone(), Box::new(request.clone()));
            if source.is_connect() {
                ClientError::Unreachable { registry, request, source }
            } else {
                ClientError::Interrupted { registry, request, source }
            }
        })
    }

    /// Sends a request that may be repeated and reads its whole answer, of at most `limit` bytes.
    pub(crate) async fn fetch(
        &self,
        request: &Request,
        headers: &HeaderMap,
        body: Option<Bytes>,
        limit: u64,
    ) -> Result<Answer, ClientError> {
        self.fetch_url(request, self.url(request)?, headers, body, limit).await
    }

    pub(crate) async fn fetch_url(
        &self,
        request: &Request,
        url: Url,
        headers: &HeaderMap,
        body: Option<Bytes>,
        limit: u64,
    ) -> Result<Answer, ClientError> {
        let mut attempts = self.attempts();
        loop {
            match self.fetch_once(request, url.clone(), headers, body.clone(), limit).await {
                Ok(answer) => return Ok(answer),
                Err(error) => attempts.after(error).await?,
            }
        }
    }

    /// Sends a request once and reads its whole answer.
    pub(crate) async fn fetch_once(
        &self,
        request: &Request,
        url: Url,
        headers: &HeaderMap,
        body: Option<Bytes>,
        limit: u64,
    ) -> Result<Answer, ClientError> {
        let response = self.send(request, url, headers, body.map(Into::into)).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let limit = if status.is_success() { limit } else { ERROR_LIMIT };
        let body = self.read_body(request, response, limit).await?;
        Ok(Answer { status, headers, body })
    }

    async fn read_body(
        &self,
        request: &Request,
        mut response: Response,
        limit: u64,
    ) -> Result<Bytes, ClientError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|source| self.interrupted(request, source))? {
            if (body.len() + chunk.len()) as u64 > limit {
                let (registry, request) = (self.inner.address.clone(), Box::new(request.clone()));
                return Err(ClientError::TooLarge { registry, request, limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    pub(crate) fn interrupted(&self, request: &Request, source: reqwest::Error) -> ClientError {
        let (registry, request) = (self.inner.address.clone(), Box::new(request.clone()));
        ClientError::Interrupted { registry, request, source }
    }

    pub(crate) fn strange(&self, request: &Request, reason: &'static str) -> ClientError {
        let (registry, request) = (self.inner.address.clone(), Box::new(request.clone()));
        ClientError::Strange { registry, request, reason }
    }

    pub(crate) fn absent(&self, request: &Request) -> ClientError {
        ClientError::Absent { registry: self.inner.address.clone(), request: Box::new(request.clone()) }
    }

    /// The error for an answer that is not the expected one.
    pub(crate) fn refusal(&self, request: &Request, answer: &Answer) -> ClientError {
        let (code, message) = message_of(&answer.body);
        let (registry, request) = (self.inner.address.clone(), Box::new(request.clone()));
        ClientError::Refused { registry, request, status: answer.status.as_u16(), code, message }
    }

    /// Is this a registry's own word that it does not have what was asked for? A 404 of anything else in between (a
    /// proxy, a wrong address) is not. The answer to HEAD has no words.
    pub(crate) fn is_absent(&self, request: &Request, answer: &Answer) -> Result<bool, ClientError> {
        if answer.status != StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let is_head = request.method() == registry_wire::Method::Head;
        if is_head || ErrorDocument::parse(&answer.body).is_some() {
            return Ok(true);
        }
        Err(self.strange(request, "404 without the error document of a registry"))
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']')) {
        Some("localhost") => true,
        Some(host) => host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback()),
        None => false,
    }
}

fn message_of(body: &[u8]) -> (ErrorCode, String) {
    let entry = ErrorDocument::parse(body).and_then(|document| document.errors.into_iter().next());
    entry.map_or((ErrorCode::Unknown, String::new()), |entry| (entry.code, entry.message))
}

/// A header as text.
pub(crate) fn header_text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
