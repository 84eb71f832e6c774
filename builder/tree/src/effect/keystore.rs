//! Java's store of the certificates of authorities (update-ca-certificates, hook jks-keystore), in the format JKS: version 2,
//! one entry for each certificate, and a SHA-1 over all that is keyed with a password that everybody knows.

use sha1::{Digest as _, Sha1};

use super::{EffectError, Image, distinguished_name::decode};
use crate::{Owner, TreePath};

const STORE: &str = "etc/ssl/certs/java/cacerts";
/// The password of /etc/default/cacerts, as Java has it everywhere.
const PASSWORD: &str = "changeit";
/// What JKS puts between the password and the content before it hashes.
const SALT: &[u8] = b"Mighty Aphrodite";
const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
const CERTIFICATE: u32 = 2;
const MILLISECONDS: u64 = 1000;

impl Image<'_> {
    /// Writes all certificates: `(name of the link, text)`. Every one has the time of the image.
    pub(super) fn write_keystore(&mut self, certificates: &[(String, String)]) -> Result<(), EffectError> {
        let path = TreePath::known(STORE);
        let form = || EffectError::Form { path: path.clone(), reason: "a certificate is none".to_owned() };
        let mut entries = Vec::with_capacity(certificates.len());
        for (name, text) in certificates {
            entries.push((format!("debian:{}", name.to_lowercase()), decode(text).ok_or_else(form)?));
        }
        entries.sort();
        let time = u64::try_from(self.options.epoch).unwrap_or_default() * MILLISECONDS;
        let bytes = encode(&entries, time).ok_or_else(form)?;
        self.write(&Owner::Generated("ca-certificates-java".into()), &path, bytes, 0o644)
    }
}

fn encode(entries: &[(String, Vec<u8>)], time: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.extend(MAGIC.to_be_bytes());
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend(u32::try_from(entries.len()).ok()?.to_be_bytes());
    for (alias, certificate) in entries {
        bytes.extend(CERTIFICATE.to_be_bytes());
        put_text(&mut bytes, alias)?;
        bytes.extend(time.to_be_bytes());
        put_text(&mut bytes, "X.509")?;
        bytes.extend(u32::try_from(certificate.len()).ok()?.to_be_bytes());
        bytes.extend(certificate);
    }
    let mut hasher = Sha1::new();
    for unit in PASSWORD.encode_utf16() {
        hasher.update(unit.to_be_bytes());
    }
    hasher.update(SALT);
    hasher.update(&bytes);
    bytes.extend(hasher.finalize());
    Some(bytes)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) -> Option<()> {
    bytes.extend(u16::try_from(text.len()).ok()?.to_be_bytes());
    bytes.extend(text.as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        let text = "x\n-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
        let bytes = encode(&[("debian:a".to_owned(), decode(text).unwrap())], 1_000).unwrap();
        let head = b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\x08debian:a\0\0\0\0\0\0\x03\xe8\0\x05X.509\0\0\0\x03\x01\x02\x03";
        assert_eq!(&bytes[..head.len()], head);
        assert_eq!(bytes.len(), head.len() + 20);
        assert!(decode("nothing").is_none());
    }
}
