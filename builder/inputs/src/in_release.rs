//! The signed Release of a suite.

use std::collections::HashMap;

use bundles_release::lock::{ArchivePath, Codename, Component, Fingerprint, ReleaseField, SuiteName};
use jiff::{SignedDuration, Timestamp};
use registry_wire::Digest;

use crate::{
    deb822::{Deb822Error, Item, Reader},
    keyring::{Keyring, SignatureError},
};

/// How far ahead of our clock a Release may be dated.
const FUTURE: SignedDuration = SignedDuration::from_hours(1);

/// What a platform accepts as a suite: what its signed Release must say, whoever serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuitePolicy {
    /// Name under which recipes ask for it.
    pub name: SuiteName,
    /// Who publishes it.
    pub origin: ReleaseField,
    /// What it calls itself.
    pub label: ReleaseField,
    /// Its codename, if that is said.
    pub codename: Option<Codename>,
    /// Components to take packages from.
    pub components: Vec<Component>,
    /// Primary fingerprints of which one must vouch for it; if empty, any key of the keyring will do.
    pub fingerprints: Vec<Fingerprint>,
}

impl SuitePolicy {
    /// `main` of a suite of Debian.
    pub fn debian(name: SuiteName) -> Self {
        Self {
            name,
            origin: ReleaseField::debian(),
            label: ReleaseField::debian(),
            codename: None,
            components: vec![Component::main()],
            fingerprints: Vec::new(),
        }
    }
}

/// A checked Release.
#[derive(Debug, Clone)]
pub(crate) struct InRelease {
    pub(crate) digest: Digest,
    pub(crate) origin: ReleaseField,
    pub(crate) label: ReleaseField,
    pub(crate) codename: Codename,
    pub(crate) date: Timestamp,
    pub(crate) keys: Vec<Fingerprint>,
    pub(crate) by_hash: bool,
    /// Whether packages of architecture `all` stand in an index of their own only.
    pub(crate) separate_all: bool,
    files: HashMap<Box<str>, (Digest, u64)>,
}

/// Why a Release is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// No acceptable signature.
    #[error("the Release of suite {suite} is not accepted")]
    Signature {
        /// The suite.
        suite: SuiteName,
        /// What is wrong with the signature.
        source: SignatureError,
    },
    /// Not text.
    #[error("the Release of suite {suite} is not text")]
    Encoding {
        /// The suite.
        suite: SuiteName,
        /// Where it is wrong.
        source: std::str::Utf8Error,
    },
    /// A line that is no field.
    #[error("the Release of suite {suite} is malformed")]
    Syntax {
        /// The suite.
        suite: SuiteName,
        /// Where it is wrong.
        source: Deb822Error,
    },
    /// A field that is missing or of the wrong form.
    #[error("the Release of suite {suite} has no usable {field}: `{value}`")]
    Field {
        /// The suite.
        suite: SuiteName,
        /// The field.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// Signed, but for something else.
    #[error("suite {suite} is wanted with {field} {expected}, but its signed Release says {found}")]
    Identity {
        /// The suite.
        suite: SuiteName,
        /// The field.
        field: &'static str,
        /// What it should say.
        expected: String,
        /// What it says.
        found: String,
    },
    /// Past its Valid-Until.
    #[error(
        "the Release of suite {suite} expired at {until}, and it is {now}: its source is no longer updated, or lies"
    )]
    Expired {
        /// The suite.
        suite: SuiteName,
        /// When it expired.
        until: Timestamp,
        /// The time now.
        now: Timestamp,
    },
    /// Dated later than our clock.
    #[error(
        "the Release of suite {suite} is dated {date}, and it is only {now}: the clock of this machine is wrong"
    )]
    Future {
        /// The suite.
        suite: SuiteName,
        /// Its date.
        date: Timestamp,
        /// The time now.
        now: Timestamp,
    },
    /// Older than what the lock has seen.
    #[error(
        "the Release of suite {suite} is of {date}, older than the one of {locked} in bundle.lock: a stale source, or one that replays"
    )]
    Older {
        /// The suite.
        suite: SuiteName,
        /// Its date.
        date: Timestamp,
        /// The date in the lock.
        locked: Timestamp,
    },
}

