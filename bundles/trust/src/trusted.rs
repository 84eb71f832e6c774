//! Which trust root is trusted: a pinned first one, and from it step by step (TUF 5.3).

use bundles_release::ProductName;
use registry_wire::Digest;

use crate::{Document as _, Role, RootMark, SignedRoot, Tally, TrustRoot, tally};

/// A trust root that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootRefusal {
    /// Not the pinned one.
    #[error("the trust root is {found}, pinned is {pinned}")]
    NotPinned {
        /// The pinned digest.
        pinned: Digest,
        /// The digest found.
        found: Digest,
    },
    /// Not signed by its own keys.
    #[error(
        "the trust root {digest} has {} of {} signatures of its own root keys{}",
        tally.counted.len(),
        tally.needed,
        tally.ignored_text()
    )]
    OwnSignatures {
        /// The root.
        digest: Digest,
        /// The signatures.
        tally: Box<Tally>,
    },
    /// Not signed by the keys of the version before.
    #[error(
        "the trust root {digest} has {} of {} signatures of the root keys of the version before{}",
        tally.counted.len(),
        tally.needed,
        tally.ignored_text()
    )]
    PreviousSignatures {
        /// The root.
        digest: Digest,
        /// The signatures.
        tally: Box<Tally>,
    },
    /// A version was left out or comes again.
    #[error("the trust root {digest} has version {found}, {expected} is next")]
    Version {
        /// The root.
        digest: Digest,
        /// Its version.
        found: u64,
        /// The version that is next.
        expected: u64,
    },
    /// Another product.
    #[error("the trust root {digest} is for the product {found}, not for {expected}")]
    Product {
        /// The root.
        digest: Digest,
        /// Its product.
        found: ProductName,
        /// The product that is expected.
        expected: ProductName,
    },
    /// A development root does not become a production root, nor the other way.
    #[error("the trust root {digest} changes the mark of development roots, which stays for ever")]
    Development {
        /// The root.
        digest: Digest,
    },
}

impl RootRefusal {
    /// What to type next.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NotPinned { .. } | Self::Product { .. } => {
                "check the pinned digest against the one that the owners of the root published"
            }
            Self::OwnSignatures { .. } | Self::PreviousSignatures { .. } => {
                "have more owners of root keys sign it, those of the old version and those of the new one: bundle trust next"
            }
            Self::Version { .. } => "fetch the versions in between, each under its own tag",
            Self::Development { .. } => "make a new root with production keys and pin its digest",
        }
    }
}

/// A trust root that is trusted: pinned by digest, or reached from a pinned one by steps that the owners of the old and
/// of the new root keys have signed. There is no other way to make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRoot {
    root: TrustRoot,
    digest: Digest,
}

impl TrustedRoot {
    /// Trusts `signed` because its payload has the digest `pinned`, which came another way. Its own threshold of root
    /// keys must have signed it all the same.
    pub fn pin(signed: &SignedRoot, pinned: Digest) -> Result<Self, RootRefusal> {
        let digest = signed.digest();
        if digest != pinned {
            return Err(RootRefusal::NotPinned { pinned, found: digest });
        }
        check_own(signed)?;
        Ok(Self { root: signed.document().clone(), digest })
    }

    /// Trusts `next` because it is exactly the next version and a threshold of both this root's and its own root keys
    /// have signed it. Expiry is not looked at: only the last root of a chain must be in date, and decisions see to it.
    pub fn advance(&self, next: &SignedRoot) -> Result<Self, RootRefusal> {
        let digest = next.digest();
        let root = next.document();
        if root.product() != self.root.product() {
            let (found, expected) = (root.product().clone(), self.root.product().clone());
            return Err(RootRefusal::Product { digest, found, expected });
        }
        let expected = self.root.version().saturating_add(1);
        if root.version() != expected {
            return Err(RootRefusal::Version { digest, found: root.version(), expected });
        }
        if root.is_development() != self.root.is_development() {
            return Err(RootRefusal::Development { digest });
        }
        let tally = count(&self.root, next);
        if !tally.is_enough() {
            return Err(RootRefusal::PreviousSignatures { digest, tally: Box::new(tally) });
        }
        check_own(next)?;
        Ok(Self { root: root.clone(), digest })
    }

    /// The root.
    pub const fn root(&self) -> &TrustRoot {
        &self.root
    }

    /// Version and digest, as records and floors name it.
    pub const fn mark(&self) -> RootMark {
        RootMark { version: self.root.version(), digest: self.digest }
    }
}

fn check_own(signed: &SignedRoot) -> Result<(), RootRefusal> {
    let tally = count(signed.document(), signed);
    if tally.is_enough() {
        Ok(())
    } else {
        Err(RootRefusal::OwnSignatures { digest: signed.digest(), tally: Box::new(tally) })
    }
}

fn count(root: &TrustRoot, signed: &SignedRoot) -> Tally {
    tally::count(root, &Role::Root, signed.bundles(), None, |payload| payload == signed.payload().bytes())
}
