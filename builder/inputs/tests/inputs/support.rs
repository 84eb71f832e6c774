//! A small signed archive and a server for it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result};
use builder_inputs::{
    APT_FOLDER, BaseUri, DEBIAN_KEYRING, Keyring, Locations, LockOptions, Locked, LockingError, PackageCache,
    PackageRequest, Progress, SuitePolicy, Transport, Update,
};
use bundles_release::lock::{Encoders, Lock, PackageName, RecipeName, ReleaseField};
use jiff::Timestamp;
use pgp::{
    composed::{
        ArmorOptions, CleartextSignedMessage, DetachedSignature, EncryptionCaps, KeyType,
        SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey, SubkeyParamsBuilder,
    },
    crypto::hash::HashAlgorithm,
    packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData},
    ser::Serialize as _,
    types::{KeyDetails as _, Password},
};
use rand::thread_rng;
use registry_wire::Digest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// A key that signs with a subkey, as archives have them.
pub(crate) struct Signer(SignedSecretKey);

impl Signer {
    pub(crate) fn new() -> Result<Self> {
        let mut subkey = SubkeyParamsBuilder::default();
        subkey.key_type(KeyType::Ed25519Legacy).can_sign(true).can_encrypt(EncryptionCaps::None);
        let mut key = SecretKeyParamsBuilder::default();
        key.key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(false)
            .can_encrypt(EncryptionCaps::None)
            .primary_user_id("Archive <archive@mirror.example>".to_owned())
            .subkeys(vec![subkey.build()?]);
        Ok(Self(key.build()?.generate(thread_rng())?))
    }

    pub(crate) fn fingerprint(&self) -> String {
        format!("{:X}", self.0.fingerprint())
    }

    /// The public key.
    pub(crate) fn armored(&self) -> Result<String> {
        Ok(SignedPublicKey::from(self.0.clone()).to_armored_string(ArmorOptions::default())?)
    }

    pub(crate) fn sign(&self, text: &str) -> Result<String> {
        let subkey = self.0.secret_subkeys.first().context("a subkey")?;
        let message = CleartextSignedMessage::sign(thread_rng(), text, &subkey.key, &Password::empty())?;
        Ok(message.to_armored_string(ArmorOptions::default())?)
    }

    /// A signature to stand behind a text or in a file of its own.
    pub(crate) fn sign_detached(&self, text: &str) -> Result<String> {
        let subkey = &self.0.secret_subkeys.first().context("a subkey")?.key;
        let signature = DetachedSignature::sign_binary_data(
            thread_rng(),
            subkey,
            &Password::empty(),
            HashAlgorithm::Sha256,
            text.as_bytes(),
        )?;
        Ok(signature.to_armored_string(ArmorOptions::default())?)
    }

    /// Signs at `created` for `lifetime` seconds.
    pub(crate) fn sign_for(&self, text: &str, created: Timestamp, lifetime: u32) -> Result<String> {
        let subkey = &self.0.secret_subkeys.first().context("a subkey")?.key;
        let mut config = SignatureConfig::from_key(thread_rng(), subkey, SignatureType::Text)?;
        let created = pgp::types::Timestamp::from_secs(u32::try_from(created.as_second())?);
        let lifetime = pgp::types::Duration::from_secs(lifetime);
        config.hashed_subpackets = [
            SubpacketData::SignatureCreationTime(created),
            SubpacketData::SignatureExpirationTime(lifetime),
            SubpacketData::IssuerFingerprint(subkey.fingerprint()),
        ]
        .map(Subpacket::regular)
        .into_iter()
        .collect::<Result<_, _>>()?;
        let message = CleartextSignedMessage::new(text, config, subkey, &Password::empty())?;
        Ok(message.to_armored_string(ArmorOptions::default())?)
    }

