//! Our client against our server.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use registry_client::{BlobSource, ClientError, ManifestChange, Mounted, Options, Pushed, Registry, Scheme};
use registry_wire::{Descriptor, Digest, Index, MediaType, StoredManifest, Tag};

use crate::world::{World, http, manifest, noise, push, repository, tag};

#[tokio::test]
async fn an_image_goes_in_and_out() {
    let world = World::start().await;
    let moved = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&moved);
    let options = Options {
        progress: Some(Arc::new(move |bytes| {
            counter.fetch_add(bytes, Ordering::Relaxed);
        })),
        ..Options::default()
    };
    let address = world.server.address().to_string().parse().unwrap();
    let client = Registry::with_options(address, Scheme::Http, options).unwrap();
    client.check().await.unwrap();
    let name = repository("shop/api");
    let layer = noise(1, 3_000_000);
    let pushed = push(&client, &name, &tag("v1"), &layer).await;
    assert!(moved.load(Ordering::Relaxed) > 3_000_000);

    assert_eq!(client.get_manifest(&name, &tag("v1")).await.unwrap(), Some(pushed.clone()));
    assert_eq!(client.get_manifest(&name, &pushed.digest().into()).await.unwrap(), Some(pushed.clone()));
    assert_eq!(client.resolve(&name, &tag("v1")).await.unwrap(), Some(pushed.digest()));
    assert_eq!(client.resolve(&name, &tag("v2")).await.unwrap(), None);
    assert_eq!(client.get_manifest(&name, &tag("v2")).await.unwrap(), None);
    assert_eq!(client.get_manifest(&repository("other"), &tag("v1")).await.unwrap(), None);
    let descriptor = &pushed.image().unwrap().layers[0];
    assert_eq!(client.get_blob(&name, descriptor, 3_000_000).await.unwrap(), layer);
    assert!(matches!(client.get_blob(&name, descriptor, 2_999_999).await, Err(ClientError::TooLarge { .. })));
    let again = client.put_blob(&name, descriptor.digest, descriptor.size, &BlobSource::from(layer)).await;
    assert_eq!(again.unwrap(), Pushed::Present);
    assert_eq!(client.repositories().await.unwrap(), std::slice::from_ref(&name));
    assert_eq!(client.tags(&repository("nowhere")).await.unwrap(), []);

    assert!(client.delete_manifest(&name, &tag("v1")).await.unwrap());
    assert!(!client.delete_manifest(&name, &tag("v1")).await.unwrap());
    assert!(client.get_manifest(&name, &pushed.digest().into()).await.unwrap().is_some());
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_tag_is_followed() {
    let world = World::start().await;
    let (client, name) = (world.client(), repository("shop/channel"));
    let first = push(&client, &name, &tag("dev"), b"one").await;
    let dev: Tag = "dev".parse().unwrap();
    let look = async |known: Digest| client.get_manifest_if_changed(&name, &dev, &known).await.unwrap();
    assert_eq!(look(first.digest()).await, ManifestChange::Unchanged);
    let second = push(&client, &name, &tag("dev"), b"two").await;
    assert_eq!(look(first.digest()).await, ManifestChange::Changed(second.clone()));
    client.delete_manifest(&name, &tag("dev")).await.unwrap();
    assert_eq!(look(second.digest()).await, ManifestChange::Absent);
}

#[tokio::test]
async fn files_are_sources_and_their_size_is_checked() {
    let world = World::start().await;
    let (client, name) = (world.client(), repository("a"));
    let bytes = noise(2, 700_000);
    let path = world.root.path().join("source");
    std::fs::write(&path, &bytes).unwrap();
    let (digest, source) = (Digest::of(&bytes), BlobSource::from(path));
    let wrong = client.put_blob(&name, digest, 699_999, &source).await;
    assert!(matches!(wrong, Err(ClientError::SourceSize { found: 700_000, .. })), "{wrong:?}");
    assert_eq!(client.put_blob(&name, digest, 700_000, &source).await.unwrap(), Pushed::Uploaded);
    let other = client.put_blob(&name, Digest::of(b"other"), 700_000, &source).await;
    assert!(matches!(other, Err(ClientError::Refused { status: 400, .. })), "{other:?}");
    assert!(!client.has_blob(&name, &Digest::of(b"other")).await.unwrap());
    let empty = BlobSource::from(Vec::new());
    assert_eq!(client.put_blob(&name, Digest::of(b""), 0, &empty).await.unwrap(), Pushed::Uploaded);
    let descriptor = Descriptor::of(MediaType::EMPTY, b"");
    assert_eq!(client.get_blob(&name, &descriptor, 0).await.unwrap(), b"");
}

