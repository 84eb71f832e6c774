//! Images of a few files, made by hand: what the builder makes is the builder's own matter to test.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use registry_client::{BlobSource, Registry};
use registry_wire::{
    Descriptor, Digest, ImageManifest, MediaType, Reference, RepositoryName, StoredManifest,
};
use serde_json::json;

/// An image: files, and what it runs.
#[derive(Debug, Default, Clone)]
pub struct Image {
    files: BTreeMap<String, (Vec<u8>, u32)>,
    entrypoint: Vec<String>,
    mark: String,
}

impl Image {
    /// An image that runs one static program.
    pub fn of_program(program: &Path, mark: &str) -> Result<Self> {
        let mut image =
            Self { entrypoint: vec!["/program".to_owned()], mark: mark.to_owned(), ..Self::default() };
        image.add("program", program)?;
        Ok(image)
    }

    /// An image of the installed Redis with the libraries that it needs.
    pub fn of_redis() -> Result<Self> {
        let mut image = Self { entrypoint: vec!["/usr/bin/redis-server".to_owned()], ..Self::default() };
        for program in ["redis-server", "redis-cli", "redis-check-rdb"] {
            let path = PathBuf::from("/usr/bin").join(program);
            ensure!(path.exists(), "{} is missing: apt-get install redis-server", path.display());
            image.add(&format!("usr/bin/{program}"), &path)?;
            for library in libraries(&path)? {
                let name = library.strip_prefix("/")?.display().to_string();
                image.add(&name, &library)?;
            }
        }
        Ok(image)
    }

    fn add(&mut self, name: &str, from: &Path) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.files.insert(name.to_owned(), (bytes, 0o755));
        Ok(())
    }

    /// Pushes the image; the digest of its manifest and its size.
    pub async fn push(&self, registry: &Registry, repository: &RepositoryName) -> Result<(Digest, u64)> {
        let layer = self.layer();
        let diff = Digest::of(&layer);
        let config = serde_json::to_vec(&json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Entrypoint": self.entrypoint, "User": "65532:65532", "Labels": { "mark": self.mark } },
            "rootfs": { "type": "layers", "diff_ids": [diff] },
        }))?;
        let layer_type: MediaType = "application/vnd.oci.image.layer.v1.tar".parse()?;
        let blobs = [(MediaType::IMAGE_CONFIG, config), (layer_type, layer)];
        let mut descriptors = Vec::new();
        for (media_type, bytes) in blobs {
            let descriptor = Descriptor::of(media_type, &bytes);
            registry
                .put_blob(repository, descriptor.digest, descriptor.size, &BlobSource::from(bytes))
                .await?;
            descriptors.push(descriptor);
        }
        let layers = descriptors.split_off(1);
        let manifest = StoredManifest::from_image(ImageManifest {
            schema_version: 2,
            media_type: MediaType::IMAGE_MANIFEST,
            artifact_type: None,
            config: descriptors.remove(0),
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        });
        registry.put_manifest(repository, &Reference::Digest(manifest.digest()), &manifest).await?;
        Ok((manifest.digest(), manifest.bytes().len() as u64))
    }

    /// Its only layer, not compressed.
    pub fn layer(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, (bytes, mode)) in &self.files {
            tar.extend(header(name, bytes.len(), *mode));
            tar.extend(bytes);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        tar.resize(tar.len() + 1024, 0);
        tar
    }
}

fn header(name: &str, size: usize, mode: u32) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    let mut field = |at: usize, text: String| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(100, format!("{mode:07o}"));
    field(108, format!("{:07o}", 0));
    field(116, format!("{:07o}", 0));
    field(124, format!("{size:011o}"));
    field(136, format!("{:011o}", 0));
    field(148, " ".repeat(8));
    field(156, "0".to_owned());
    field(257, "ustar".to_owned());
    field(263, "00".to_owned());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// The shared libraries of a program and its loader.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output =
        Command::new("ldd").arg(program).output().context("ldd is missing: apt-get install libc-bin")?;
    let text = String::from_utf8(output.stdout)?;
    let found: Vec<PathBuf> =
        text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect();
    ensure!(!found.is_empty(), "ldd names no library of {}", program.display());
    Ok(found)
}
