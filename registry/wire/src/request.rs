//! One value per operation of the distribution API. The server parses what the client formats.
//!
//! Invariant: `Request::parse(request.method(), path and query of request.target())` gives the request back. No route
//! is known anywhere else, and a name, tag, digest or session that reaches the server's code has been checked here.

use std::fmt;

use crate::{
    Digest, ErrorCode, MediaType, Reference, RepositoryName, Tag, checked_text,
    query::{Query, decode, pairs},
};

/// The methods of the distribution API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Reads the headers only.
    Head,
    /// Starts.
    Post,
    /// Writes or finishes.
    Put,
    /// Appends.
    Patch,
    /// Removes.
    Delete,
}

impl Method {
    /// The method of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => return None,
        })
    }

    /// The name as HTTP writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

checked_text!(
    /// Names an upload within its repository: 32 lower-case hexadecimal digits.
    SessionId,
    SessionIdError,
    "an upload session",
    |text| {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        text.len() == 32 && text.bytes().all(is_digit)
    }
);

impl SessionId {
    /// A session named by 16 bytes that the caller drew at random.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        let mut text = String::with_capacity(32);
        for byte in bytes {
            for half in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
            }
        }
        Self(text.into())
    }
}

/// The part of a listing that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// At most so many entries (`n`).
    pub limit: Option<u32>,
    /// Only entries that sort after this text (`last`).
    pub after: Option<String>,
}

/// How a blob is to come into a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadStart {
    /// In a session of several requests.
    Session,
    /// In the body of this request.
    Whole(Digest),
    /// From another repository of the same registry, without its bytes.
    Mount {
        /// The blob.
        digest: Digest,
        /// The repository that has it; a registry may know one itself.
        from: Option<RepositoryName>,
    },
}

/// One operation of the distribution API.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are of types that say what they are")]
pub enum Request {
    /// Is this a registry?
    Check { head: bool },
    /// Which repositories are there?
    ListRepositories { page: Page },
    /// Which tags does a repository have?
    ListTags { repository: RepositoryName, page: Page },
    /// Which manifests have this one as their subject?
    ListReferrers { repository: RepositoryName, subject: Digest, artifact_type: Option<MediaType> },
    /// Reads a manifest, or its headers only.
    ReadManifest { repository: RepositoryName, reference: Reference, head: bool },
    /// Stores a manifest under its digest or a tag, and under further tags.
    WriteManifest { repository: RepositoryName, reference: Reference, tags: Vec<Tag> },
    /// Removes a tag, or a manifest with all its tags.
    DeleteManifest { repository: RepositoryName, reference: Reference },
    /// Reads a blob, or its headers only.
    ReadBlob { repository: RepositoryName, digest: Digest, head: bool },
    /// Removes a blob from a repository.
    DeleteBlob { repository: RepositoryName, digest: Digest },
    /// Brings a blob, or begins to.
    StartUpload { repository: RepositoryName, start: UploadStart },
    /// How far is an upload?
    ReadUpload { repository: RepositoryName, session: SessionId },
    /// Adds a chunk to an upload.
    AppendUpload { repository: RepositoryName, session: SessionId },
    /// Adds the last chunk, if any, and checks the whole.
    FinishUpload { repository: RepositoryName, session: SessionId, digest: Digest },
    /// Gives an upload up.
    CancelUpload { repository: RepositoryName, session: SessionId },
}

/// A request that is no operation of the distribution API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such path.
    #[error("no operation of a registry has the path `{path}`")]
    Path {
        /// The path.
        path: String,
    },
    /// The path exists, but not with this method.
    #[error("`{path}` does not take {method}")]
    Method {
        /// The method.
        method: String,
        /// The path.
        path: String,
    },
    /// The repository's name is none.
    #[error(transparent)]
    Repository(#[from] crate::RepositoryNameError),
    /// The digest is none, or of an algorithm that is not kept here.
    #[error(transparent)]
    Digest(#[from] crate::DigestError),
    /// A tag that cannot exist is asked for.
    #[error("no manifest can be called `{text}`: neither a tag nor a digest")]
    UnknownTag {
        /// The text in the tag's place.
        text: String,
    },
    /// A tag that cannot exist is to be written.
    #[error(transparent)]
    Tag(#[from] crate::TagError),
    /// The upload session is none.
    #[error(transparent)]
    Session(#[from] SessionIdError),
    /// A parameter of the query has a wrong value.
    #[error("parameter `{key}` cannot be `{value}`")]
    Parameter {
        /// Its name.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// A parameter is missing.
    #[error("parameter `{key}` is missing")]
    Missing {
        /// Its name.
        key: &'static str,
    },
    /// The query cannot be read.
    #[error("the query `{query}` cannot be read")]
    Query {
        /// The query.
        query: String,
    },
}

impl RequestError {
    /// HTTP status that answers it.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Path { .. } | Self::UnknownTag { .. } | Self::Session(_) => 404,
            Self::Method { .. } => 405,
            Self::Repository(_)
            | Self::Digest(_)
            | Self::Tag(_)
            | Self::Parameter { .. }
            | Self::Missing { .. }
            | Self::Query { .. } => 400,
        }
    }

    /// Code of the error document.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Path { .. } => ErrorCode::NotFound,
            Self::Method { .. } | Self::Parameter { .. } | Self::Query { .. } => ErrorCode::Unsupported,
            Self::Repository(_) => ErrorCode::NameInvalid,
            Self::Digest(_) | Self::Missing { .. } => ErrorCode::DigestInvalid,
            Self::UnknownTag { .. } => ErrorCode::ManifestUnknown,
            Self::Tag(_) => ErrorCode::TagInvalid,
            Self::Session(_) => ErrorCode::BlobUploadUnknown,
        }
    }
}

