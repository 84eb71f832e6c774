//! Names of repositories, tags, registries and images (OCI distribution specification, "Pulling manifests").

use std::{fmt, str::FromStr};

use crate::{Digest, checked_text};

checked_text!(
    /// A repository such as `shop/api`: at most 255 bytes, components joined by `/`.
    RepositoryName,
    RepositoryNameError,
    "a repository name: lower-case words of letters, digits and single separators (., _, __, -), joined by /",
    |text| text.len() <= 255 && text.split('/').all(is_component)
);

checked_text!(
    /// A tag: at most 128 word characters, dots and dashes.
    Tag,
    TagError,
    "a tag: at most 128 letters, digits, _, . and -, not starting with . or -",
    |text| {
        let bytes = text.as_bytes();
        (1..=128).contains(&bytes.len())
            && !matches!(bytes[0], b'.' | b'-')
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte))
    }
);

checked_text!(
    /// The host and optional port of a registry, such as `registry.internal:5000`.
    RegistryAddress, RegistryAddressError, "a registry address: host or host:port", |text| {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, rest)) => (address, Some(rest.strip_prefix(':').unwrap_or(""))),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_bracketed = text.starts_with('[');
    let host_is_good = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-' || (is_bracketed && byte == b':')
        });
    host_is_good && port.is_none_or(|port| port.parse::<u16>().is_ok())
});

fn is_component(component: &str) -> bool {
    // [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    if bytes.is_empty() || !is_word(bytes[0]) || !is_word(bytes[bytes.len() - 1]) {
        return false;
    }
    let mut rest = bytes;
    while let Some(start) = rest.iter().position(|byte| !is_word(*byte)) {
        let length = rest[start..].iter().position(|byte| is_word(*byte)).unwrap_or(rest.len() - start);
        let separator = &rest[start..start + length];
        let is_separator =
            matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-');
        if !is_separator {
            return false;
        }
        rest = &rest[start + length..];
    }
    true
}

/// What follows the repository: a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A movable name.
    Tag(Tag),
    /// Content.
    Digest(Digest),
}

/// A text that is neither a tag nor a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is neither a tag nor a digest")]
pub struct ReferenceError {
    text: String,
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        text.parse()
            .map(Self::Digest)
            .or_else(|_| text.parse().map(Self::Tag))
            .map_err(|_: TagError| ReferenceError { text: text.to_owned() })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(formatter),
            Self::Digest(digest) => digest.fmt(formatter),
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

/// A full name: `registry/repository[:tag][@digest]`. The registry is always written; there is no default one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    /// Where the repository is.
    pub registry: RegistryAddress,
    /// The repository.
    pub repository: RepositoryName,
    /// The tag, when one is written.
    pub tag: Option<Tag>,
    /// The digest, when one is written. It wins over the tag.
    pub digest: Option<Digest>,
}

impl ImageName {
    /// The digest if there is one, else the tag.
    pub fn reference(&self) -> Option<Reference> {
        self.digest.map(Reference::Digest).or_else(|| self.tag.clone().map(Reference::Tag))
    }
}

/// A text that is not a full image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image name: registry/repository[:tag][@digest] is expected")]
pub struct ImageNameError {
    text: String,
}

impl FromStr for ImageName {
    type Err = ImageNameError;

    fn from_str(text: &str) -> Result<Self, ImageNameError> {
        let parse = || {
            let (registry, rest) = text.split_once('/')?;
            let (rest, digest) = match rest.split_once('@') {
                Some((rest, digest)) => (rest, Some(digest.parse().ok()?)),
                None => (rest, None),
            };
            let (repository, tag) = match rest.split_once(':') {
                Some((repository, tag)) => (repository, Some(tag.parse().ok()?)),
                None => (rest, None),
            };
            Some(Self { registry: registry.parse().ok()?, repository: repository.parse().ok()?, tag, digest })
        };
        parse().ok_or_else(|| ImageNameError { text: text.to_owned() })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories() {
        for good in ["a", "a/b", "shop/api", "a.b_c__d-e---f/0"] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "A",
            "a//b",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a/../b",
            "a._b",
            &"a".repeat(256),
        ] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tags() {
        for good in ["a", "v1.4.2", "_", "A-b_c.d", &"x".repeat(128)] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a/b", "a:b", "ä", &"x".repeat(129)] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn image_names_round_trip() {
        let digest = Digest::of(b"x");
        for good in [
            "localhost:5000/a/b".to_owned(),
            "registry.internal/a:v1".to_owned(),
            format!("127.0.0.1:5000/a/b:v1@{digest}"),
            format!("[::1]:5000/a@{digest}"),
        ] {
            assert_eq!(good.parse::<ImageName>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "a",
            "localhost:x/a",
            "localhost/A",
            "localhost/a@sha256:0",
            "localhost/a:",
            "http://localhost/a",
        ] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
    }
}
