//! Keys and key files.

use bundles_trust::{KeyFileError, KeyHint, PrivateKey, PublicKey, SystemRandomness};

use crate::fixture::{Fixed, key};

const COSIGN_KEY: &str = include_str!("../vectors/cosign.key");
const COSIGN_PUBLIC: &str = include_str!("../vectors/cosign.pub");
const PASSWORD: &[u8] = b"pw";

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn signatures_are_those_of_rfc_6979() {
    let scalar = bytes("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
    let key = PrivateKey::generate(&mut Fixed(scalar)).unwrap();
    for (text, r, s) in [
        (
            "sample",
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
            "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
        ),
        (
            "test",
            "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
            "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
        ),
    ] {
        let signature = key.sign(text.as_bytes());
        let integer = |hex: &str| {
            let mut bytes = bytes(hex);
            if bytes[0] >= 0x80 {
                bytes.insert(0, 0);
            }
            [vec![2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
        };
        let body = [integer(r), integer(s)].concat();
        assert_eq!(signature, [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat(), "{text}");
        assert!(key.public().verifies(text.as_bytes(), &signature));
        assert!(!key.public().verifies(b"other", &signature));
    }
}

#[test]
fn opens_the_file_that_cosign_wrote() {
    let key = PrivateKey::from_encrypted_pem(COSIGN_KEY, PASSWORD).unwrap();
    let public = PublicKey::from_pem(COSIGN_PUBLIC).unwrap();
    assert_eq!(*key.public(), public);
    assert_eq!(public.to_pem(), COSIGN_PUBLIC);
    assert_eq!(public.hint().to_string(), "4Oj4M0xbZ4iUSO9lF9nyGmxMABqbOVODUHCrva1BfpQ=");
}

#[test]
fn sealed_keys_open_with_their_password_only() {
    let key = PrivateKey::generate(&mut SystemRandomness).unwrap();
    for password in [&b""[..], b"secret", "pässwörd".as_bytes()] {
        let text = key.to_encrypted_pem(password, &mut SystemRandomness).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"));
        assert_eq!(PrivateKey::from_encrypted_pem(&text, password).unwrap().public(), key.public());
        let refused = PrivateKey::from_encrypted_pem(&text, b"other");
        assert!(matches!(refused, Err(KeyFileError::Password)));
    }
}

#[test]
fn unencrypted_keys_round_trip() {
    let key = key("alice");
    let text = key.to_pkcs8_pem().unwrap();
    assert_eq!(PrivateKey::from_pkcs8_pem(&text).unwrap().public(), key.public());
    assert_eq!(PrivateKey::from_pkcs8_der(&key.to_pkcs8_der().unwrap()).unwrap().public(), key.public());
    assert!(PrivateKey::from_pkcs8_pem(COSIGN_KEY).is_err());
    assert!(PublicKey::from_pem(&text).is_err());
}

#[test]
fn private_keys_do_not_show_themselves() {
    let key = key("alice");
    let shown = format!("{key:?}");
    assert_eq!(shown, format!("PrivateKey({})", key.hint()));
}

/// The document inside the file that cosign wrote, changed.
fn changed(change: impl Fn(&str) -> String) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let body: String = COSIGN_KEY.lines().filter(|line| !line.starts_with("-----")).collect();
    let document = change(&String::from_utf8(STANDARD.decode(body).unwrap()).unwrap());
    let body = STANDARD.encode(document);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let label = "ENCRYPTED SIGSTORE PRIVATE KEY";
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn files_that_are_no_key_files() {
    type Check = fn(&KeyFileError) -> bool;
    let is_parameters: Check = |error| matches!(error, KeyFileError::Parameters { .. });
    let is_document: Check = |error| matches!(error, KeyFileError::Document { .. });
    let is_field: Check = |error| matches!(error, KeyFileError::Field { .. });
    let opened = changed(str::to_owned);
    assert!(PrivateKey::from_encrypted_pem(&opened, PASSWORD).is_ok(), "what changes nothing opens");
    let relabelled = COSIGN_KEY.replace("SIGSTORE", "COSIGN");
    assert!(PrivateKey::from_encrypted_pem(&relabelled, PASSWORD).is_ok(), "the older label opens");
    let cases: [(&str, String, Check); 12] = [
        ("no PEM", "x".to_owned(), |error| matches!(error, KeyFileError::Pem { .. })),
        ("too large", "x".repeat(20_000), |error| matches!(error, KeyFileError::TooLarge { .. })),
        (
            "a public key",
            COSIGN_PUBLIC.to_owned(),
            |error| matches!(error, KeyFileError::Label { label } if label == "PUBLIC KEY"),
        ),
        ("no document", changed(|_| "{}".to_owned()), is_document),
        ("an unknown field", changed(|text| text.replacen('{', r#"{"x":1,"#, 1)), is_document),
        ("a cheap key derivation", changed(|text| text.replace("65536", "16384")), is_parameters),
        ("a dear key derivation", changed(|text| text.replace("65536", "4294967295")), is_parameters),
        ("another block size", changed(|text| text.replace(r#""r":8"#, r#""r":16"#)), is_parameters),
        ("another key derivation", changed(|text| text.replace("scrypt", "md5")), is_parameters),
        ("another cipher", changed(|text| text.replace("nacl/secretbox", "rot13")), is_parameters),
        ("a short salt", changed(|text| text.replace("V0tR", "")), is_field),
        ("a changed text", changed(|text| text.replace("pWje", "pWjf")), |error| {
            matches!(error, KeyFileError::Password)
        }),
    ];
    for (name, text, check) in cases {
        let error = PrivateKey::from_encrypted_pem(&text, PASSWORD).unwrap_err();
        assert!(check(&error), "{name}: {error}");
    }
}

#[test]
fn names_of_keys() {
    let hint = key("alice").hint();
    assert_eq!(hint.to_string().parse::<KeyHint>().unwrap(), hint);
    let text = hint.to_string();
    for bad in
        ["", "AA==", &text[..43], &format!("{text}="), &text.replace('=', "A"), &text.replace('=', " ")]
    {
        assert!(bad.parse::<KeyHint>().is_err(), "{bad}");
    }
}