    /// A keyring with the keys of these signers.
    pub(crate) fn keyring(folder: &Path, signers: &[&Self]) -> Result<Keyring> {
        let mut bytes = Vec::new();
        for signer in signers {
            SignedPublicKey::from(signer.0.clone()).to_writer(&mut bytes)?;
        }
        let path = folder.join("keyring.gpg");
        std::fs::write(&path, bytes)?;
        Ok(Keyring::load(&path)?)
    }
}

/// One package of the archive.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) fields: &'static str,
}

impl Package {
    pub(crate) fn path(&self) -> String {
        format!("pool/main/{0}/{0}_{1}_amd64.deb", self.name, self.version)
    }

    /// What stands for the package's file; only its hash matters here.
    pub(crate) fn content(&self) -> Vec<u8> {
        format!("the file of {} {}", self.name, self.version).into_bytes().repeat(20)
    }

    fn stanza(&self) -> String {
        let content = self.content();
        format!(
            "Package: {}\nVersion: {}\nArchitecture: amd64\nPriority: optional\n{}Filename: {}\nSize: {}\nSHA256: {}\n\n",
            self.name,
            self.version,
            self.fields,
            self.path(),
            content.len(),
            Digest::of(&content).hex()
        )
    }
}

/// How an index is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Xz,
    Zst,
    /// As all but the last are, without a word of the Release about what is in it.
    Gz,
    Plain,
}

impl Form {
    const fn ending(self) -> &'static str {
        match self {
            Self::Xz => ".xz",
            Self::Zst => ".zst",
            Self::Gz => ".gz",
            Self::Plain => "",
        }
    }

    fn pack(self, text: &[u8]) -> Result<Vec<u8>> {
        let mut packed = Vec::new();
        match self {
            Self::Xz => {
                std::io::Read::read_to_end(&mut liblzma::read::XzEncoder::new(text, 6), &mut packed)?;
            }
            Self::Zst => packed = zstd::encode_all(text, 3)?,
            Self::Gz => {
                let mut encoder = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
                packed.resize(encoder.gzip_compress_bound(text.len()), 0);
                let length = encoder.gzip_compress(text, &mut packed)?;
                packed.truncate(length);
            }
            Self::Plain => packed = text.to_vec(),
        }
        Ok(packed)
    }
}

/// What the Release says.
#[derive(Clone, Copy)]
pub(crate) struct ReleaseText {
    pub(crate) origin: &'static str,
    pub(crate) codename: &'static str,
    pub(crate) date: &'static str,
    pub(crate) more: &'static str,
    pub(crate) form: Form,
    /// Whether its signature is in a file of its own.
    pub(crate) detached: bool,
}

pub(crate) const GOOD: ReleaseText = ReleaseText {
    origin: "Test",
    codename: "stable",
    date: "Sat, 17 May 2025 09:15:04 UTC",
    more: "",
    form: Form::Xz,
    detached: false,
};

pub(crate) const PACKAGES: &[Package] = &[
    Package { name: "base-files", version: "12", fields: "Essential: yes\nPre-Depends: awk\n" },
    Package { name: "base-passwd", version: "3.6", fields: "Essential: yes\nDepends: libc6\n" },
    Package { name: "libc6", version: "2.36-9", fields: "Source: glibc (2.36)\n" },
    Package { name: "mawk", version: "1.3", fields: "Provides: awk\nDepends: libc6\n" },
    Package {
        name: "redis-server",
        version: "5:7.0",
        fields: "Depends: libc6 (>= 2.34), adduser | systemd-sysusers\n",
    },
];

/// An archive in a folder.
pub(crate) struct Archive {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) suite: String,
}

impl Archive {
    pub(crate) fn write(signer: &Signer, release: &ReleaseText, packages: &[Package]) -> Result<Self> {
        let archive = Self { folder: tempfile::tempdir()?, suite: release.codename.to_owned() };
        archive.update(signer, release, packages)?;
        Ok(archive)
    }

