//! Names of channels, owners of keys, and roles.

use std::{fmt, str::FromStr};

use bundles_release::ProductName;
use registry_wire::{Tag, checked_text, serde_as_text};

checked_text!(
    /// Name of a channel within a product: `dev`, `production`, `production.eu`. It has no dash, so that the tags of
    /// channels and of their versions never meet, whatever the product is called.
    ChannelName,
    ChannelNameError,
    "the name of a channel: 1 to 32 lower-case letters and digits, starting with a letter, with inner . and _ but no \
     dash",
    |text| {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        (1..=32).contains(&bytes.len())
            && bytes[0].is_ascii_lowercase()
            && is_word(bytes[bytes.len() - 1])
            && bytes.iter().all(|byte| is_word(*byte) || b"._".contains(byte))
    }
);

/// A channel of a product, `shop/production`. Both stand in the signed bytes, so that no record serves elsewhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel {
    /// The product.
    pub product: ProductName,
    /// The channel.
    pub name: ChannelName,
}

/// A text that is not a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a channel of the form product/channel")]
pub struct ChannelError {
    text: String,
}

impl Channel {
    /// Names a channel.
    pub const fn new(product: ProductName, name: ChannelName) -> Self {
        Self { product, name }
    }

    /// The tag that moves with the channel.
    #[allow(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "at most 8 + 63 + 1 + 32 characters of a tag"
    )]
    pub fn tag(&self) -> Tag {
        format!("channel-{}-{}", self.product, self.name).parse().expect("the name of a channel is a tag")
    }

    /// The tag of one version of the channel, which never moves.
    #[allow(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "the tag above and at most 21 characters"
    )]
    pub fn version_tag(&self, version: u64) -> Tag {
        format!("{}-{version}", self.tag()).parse().expect("the name of a channel and a number are a tag")
    }
}

impl FromStr for Channel {
    type Err = ChannelError;

    fn from_str(text: &str) -> Result<Self, ChannelError> {
        text.split_once('/')
            .and_then(|(product, name)| {
                Some(Self { product: product.parse().ok()?, name: name.parse().ok()? })
            })
            .ok_or_else(|| ChannelError { text: text.to_owned() })
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.product, self.name)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

checked_text!(
    /// Who holds a key: a person, a team or a machine. Approvals count owners, not keys.
    Owner,
    OwnerError,
    "an owner: 1 to 63 lower-case letters, digits, ., _, @ and -, starting with a letter or digit",
    |text| {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        (1..=63).contains(&bytes.len())
            && is_word(bytes[0])
            && bytes.iter().all(|byte| is_word(*byte) || b"._@-".contains(byte))
    }
);

impl Owner {
    /// The owner of keys that were made for development. Only a root that is marked as a development root has them.
    pub fn development() -> Self {
        Self("development".into())
    }
}

/// What a key may sign.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Trust roots.
    Root,
    /// Releases.
    Release,
    /// Records of one channel.
    Channel(Channel),
}

/// A text that is not a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a role: root, release or channel:product/channel is expected")]
pub struct RoleError {
    text: String,
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        match text {
            "root" => Ok(Self::Root),
            "release" => Ok(Self::Release),
            other => other
                .strip_prefix("channel:")
                .and_then(|channel| channel.parse().ok())
                .map(Self::Channel)
                .ok_or_else(|| RoleError { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => formatter.write_str("root"),
            Self::Release => formatter.write_str("release"),
            Self::Channel(channel) => write!(formatter, "channel:{channel}"),
        }
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

serde_as_text!(Channel, Role);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["dev", "production", "production.eu", "a1_2", &"x".repeat(32)] {
            assert!(good.parse::<ChannelName>().is_ok(), "{good}");
        }
        for bad in ["", "1", "prod-eu", "Prod", "a.", "_a", "a/b", &"x".repeat(33)] {
            assert!(bad.parse::<ChannelName>().is_err(), "{bad}");
        }
        for good in ["alice", "ci-a", "alice@example.org", "development", "7"] {
            assert!(good.parse::<Owner>().is_ok(), "{good}");
        }
        for bad in ["", "Alice", "-a", "a b", "ä"] {
            assert!(bad.parse::<Owner>().is_err(), "{bad}");
        }
        for good in ["root", "release", "channel:shop/dev"] {
            assert_eq!(good.parse::<Role>().unwrap().to_string(), good);
        }
        for bad in ["", "Root", "channel:", "channel:shop", "channel:shop/", "freshness", "release "] {
            assert!(bad.parse::<Role>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_longest_names_make_tags() {
        let channel: Channel = format!("{}/{}", "p".repeat(63), "c".repeat(32)).parse().unwrap();
        assert!(channel.version_tag(u64::MAX).as_str().ends_with("-18446744073709551615"));
    }

    #[test]
    fn tags_of_two_channels_never_meet() {
        let tag = |channel: &str, version: Option<u64>| {
            let channel: Channel = channel.parse().unwrap();
            version.map_or_else(|| channel.tag(), |version| channel.version_tag(version))
        };
        assert_eq!(tag("shop/dev", None).as_str(), "channel-shop-dev");
        assert_eq!(tag("shop/dev", Some(44)).as_str(), "channel-shop-dev-44");
        assert_ne!(tag("shop-dev/a44", None), tag("shop/dev", Some(44)));
    }
}
