//! `OpenPGP` keys that may vouch for a suite, and the check of a signed text.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufReader, Cursor, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::apt::KeySource;
use bundles_release::lock::Fingerprint;
use jiff::Timestamp;
use pgp::{
    composed::{CleartextSignedMessage, Deserializable, DetachedSignature, SignedPublicKey},
    crypto::hash::HashAlgorithm,
    packet::{Signature, SignatureType},
    types::{KeyDetails, KeyVersion, Tag, VerifyingKey},
};

/// Keyring of Debian's archive, as the package `debian-archive-keyring` installs it.
pub const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

const KEYRING_LIMIT: u64 = 16 << 20;
/// How a text that is signed in place begins.
const IN_PLACE: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
/// How signatures behind a text begin.
const DETACHED: &str = "\n-----BEGIN PGP SIGNATURE-----";
/// Signatures on one text that are looked at.
const SIGNATURE_LIMIT: usize = 32;

/// Keys that may vouch for a suite.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
    /// Keys that vouch only for suites that pin them.
    pinned_only: Vec<SignedPublicKey>,
}

/// Why a keyring cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file cannot be read.
    #[error("cannot read keyring {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds something else than keys.
    #[error("{} is not an OpenPGP keyring", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<pgp::errors::Error>,
    },
    /// A key that stands in apt's configuration cannot be read.
    #[error("a key in a source of apt cannot be read")]
    Inline(#[source] Box<pgp::errors::Error>),
    /// The file holds no key, or more than 16 MiB.
    #[error("keyring {} holds no key, or is longer than 16 MiB", path.display())]
    Size {
        /// The file.
        path: PathBuf,
    },
}

impl KeyringError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Read { path, .. } if path.as_path() == Path::new(DEBIAN_KEYRING) => {
                "apt-get install debian-archive-keyring".to_owned()
            }
            Self::Inline(_) => "correct its Signed-By, see sources.list(5)".to_owned(),
            Self::Read { .. } | Self::Parse { .. } | Self::Size { .. } => {
                "name a file of OpenPGP public keys, binary or armored".to_owned()
            }
        }
    }
}

/// Why a signed text is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The text carries no signature at all.
    #[error("it is not signed")]
    Unsigned,
    /// The text has the form of a signed one, but cannot be read.
    #[error("its signature cannot be read")]
    Malformed(#[source] Box<pgp::errors::Error>),
    /// No signature is of a key that is known.
    #[error("it is signed by {}, and none of these keys is in the keyring; a signature may name a subkey", signers.join(", "))]
    UnknownKeys {
        /// Fingerprints or key ids that the signatures name.
        signers: Vec<String>,
    },
    /// A known key is named, but its signature does not fit the text.
    #[error("the signature of key {key} does not match: the text was changed after it was signed")]
    Wrong {
        /// The key.
        key: Fingerprint,
        /// What the check said.
        source: Box<pgp::errors::Error>,
    },
    /// A known key that may not sign any more.
    #[error("key {key} cannot vouch for it: {reason}")]
    Unusable {
        /// The key.
        key: Fingerprint,
        /// Expired, revoked, weak hash.
        reason: &'static str,
    },
    /// Good signatures, none of a key that is pinned.
    #[error("it is signed by {}, and none of these keys is pinned", join(keys))]
    NotPinned {
        /// Keys with good signatures.
        keys: Vec<Fingerprint>,
    },
}

fn join(keys: &[Fingerprint]) -> String {
    keys.iter().map(Fingerprint::as_str).collect::<Vec<_>>().join(", ")
}

/// A text with the keys that vouch for it.
#[derive(Debug)]
pub(crate) struct Vouched {
    /// Exactly what was signed, with plain line ends.
    pub(crate) text: String,
    /// Primary fingerprints, sorted.
    pub(crate) keys: Vec<Fingerprint>,
}

impl Keyring {
    /// Reads a keyring, binary or armored.
    pub fn load(path: &Path) -> Result<Self, KeyringError> {
        let read = |source| KeyringError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(KEYRING_LIMIT + 1).read_to_end(&mut bytes))
            .map_err(read)?;
        let keys = Self::parse(&bytes)
            .map_err(|source| KeyringError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        if keys.keys.is_empty() || bytes.len() as u64 > KEYRING_LIMIT {
            return Err(KeyringError::Size { path: path.to_owned() });
        }
        Ok(keys)
    }

    /// Reads keys from where apt is told to find them.
    pub fn of_apt(source: &KeySource) -> Result<Self, KeyringError> {
        match source {
            KeySource::File(path) => Self::load(path),
            KeySource::Inline(text) => {
                Self::parse(text.as_bytes()).map_err(|source| KeyringError::Inline(Box::new(source)))
            }
        }
    }