/// The parameters that any operation takes; unknown ones are ignored, as the specification wants.
#[derive(Debug, Default)]
struct Parameters {
    limit: Option<String>,
    last: Option<String>,
    digest: Option<String>,
    mount: Option<String>,
    from: Option<String>,
    artifact_type: Option<String>,
    algorithm: Option<String>,
    tags: Vec<String>,
}

impl Parameters {
    fn parse(query: &str) -> Result<Self, RequestError> {
        let mut all = Self::default();
        for pair in pairs(query) {
            let (key, value) = pair.map_err(|_| RequestError::Query { query: query.to_owned() })?;
            match key.as_str() {
                "n" => all.limit = Some(value),
                "last" => all.last = Some(value),
                "digest" => all.digest = Some(value),
                "mount" => all.mount = Some(value),
                "from" => all.from = Some(value),
                "artifactType" => all.artifact_type = Some(value),
                "digest-algorithm" => all.algorithm = Some(value),
                "tag" => all.tags.push(value),
                _ => {}
            }
        }
        Ok(all)
    }

    fn page(self) -> Result<Page, RequestError> {
        let limit = self.limit.map(|value| {
            // More than a number can hold is as good as no limit: the server has its own.
            let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            if is_number {
                Ok(value.parse().unwrap_or(u32::MAX))
            } else {
                Err(RequestError::Parameter { key: "n", value })
            }
        });
        Ok(Page { limit: limit.transpose()?, after: self.last.filter(|last| !last.is_empty()) })
    }

    fn start(self) -> Result<UploadStart, RequestError> {
        if let Some(value) = self.algorithm.filter(|value| value != "sha256") {
            return Err(RequestError::Parameter { key: "digest-algorithm", value });
        }
        if let Some(mount) = self.mount {
            // A `from` that cannot exist must fall back to a session and never fail.
            let from = self.from.and_then(|from| from.parse().ok());
            return Ok(UploadStart::Mount { digest: mount.parse()?, from });
        }
        Ok(match self.digest {
            Some(digest) => UploadStart::Whole(digest.parse()?),
            None => UploadStart::Session,
        })
    }
}

