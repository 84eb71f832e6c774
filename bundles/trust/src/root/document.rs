//! The trust root as it is written.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use bundles_release::ProductName;
use jiff::Timestamp;
use registry_wire::Digest;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor},
};

use super::{Revoked, RoleKeys, RootFault, TrustRoot, TrustRootParts, TrustedKey};
use crate::{KeyHint, Owner, PublicKey, Role};

const FORMAT_VERSION: u32 = 1;

/// The order of the fields is the order in which they are written; keys of maps are sorted.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RootDocument {
    format_version: u32,
    product: ProductName,
    version: u64,
    #[serde(with = "crate::timestamp")]
    expires: Timestamp,
    development: bool,
    #[serde(deserialize_with = "unique")]
    keys: BTreeMap<KeyHint, KeyDocument>,
    #[serde(deserialize_with = "unique")]
    roles: BTreeMap<Role, RoleDocument>,
    revoked: RevokedDocument,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyDocument {
    owner: Owner,
    pem: String,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::timestamp::optional")]
    not_after: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleDocument {
    keys: Vec<KeyHint>,
    threshold: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokedDocument {
    keys: Vec<KeyHint>,
    releases: Vec<Digest>,
}

impl TrustRoot {
    pub(crate) fn to_document(&self) -> RootDocument {
        let keys = self.keys.iter().map(|(hint, key)| {
            let document =
                KeyDocument { owner: key.owner.clone(), pem: key.key.to_pem(), not_after: key.not_after };
            (*hint, document)
        });
        let roles = self.roles.iter().map(|(role, members)| {
            let document =
                RoleDocument { keys: members.keys.iter().copied().collect(), threshold: members.threshold };
            (role.clone(), document)
        });
        RootDocument {
            format_version: FORMAT_VERSION,
            product: self.product.clone(),
            version: self.version,
            expires: self.expires,
            development: self.development,
            keys: keys.collect(),
            roles: roles.collect(),
            revoked: RevokedDocument {
                keys: self.revoked.keys.iter().copied().collect(),
                releases: self.revoked.releases.iter().copied().collect(),
            },
        }
    }

    pub(crate) fn from_document(document: RootDocument) -> Result<Self, RootFault> {
        if document.format_version != FORMAT_VERSION {
            return Err(RootFault::FormatVersion { found: document.format_version });
        }
        let count = document.keys.len();
        if count > Self::MOST_KEYS {
            return Err(RootFault::TooMany { what: "keys", count, limit: Self::MOST_KEYS });
        }
        let mut keys = Vec::with_capacity(count);
        for (hint, document) in document.keys {
            let key = PublicKey::from_pem(&document.pem).map_err(|_| RootFault::Key { hint })?;
            if key.hint() != hint {
                return Err(RootFault::Hint { hint, found: key.hint() });
            }
            keys.push(TrustedKey { owner: document.owner, key, not_after: document.not_after });
        }
        let mut roles = BTreeMap::new();
        for (role, document) in document.roles {
            let keys = distinct(document.keys, |key| format!("the key {key} of role {role}"))?;
            roles.insert(role, RoleKeys { keys, threshold: document.threshold });
        }
        Self::new(TrustRootParts {
            product: document.product,
            version: document.version,
            expires: document.expires,
            development: document.development,
            keys,
            roles,
            revoked: Revoked {
                keys: distinct(document.revoked.keys, |key| format!("the revoked key {key}"))?,
                releases: distinct(document.revoked.releases, |release| {
                    format!("the revoked release {release}")
                })?,
            },
        })
    }
}

fn distinct<T: Copy + Ord>(
    items: Vec<T>,
    name: impl Fn(T) -> String,
) -> Result<std::collections::BTreeSet<T>, RootFault> {
    let mut set = std::collections::BTreeSet::new();
    for item in items {
        if !set.insert(item) {
            return Err(RootFault::Twice { what: name(item) });
        }
    }
    Ok(set)
}

/// Reads a map and refuses a key that stands twice. serde would keep the last one, other readers the first.
fn unique<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    struct Unique<K, V>(PhantomData<(K, V)>);

    impl<'de, K: Deserialize<'de> + Ord + fmt::Display, V: Deserialize<'de>> Visitor<'de> for Unique<K, V> {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some(key) = members.next_key::<K>()? {
                if map.contains_key(&key) {
                    return Err(de::Error::custom(format!("`{key}` stands twice")));
                }
                map.insert(key, members.next_value()?);
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(Unique(PhantomData))
}