    pub(crate) fn update(&self, signer: &Signer, release: &ReleaseText, packages: &[Package]) -> Result<()> {
        let text: String = packages.iter().map(Package::stanza).collect();
        let packed = release.form.pack(text.as_bytes())?;
        let index = format!("main/binary-amd64/Packages{}", release.form.ending());
        let hash =
            |bytes: &[u8], path: &str| format!(" {} {} {path}\n", Digest::of(bytes).hex(), bytes.len());
        let text = format!(
            "Origin: {}\nLabel: Test\nSuite: {}\nCodename: {}\nDate: {}\n{}Acquire-By-Hash: yes\n\
             Architectures: all amd64\nNo-Support-for-Architecture-all: Packages\nComponents: main\nSHA256:\n{}{}",
            release.origin,
            release.codename,
            release.codename,
            release.date,
            release.more,
            if release.form == Form::Gz {
                String::new()
            } else {
                hash(text.as_bytes(), "main/binary-amd64/Packages")
            },
            if release.form == Form::Plain { String::new() } else { hash(&packed, &index) },
        );
        if release.detached {
            self.put(&format!("dists/{}/Release", self.suite), text.as_bytes())?;
            let signature = signer.sign_detached(&text)?;
            self.put(&format!("dists/{}/Release.gpg", self.suite), signature.as_bytes())?;
        } else {
            self.put(&format!("dists/{}/InRelease", self.suite), signer.sign(&text)?.as_bytes())?;
        }
        let index =
            format!("dists/{}/main/binary-amd64/by-hash/SHA256/{}", self.suite, Digest::of(&packed).hex());
        self.put(&index, &packed)?;
        for package in packages {
            self.put(&package.path(), &package.content())?;
        }
        Ok(())
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn in_release(&self) -> PathBuf {
        self.path(&format!("dists/{}/InRelease", self.suite))
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        Ok(std::fs::write(path, bytes)?)
    }

    pub(crate) fn base(&self) -> Result<BaseUri> {
        Ok(format!("file:{}", self.folder.path().display()).parse()?)
    }
}

/// Serves a folder on the loopback interface and records what was asked for.
pub(crate) struct Server {
    pub(crate) base: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

/// How a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Whole,
    /// Breaks every connection after so many bytes of a file, and gives the rest of one when asked.
    Breaking(usize),
    /// Breaks them too, and begins anew each time.
    Forgetful(usize),
}

impl Server {
    pub(crate) async fn start(folder: PathBuf) -> Result<Self> {
        Self::with_manner(folder, Manner::Whole).await
    }

    pub(crate) async fn with_manner(folder: PathBuf, manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let base = format!("http://{}/debian", listener.local_addr()?);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (folder, record) = (folder.clone(), Arc::clone(&record));
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return,
                        }
                    }
                    let (head, body) = answer(&String::from_utf8_lossy(&head), &folder, manner, &record);
                    if stream.write_all(head.as_bytes()).await.is_ok()
                        && stream.write_all(&body).await.is_ok()
                    {
                        stream.shutdown().await.ok();
                    }
                });
            }
        });
        Ok(Self { base, asked, task })
    }

    /// What was asked for since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("no test thread panicked"))
    }
}

/// Head and bytes of an answer.
fn answer(head: &str, folder: &Path, manner: Manner, record: &Mutex<Vec<String>>) -> (String, Vec<u8>) {
    let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches("/debian/").to_owned();
    let body = std::fs::read(folder.join(path.replace("%2B", "+")));
    let mut lines = head.lines().map(str::to_ascii_lowercase);
    let from = lines.find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
    let from: usize = from.unwrap_or(0);
    let shown = if from > 0 { format!("{path} from {from}") } else { path };
    record.lock().expect("no test thread panicked").push(shown);
    let Ok(mut body) = body else {
        return (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
            Vec::new(),
        );
    };
    let whole = body.len();
    let status = if from > 0 && !matches!(manner, Manner::Forgetful(_)) {
        body.drain(..from.min(whole));
        format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{whole}", whole - 1)
    } else {
        "200 OK".to_owned()
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    if let Manner::Breaking(most) | Manner::Forgetful(most) = manner {
        body.truncate(most);
    }
    (head, body)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All that one lock needs.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) cache: PackageCache,
    pub(crate) keyring: Keyring,
    pub(crate) policies: Vec<SuitePolicy>,
    pub(crate) locations: Locations,
    pub(crate) transport: Transport,
    pub(crate) encoders: Encoders,
    pub(crate) now: Timestamp,
    pub(crate) update: bool,
    /// The only packages that move on, if there are any.
    pub(crate) only: Vec<PackageName>,
}

