//! Names: of services, environments, ports, keys, paths and peers.

use std::{fmt, str::FromStr};

use bundles_release::PartName;

use crate::{TextError, TextFormat, text_type, text_type_traits};

/// RFC 1035: Kubernetes wants it for Services, and every other name here is as strict.
fn is_label(text: &str, longest: usize) -> bool {
    let bytes = text.as_bytes();
    (1..=longest).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes[bytes.len() - 1] != b'-'
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

/// RFC 1123 subdomain, as names of Secrets are.
fn is_subdomain(text: &str) -> bool {
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !bytes.is_empty()
            && is_word(bytes[0])
            && is_word(bytes[bytes.len() - 1])
            && bytes.iter().all(|byte| is_word(*byte) || *byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_part)
}

fn is_word_after_letter(text: &str, longest: usize, first: fn(u8) -> bool, rest: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    (1..=longest).contains(&bytes.len()) && first(bytes[0]) && bytes.iter().all(|byte| rest(*byte))
}

fn is_relative_path(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 1024
        && text.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && !text.bytes().any(|byte| byte.is_ascii_control() || byte == b'\\')
}

// 40 leaves room for suffixes such as `-files-0123456789` under the 63 of a label.
text_type!(
    /// The name of a service: of its recipe's folder, its image and its Kubernetes objects.
    ServiceName,
    "^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$",
    "a service name: at most 40 lower-case letters, digits and dashes, starting with a letter",
    "api",
    |text| is_label(text, 40)
);
text_type!(
    /// The name of a volume of a service.
    StorageName,
    "^[a-z]([-a-z0-9]{0,18}[a-z0-9])?$",
    "a storage name: at most 20 lower-case letters, digits and dashes, starting with a letter",
    "data",
    |text| is_label(text, 20)
);
text_type!(
    /// The name of a Kubernetes namespace.
    NamespaceName,
    "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
    "a namespace name: at most 63 lower-case letters, digits and dashes",
    "shop",
    |text| text.len() <= 63 && !text.contains('.') && is_subdomain(text)
);
text_type!(
    /// The name of a subscription.
    SubscriptionName,
    "^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$",
    "a subscription name: at most 63 lower-case letters, digits and dashes",
    "shop",
    |text| text.len() <= 63 && !text.contains('.') && is_subdomain(text)
);
text_type!(
    /// The name of a port.
    PortName,
    "^[a-z]([-a-z0-9]{0,13}[a-z0-9])?$",
    "a port name: at most 15 lower-case letters, digits and single dashes, starting with a letter",
    "http",
    |text| is_label(text, 15) && !text.contains("--")
);
text_type!(
    /// The name of a value that environments give.
    ConfigKey,
    "^[a-z][a-z0-9_]{0,62}$",
    "a config key: at most 63 lower-case letters, digits and underscores, starting with a letter",
    "api_url",
    |text| {
        is_word_after_letter(
            text,
            63,
            |byte| byte.is_ascii_lowercase(),
            |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_',
        )
    }
);
text_type!(
    /// The name of an environment variable.
    VariableName,
    "^[A-Za-z_][A-Za-z0-9_]*$",
    "a variable name: letters, digits and underscores, not starting with a digit",
    "API_URL",
    |text| {
        is_word_after_letter(
            text,
            255,
            |byte| byte.is_ascii_alphabetic() || byte == b'_',
            |byte| byte.is_ascii_alphanumeric() || byte == b'_',
        )
    }
);
text_type!(
    /// An absolute path inside an image.
    AbsolutePath,
    "^(/[^/]+)+$",
    "an absolute path without `.`, `..`, doubled or closing slashes",
    "/app",
    |text| text.strip_prefix('/').is_some_and(is_relative_path)
);
text_type!(
    /// The path of a file in a recipe's folder.
    SourcePath,
    "^[^/]+(/[^/]+)*$",
    "a path inside the recipe's folder: relative, with / between names, without `.` and `..`",
    "redis.conf",
    is_relative_path
);
text_type!(
    /// The path of an HTTP request.
    HttpPath,
    "^/[!-~]*$",
    "a request path: / and then visible ASCII characters",
    "/ready",
    |text| text.len() <= 1024 && text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic())
);

