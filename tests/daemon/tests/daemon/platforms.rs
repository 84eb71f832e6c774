//! Images for several platforms on nodes: a node takes its own of an index, and what it reports is the index.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use builder_image::{EncodedImage, EncodedIndex, GzipEncoder, ImageConfig, Layer, Process};
use daemon_cluster::{Cluster, DocumentOwner, NodeImages, WarmRequest};
use jiff::Timestamp;
use registry_client::{BlobSource, Registry};
use registry_wire::{Descriptor, Digest, Index, Platform, Reference, RepositoryName, StoredManifest};
use test_cluster::program;
use test_daemon::{
    image::Image,
    lab::{Lab, NODE_REGISTRY},
};

use crate::adapter::subscription;

const PATIENCE: Duration = Duration::from_mins(2);

fn config(architecture: &str, variant: Option<&str>) -> ImageConfig {
    ImageConfig {
        platform: Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.map(str::to_owned),
        },
        process: Process {
            user: "65532:65532".to_owned(),
            ports: BTreeSet::new(),
            environment: BTreeMap::new(),
            entrypoint: vec!["/program".to_owned()],
            arguments: Vec::new(),
            working_directory: None,
        },
    }
}

/// Where images are pushed to.
struct Shelf<'a> {
    registry: &'a Registry,
    repository: RepositoryName,
}

impl Shelf<'_> {
    async fn layer(&self, archive: &[u8]) -> Layer {
        let mut encoder = GzipEncoder::new(Vec::new());
        encoder.write_all(archive).unwrap();
        let (bytes, _) = encoder.finish().unwrap();
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        self.registry.put_blob(&self.repository, digest, size, &BlobSource::from(bytes)).await.unwrap();
        Layer { digest, size, diff_id: Digest::of(archive), tar_size: archive.len() as u64 }
    }

    async fn image(&self, image: &EncodedImage) {
        let (Descriptor { digest, size, .. }, bytes) = image.config.clone();
        self.registry.put_blob(&self.repository, digest, size, &BlobSource::from(bytes)).await.unwrap();
        self.manifest(&image.manifest).await;
    }

    async fn manifest(&self, manifest: &StoredManifest) {
        let reference = Reference::Digest(manifest.digest());
        self.registry.put_manifest(&self.repository, &reference, manifest).await.unwrap();
    }

    /// As nodes pull it.
    fn reference(&self, manifest: &StoredManifest) -> String {
        format!("{NODE_REGISTRY}/{}@{}", self.repository, manifest.digest())
    }
}

/// Asks until all images are proven or one is refused.
async fn warm(adapter: &Cluster, request: &WarmRequest<'_>) -> NodeImages {
    let started = Instant::now();
    loop {
        let found = adapter.warm_nodes(request, Timestamp::now()).await.unwrap();
        if found.missing.is_empty() || found.refused.is_some() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "{found:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_proves_an_index_though_it_has_the_same_layers_under_other_names() {
    let lab = Lab::start(1).await.unwrap();
    let (_server, registry) = lab.registry().await.unwrap();
    let adapter = lab.adapter();
    let guest = Image::of_program(Path::new(env!("CARGO_BIN_EXE_guest")), "guest").unwrap();
    let (guest, _) = guest.push(&registry, &"daemon".parse().unwrap()).await.unwrap();
    let guest = format!("{NODE_REGISTRY}/daemon@{guest}");
    let shelf = Shelf { registry: &registry, repository: "shop/api".parse().unwrap() };
    let subscription = subscription(&lab, &adapter, "platforms").await;
    let owner = DocumentOwner::subscription(&subscription).unwrap();
    let request = |images, attempt| WarmRequest {
        subscription: "platforms",
        release: Digest::of(b"release"),
        attempt,
        images,
        guest: &guest,
        owner: &owner,
    };

    let probe = Image::of_program(&program("probe").unwrap(), "probe").unwrap();
    let native = vec![shelf.layer(&probe.layer()).await];
    // Nothing of another platform is ever run here, or pulled.
    let mut foreign = Vec::new();
    for archive in [vec![0; 1024], vec![0; 2048]] {
        foreign.push(vec![shelf.layer(&archive).await]);
    }
    let (amd, arm) = (config("amd64", None), config("arm64", Some("v8")));
    let alone = EncodedImage::new(&amd, &native);
    shelf.image(&alone).await;
    let mut images = BTreeSet::from([shelf.reference(&alone.manifest)]);
    for foreign in &foreign {
        let index = EncodedIndex::new(&[(&amd, &native), (&arm, foreign)]);
        for image in &index.images {
            shelf.image(image).await;
        }
        shelf.manifest(&index.manifest).await;
        images.insert(shelf.reference(&index.manifest));
    }
    assert_eq!(images.len(), 3);
    let found = warm(&adapter, &request(&images, 1)).await;
    assert_eq!((found.missing, found.refused), (BTreeSet::new(), None));

    // Why each index has configurations of its own: where two share one, the node reports one name for both.
    let mut sharing = BTreeSet::new();
    for foreign in &foreign {
        let foreign = EncodedImage::new(&arm, foreign);
        shelf.image(&foreign).await;
        let listed = [(&amd, &alone), (&arm, &foreign)].map(|(config, image)| Descriptor {
            platform: Some(config.platform.clone()),
            ..image.manifest.descriptor()
        });
        let index = StoredManifest::from_index(Index::of(listed.to_vec()));
        shelf.manifest(&index).await;
        sharing.insert(shelf.reference(&index));
    }
    let found = warm(&adapter, &request(&sharing, 2)).await;
    assert!(found.refused.is_some_and(|why| why.contains("which image ran")), "{:?}", found.missing);
    adapter.cool_nodes("platforms").await.unwrap();
}
