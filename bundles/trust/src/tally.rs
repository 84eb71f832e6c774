//! Counting signatures: distinct keys of a role, distinct owners of those keys.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;

use crate::{KeyHint, Role, SignatureBundle, TrustRoot};

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ignored {
    /// The root does not know the key.
    UnknownKey,
    /// The root has revoked the key.
    RevokedKey,
    /// The key is out of date.
    ExpiredKey {
        /// Since when.
        since: Timestamp,
    },
    /// The key may not sign this.
    NotInRole,
    /// The cryptography does not hold.
    BadSignature,
    /// Another signature of this key counts already.
    SameKey,
    /// Another key of this owner counts already.
    SameOwner,
    /// The statement is about something else, or of another kind.
    OtherStatement,
}

impl fmt::Display for Ignored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey => formatter.write_str("the trust root does not know the key"),
            Self::RevokedKey => formatter.write_str("the key is revoked"),
            Self::ExpiredKey { since } => write!(formatter, "the key is out of date since {since}"),
            Self::NotInRole => formatter.write_str("the key does not have this role"),
            Self::BadSignature => formatter.write_str("the signature does not belong to key and text"),
            Self::SameKey => formatter.write_str("another signature of this key counts already"),
            Self::SameOwner => formatter.write_str("another key of this owner counts already"),
            Self::OtherStatement => formatter.write_str("it states something else"),
        }
    }
}

/// The signatures of one role on one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// The role.
    pub role: Role,
    /// How many owners must sign.
    pub needed: u32,
    /// Keys that count, one for each owner.
    pub counted: BTreeSet<KeyHint>,
    /// Signatures that do not count, and why.
    pub ignored: Vec<(KeyHint, Ignored)>,
}

impl Tally {
    /// Whether enough owners signed. A role that the root does not have is never satisfied.
    pub fn is_enough(&self) -> bool {
        self.needed > 0 && self.counted.len() >= self.needed as usize
    }

    /// The signatures that do not count, to stand behind a sentence.
    pub(crate) fn ignored_text(&self) -> String {
        let each: Vec<_> = self.ignored.iter().map(|(key, why)| format!("{key}: {why}")).collect();
        if each.is_empty() { String::new() } else { format!(": {}", each.join("; ")) }
    }
}

/// Counts the signatures of `role`. `is_right` says whether a verified payload states what is to be signed. Without
/// `now` the age of keys plays no role.
pub(crate) fn count(
    root: &TrustRoot,
    role: &Role,
    bundles: &[SignatureBundle],
    now: Option<Timestamp>,
    is_right: impl Fn(&[u8]) -> bool,
) -> Tally {
    let members = root.role(role);
    let mut tally = Tally {
        role: role.clone(),
        needed: members.map_or(0, |members| members.threshold),
        counted: BTreeSet::new(),
        ignored: Vec::new(),
    };
    let mut owners = BTreeSet::new();
    for bundle in bundles {
        let hint = bundle.hint();
        let judge = || {
            let Some(key) = root.key(hint) else {
                let is_revoked = root.revoked().keys.contains(&hint);
                return Err(if is_revoked { Ignored::RevokedKey } else { Ignored::UnknownKey });
            };
            if !members.is_some_and(|members| members.keys.contains(&hint)) {
                return Err(Ignored::NotInRole);
            }
            if let (Some(now), Some(since)) = (now, key.not_after)
                && now >= since
            {
                return Err(Ignored::ExpiredKey { since });
            }
            if tally.counted.contains(&hint) {
                return Err(Ignored::SameKey);
            }
            let payload = bundle.verify(&key.key).map_err(|_| Ignored::BadSignature)?;
            if !is_right(payload) {
                return Err(Ignored::OtherStatement);
            }
            if owners.contains(&key.owner) {
                return Err(Ignored::SameOwner);
            }
            Ok(&key.owner)
        };
        match judge() {
            Ok(owner) => {
                owners.insert(owner);
                tally.counted.insert(hint);
            }
            Err(why) => tally.ignored.push((hint, why)),
        }
    }
    tally
}