impl InRelease {
    /// Checks signature, identity and age.
    pub(crate) fn check(
        bytes: &[u8],
        policy: &SuitePolicy,
        keyring: &Keyring,
        now: Timestamp,
        not_before: Option<Timestamp>,
    ) -> Result<Self, ReleaseError> {
        let suite = || policy.name.clone();
        let document =
            str::from_utf8(bytes).map_err(|source| ReleaseError::Encoding { suite: suite(), source })?;
        let vouched = keyring
            .verify(document, &policy.fingerprints, now)
            .map_err(|source| ReleaseError::Signature { suite: suite(), source })?;
        let fields = Fields::read(&vouched.text, &policy.name)?;
        let date = fields.time("Date")?.ok_or_else(|| fields.unusable("Date"))?;
        let release = Self {
            digest: Digest::of(bytes),
            origin: fields.parsed("Origin")?,
            label: fields.parsed("Label")?,
            codename: fields.parsed("Codename")?,
            date,
            keys: vouched.keys,
            by_hash: fields.get("Acquire-By-Hash") == "yes",
            separate_all: has_separate_all(
                fields.get("Architectures"),
                fields.get("No-Support-for-Architecture-all"),
            ),
            files: fields.files()?,
        };
        release.is_what_is_wanted(policy, fields.get("Suite"))?;
        if date > now.saturating_add(FUTURE).unwrap_or(Timestamp::MAX) {
            return Err(ReleaseError::Future { suite: suite(), date, now });
        }
        if let Some(until) = fields.time("Valid-Until")?.filter(|until| *until < now) {
            return Err(ReleaseError::Expired { suite: suite(), until, now });
        }
        if let Some(locked) = not_before.filter(|locked| date < *locked) {
            return Err(ReleaseError::Older { suite: suite(), date, locked });
        }
        Ok(release)
    }

    fn is_what_is_wanted(&self, policy: &SuitePolicy, suite: &str) -> Result<(), ReleaseError> {
        let differs = |field, expected: &str, found: &str| {
            Err(ReleaseError::Identity {
                suite: policy.name.clone(),
                field,
                expected: expected.to_owned(),
                found: found.to_owned(),
            })
        };
        if self.origin != policy.origin {
            return differs("Origin", policy.origin.as_str(), self.origin.as_str());
        }
        if self.label != policy.label {
            return differs("Label", policy.label.as_str(), self.label.as_str());
        }
        if let Some(codename) = &policy.codename
            && self.codename != *codename
        {
            return differs("Codename", codename.as_str(), self.codename.as_str());
        }
        if self.codename.as_str() != policy.name.as_str() && suite != policy.name.as_str() {
            return differs("Codename", policy.name.as_str(), self.codename.as_str());
        }
        Ok(())
    }

    /// Hash and size of a file that it vouches for.
    pub(crate) fn file(&self, path: &str) -> Option<(Digest, u64)> {
        self.files.get(path).copied()
    }

    /// The index of packages of a component and architecture, in the form that is best to fetch.
    pub(crate) fn index(&self, component: &Component, architecture: &str) -> Option<IndexFile> {
        let plain = format!("{component}/binary-{architecture}/Packages");
        let unpacked = self.file(&plain);
        [".xz", ".zst", ".gz", ""].into_iter().find_map(|ending| {
            let path = format!("{plain}{ending}");
            let (digest, size) = self.file(&path)?;
            Some(IndexFile { path: path.parse().ok()?, digest, size, unpacked })
        })
    }
}