#[tokio::test]
async fn blobs_are_mounted_from_where_they_are_only() {
    let world = World::start().await;
    let (client, one, two) = (world.client(), repository("one"), repository("two"));
    let digest = Digest::of(b"blob");
    client.put_blob(&one, digest, 4, &BlobSource::from(b"blob".to_vec())).await.unwrap();
    assert!(!client.has_blob(&two, &digest).await.unwrap(), "a digest alone opens nothing");
    assert_eq!(client.mount_blob(&two, &digest, &repository("three")).await.unwrap(), Mounted::Refused);
    assert_eq!(world.files("uploads").len(), 0, "the session that was begun instead is cancelled");
    assert_eq!(client.mount_blob(&two, &digest, &one).await.unwrap(), Mounted::Mounted);
    assert!(client.has_blob(&two, &digest).await.unwrap());
    assert_eq!(world.files("blobs").len(), 1);
}

#[tokio::test]
async fn referrers_are_listed() {
    let world = World::start().await;
    let (client, name) = (world.client(), repository("shop/api"));
    let image = push(&client, &name, &tag("v1"), b"layer").await;
    assert_eq!(client.referrers(&name, &image.digest()).await.unwrap(), []);
    let config = image.image().unwrap().config.clone();
    let note = manifest(b"", &[], Some(image.descriptor()));
    let unsubjected = client.attach_referrer(&name, &image).await;
    assert!(matches!(unsubjected, Err(ClientError::NoSubject { .. })));
    let refused = client.attach_referrer(&name, &note).await;
    assert!(
        matches!(refused, Err(ClientError::Refused { status: 400, .. })),
        "its config is not there: {refused:?}"
    );
    client.put_blob(&name, Digest::of(b""), 0, &BlobSource::from(Vec::new())).await.unwrap();
    client.attach_referrer(&name, &note).await.unwrap();
    client.attach_referrer(&name, &note).await.unwrap();
    assert_eq!(client.referrers(&name, &image.digest()).await.unwrap(), [note.referrer_descriptor()]);
    assert_eq!(client.tags(&name).await.unwrap(), ["v1".parse().unwrap()], "no fallback tag is needed");
    assert_eq!(client.get_blob(&name, &config, 1000).await.unwrap().len() as u64, config.size);
}

#[tokio::test]
async fn a_list_under_the_fallback_tag_without_types_is_completed() {
    let world = World::start().await;
    let (client, name) = (world.client(), repository("a"));
    let image = push(&client, &name, &tag("v1"), b"layer").await;
    let note = manifest(b"", &[], Some(image.descriptor()));
    client.put_blob(&name, Digest::of(b""), 0, &BlobSource::from(Vec::new())).await.unwrap();
    client.put_manifest(&name, &note.digest().into(), &note).await.unwrap();
    let mut bare = note.descriptor();
    bare.artifact_type = None;
    let list = StoredManifest::from_index(Index::of(vec![bare]));
    let fallback = Tag::of_referrers(&image.digest()).into();
    client.put_manifest(&name, &fallback, &list).await.unwrap();
    // A registry that has no list: the proxy answers its path as distribution does.
    let proxy = crate::faults::Proxy::without_referrers(world.server.address()).await;
    let old = crate::world::client(&proxy.address.to_string(), 1);
    assert_eq!(old.referrers(&name, &image.digest()).await.unwrap(), [note.referrer_descriptor()]);
    let other = manifest(b"", &[b"layer"], Some(image.descriptor()));
    old.attach_referrer(&name, &other).await.unwrap();
    old.attach_referrer(&name, &other).await.unwrap();
    let mut both = old.referrers(&name, &image.digest()).await.unwrap();
    both.sort_by_key(|descriptor| descriptor.size);
    assert_eq!(both, [note.referrer_descriptor(), other.referrer_descriptor()]);
    let image = client.get_manifest(&name, &fallback).await.unwrap().unwrap();
    assert_eq!(image.index().unwrap().manifests.len(), 2);
}

#[tokio::test]
async fn many_tags_come_page_by_page() {
    let world = World::start().await;
    let (client, name) = (world.client(), repository("a"));
    let image = push(&client, &name, &tag("t0000"), b"layer").await;
    let tags: Vec<_> = (0..2_500).map(|number| format!("t{number:04}").parse::<Tag>().unwrap()).collect();
    for some in tags.chunks(50) {
        // Many tags at once, by the parameter of the specification.
        let request = registry_wire::Request::WriteManifest {
            repository: name.clone(),
            reference: image.digest().into(),
            tags: some.to_vec(),
        };
        let answer = http()
            .put(world.url(&request.target()))
            .header("content-type", image.media_type().as_str())
            .body(image.bytes().to_vec());
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.headers().get_all("oci-tag").iter().count(), some.len());
    }
    assert_eq!(client.tags(&name).await.unwrap(), tags);
}
