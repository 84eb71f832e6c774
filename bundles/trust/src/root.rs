//! The trust root: which keys there are, who owns them, and what they may sign.

mod document;

use std::collections::{BTreeMap, BTreeSet};

use bundles_release::{
    ProductName,
    names::{TRUST_ROOT, TRUST_ROOT_PREDICATE},
};
use jiff::Timestamp;
use registry_wire::{Digest, MediaType, Tag};

use crate::{Document, KeyHint, Owner, PublicKey, Role};

/// A rule that a trust root breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootFault {
    /// The form is unknown.
    #[error("it has format version {found}, this program reads version 1")]
    FormatVersion {
        /// The version found.
        found: u32,
    },
    /// Versions start at 1.
    #[error("its version is 0, the first root has version 1")]
    Version,
    /// A list is too long.
    #[error("it has {count} {what}, the limit is {limit}")]
    TooMany {
        /// What is listed.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A key cannot be read.
    #[error("its key {hint} is not a P-256 public key in PEM")]
    Key {
        /// Name of the key.
        hint: KeyHint,
    },
    /// A key stands under the name of another one.
    #[error("its key {hint} stands under that name but is {found}")]
    Hint {
        /// Name under which it stands.
        hint: KeyHint,
        /// Its own name.
        found: KeyHint,
    },
    /// A key or role stands twice.
    #[error("{what} stands twice")]
    Twice {
        /// Which one.
        what: String,
    },
    /// A role that every root must have is absent.
    #[error("it has no role {role}")]
    NoRole {
        /// The role.
        role: Role,
    },
    /// A role names a key that the root does not have.
    #[error("its role {role} names the key {key}, which it does not have")]
    UnknownKey {
        /// The role.
        role: Role,
        /// The key.
        key: KeyHint,
    },
    /// Too high to be reached, or nothing.
    #[error("its role {role} wants {threshold} signatures and has {owners} owners")]
    Threshold {
        /// The role.
        role: Role,
        /// The threshold.
        threshold: u32,
        /// Number of owners of its keys.
        owners: usize,
    },
    /// Two disjoint groups could sign two different records.
    #[error(
        "its role {role} wants {threshold} signatures of {owners} owners: more than half are needed, or two groups could \
         fork the channel"
    )]
    Fork {
        /// The role.
        role: Role,
        /// The threshold.
        threshold: u32,
        /// Number of owners of its keys.
        owners: usize,
    },
    /// A channel of another product.
    #[error("its role {role} is not of the product {product}")]
    ForeignChannel {
        /// The role.
        role: Role,
        /// Product of the root.
        product: ProductName,
    },
    /// A revoked key is still there.
    #[error("its key {key} is revoked and still listed")]
    RevokedKey {
        /// The key.
        key: KeyHint,
    },
    /// A development key in a root that is not marked.
    #[error("its key {key} is a development key, but the root is not marked as a development root")]
    DevelopmentKey {
        /// The key.
        key: KeyHint,
    },
}

/// A key and its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// Who holds it.
    pub owner: Owner,
    /// The key.
    pub key: PublicKey,
    /// From when on its signatures no longer count.
    pub not_after: Option<Timestamp>,
}

/// The keys of a role and how many of their owners must sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeys {
    /// The keys.
    pub keys: BTreeSet<KeyHint>,
    /// How many distinct owners must sign.
    pub threshold: u32,
}

/// What no longer counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Keys.
    pub keys: BTreeSet<KeyHint>,
    /// Releases.
    pub releases: BTreeSet<Digest>,
}

/// What a trust root is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRootParts {
    /// The product that it is for.
    pub product: ProductName,
    /// Its version, from 1, each one more than the last.
    pub version: u64,
    /// From when on nothing new is accepted under it.
    pub expires: Timestamp,
    /// Whether its keys were made for development. This never changes from one version to the next.
    pub development: bool,
    /// Its keys.
    pub keys: Vec<TrustedKey>,
    /// Its roles. `root` and `release` must be there.
    pub roles: BTreeMap<Role, RoleKeys>,
    /// What no longer counts.
    pub revoked: Revoked,
}

/// A checked trust root. Whether it is *trusted* is another question: see [`crate::TrustedRoot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRoot {
    product: ProductName,
    version: u64,
    expires: Timestamp,
    development: bool,
    keys: BTreeMap<KeyHint, TrustedKey>,
    roles: BTreeMap<Role, RoleKeys>,
    revoked: Revoked,
}

impl Document for TrustRoot {
    const ARTIFACT: MediaType = TRUST_ROOT;
    const LARGEST: usize = 40 * 1024;
    const NAME: &'static str = "trust root";
    const PREDICATE: &'static str = TRUST_ROOT_PREDICATE;

