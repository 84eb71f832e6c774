//! What an image can be for.

use bundles_release::lock::Architecture;
use registry_wire::Platform;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An operating system and a processor.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
pub enum ImagePlatform {
    /// Processors of 64 bits by Intel and AMD.
    #[default]
    #[serde(rename = "linux/amd64")]
    Amd64,
    /// Processors of 64 bits by Arm.
    #[serde(rename = "linux/arm64")]
    Arm64,
}

impl ImagePlatform {
    /// As a recipe names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "linux/amd64",
            Self::Arm64 => "linux/arm64",
        }
    }

    /// Debian's name for the processor.
    #[allow(clippy::expect_used, clippy::missing_panics_doc, reason = "constants; a test parses them")]
    pub fn architecture(self) -> Architecture {
        self.processor().parse().expect("a Debian architecture")
    }

    /// The platform of an image that is for no other.
    pub fn platform(self) -> Platform {
        Platform { os: "linux".to_owned(), architecture: self.processor().to_owned(), variant: None }
    }

    /// The platform of an image that an index lists beside others. For Arm the field names the version of the processor
    /// there, and compares that of the index with that of the image; an image alone has none, as it always had.
    pub fn listed(self) -> Platform {
        let variant = match self {
            Self::Amd64 => None,
            Self::Arm64 => Some("v8".to_owned()),
        };
        Platform { variant, ..self.platform() }
    }

    /// For the processors that we know, OCI and Debian agree.
    const fn processor(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(ImagePlatform::default().as_str(), "linux/amd64");
        for platform in [ImagePlatform::Amd64, ImagePlatform::Arm64] {
            assert_eq!(serde_json::to_value(platform).unwrap(), platform.as_str());
            assert_eq!(format!("linux/{}", platform.architecture()), platform.as_str());
            assert_eq!(platform.platform().architecture, platform.architecture().as_str());
        }
        assert_eq!(ImagePlatform::Arm64.listed().variant.as_deref(), Some("v8"));
    }
}
