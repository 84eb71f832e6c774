//! A running registry in a folder of its own, and images for it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use registry_client::{BlobSource, Options, Registry, Scheme};
use registry_server::{Server, ServerOptions};
use registry_wire::{
    Descriptor, Digest, ImageManifest, MediaType, Reference, RepositoryName, StoredManifest,
};
use tempfile::TempDir;

/// A registry that ends with the test.
pub(crate) struct World {
    pub(crate) root: TempDir,
    pub(crate) server: Server,
}

impl World {
    pub(crate) async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let server = serve(root.path()).await;
        Self { root, server }
    }

    pub(crate) fn client(&self) -> Registry {
        client(&self.server.address().to_string(), 4)
    }

    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.server.address())
    }

    /// Files under a folder of the registry.
    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        files(&self.root.path().join(folder))
    }
}

pub(crate) async fn serve(root: &Path) -> Server {
    let mut options = ServerOptions::new(([127, 0, 0, 1], 0).into(), root.to_owned());
    options.grace = Duration::from_secs(1);
    Server::start(options).await.unwrap()
}

pub(crate) fn client(address: &str, attempts: u32) -> Registry {
    let options = Options { attempts, pause: Duration::from_millis(10), ..Options::default() };
    Registry::with_options(address.parse().unwrap(), Scheme::Http, options).unwrap()
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found
}

pub(crate) fn repository(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

pub(crate) fn tag(name: &str) -> Reference {
    Reference::Tag(name.parse().unwrap())
}

/// Bytes that do not compress and are the same for the same seed.
pub(crate) fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut block = Digest::of(&[seed]);
    while bytes.len() < length {
        bytes.extend_from_slice(block.as_bytes());
        block = Digest::of(block.as_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A manifest over a config and layers, for that subject.
pub(crate) fn manifest(config: &[u8], layers: &[&[u8]], subject: Option<Descriptor>) -> StoredManifest {
    StoredManifest::from_image(ImageManifest {
        schema_version: 2,
        media_type: MediaType::IMAGE_MANIFEST,
        artifact_type: subject.as_ref().map(|_| MediaType::from_static("application/vnd.test.note")),
        config: Descriptor::of(MediaType::IMAGE_CONFIG, config),
        layers: layers.iter().map(|layer| Descriptor::of(MediaType::LAYER_TAR_GZIP, layer)).collect(),
        subject,
        annotations: BTreeMap::new(),
    })
}

/// Pushes an image whole and gives its manifest.
pub(crate) async fn push(
    registry: &Registry,
    repository: &RepositoryName,
    reference: &Reference,
    layer: &[u8],
) -> StoredManifest {
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    for blob in [config.as_slice(), layer] {
        let source = BlobSource::from(blob.to_vec());
        registry.put_blob(repository, Digest::of(blob), blob.len() as u64, &source).await.unwrap();
    }
    let manifest = manifest(config, &[layer], None);
    registry.put_manifest(repository, reference, &manifest).await.unwrap();
    manifest
}

/// A plain HTTP client, for what our own client never says.
pub(crate) fn http() -> reqwest::Client {
    // Another test may have been first.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