    fn product(&self) -> &ProductName {
        &self.product
    }
}

impl TrustRoot {
    /// Most keys in one root.
    pub const MOST_KEYS: usize = 64;
    /// Most roles in one root.
    pub const MOST_ROLES: usize = 64;
    /// Most revoked keys, and most revoked releases, in one root.
    pub const MOST_REVOKED: usize = 128;

    /// Checks the parts and makes a root of them.
    pub fn new(parts: TrustRootParts) -> Result<Self, RootFault> {
        let mut keys = BTreeMap::new();
        let count = parts.keys.len();
        for key in parts.keys {
            let hint = key.key.hint();
            if keys.insert(hint, key).is_some() {
                return Err(RootFault::Twice { what: format!("the key {hint}") });
            }
        }
        for (what, count, limit) in [
            ("keys", count, Self::MOST_KEYS),
            ("roles", parts.roles.len(), Self::MOST_ROLES),
            ("revoked keys", parts.revoked.keys.len(), Self::MOST_REVOKED),
            ("revoked releases", parts.revoked.releases.len(), Self::MOST_REVOKED),
        ] {
            if count > limit {
                return Err(RootFault::TooMany { what, count, limit });
            }
        }
        let TrustRootParts { product, version, expires, development, keys: _, roles, revoked } = parts;
        if version == 0 {
            return Err(RootFault::Version);
        }
        for (hint, key) in &keys {
            if revoked.keys.contains(hint) {
                return Err(RootFault::RevokedKey { key: *hint });
            }
            if key.owner == Owner::development() && !development {
                return Err(RootFault::DevelopmentKey { key: *hint });
            }
        }
        for role in [Role::Root, Role::Release] {
            if !roles.contains_key(&role) {
                return Err(RootFault::NoRole { role });
            }
        }
        for (role, members) in &roles {
            check_role(&product, &keys, role, members)?;
        }
        Ok(Self { product, version, expires, development, keys, roles, revoked })
    }

    /// The parts, from which the next version can be made.
    pub fn to_parts(&self) -> TrustRootParts {
        TrustRootParts {
            product: self.product.clone(),
            version: self.version,
            expires: self.expires,
            development: self.development,
            keys: self.keys.values().cloned().collect(),
            roles: self.roles.clone(),
            revoked: self.revoked.clone(),
        }
    }

    /// Its version.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// From when on nothing new is accepted under it.
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Whether its keys were made for development.
    pub const fn is_development(&self) -> bool {
        self.development
    }

    /// The key of a name.
    pub fn key(&self, hint: KeyHint) -> Option<&TrustedKey> {
        self.keys.get(&hint)
    }

    /// The keys by name.
    pub const fn keys(&self) -> &BTreeMap<KeyHint, TrustedKey> {
        &self.keys
    }

    /// The keys of a role.
    pub fn role(&self, role: &Role) -> Option<&RoleKeys> {
        self.roles.get(role)
    }

    /// The owners of the keys of a role; none when the root does not have it.
    pub fn owners(&self, role: &Role) -> BTreeSet<&Owner> {
        let keys = self.role(role).into_iter().flat_map(|members| &members.keys);
        keys.filter_map(|hint| self.keys.get(hint)).map(|key| &key.owner).collect()
    }

    /// What no longer counts.
    pub const fn revoked(&self) -> &Revoked {
        &self.revoked
    }

    /// Tag of version `version` of the root of `product`. It never moves.
    #[allow(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "at most 11 + 63 + 1 + 20 characters of a tag"
    )]
    pub fn tag(product: &ProductName, version: u64) -> Tag {
        format!("trust-root-{product}-{version}")
            .parse()
            .expect("the name of a product and a number are a tag")
    }
}

fn check_role(
    product: &ProductName,
    keys: &BTreeMap<KeyHint, TrustedKey>,
    role: &Role,
    members: &RoleKeys,
) -> Result<(), RootFault> {
    let mut owners = BTreeSet::new();
    for hint in &members.keys {
        let key = keys.get(hint).ok_or_else(|| RootFault::UnknownKey { role: role.clone(), key: *hint })?;
        owners.insert(&key.owner);
    }
    let (threshold, owners) = (members.threshold, owners.len());
    if threshold == 0 || threshold as usize > owners {
        return Err(RootFault::Threshold { role: role.clone(), threshold, owners });
    }
    if let Role::Channel(channel) = role {
        if channel.product != *product {
            return Err(RootFault::ForeignChannel { role: role.clone(), product: product.clone() });
        }
        if 2 * threshold as usize <= owners {
            return Err(RootFault::Fork { role: role.clone(), threshold, owners });
        }
    }
    Ok(())
}