impl Request {
    /// Reads an operation from the method, the path and the query of an HTTP request.
    pub fn parse(method: &str, path: &str, query: Option<&str>) -> Result<Self, RequestError> {
        let unknown_path = || RequestError::Path { path: path.to_owned() };
        let refused = || RequestError::Method { method: method.to_owned(), path: path.to_owned() };
        let parameters = Parameters::parse(query.unwrap_or_default())?;
        let verb = Method::from_name(method);
        let head = verb == Some(Method::Head);
        if path == "/v2" || path == "/v2/" {
            return match verb {
                Some(Method::Get | Method::Head) => Ok(Self::Check { head }),
                _ => Err(refused()),
            };
        }
        let rest = path.strip_prefix("/v2/").ok_or_else(unknown_path)?;
        if rest == "_catalog" {
            return match verb {
                Some(Method::Get) => Ok(Self::ListRepositories { page: parameters.page()? }),
                _ => Err(refused()),
            };
        }
        // The operation is known by its last segments; all before them is the name, whatever words it holds.
        let (before, last) = rest.rsplit_once('/').ok_or_else(unknown_path)?;
        if let Some(name) = before.strip_suffix("/blobs/uploads") {
            let repository = name.parse()?;
            if last.is_empty() {
                return match verb {
                    Some(Method::Post) => Ok(Self::StartUpload { repository, start: parameters.start()? }),
                    _ => Err(refused()),
                };
            }
            let session = last.parse()?;
            return match verb {
                Some(Method::Get) => Ok(Self::ReadUpload { repository, session }),
                Some(Method::Patch) => Ok(Self::AppendUpload { repository, session }),
                Some(Method::Delete) => Ok(Self::CancelUpload { repository, session }),
                Some(Method::Put) => {
                    let digest = parameters.digest.ok_or(RequestError::Missing { key: "digest" })?.parse()?;
                    Ok(Self::FinishUpload { repository, session, digest })
                }
                _ => Err(refused()),
            };
        }
        let (name, kind) = before.rsplit_once('/').ok_or_else(unknown_path)?;
        match kind {
            "tags" if last == "list" => match verb {
                Some(Method::Get) => {
                    Ok(Self::ListTags { repository: name.parse()?, page: parameters.page()? })
                }
                _ => Err(refused()),
            },
            "blobs" if last == "uploads" => match verb {
                Some(Method::Post) => {
                    Ok(Self::StartUpload { repository: name.parse()?, start: parameters.start()? })
                }
                _ => Err(refused()),
            },
            "blobs" => {
                let repository = name.parse()?;
                let digest = segment(last).parse()?;
                match verb {
                    Some(Method::Get | Method::Head) => Ok(Self::ReadBlob { repository, digest, head }),
                    Some(Method::Delete) => Ok(Self::DeleteBlob { repository, digest }),
                    _ => Err(refused()),
                }
            }
            "referrers" => match verb {
                Some(Method::Get) => {
                    // A type that cannot exist has no referrers; the list is empty, not an error.
                    let artifact_type = parameters.artifact_type.filter(|text| !text.is_empty());
                    let artifact_type = artifact_type
                        .map(|value| {
                            value.parse().map_err(|_| RequestError::Parameter { key: "artifactType", value })
                        })
                        .transpose()?;
                    let subject = segment(last).parse()?;
                    Ok(Self::ListReferrers { repository: name.parse()?, subject, artifact_type })
                }
                _ => Err(refused()),
            },
            "manifests" => {
                let repository = name.parse()?;
                let text = segment(last);
                let reference = if text.contains(':') {
                    text.parse().map(Reference::Digest).map_err(RequestError::Digest)
                } else {
                    text.parse().map(Reference::Tag).map_err(RequestError::Tag)
                };
                match verb {
                    Some(Method::Get | Method::Head) => {
                        let reference = reference.map_err(|error| match error {
                            RequestError::Tag(_) => RequestError::UnknownTag { text },
                            other => other,
                        })?;
                        Ok(Self::ReadManifest { repository, reference, head })
                    }
                    Some(Method::Delete) => Ok(Self::DeleteManifest { repository, reference: reference? }),
                    Some(Method::Put) => {
                        let tags = parameters.tags.iter().map(|tag| tag.parse()).collect::<Result<_, _>>()?;
                        Ok(Self::WriteManifest { repository, reference: reference?, tags })
                    }
                    _ => Err(refused()),
                }
            }
            _ => Err(unknown_path()),
        }
    }

    /// The method that asks for this operation.
    pub const fn method(&self) -> Method {
        match self {
            Self::Check { head } | Self::ReadManifest { head, .. } | Self::ReadBlob { head, .. } => {
                if *head {
                    Method::Head
                } else {
                    Method::Get
                }
            }
            Self::ListRepositories { .. }
            | Self::ListTags { .. }
            | Self::ListReferrers { .. }
            | Self::ReadUpload { .. } => Method::Get,
            Self::StartUpload { .. } => Method::Post,
            Self::AppendUpload { .. } => Method::Patch,
            Self::WriteManifest { .. } | Self::FinishUpload { .. } => Method::Put,
            Self::DeleteManifest { .. } | Self::DeleteBlob { .. } | Self::CancelUpload { .. } => {
                Method::Delete
            }
        }
    }

