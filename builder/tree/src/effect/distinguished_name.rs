//! The hash of a certificate's subject by which OpenSSL looks it up (`X509_NAME_hash`): SHA-1 over the name in a
//! canonical form.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest as _, Sha1};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTF8: u8 = 0x0c;
const EXPLICIT_VERSION: u8 = 0xa0;

/// The eight digits for the first certificate of a PEM text; nothing if it cannot be read.
pub(super) fn subject_hash(pem: &str) -> Option<String> {
    let der = decode(pem)?;
    let (_, certificate, _) = element(&der)?;
    let (_, mut fields, _) = element(certificate)?;
    if fields.first() == Some(&EXPLICIT_VERSION) {
        fields = element(fields)?.2;
    }
    // Serial number, signature algorithm, issuer and validity come before the subject.
    for _ in 0..4 {
        fields = element(fields)?.2;
    }
    let (SEQUENCE, name, _) = element(fields)? else { return None };
    let digest = Sha1::digest(canonical(name)?);
    Some(format!("{:08x}", u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])))
}

/// The bytes of the first certificate of a PEM text; nothing if there is none.
pub(super) fn decode(pem: &str) -> Option<Vec<u8>> {
    let body = pem.split("-----BEGIN CERTIFICATE-----").nth(1)?.split("-----END").next()?;
    let text: String = body.split_whitespace().collect();
    STANDARD.decode(text).ok()
}

/// Tag, content and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 || rest.len() < count {
            return None;
        }
        let (digits, rest) = rest.split_at(count);
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    (rest.len() >= length).then(|| {
        let (content, rest) = rest.split_at(length);
        (tag, content, rest)
    })
}

fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    if content.len() < 0x80 {
        bytes.push(u8::try_from(content.len()).unwrap_or_default());
    } else {
        let digits: Vec<u8> =
            content.len().to_be_bytes().into_iter().skip_while(|digit| *digit == 0).collect();
        bytes.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
        bytes.extend_from_slice(&digits);
    }
    bytes.extend_from_slice(content);
    bytes
}

/// Every set of the name, its strings in UTF-8, lower case, single spaces; the sets follow each other bare.
fn canonical(mut name: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while !name.is_empty() {
        let (SET, mut set, rest) = element(name)? else { return None };
        name = rest;
        let mut members = Vec::new();
        while !set.is_empty() {
            let (SEQUENCE, member, rest) = element(set)? else { return None };
            set = rest;
            let (kind, identifier, value) = element(member)?;
            let (tag, content, _) = element(value)?;
            let mut inner = encode(kind, identifier);
            match string(tag, content) {
                Some(text) => inner.extend(encode(UTF8, canonical_text(&text).as_bytes())),
                None => inner.extend(encode(tag, content)),
            }
            members.push(encode(SEQUENCE, &inner));
        }
        members.sort();
        bytes.extend(encode(SET, &members.concat()));
    }
    Some(bytes)
}

/// The text of the string types that are made canonical; nothing for others.
fn string(tag: u8, content: &[u8]) -> Option<String> {
    match tag {
        // UTF8String, PrintableString, IA5String, VisibleString: ASCII or UTF-8.
        0x0c | 0x13 | 0x16 | 0x1a => String::from_utf8(content.to_vec()).ok(),
        // T61String, taken as Latin 1.
        0x14 => Some(content.iter().map(|byte| char::from(*byte)).collect()),
        // BMPString.
        0x1e => {
            let units: Vec<u16> =
                content.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).ok()
        }
        // UniversalString.
        0x1c => content
            .chunks_exact(4)
            .map(|four| char::from_u32(u32::from_be_bytes([four[0], four[1], four[2], four[3]])))
            .collect(),
        _ => None,
    }
}

fn canonical_text(text: &str) -> String {
    let is_space = |character: char| character.is_ascii_whitespace() || character == '\x0b';
    text.split(is_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ").to_ascii_lowercase()
}