impl ServiceName {
    /// The name under which the service stands in a release.
    #[allow(clippy::expect_used, reason = "every service name is a part name; the test below holds it")]
    #[allow(clippy::missing_panics_doc, reason = "see above")]
    pub fn part(&self) -> PartName {
        self.0.parse().expect("a service name is a part name")
    }
}

impl AbsolutePath {
    /// The folder that the path is in; `None` for one directly under the root.
    pub fn parent(&self) -> Option<Self> {
        let (parent, _) = self.0.rsplit_once('/')?;
        if parent.is_empty() { None } else { Some(Self(parent.into())) }
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    #[must_use]
    /// This path with the components of a relative one after it.
    pub fn join(&self, relative: &SourcePath) -> Self {
        Self(format!("{}/{relative}", self.0).into())
    }
}

/// A key of a Secret of the cluster. The value never enters a release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretReference {
    name: String,
    key: String,
}

impl SecretReference {
    const EXPECTED: &str = "a secret reference: name/key, the name of a Secret and a key in it";

    /// The name of the Secret.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key inside the Secret.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl FromStr for SecretReference {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let is_key = |key: &str| {
            (1..=253).contains(&key.len())
                && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        match text.split_once('/') {
            Some((name, key)) if is_subdomain(name) && is_key(key) => {
                Ok(Self { name: name.to_owned(), key: key.to_owned() })
            }
            _ => Err(TextError::new(text, Self::EXPECTED)),
        }
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.name, self.key)
    }
}

text_type_traits!(
    SecretReference,
    "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[-._a-zA-Z0-9]+$",
    SecretReference::EXPECTED,
    "database/password"
);

/// Who else may talk to a service, or whom a service may talk to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Every pod of the same namespace.
    Namespace,
    /// Every pod of another namespace.
    OtherNamespace(NamespaceName),
    /// Every pod of the cluster.
    Cluster,
    /// Every address, inside and outside the cluster.
    Anywhere,
}

impl Peer {
    const EXPECTED: &str = "a peer: namespace, namespace:NAME, cluster or anywhere";
}

impl FromStr for Peer {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let wrong = || TextError::new(text, Self::EXPECTED);
        match text {
            "namespace" => Ok(Self::Namespace),
            "cluster" => Ok(Self::Cluster),
            "anywhere" => Ok(Self::Anywhere),
            _ => {
                let name = text.strip_prefix("namespace:").ok_or_else(wrong)?;
                name.parse().map(Self::OtherNamespace).map_err(|_| wrong())
            }
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace => formatter.write_str("namespace"),
            Self::OtherNamespace(name) => write!(formatter, "namespace:{name}"),
            Self::Cluster => formatter.write_str("cluster"),
            Self::Anywhere => formatter.write_str("anywhere"),
        }
    }
}

text_type_traits!(
    Peer,
    "^(namespace(:[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?|cluster|anywhere)$",
    Peer::EXPECTED,
    "namespace"
);

/// A numeric user and group that is not root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId {
    user: u32,
    group: u32,
}

impl UserId {
    const EXPECTED: &str = "a user: uid:gid, two numbers from 1 to 2147483647";
    const LARGEST: u32 = 2_147_483_647;

    /// Takes a user and a group; `None` if one of them is root's or out of range.
    pub fn new(user: u32, group: u32) -> Option<Self> {
        let is_good = |id: u32| (1..=Self::LARGEST).contains(&id);
        (is_good(user) && is_good(group)).then_some(Self { user, group })
    }

    /// The user id.
    pub const fn user(self) -> u32 {
        self.user
    }

    /// The group id.
    pub const fn group(self) -> u32 {
        self.group
    }
}