/// Whether packages of architecture `all` stand in an index of their own, and not in that of each architecture as well.
/// As for apt, the Release has to count `all` among its architectures: the security archive does not, and keeps an index
/// of it nonetheless, of which its mirrors may have another state. A Release that counts none leaves it open.
fn has_separate_all(architectures: &str, unsupported: &str) -> bool {
    let mut counted = architectures.split_ascii_whitespace().peekable();
    (counted.peek().is_none() || counted.any(|one| one == "all"))
        && unsupported.split_ascii_whitespace().all(|one| one != "Packages")
}

/// An index of packages that a Release vouches for.
#[derive(Debug, Clone)]
pub(crate) struct IndexFile {
    pub(crate) path: ArchivePath,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Hash and size of its content, where the Release tells them.
    pub(crate) unpacked: Option<(Digest, u64)>,
}

pub(crate) struct Fields<'a> {
    suite: &'a SuiteName,
    fields: HashMap<&'a str, &'a str>,
}

impl<'a> Fields<'a> {
    pub(crate) fn read(text: &'a str, suite: &'a SuiteName) -> Result<Self, ReleaseError> {
        let mut reader = Reader::new(text);
        let mut fields = HashMap::new();
        loop {
            match reader.read().map_err(|source| ReleaseError::Syntax { suite: suite.clone(), source })? {
                Some(Item::Field(field)) => fields.insert(field.name, field.value),
                Some(Item::End) | None => return Ok(Self { suite, fields }),
            };
        }
    }

    fn get(&self, name: &str) -> &'a str {
        self.fields.get(name).copied().unwrap_or_default()
    }

    fn unusable(&self, field: &'static str) -> ReleaseError {
        let value = self.get(field).chars().take(80).collect();
        ReleaseError::Field { suite: self.suite.clone(), field, value }
    }

    fn parsed<T: std::str::FromStr>(&self, field: &'static str) -> Result<T, ReleaseError> {
        self.get(field).parse().map_err(|_| self.unusable(field))
    }

    pub(crate) fn time(&self, field: &'static str) -> Result<Option<Timestamp>, ReleaseError> {
        let text = self.get(field);
        if text.is_empty() {
            return Ok(None);
        }
        // Debian writes the zone as a name that RFC 2822 does not have.
        let text = text.strip_suffix("UTC").map_or_else(|| text.to_owned(), |text| format!("{text}+0000"));
        match jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(&text) {
            Ok(time) => Ok(Some(time)),
            Err(_) => Err(self.unusable(field)),
        }
    }

    pub(crate) fn files(&self) -> Result<HashMap<Box<str>, (Digest, u64)>, ReleaseError> {
        let mut files = HashMap::new();
        for line in self.get("SHA256").lines().filter(|line| !line.trim_ascii().is_empty()) {
            let mut words = line.split_ascii_whitespace();
            let read = (|| {
                let digest = Digest::from_hex(words.next()?).ok()?;
                let size = words.next()?.parse().ok()?;
                let path = words.next()?;
                words.next().is_none().then_some((path, digest, size))
            })();
            let (path, digest, size) = read.ok_or_else(|| ReleaseError::Field {
                suite: self.suite.clone(),
                field: "SHA256",
                value: line.chars().take(80).collect(),
            })?;
            files.insert(path.into(), (digest, size));
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packages_of_all_architectures() {
        let cases = [
            ("all amd64 arm64", "Packages", false),
            ("all amd64 arm64", "", true),
            ("amd64 arm64", "", false),
            ("amd64 arm64", "Packages", false),
            ("", "", true),
        ];
        for (architectures, unsupported, separate) in cases {
            assert_eq!(
                has_separate_all(architectures, unsupported),
                separate,
                "{architectures}/{unsupported}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// Whatever is signed, it is read or refused.
        #[test]
        fn any_release_is_read_or_refused(
            text in "(?s).{0,80}|((Date|Valid-Until|SHA256|Origin|Codename): ?[A-Za-z0-9,: +\\n/-]{0,40}\\n){0,6}"
        ) {
            let _read_or_refused = crate::strangers::read_release(&text);
        }
    }
}
