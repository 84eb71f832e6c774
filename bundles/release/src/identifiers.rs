//! Names that stand in a release: product, environment, part, version.

use registry_wire::{Digest, Tag, checked_text};

/// A DNS label (RFC 1123), since these names become names of Kubernetes objects and parts of tags.
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=63).contains(&bytes.len())
        && is_word(bytes[0])
        && is_word(bytes[bytes.len() - 1])
        && bytes.iter().all(|byte| is_word(*byte) || *byte == b'-')
}

checked_text!(
    /// What is released: the name of a platform, such as `shop`.
    ProductName,
    ProductNameError,
    "a product name: 1 to 63 lower-case letters, digits and inner dashes",
    is_label
);

checked_text!(
    /// Where a release runs: `test`, `production`.
    EnvironmentName,
    EnvironmentNameError,
    "an environment name: 1 to 63 lower-case letters, digits and inner dashes",
    is_label
);

checked_text!(
    /// One service of a release: `api`. Images carry the name of the part that builds them.
    PartName,
    PartNameError,
    "a part name: 1 to 63 lower-case letters, digits and inner dashes",
    is_label
);

/// Beginnings of tags that mean something else in the repository of a release.
const RESERVED_PREFIXES: [&str; 6] =
    ["channel-", "trust-root-", "proposal-", "fresh-", "sha256-", KEEPING_PREFIX];
/// Beginning of the tag that keeps a manifest from registries which collect what has none.
const KEEPING_PREFIX: &str = "kept-";
/// End of the tag of a carrier index.
const CARRIER_SUFFIX: &str = "-all";

checked_text!(
    /// Version of a release, `1.4.2`. It is also the tag of the release, so it follows the grammar of tags and leaves
    /// out the tags that mean something else.
    ReleaseVersion,
    ReleaseVersionError,
    "a version: 1 to 100 letters, digits, _, . and -, not ending in -all, not starting with channel-, trust-root-, \
     proposal-, fresh-, sha256- or kept-",
    |text| text.len() <= 100
        && text.parse::<Tag>().is_ok()
        && !text.ends_with(CARRIER_SUFFIX)
        && !RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
);

impl ReleaseVersion {
    /// Tag of the release.
    #[allow(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "every version is a tag; the grammar above starts from it"
    )]
    pub fn tag(&self) -> Tag {
        self.0.parse().expect("a version is a tag")
    }

    /// Tag of the carrier index, which lists the release and its images for garbage collectors and copy tools.
    #[allow(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a version has at most 100 characters, a tag at most 128"
    )]
    pub fn carrier_tag(&self) -> Tag {
        format!("{}{CARRIER_SUFFIX}", self.0).parse().expect("a version and the suffix are a tag")
    }
}

/// Tag under which a manifest stays in its repository, whatever becomes of its version's tag. It never moves.
#[allow(clippy::expect_used, clippy::missing_panics_doc, reason = "64 digits and a word are a tag")]
pub fn keeping_tag(manifest: &Digest) -> Tag {
    [KEEPING_PREFIX, &manifest.hex()].concat().parse().expect("the word and a digest are a tag")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for good in ["a", "shop", "api-2", "0", &"x".repeat(63)] {
            assert!(good.parse::<ProductName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä", "a/b", &"x".repeat(64)] {
            assert!(bad.parse::<PartName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_tags_and_nothing_else() {
        for good in ["1.4.2", "v1", "2026.11.24", "0.0.0-dev", "1.0_rc1"] {
            let version: ReleaseVersion = good.parse().unwrap();
            assert_eq!(version.tag().as_str(), good);
            assert_eq!(version.carrier_tag().as_str(), format!("{good}-all"));
        }
        for bad in [
            "",
            ".1",
            "-1",
            "1+b",
            "1-all",
            "channel-x",
            "trust-root-1",
            "sha256-00",
            "kept-00",
            &"1".repeat(101),
        ] {
            assert!(bad.parse::<ReleaseVersion>().is_err(), "{bad}");
        }
    }
}