impl FromStr for UserId {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let number = |text: &str| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
            if is_plain { text.parse().ok() } else { None }
        };
        text.split_once(':')
            .and_then(|(user, group)| Self::new(number(user)?, number(group)?))
            .ok_or_else(|| TextError::new(text, Self::EXPECTED))
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.user, self.group)
    }
}

text_type_traits!(UserId, "^[1-9][0-9]*:[1-9][0-9]*$", UserId::EXPECTED, "65532:65532");

pub(crate) fn formats() -> Vec<TextFormat> {
    vec![
        ServiceName::FORMAT,
        StorageName::FORMAT,
        NamespaceName::FORMAT,
        SubscriptionName::FORMAT,
        PortName::FORMAT,
        ConfigKey::FORMAT,
        VariableName::FORMAT,
        AbsolutePath::FORMAT,
        SourcePath::FORMAT,
        HttpPath::FORMAT,
        SecretReference::FORMAT,
        Peer::FORMAT,
        UserId::FORMAT,
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names() {
        type Row = (fn(&str) -> bool, &'static [&'static str], &'static [&'static str]);
        let table: [Row; 9] = [
            (
                |text| text.parse::<ServiceName>().is_ok(),
                &["a", "api", "web-2", "a123456789012345678901234567890123456789"],
                &["", "2a", "-a", "a-", "A", "a_b", "a.b", "a1234567890123456789012345678901234567890"],
            ),
            (
                |text| text.parse::<PortName>().is_ok(),
                &["http", "a-b"],
                &["", "a--b", "Http", "sixteen-letters-"],
            ),
            (|text| text.parse::<ConfigKey>().is_ok(), &["api_url", "a1"], &["", "_a", "API", "a-b", "1a"]),
            (|text| text.parse::<VariableName>().is_ok(), &["PATH", "_x", "a1"], &["", "1A", "A-B", "A=B"]),
            (
                |text| text.parse::<AbsolutePath>().is_ok(),
                &["/a", "/a/b.c", "/.x"],
                &["", "/", "a", "/a/", "//a", "/a/../b", "/./a", "/a\0"],
            ),
            (
                |text| text.parse::<SourcePath>().is_ok(),
                &["a", "a/b", "..a"],
                &["", "/a", "../a", "a//b", "a\\b", "a/"],
            ),
            (|text| text.parse::<HttpPath>().is_ok(), &["/", "/ready?x=1"], &["", "ready", "/a b", "/ü"]),
            (
                |text| text.parse::<SecretReference>().is_ok(),
                &["database/password", "a.b/C_d"],
                &["database", "/a", "a/", "A/b", "a/b/c"],
            ),
            (
                |text| text.parse::<UserId>().is_ok(),
                &["1:1", "65532:65532", "2147483647:1"],
                &["0:0", "0:1", "1:0", "root", "1", "01:1", "+1:1", "2147483648:1"],
            ),
        ];
        for (check, good, bad) in table {
            for text in good {
                assert!(check(text), "{text}");
            }
            for text in bad {
                assert!(!check(text), "{text}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn service_names_are_part_names(text in "[a-z]([-a-z0-9]{0,38}[a-z0-9])?") {
            let name: ServiceName = text.parse().unwrap();
            proptest::prop_assert_eq!(name.part().to_string(), text);
        }
    }

    #[test]
    fn peers_round_trip() {
        for text in ["namespace", "namespace:ingress", "cluster", "anywhere"] {
            assert_eq!(text.parse::<Peer>().map(|peer| peer.to_string()).as_deref(), Ok(text));
        }
        assert!("namespace:".parse::<Peer>().is_err());
        assert!("world".parse::<Peer>().is_err());
    }

    /// A reader finds the check by the pattern, so no two types may share one.
    #[test]
    fn patterns_identify_types() {
        let formats = crate::text_formats();
        let patterns: BTreeSet<_> = formats.iter().map(|format| format.pattern).collect();
        assert_eq!(patterns.len(), formats.len());
    }
}
