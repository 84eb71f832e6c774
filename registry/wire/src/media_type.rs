//! Media types: RFC 6838 names, without parameters.

use std::{borrow::Cow, fmt, str::FromStr};

/// A media type such as `application/vnd.oci.image.manifest.v1+json`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(Cow<'static, str>);

impl MediaType {
    /// An OCI image or artifact manifest.
    pub const IMAGE_MANIFEST: Self = Self::from_static("application/vnd.oci.image.manifest.v1+json");
    /// An OCI image index.
    pub const IMAGE_INDEX: Self = Self::from_static("application/vnd.oci.image.index.v1+json");
    /// An OCI image configuration.
    pub const IMAGE_CONFIG: Self = Self::from_static("application/vnd.oci.image.config.v1+json");
    /// A layer: tar compressed with gzip.
    pub const LAYER_TAR_GZIP: Self = Self::from_static("application/vnd.oci.image.layer.v1.tar+gzip");
    /// The empty document `{}`.
    pub const EMPTY: Self = Self::from_static("application/vnd.oci.empty.v1+json");
    /// Docker's manifest, schema 2.
    pub const DOCKER_MANIFEST: Self =
        Self::from_static("application/vnd.docker.distribution.manifest.v2+json");
    /// Docker's manifest list.
    pub const DOCKER_MANIFEST_LIST: Self =
        Self::from_static("application/vnd.docker.distribution.manifest.list.v2+json");

    /// A media type known at compile time. The caller vouches for its form.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is not a media type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a media type of the form type/subtype")]
pub struct MediaTypeError {
    text: String,
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let is_name = |part: &str| {
            (1..=127).contains(&part.len())
                && part.as_bytes()[0].is_ascii_alphanumeric()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
        };
        match text.split_once('/') {
            Some((kind, subtype)) if is_name(kind) && is_name(subtype) => {
                Ok(Self(Cow::Owned(text.to_owned())))
            }
            _ => Err(MediaTypeError { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

crate::serde_as_text!(MediaType);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for good in ["a/b", MediaType::IMAGE_MANIFEST.as_str(), "application/spdx+json"] {
            assert_eq!(good.parse::<MediaType>().unwrap().as_str(), good);
        }
        for bad in ["", "a", "/", "a/", "/b", "a/b/c", "a/b; charset=utf-8", " a/b"] {
            assert!(bad.parse::<MediaType>().is_err(), "{bad}");
        }
    }
}
