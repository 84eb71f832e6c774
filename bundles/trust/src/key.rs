//! Keys: ECDSA on P-256 with SHA-256, the one algorithm that every verifier of our signatures reads. Signatures are
//! deterministic (RFC 6979): a key and a text give one signature.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::{
    SecretKey,
    ecdsa::{Signature, SigningKey, VerifyingKey, signature::Signer as _, signature::Verifier as _},
    pkcs8::{
        DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding,
    },
};
use registry_wire::{Digest, serde_as_text};
use zeroize::Zeroizing;

use crate::{Randomness, RandomnessError};

/// A key that is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No randomness for a new key.
    #[error("cannot make a new key")]
    Generate {
        /// What the source of randomness says.
        source: RandomnessError,
    },
    /// Not a private key on P-256.
    #[error("this is not a P-256 private key in PKCS #8")]
    Private {
        /// What the parser says.
        source: p256::pkcs8::Error,
    },
    /// Not a public key on P-256.
    #[error("this is not a P-256 public key in PEM")]
    Public {
        /// What the parser says.
        source: p256::pkcs8::spki::Error,
    },
    /// A private key that cannot be written.
    #[error("cannot write the private key")]
    WritePrivate {
        /// What the writer says.
        source: p256::pkcs8::Error,
    },
}

/// A private key. Shows its hint only.
#[derive(Clone)]
pub struct PrivateKey {
    signing: SigningKey,
    public: PublicKey,
}

impl PrivateKey {
    /// Makes a new key.
    pub fn generate(random: &mut impl Randomness) -> Result<Self, KeyError> {
        loop {
            let mut scalar = Zeroizing::new([0_u8; 32]);
            random.fill(scalar.as_mut()).map_err(|source| KeyError::Generate { source })?;
            // One in about 2^32 draws is not a scalar of the curve; the next one is.
            if let Ok(secret) = SecretKey::from_slice(scalar.as_ref()) {
                return Ok(Self::from_secret(&secret));
            }
        }
    }

    /// Reads an unencrypted PKCS #8 document.
    pub fn from_pkcs8_der(bytes: &[u8]) -> Result<Self, KeyError> {
        let secret = SecretKey::from_pkcs8_der(bytes).map_err(|source| KeyError::Private { source })?;
        Ok(Self::from_secret(&secret))
    }

    /// Reads an unencrypted PKCS #8 document in PEM.
    pub fn from_pkcs8_pem(text: &str) -> Result<Self, KeyError> {
        let secret = SecretKey::from_pkcs8_pem(text).map_err(|source| KeyError::Private { source })?;
        Ok(Self::from_secret(&secret))
    }

    fn from_secret(secret: &SecretKey) -> Self {
        let signing = SigningKey::from(secret);
        let public = PublicKey(*signing.verifying_key());
        Self { signing, public }
    }

    /// Writes an unencrypted PKCS #8 document.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let document = self.signing.to_pkcs8_der().map_err(|source| KeyError::WritePrivate { source })?;
        Ok(Zeroizing::new(document.as_bytes().to_vec()))
    }

    /// Writes an unencrypted PKCS #8 document in PEM.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        self.signing.to_pkcs8_pem(LineEnding::LF).map_err(|source| KeyError::WritePrivate { source })
    }

    /// The public key.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Name of the key.
    pub fn hint(&self) -> KeyHint {
        self.public.hint()
    }

    /// Signs `text`: ECDSA over its SHA-256, in DER.
    pub fn sign(&self, text: &[u8]) -> Vec<u8> {
        let signature: Signature = self.signing.sign(text);
        signature.to_der().as_bytes().to_vec()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PrivateKey({})", self.hint())
    }
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo` in PEM.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        VerifyingKey::from_public_key_pem(text).map(Self).map_err(|source| KeyError::Public { source })
    }

    /// Writes the `SubjectPublicKeyInfo` in PEM.
    #[allow(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a point of the curve always has this form"
    )]
    pub fn to_pem(&self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).expect("a public key has a PEM form")
    }

    /// Writes the `SubjectPublicKeyInfo`.
    #[allow(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a point of the curve always has this form"
    )]
    pub fn to_der(&self) -> Vec<u8> {
        self.0.to_public_key_der().expect("a public key has a DER form").as_bytes().to_vec()
    }

    /// Name of the key: SHA-256 of its `SubjectPublicKeyInfo`.
    pub fn hint(&self) -> KeyHint {
        KeyHint(Digest::of(&self.to_der()))
    }

    /// Whether `signature`, in DER, is this key's over `text`.
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        Signature::from_der(signature).is_ok_and(|signature| self.0.verify(text, &signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({})", self.hint())
    }
}

/// Name of a key: the SHA-256 of its `SubjectPublicKeyInfo`, written in base64. It is what cosign writes as the hint of
/// a public key. It selects a key and proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHint(Digest);

/// A text that is not the name of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the name of a key: base64 of 32 bytes is expected")]
pub struct KeyHintError {
    text: String,
}

impl FromStr for KeyHint {
    type Err = KeyHintError;

    fn from_str(text: &str) -> Result<Self, KeyHintError> {
        let wrong = || KeyHintError { text: text.to_owned() };
        if text.len() != 44 {
            return Err(wrong());
        }
        let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
        Ok(Self(Digest::from_sha256(bytes.try_into().map_err(|_| wrong())?)))
    }
}

impl fmt::Display for KeyHint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&STANDARD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for KeyHint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

serde_as_text!(KeyHint);
