//! Configuration blob of a release: its table of contents.

use std::{fmt, str::FromStr};

use registry_wire::{Descriptor, Digest, MediaType, Platform, serde_as_text};
use serde::{Deserialize, Serialize};

use crate::{EnvironmentName, PartName, ProductName, ReleaseVersion};

/// Version of the form of this document and of the objects document.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// The document as it is written. The order of the fields is the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ConfigDocument {
    pub(crate) format_version: u32,
    pub(crate) product: ProductName,
    pub(crate) version: ReleaseVersion,
    pub(crate) images: Vec<ImageDocument>,
    pub(crate) requires: Requirements,
    pub(crate) lock: Digest,
    pub(crate) environments: Vec<EnvironmentDocument>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ImageDocument {
    pub(crate) name: PartName,
    pub(crate) media_type: MediaType,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) platforms: Vec<PlatformDocument>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PlatformDocument {
    pub(crate) os: String,
    pub(crate) architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
    pub(crate) digest: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EnvironmentDocument {
    pub(crate) name: EnvironmentName,
    pub(crate) parts: Vec<PartName>,
}

/// An image of a release, by digest. Where it is stored is not said: it lies in the repository of the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseImage {
    /// The part that builds it.
    pub name: PartName,
    /// An image manifest or an index.
    pub media_type: MediaType,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Length of the manifest in bytes.
    pub size: u64,
    /// The image manifest for each platform. An image manifest lists itself.
    pub platforms: Vec<(Platform, Digest)>,
}

impl ReleaseImage {
    /// Descriptor of the manifest.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.size)
    }
}

impl From<ReleaseImage> for ImageDocument {
    fn from(image: ReleaseImage) -> Self {
        let platforms = image.platforms.into_iter().map(|(platform, digest)| PlatformDocument {
            os: platform.os,
            architecture: platform.architecture,
            variant: platform.variant,
            digest,
        });
        Self {
            name: image.name,
            media_type: image.media_type,
            digest: image.digest,
            size: image.size,
            platforms: platforms.collect(),
        }
    }
}

impl From<ImageDocument> for ReleaseImage {
    fn from(image: ImageDocument) -> Self {
        let platforms = image.platforms.into_iter().map(|platform| {
            let digest = platform.digest;
            let platform =
                Platform { architecture: platform.architecture, os: platform.os, variant: platform.variant };
            (platform, digest)
        });
        Self {
            name: image.name,
            media_type: image.media_type,
            digest: image.digest,
            size: image.size,
            platforms: platforms.collect(),
        }
    }
}

/// What a release needs from the place where it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirements {
    /// Version of the daemon.
    pub daemon: MinimumVersion,
    /// Version of Kubernetes.
    pub kubernetes: MinimumVersion,
}

/// A lowest version, written `>=1.29`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MinimumVersion {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl MinimumVersion {
    /// Whether version `major.minor` is high enough.
    pub const fn is_met_by(self, major: u32, minor: u32) -> bool {
        major > self.major || (major == self.major && minor >= self.minor)
    }
}

/// A text that is not a lowest version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a lowest version of the form >=1.29")]
pub struct MinimumVersionError {
    text: String,
}

impl FromStr for MinimumVersion {
    type Err = MinimumVersionError;

    fn from_str(text: &str) -> Result<Self, MinimumVersionError> {
        let number = |digits: &str| {
            let is_plain = digits == "0" || !digits.starts_with('0');
            let has_digits_only = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            (is_plain && has_digits_only).then(|| digits.parse().ok()).flatten()
        };
        let parse = || {
            let (major, minor) = text.strip_prefix(">=")?.split_once('.')?;
            Some(Self { major: number(major)?, minor: number(minor)? })
        };
        parse().ok_or_else(|| MinimumVersionError { text: text.to_owned() })
    }
}

impl fmt::Display for MinimumVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, ">={}.{}", self.major, self.minor)
    }
}

serde_as_text!(MinimumVersion);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_versions() {
        let version: MinimumVersion = ">=1.29".parse().unwrap();
        assert_eq!(version.to_string(), ">=1.29");
        for (major, minor, met) in
            [(1, 29, true), (1, 30, true), (2, 0, true), (1, 28, false), (0, 40, false)]
        {
            assert_eq!(version.is_met_by(major, minor), met, "{major}.{minor}");
        }
        for bad in ["", "1.29", ">=1", ">=1.", ">=01.2", ">=1.+2", "> =1.2", ">=1.2.3", ">=1.99999999999"] {
            assert!(bad.parse::<MinimumVersion>().is_err(), "{bad}");
        }
    }
}