impl Bench {
    pub(crate) fn new(locations: Locations, keys: &[&Signer]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let origin: ReleaseField = "Test".parse()?;
        let policy = |suite: &str| -> Result<SuitePolicy> {
            let debian = SuitePolicy::debian(suite.parse()?);
            Ok(SuitePolicy { origin: origin.clone(), label: origin.clone(), ..debian })
        };
        Ok(Self {
            cache: PackageCache::new(folder.path().join("cache")),
            keyring: Signer::keyring(folder.path(), keys)?,
            policies: vec![policy("stable")?, policy("testing")?],
            transport: Transport::new(locations.proxies())?,
            locations,
            encoders: Encoders { tar: "tar1".parse()?, gzip: "gz1".parse()? },
            now: "2025-06-01T00:00:00Z".parse()?,
            update: true,
            only: Vec::new(),
            folder,
        })
    }

    pub(crate) fn of(archive: &Archive, keys: &[&Signer]) -> Result<Self> {
        Self::new(Locations::explicit([archive.base()?]), keys)
    }

    /// The real archive of Debian, found through the apt configuration of this machine.
    pub(crate) fn of_debian() -> Result<Self> {
        let mut bench = Self::new(Locations::of_apt(Path::new(APT_FOLDER))?, &[&Signer::new()?])?;
        bench.keyring = Keyring::load(Path::new(DEBIAN_KEYRING))?;
        bench.now = Timestamp::now();
        Ok(bench)
    }

    pub(crate) async fn lock(
        &self,
        requests: &[PackageRequest],
        existing: Option<&Lock>,
    ) -> Result<Locked, LockingError> {
        let options = LockOptions {
            locations: &self.locations,
            transport: &self.transport,
            keyring: &self.keyring,
            cache: &self.cache,
            policies: &self.policies,
            encoders: &self.encoders,
            now: self.now,
            update: match &self.only[..] {
                [] if self.update => Update::Everything,
                [] => Update::Nothing,
                only => Update::Only(only),
            },
        };
        builder_inputs::lock(&options, requests, existing, &()).await
    }

    pub(crate) async fn fetch(
        &self,
        lock: &Lock,
        progress: &dyn Progress,
    ) -> Result<builder_inputs::Fetched, builder_inputs::FetchError> {
        builder_inputs::fetch(lock, &self.cache, &self.locations, &self.transport, progress).await
    }
}

pub(crate) fn request(suite: &str, packages: &[&str], essential: bool) -> PackageRequest {
    let request = PackageRequest::new(
        "cache".parse().expect("a recipe name"),
        suite.parse().expect("a suite"),
        "amd64".parse().expect("an architecture"),
        packages.iter().map(|package| package.parse().expect("a package name")).collect(),
    );
    PackageRequest { essential, ..request }
}

pub(crate) fn named(recipe: &str, request: PackageRequest) -> PackageRequest {
    PackageRequest { recipe: recipe.parse().expect("a recipe name"), ..request }
}

/// Names and versions of a recipe.
pub(crate) fn packages(lock: &Lock, recipe: &str) -> BTreeSet<String> {
    let recipe: RecipeName = recipe.parse().expect("a recipe name");
    lock.recipe_packages(&recipe).map(|package| format!("{} {}", package.name, package.version)).collect()
}

/// An error with all of its causes, as a person sees it.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
