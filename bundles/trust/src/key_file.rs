//! Private keys at rest, in the encrypted file of cosign: PEM around base64 around JSON, a key derived with scrypt, the
//! PKCS #8 document in a secretbox of `NaCl`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bundles_release::canonical;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305, aead::Aead as _};
use p256::pkcs8::der::pem::{self, LineEnding};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{KeyError, PrivateKey, Randomness, RandomnessError};

const LABEL: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";
const OLD_LABEL: &str = "ENCRYPTED COSIGN PRIVATE KEY";
const KDF: &str = "scrypt";
const CIPHER: &str = "nacl/secretbox";
/// Accepted cost of scrypt as its binary logarithm: what cosign wrote, writes, and writes on demand.
const ACCEPTED_COSTS: [(u32, u8); 3] = [(32_768, 15), (65_536, 16), (131_072, 17)];
/// Cost that we write, the default of cosign.
const COST: (u32, u8) = ACCEPTED_COSTS[1];
const BLOCK_SIZE: u32 = 8;
const PARALLELISM: u32 = 1;
const SALT_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// A sealed P-256 key has about 700 bytes.
const LARGEST_FILE: usize = 16 * 1024;

/// A key file that is refused, or cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Larger than any key file.
    #[error("the key file has {size} bytes, the limit is 16384")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// Not PEM.
    #[error("the key file is not PEM: {fault}")]
    Pem {
        /// What the parser says. It is no error type of its own.
        fault: pem::Error,
    },
    /// PEM of something else.
    #[error("the key file holds a `{label}`, an `ENCRYPTED SIGSTORE PRIVATE KEY` is expected")]
    Label {
        /// What it holds.
        label: String,
    },
    /// The document inside has another form.
    #[error("the key file does not hold the document that cosign writes")]
    Document {
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The document names an algorithm or parameter that is not accepted.
    #[error("the key file names {what}, which is not accepted")]
    Parameters {
        /// Algorithm or parameter.
        what: String,
    },
    /// A field is not base64 of the right length.
    #[error("field {field} of the key file is not valid base64 of its length")]
    Field {
        /// The field.
        field: &'static str,
    },
    /// Wrong password or damaged file; the cipher cannot tell which.
    #[error("the password does not open the key file, or the file is damaged")]
    Password,
    /// The file opens, but what is inside is not a P-256 key.
    #[error("the key file opens but holds no key that can be used")]
    Key {
        /// What the parser says.
        source: KeyError,
    },
    /// No randomness for salt and nonce.
    #[error("cannot seal the key")]
    Randomness {
        /// What the source of randomness says.
        source: RandomnessError,
    },
    /// The key cannot be encrypted or encoded.
    #[error("cannot write the key file")]
    Write,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    kdf: KdfDocument,
    cipher: CipherDocument,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KdfDocument {
    name: String,
    params: ScryptDocument,
    salt: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScryptDocument {
    #[serde(rename = "N")]
    cost: u32,
    #[serde(rename = "r")]
    block_size: u32,
    #[serde(rename = "p")]
    parallelism: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CipherDocument {
    name: String,
    nonce: String,
}

impl PrivateKey {
    /// Seals the key under `password` and returns the text of the key file.
    pub fn to_encrypted_pem(
        &self,
        password: &[u8],
        random: &mut impl Randomness,
    ) -> Result<String, KeyFileError> {
        self.seal(password, random, COST)
    }

    fn seal(
        &self,
        password: &[u8],
        random: &mut impl Randomness,
        (cost, log_cost): (u32, u8),
    ) -> Result<String, KeyFileError> {
        let mut salt = [0_u8; SALT_BYTES];
        let mut nonce = [0_u8; NONCE_BYTES];
        random.fill(&mut salt).map_err(|source| KeyFileError::Randomness { source })?;
        random.fill(&mut nonce).map_err(|source| KeyFileError::Randomness { source })?;
        let plain = self.to_pkcs8_der().map_err(|source| KeyFileError::Key { source })?;
        let ciphertext = cipher(password, &salt, log_cost)?
            .encrypt((&nonce).into(), plain.as_slice())
            .map_err(|_| KeyFileError::Write)?;
        let document = Document {
            kdf: KdfDocument {
                name: KDF.to_owned(),
                params: ScryptDocument { cost, block_size: BLOCK_SIZE, parallelism: PARALLELISM },
                salt: STANDARD.encode(salt),
            },
            cipher: CipherDocument { name: CIPHER.to_owned(), nonce: STANDARD.encode(nonce) },
            ciphertext: STANDARD.encode(ciphertext),
        };
        pem::encode_string(LABEL, LineEnding::LF, &canonical::write(&document))
            .map_err(|_| KeyFileError::Write)
    }

    /// Opens the text of a key file with `password`.
    pub fn from_encrypted_pem(text: &str, password: &[u8]) -> Result<Self, KeyFileError> {
        if text.len() > LARGEST_FILE {
            return Err(KeyFileError::TooLarge { size: text.len() });
        }
        let (label, bytes) = pem::decode_vec(text.as_bytes()).map_err(|fault| KeyFileError::Pem { fault })?;
        if ![LABEL, OLD_LABEL].contains(&label) {
            return Err(KeyFileError::Label { label: label.to_owned() });
        }
        let document: Document =
            serde_json::from_slice(&bytes).map_err(|source| KeyFileError::Document { source })?;
        let refused = |what: String| Err(KeyFileError::Parameters { what });
        if document.kdf.name != KDF {
            return refused(format!("the key derivation `{}`", document.kdf.name));
        }
        if document.cipher.name != CIPHER {
            return refused(format!("the cipher `{}`", document.cipher.name));
        }
        let ScryptDocument { cost, block_size, parallelism } = document.kdf.params;
        let accepted = ACCEPTED_COSTS.iter().find(|(accepted, _)| *accepted == cost);
        let (Some((_, log_cost)), BLOCK_SIZE, PARALLELISM) = (accepted, block_size, parallelism) else {
            return refused(format!("scrypt with N={cost}, r={block_size}, p={parallelism}"));
        };
        let salt: [u8; SALT_BYTES] = field("kdf.salt", &document.kdf.salt)?;
        let nonce: [u8; NONCE_BYTES] = field("cipher.nonce", &document.cipher.nonce)?;
        let ciphertext =
            STANDARD.decode(&document.ciphertext).map_err(|_| KeyFileError::Field { field: "ciphertext" })?;
        let plain = cipher(password, &salt, *log_cost)?
            .decrypt((&nonce).into(), ciphertext.as_slice())
            .map_err(|_| KeyFileError::Password)?;
        Self::from_pkcs8_der(&Zeroizing::new(plain)).map_err(|source| KeyFileError::Key { source })
    }
}

fn field<const LENGTH: usize>(field: &'static str, text: &str) -> Result<[u8; LENGTH], KeyFileError> {
    let bytes = STANDARD.decode(text).map_err(|_| KeyFileError::Field { field })?;
    bytes.try_into().map_err(|_| KeyFileError::Field { field })
}

fn cipher(password: &[u8], salt: &[u8], log_cost: u8) -> Result<XSalsa20Poly1305, KeyFileError> {
    let mut key = Zeroizing::new([0_u8; 32]);
    let parameters = scrypt::Params::new(log_cost, BLOCK_SIZE, PARALLELISM, key.len())
        .map_err(|_| KeyFileError::Parameters { what: format!("scrypt with N=2^{log_cost}") })?;
    scrypt::scrypt(password, salt, &parameters, key.as_mut()).map_err(|_| KeyFileError::Write)?;
    Ok(XSalsa20Poly1305::new(key.as_ref().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandomness;

    #[test]
    fn every_cost_that_cosign_writes_is_read() {
        let key = PrivateKey::generate(&mut SystemRandomness).unwrap();
        for cost in ACCEPTED_COSTS {
            assert_eq!(cost.0, 1 << cost.1);
            let text = key.seal(b"secret", &mut SystemRandomness, cost).unwrap();
            assert_eq!(PrivateKey::from_encrypted_pem(&text, b"secret").unwrap().public(), key.public());
        }
    }
}
