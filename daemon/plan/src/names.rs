//! Names that fit: 63 characters, as labels, Jobs and pods demand.

use std::fmt;

use jiff::Timestamp;
use registry_wire::Digest;
use serde::{Deserialize, Serialize};

/// The longest DNS label, label value and Job name.
pub const NAME_LIMIT: usize = 63;
const HASH_LENGTH: usize = 10;

/// A name of at most 63 characters: lower-case letters, digits and dashes, beginning and ending with neither dash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShortName(String);

/// A text that is no DNS label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a name of at most 63 lower-case letters, digits and dashes")]
pub struct ShortNameError {
    text: String,
}

impl ShortName {
    /// Makes a name of `parts`, joined by dashes.
    ///
    /// What fits is kept as it is. What is too long or holds other characters is cut and ends with a hash of the
    /// whole, so different texts keep different names; the full text belongs in an annotation.
    pub fn of(parts: &[&str]) -> Self {
        let whole = parts.join("-");
        if is_label(&whole) {
            return Self(whole);
        }
        let mut name: String = whole
            .chars()
            .map(|character| match character.to_ascii_lowercase() {
                kept @ ('a'..='z' | '0'..='9') => kept,
                _ => '-',
            })
            .take(NAME_LIMIT - HASH_LENGTH - 1)
            .collect();
        name.truncate(name.trim_end_matches('-').len());
        let mut name = name.trim_start_matches('-').to_owned();
        if !name.is_empty() {
            name.push('-');
        }
        let mut hash = Digest::of(whole.as_bytes()).hex();
        hash.truncate(HASH_LENGTH);
        name.push_str(&hash);
        Self(name)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Name of the restore point of a service before an attempt of a release. It is never used again: attempts at a release
/// that was forgotten count from 1 once more, but no two begin in the same second.
pub fn restore_point_name(service: &str, release: &Digest, attempt: u32, started: Timestamp) -> ShortName {
    let started = started.strftime("%Y%m%d%H%M%S").to_string();
    ShortName::of(&["pre", &release.short(), &attempt.to_string(), &started, service])
}

/// Name of the work that puts images on one node for an attempt of a release.
pub fn warm_name(node: &str, release: &Digest, attempt: u32) -> ShortName {
    ShortName::of(&["warm", &release.short(), &attempt.to_string(), node])
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_LIMIT
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl TryFrom<String> for ShortName {
    type Error = ShortNameError;

    fn try_from(text: String) -> Result<Self, ShortNameError> {
        if is_label(&text) { Ok(Self(text)) } else { Err(ShortNameError { text }) }
    }
}

impl std::str::FromStr for ShortName {
    type Err = ShortNameError;

    fn from_str(text: &str) -> Result<Self, ShortNameError> {
        Self::try_from(text.to_owned())
    }
}

impl From<ShortName> for String {
    fn from(name: ShortName) -> Self {
        name.0
    }
}

impl fmt::Display for ShortName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_fits_is_kept() {
        assert_eq!(ShortName::of(&["cache"]).as_str(), "cache");
        let release = Digest::of(b"release");
        let name = restore_point_name("cache", &release, 2, "2026-11-25T15:04:05.9Z".parse().unwrap());
        assert_eq!(name.as_str(), format!("pre-{}-2-20261125150405-cache", release.short()));
    }

    #[test]
    fn neighbours_of_long_names_stay_apart() {
        let long = "n".repeat(80);
        let one = ShortName::of(&[&long, "a"]);
        let two = ShortName::of(&[&long, "b"]);
        assert_ne!(one, two);
        assert_eq!(one.as_str().len(), NAME_LIMIT);
        assert_ne!(ShortName::of(&["Node.example"]), ShortName::of(&["node-example"]));
    }

    proptest! {
        #[test]
        fn every_text_becomes_a_label(text in "\\PC{0,120}") {
            let name = ShortName::of(&[&text]);
            prop_assert!(is_label(name.as_str()), "{name}");
            prop_assert_eq!(ShortName::of(&[&text]), name);
        }
    }
}
