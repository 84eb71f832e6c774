//! The way from the pinned trust root to the newest, kept document by document and gone again at each start: a stored
//! digest alone would be the word of whoever can write where it is stored.

use std::collections::BTreeMap;

use bundles_trust::{RootMark, SignedRoot, TrustedRoot};
use registry_wire::{Digest, MediaType, StoredManifest};

use crate::fault::{Fault, StepError, TextError};

/// The name under which the newest root is stored.
const NEWEST: &str = "root.json";

/// Trusted roots, from the pinned one on.
pub(crate) struct RootWay {
    trusted: TrustedRoot,
    /// What was received of each, the pinned one first.
    texts: BTreeMap<u64, String>,
}

impl RootWay {
    /// Begins with the pinned root.
    pub(crate) fn pin(text: String, pinned: Digest) -> Result<Self, Fault> {
        let signed = parse(&text).map_err(|source| Fault::TrustRootText { source })?;
        let trusted = TrustedRoot::pin(&signed, pinned).map_err(|refusal| Fault::TrustRoot { refusal })?;
        let texts = BTreeMap::from([(trusted.mark().version, text)]);
        Ok(Self { trusted, texts })
    }

    /// The newest.
    pub(crate) const fn trusted(&self) -> &TrustedRoot {
        &self.trusted
    }

    /// The version that would be next.
    pub(crate) const fn next(&self) -> u64 {
        self.trusted.mark().version.saturating_add(1)
    }

    /// Goes one step, if it is signed as it must be.
    pub(crate) fn advance(&mut self, text: String) -> Result<(), StepError> {
        let signed = parse(&text).map_err(|error| StepError::Text { error })?;
        self.trusted = self.trusted.advance(&signed).map_err(|refusal| StepError::Refused { refusal })?;
        self.texts.insert(self.trusted.mark().version, text);
        Ok(())
    }

    /// Goes on to the root that was trusted before, by what was stored and what was fetched for it. If a version is
    /// missing, the way ends there, and [`Self::next`] says which.
    pub(crate) fn go_to(
        &mut self,
        trusted: &RootMark,
        stored: &BTreeMap<String, String>,
        fetched: &BTreeMap<u64, String>,
    ) -> Result<(), StepError> {
        while self.trusted.mark().version < trusted.version {
            let next = self.next();
            let name = if next == trusted.version { NEWEST.to_owned() } else { between(next) };
            let Some(text) = stored.get(&name).or_else(|| fetched.get(&next)) else { return Ok(()) };
            self.advance(text.clone())?;
        }
        let mark = self.trusted.mark();
        if mark.version == trusted.version && mark.digest != trusted.digest {
            return Err(StepError::Other { found: mark.digest, trusted: trusted.digest });
        }
        Ok(())
    }

    /// What is to be stored beside `texts`: the newest root in any case, and as many before it as `most` bytes hold.
    /// Those that do not fit are fetched again when they are needed.
    pub(crate) fn store(&self, texts: &mut BTreeMap<String, String>, most: usize) {
        let mut newer = self.texts.iter().rev();
        texts.extend(newer.next().map(|(_, text)| (NEWEST.to_owned(), text.clone())));
        let mut size: usize = texts.values().map(String::len).sum();
        // The pinned one stands in the subscription.
        for (version, text) in newer.take(self.texts.len().saturating_sub(2)) {
            size = size.saturating_add(text.len());
            if size > most {
                break;
            }
            texts.insert(between(*version), text.clone());
        }
    }
}

fn between(version: u64) -> String {
    format!("root-{version}.json")
}

/// Reads a manifest that was stored as text.
pub(crate) fn manifest(text: &str) -> Result<StoredManifest, TextError> {
    Ok(StoredManifest::parse(MediaType::IMAGE_MANIFEST, text.as_bytes().to_vec())?)
}

fn parse(text: &str) -> Result<SignedRoot, TextError> {
    Ok(SignedRoot::parse(&manifest(text)?)?)
}