    /// Adds the keys of another keyring.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self.pinned_only.extend(other.pinned_only);
        self
    }

    /// Adds the keys of another keyring, for suites that pin them and for no others: whoever adds a source to a machine
    /// must not gain a say over suites of others.
    #[must_use]
    pub fn with_pinned_only(mut self, other: Self) -> Self {
        self.pinned_only.extend(other.keys);
        self.pinned_only.extend(other.pinned_only);
        self
    }

    fn parse(bytes: &[u8]) -> Result<Self, pgp::errors::Error> {
        let (keys, _) = SignedPublicKey::from_reader_many(BufReader::new(Cursor::new(bytes)))?;
        Ok(Self { keys: keys.collect::<Result<_, _>>()?, pinned_only: Vec::new() })
    }

    /// Checks a document that is signed in place, or that its signatures follow. One good signature of a known key, and of a pinned one if any are pinned,
    /// is enough: archives sign with old and new keys at once.
    pub(crate) fn verify(
        &self,
        document: &str,
        pinned: &[Fingerprint],
        now: Timestamp,
    ) -> Result<Vouched, SignatureError> {
        let Signed { text, signatures } = Signed::read(document)?;
        if signatures.is_empty() {
            return Err(SignatureError::Unsigned);
        }
        let is_pinned = |key: &&SignedPublicKey| {
            fingerprint(&key.primary_key).is_some_and(|fingerprint| pinned.contains(&fingerprint))
        };
        let mut good = BTreeSet::new();
        let mut problem = None;
        for signature in &signatures {
            for key in self.keys.iter().chain(self.pinned_only.iter().filter(is_pinned)) {
                match vouches(key, signature, &text, now) {
                    None => {}
                    Some(Ok(())) => {
                        good.extend(fingerprint(&key.primary_key));
                    }
                    Some(Err(error)) => problem = Some(error),
                }
            }
        }
        if good.is_empty() {
            let signers = || signatures.iter().map(signer).collect();
            return Err(problem.unwrap_or_else(|| SignatureError::UnknownKeys { signers: signers() }));
        }
        let keys: Vec<Fingerprint> = good.into_iter().collect();
        if !pinned.is_empty() && !keys.iter().any(|key| pinned.contains(key)) {
            return Err(SignatureError::NotPinned { keys });
        }
        Ok(Vouched { text: text.replace("\r\n", "\n"), keys })
    }
}

/// A text and its signatures.
struct Signed {
    text: String,
    signatures: Vec<Signature>,
}

impl Signed {
    fn read(document: &str) -> Result<Self, SignatureError> {
        let malformed = |source| SignatureError::Malformed(Box::new(source));
        if document.trim_ascii_start().starts_with(IN_PLACE) {
            let (message, _) = CleartextSignedMessage::from_string(document).map_err(malformed)?;
            let signatures = message.signatures().iter().take(SIGNATURE_LIMIT).cloned().collect();
            return Ok(Self { text: message.signed_text(), signatures });
        }
        // Text that only surrounds a signed one is not signed, whatever comes behind.
        let at = document.find(DETACHED).filter(|_| !document.contains(IN_PLACE));
        let at = at.ok_or(SignatureError::Unsigned)? + 1;
        let (text, armored) = document.split_at(at);
        let mut signatures = Vec::new();
        for armored in armored.split_inclusive("-----END PGP SIGNATURE-----") {
            if armored.trim_ascii().is_empty() {
                continue;
            }
            let (found, _) = DetachedSignature::from_string_many(armored).map_err(malformed)?;
            for found in found {
                signatures.push(found.map_err(malformed)?.signature);
            }
        }
        signatures.truncate(SIGNATURE_LIMIT);
        Ok(Self { text: text.to_owned(), signatures })
    }
}

/// The key that a signature names.
fn signer(signature: &Signature) -> String {
    let by_fingerprint = signature.issuer_fingerprint().first().map(|fingerprint| format!("{fingerprint:X}"));
    let by_id = || signature.issuer_key_id().first().map(|id| id.to_string().to_uppercase());
    by_fingerprint.or_else(by_id).unwrap_or_else(|| "an unnamed key".to_owned())
}

fn fingerprint(key: &impl KeyDetails) -> Option<Fingerprint> {
    matches!(key.version(), KeyVersion::V4 | KeyVersion::V6)
        .then(|| format!("{:X}", key.fingerprint()).parse().ok())?
}

fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    signature.issuer_fingerprint().contains(&&key.fingerprint())
        || signature.issuer_key_id().contains(&&key.legacy_key_id())
}

/// Whether a certificate's primary key or one of its subkeys vouches for the text; nothing if it is not the signer.
fn vouches(
    certificate: &SignedPublicKey,
    signature: &Signature,
    text: &str,
    now: Timestamp,
) -> Option<Result<(), SignatureError>> {
    let primary = &certificate.primary_key;
    let name = fingerprint(primary)?;
    let unusable = |reason| Some(Err(SignatureError::Unusable { key: name.clone(), reason }));
    let check = |key: &dyn VerifyingKeyObject| {
        if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
            return unusable("it made another kind of signature");
        }
        let strong = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
        if !signature.hash_alg().is_some_and(|hash| strong.contains(&hash)) {
            return unusable("the signature uses a weak hash");
        }
        if let Some(reason) = signature_time(signature, now) {
            return unusable(reason);
        }
        Some(
            key.check(signature, text)
                .map_err(|source| SignatureError::Wrong { key: name.clone(), source: Box::new(source) }),
        )
    };
    let subkey = certificate.public_subkeys.iter().find(|subkey| names(signature, &subkey.key));
    if subkey.is_none() && !names(signature, primary) {
        return None;
    }
    // The certificate itself: certified by itself, not revoked, not expired. Certifications by others say nothing here.
    let own = self_signatures(certificate);
    if own.is_empty() {
        return unusable("it has no good self-signature");
    }
    if certificate.details.revocation_signatures.iter().any(|signature| signature.verify_key(primary).is_ok())
    {
        return unusable("it is revoked");
    }
    if expired(&own, seconds(primary.created_at().into()), now) {
        return unusable("it is expired");
    }
    let Some(subkey) = subkey else { return check(primary) };
    let signatures = subkey.signatures.iter();
    let (revocations, bindings): (Vec<_>, Vec<_>) = signatures
        .filter(|signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok())
        .partition(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation));
    if !revocations.is_empty() {
        return unusable("the signing subkey is revoked");
    }
    // A subkey that signs must in turn confirm its primary key (RFC 9580, section 5.2.1.9).
    let confirmed = |binding: &&Signature| {
        let back = binding.embedded_signature();
        binding.key_flags().sign()
            && back.is_some_and(|back| back.verify_primary_key_binding(&subkey.key, primary).is_ok())
    };
    let bindings: Vec<&Signature> = bindings.into_iter().filter(confirmed).collect();
    if bindings.is_empty() {
        return unusable("the signing subkey is not bound to it");
    }
    if expired(&bindings, seconds(subkey.key.created_at().into()), now) {
        return unusable("the signing subkey is expired");
    }
    check(&subkey.key)
}

/// Good certifications of a certificate by its own primary key.
fn self_signatures(certificate: &SignedPublicKey) -> Vec<&Signature> {
    let primary = &certificate.primary_key;
    let users = certificate.details.users.iter().flat_map(|user| {
        let good = |signature: &&Signature| {
            signature.typ() != Some(SignatureType::CertRevocation)
                && names(signature, primary)
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        };
        user.signatures.iter().filter(good)
    });
    let direct = certificate.details.direct_signatures.iter();
    users.chain(direct.filter(|signature| signature.verify_key(primary).is_ok())).collect()
}

/// The two kinds of keys that sign, behind one type.
trait VerifyingKeyObject {
    fn check(&self, signature: &Signature, text: &str) -> Result<(), pgp::errors::Error>;
}

impl<K: VerifyingKey> VerifyingKeyObject for K {
    fn check(&self, signature: &Signature, text: &str) -> Result<(), pgp::errors::Error> {
        signature.verify(self, text.as_bytes())
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn signature_time(signature: &Signature, now: Timestamp) -> Option<&'static str> {
    let created = seconds(signature.created()?.into());
    let lifetime = signature.signature_expiration_time().map_or(0, |time| i64::from(time.as_secs()));
    (lifetime > 0 && created.saturating_add(lifetime) < now.as_second()).then_some("its signature is expired")
}

/// Whether the newest of a key's self-signatures limits its life to a time that is over.
fn expired(signatures: &[&Signature], created: i64, now: Timestamp) -> bool {
    let newest = signatures.iter().max_by_key(|signature| signature.created());
    let lifetime =
        newest.and_then(|newest| newest.key_expiration_time()).map_or(0, |time| i64::from(time.as_secs()));
    lifetime > 0 && created.saturating_add(lifetime) < now.as_second()
}
