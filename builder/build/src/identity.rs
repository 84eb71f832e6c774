//! Hashing for identity: domain-separated, versioned, each part with its length, so that no two lists of parts hash
//! the same bytes.

use registry_wire::{Digest, Hasher};

/// Collects the parts of an identity.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    hasher: Hasher,
}

impl Identity {
    /// Begins an identity. `domain` says what is identified and in which version of its parts: `fragment/1`.
    pub(crate) fn new(domain: &str) -> Self {
        let identity = Self { hasher: Hasher::new() };
        identity.bytes(b"bundle.build").bytes(domain.as_bytes())
    }

    /// Adds bytes.
    #[must_use]
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.hasher.update(&(bytes.len() as u64).to_be_bytes());
        self.hasher.update(bytes);
        self
    }

    /// Adds a text.
    #[must_use]
    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a number.
    #[must_use]
    pub(crate) fn number(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// Adds a digest.
    #[must_use]
    pub(crate) fn digest(self, digest: &Digest) -> Self {
        self.bytes(digest.as_bytes())
    }

    /// The identity.
    pub(crate) fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        let of =
            |parts: &[&str]| parts.iter().fold(Identity::new("test/1"), |all, part| all.text(part)).finish();
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert_ne!(of(&["ab"]), of(&["a", "b"]));
        assert_ne!(of(&["a", ""]), of(&["a"]));
        assert_ne!(Identity::new("test/1").finish(), Identity::new("test/2").finish());
    }
}
