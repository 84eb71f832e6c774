//! A signed Debian archive of four small packages, in a folder.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use liblzma::read::XzEncoder;
use pgp::{
    composed::{
        ArmorOptions, CleartextSignedMessage, EncryptionCaps, KeyType, SecretKeyParamsBuilder,
        SignedPublicKey, SubkeyParamsBuilder,
    },
    ser::Serialize as _,
    types::{KeyDetails as _, Password},
};
use rand::thread_rng;
use registry_wire::Digest;

/// A package by name, version and architecture.
pub(crate) type Named = (&'static str, &'static str, &'static str);

/// The packages that are in every image.
const PACKAGES: &[Named] = &[("base-files", "1.0", "amd64"), ("base-passwd", "1.0", "amd64")];

const ESSENTIAL: &str = "Essential: yes\nPriority: required\n";
/// What a shell is made of, and where this machine has it.
const SHELL: [(&str, &str); 3] = [
    ("usr/bin/sh", "/bin/dash"),
    ("usr/lib64/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2"),
    ("usr/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6"),
];
/// A script that nobody knows.
const SCRIPT: &str = "#!/bin/sh\nset -e\nread line < /usr/share/tool\n[ ! -e /etc/tool ]\n\
                      printf '%s\\n' \"$line\" > /usr/share/tool.list\n";

/// The archive.
pub(crate) struct Archive {
    folder: PathBuf,
    /// Fingerprint of the key that signs it.
    pub(crate) fingerprint: String,
}

impl Archive {
    /// Writes one below `folder`.
    pub(crate) fn write(folder: &Path) -> Self {
        let mut stanzas = essential(folder, PACKAGES);
        // The machine's own shell, and what it takes to run it.
        let shell = SHELL.map(|(path, source)| (path, fs::read(source).unwrap()));
        stanzas.push(("amd64", build_package(folder, ("shell", "1.0", "amd64"), "", &shell)));
        let tool =
            [("usr/share/tool", b"of the tool\n".to_vec()), ("DEBIAN/postinst", SCRIPT.as_bytes().to_vec())];
        stanzas.push(("amd64", build_package(folder, ("tool", "1.0", "amd64"), "", &tool)));
        Self::sign(folder, &stanzas)
    }

    /// Writes one with these packages; it has the architectures that they have.
    pub(crate) fn of(folder: &Path, packages: &[Named]) -> Self {
        Self::sign(folder, &essential(folder, packages))
    }

    fn sign(folder: &Path, stanzas: &[(&str, String)]) -> Self {
        let architectures: BTreeSet<&str> =
            stanzas.iter().map(|(architecture, _)| *architecture).filter(|one| *one != "all").collect();
        let mut release =
            "Origin: Test\nLabel: Test\nSuite: stable\nCodename: stable\nDate: Sat, 17 May 2025 09:15:04 UTC\n\
             Components: main\nSHA256:\n"
                .to_owned();
        for architecture in architectures {
            let is_listed = |of: &str| of == architecture || of == "all";
            let text: String =
                stanzas.iter().filter(|(of, _)| is_listed(of)).map(|(_, stanza)| stanza.as_str()).collect();
            let mut packed = Vec::new();
            std::io::Read::read_to_end(&mut XzEncoder::new(text.as_bytes(), 6), &mut packed).unwrap();
            let index = format!("main/binary-{architecture}/Packages.xz");
            writeln!(release, " {} {} {index}", Digest::of(&packed).hex(), packed.len()).unwrap();
            put(folder, &format!("dists/stable/{index}"), &packed);
        }
        let mut subkey = SubkeyParamsBuilder::default();
        subkey.key_type(KeyType::Ed25519Legacy).can_sign(true).can_encrypt(EncryptionCaps::None);
        let mut key = SecretKeyParamsBuilder::default();
        key.key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(false)
            .can_encrypt(EncryptionCaps::None)
            .primary_user_id("Archive <archive@mirror.example>".to_owned())
            .subkeys(vec![subkey.build().unwrap()]);
        let key = key.build().unwrap().generate(thread_rng()).unwrap();
        let subkey = &key.secret_subkeys.first().unwrap().key;
        let signed =
            CleartextSignedMessage::sign(thread_rng(), &release, subkey, &Password::empty()).unwrap();
        let signed = signed.to_armored_string(ArmorOptions::default()).unwrap();
        put(folder, "dists/stable/InRelease", signed.as_bytes());
        let fingerprint = format!("{:X}", key.fingerprint());
        put(folder, "keyring.gpg", &SignedPublicKey::from(key).to_bytes().unwrap());
        Self { folder: folder.to_owned(), fingerprint }
    }

    /// `--from` and `--keyring` of this archive.
    pub(crate) fn sources(&self) -> [String; 4] {
        let keyring = self.folder.join("keyring.gpg").display().to_string();
        ["--from".to_owned(), format!("file:{}", self.folder.display()), "--keyring".to_owned(), keyring]
    }
}

/// Packages that are in every image, with their places in the index.
fn essential(folder: &Path, packages: &[Named]) -> Vec<(&'static str, String)> {
    packages.iter().map(|named| (named.2, build_package(folder, *named, ESSENTIAL, &[]))).collect()
}

/// Makes a package; returns its place in the index.
fn build_package(
    folder: &Path,
    (name, version, architecture): Named,
    fields: &str,
    files: &[(&str, Vec<u8>)],
) -> String {
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: Test <test@mirror.example>\n\
         {fields}Description: for tests\n"
    );
    let file = format!("{name}_{version}_{architecture}");
    let tree = folder.join("build").join(&file);
    put(&tree, "DEBIAN/control", control.as_bytes());
    put(&tree, &format!("usr/share/doc/{name}/copyright"), b"of no worth\n");
    for (path, bytes) in files {
        put(&tree, path, bytes);
        let mode = if path.starts_with("usr/share") { 0o644 } else { 0o755 };
        fs::set_permissions(tree.join(path), PermissionsExt::from_mode(mode)).unwrap();
    }
    let path = format!("pool/main/{file}.deb");
    put(folder, &path, b"");
    let made = Command::new("dpkg-deb")
        .args(["--root-owner-group", "--build"])
        .args([&tree, &folder.join(&path)])
        .env("SOURCE_DATE_EPOCH", "1747473304")
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let bytes = fs::read(folder.join(&path)).unwrap();
    let (size, sha256) = (bytes.len(), Digest::of(&bytes).hex());
    format!("{control}Filename: {path}\nSize: {size}\nSHA256: {sha256}\n\n")
}

fn put(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