    /// The repository that is asked, if it is one.
    pub const fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Check { .. } | Self::ListRepositories { .. } => None,
            Self::ListTags { repository, .. }
            | Self::ListReferrers { repository, .. }
            | Self::ReadManifest { repository, .. }
            | Self::WriteManifest { repository, .. }
            | Self::DeleteManifest { repository, .. }
            | Self::ReadBlob { repository, .. }
            | Self::DeleteBlob { repository, .. }
            | Self::StartUpload { repository, .. }
            | Self::ReadUpload { repository, .. }
            | Self::AppendUpload { repository, .. }
            | Self::FinishUpload { repository, .. }
            | Self::CancelUpload { repository, .. } => Some(repository),
        }
    }

    /// Path and query that ask for this operation.
    pub fn target(&self) -> String {
        let mut query = Query::default();
        let path = match self {
            Self::Check { .. } => "/v2/".to_owned(),
            Self::ListRepositories { page } => {
                push_page(&mut query, page);
                "/v2/_catalog".to_owned()
            }
            Self::ListTags { repository, page } => {
                push_page(&mut query, page);
                format!("/v2/{repository}/tags/list")
            }
            Self::ListReferrers { repository, subject, artifact_type } => {
                if let Some(artifact_type) = artifact_type {
                    query.push("artifactType", artifact_type.as_str());
                }
                format!("/v2/{repository}/referrers/{subject}")
            }
            Self::ReadManifest { repository, reference, .. }
            | Self::DeleteManifest { repository, reference } => {
                format!("/v2/{repository}/manifests/{reference}")
            }
            Self::WriteManifest { repository, reference, tags } => {
                for tag in tags {
                    query.push("tag", tag.as_str());
                }
                format!("/v2/{repository}/manifests/{reference}")
            }
            Self::ReadBlob { repository, digest, .. } | Self::DeleteBlob { repository, digest } => {
                format!("/v2/{repository}/blobs/{digest}")
            }
            Self::StartUpload { repository, start } => {
                match start {
                    UploadStart::Session => {}
                    UploadStart::Whole(digest) => query.push("digest", &digest.to_string()),
                    UploadStart::Mount { digest, from } => {
                        query.push("mount", &digest.to_string());
                        if let Some(from) = from {
                            query.push("from", from.as_str());
                        }
                    }
                }
                format!("/v2/{repository}/blobs/uploads/")
            }
            Self::ReadUpload { repository, session }
            | Self::AppendUpload { repository, session }
            | Self::CancelUpload { repository, session } => {
                format!("/v2/{repository}/blobs/uploads/{session}")
            }
            Self::FinishUpload { repository, session, digest } => {
                query.push("digest", &digest.to_string());
                format!("/v2/{repository}/blobs/uploads/{session}")
            }
        };
        path + query.as_str()
    }
}

impl fmt::Display for Request {
    /// Says the operation in words: "cannot ..." goes before it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |repository: &RepositoryName, reference: &Reference| match reference {
            Reference::Tag(tag) => format!("{repository}:{tag}"),
            Reference::Digest(digest) => format!("{repository}@{digest}"),
        };
        match self {
            Self::Check { .. } => formatter.write_str("ask whether this is a registry"),
            Self::ListRepositories { .. } => formatter.write_str("list the repositories"),
            Self::ListTags { repository, .. } => write!(formatter, "list the tags of {repository}"),
            Self::ListReferrers { repository, subject, .. } => {
                write!(formatter, "list the referrers of {repository}@{subject}")
            }
            Self::ReadManifest { repository, reference, .. } => {
                write!(formatter, "read manifest {}", of(repository, reference))
            }
            Self::WriteManifest { repository, reference, .. } => {
                write!(formatter, "write manifest {}", of(repository, reference))
            }
            Self::DeleteManifest { repository, reference } => {
                write!(formatter, "delete manifest {}", of(repository, reference))
            }
            Self::ReadBlob { repository, digest, .. } => write!(formatter, "read blob {repository}@{digest}"),
            Self::DeleteBlob { repository, digest } => write!(formatter, "delete blob {repository}@{digest}"),
            Self::StartUpload { repository, start: UploadStart::Mount { digest, .. } } => {
                write!(formatter, "mount blob {repository}@{digest}")
            }
            Self::StartUpload { repository, .. } => write!(formatter, "begin an upload to {repository}"),
            Self::ReadUpload { repository, .. } => {
                write!(formatter, "ask for the state of an upload to {repository}")
            }
            Self::AppendUpload { repository, .. } => write!(formatter, "continue an upload to {repository}"),
            Self::FinishUpload { repository, digest, .. } => {
                write!(formatter, "upload blob {repository}@{digest}")
            }
            Self::CancelUpload { repository, .. } => write!(formatter, "cancel an upload to {repository}"),
        }
    }
}

fn push_page(query: &mut Query, page: &Page) {
    if let Some(limit) = page.limit {
        query.push("n", &limit.to_string());
    }
    if let Some(after) = &page.after {
        query.push("last", after);
    }
}

/// Some clients escape the colon of a digest. What cannot be decoded stays as it is and is refused by its parser.
fn segment(text: &str) -> String {
    decode(text).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
