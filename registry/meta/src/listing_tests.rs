use registry_wire::{ImageManifest, Reference, SessionId, StoredManifest};
use tempfile::TempDir;

use super::*;
use crate::{MissingReference, Mount};

async fn store() -> (TempDir, MetaStore) {
    let root = tempfile::tempdir().unwrap();
    let store = MetaStore::open(&root.path().join("meta.sqlite")).await.unwrap();
    (root, store)
}

fn repository(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

fn manifest(config: &[u8], subject: Option<Descriptor>) -> StoredManifest {
    StoredManifest::from_image(ImageManifest {
        schema_version: 2,
        media_type: MediaType::IMAGE_MANIFEST,
        artifact_type: None,
        config: Descriptor::of(MediaType::from_static("application/test"), config),
        layers: Vec::new(),
        subject,
        annotations: std::collections::BTreeMap::new(),
    })
}

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[tokio::test]
async fn grants_belong_to_their_repository() {
    let (_root, store) = store().await;
    let (one, two, digest) = (repository("one"), repository("two"), Digest::of(b"x"));
    store.grant_blob(&one, &digest, None).await.unwrap();
    assert!(store.has_blob(&one, &digest).await.unwrap());
    assert!(!store.has_blob(&two, &digest).await.unwrap());
    assert_eq!(store.mount_blob(&two, &one, &Digest::of(b"y")).await.unwrap(), Mount::Absent);
    assert_eq!(store.mount_blob(&one, &two, &digest).await.unwrap(), Mount::Granted);
    assert!(store.revoke_blob(&one, &digest).await.unwrap());
    assert!(!store.revoke_blob(&one, &digest).await.unwrap());
    assert!(store.has_blob(&two, &digest).await.unwrap());
}

#[tokio::test]
async fn uploads_belong_to_their_repository() {
    let (_root, store) = store().await;
    let (one, two, session) = (repository("one"), repository("two"), SessionId::from_random([3; 16]));
    store.begin_upload(&one, &session).await.unwrap();
    assert!(!store.has_upload(&two, &session).await.unwrap());
    assert!(!store.end_upload(&two, &session).await.unwrap());
    assert!(store.has_upload(&one, &session).await.unwrap());
    store.grant_blob(&one, &Digest::of(b"x"), Some(&session)).await.unwrap();
    assert!(!store.has_upload(&one, &session).await.unwrap());
}

#[tokio::test]
async fn a_manifest_needs_what_it_references() {
    let (_root, store) = store().await;
    let (name, image) = (repository("one"), manifest(b"{}", None));
    let refused = store.put_manifest(&name, &image, &tags(&["v1"])).await;
    let missing = MissingReference::Blob(Digest::of(b"{}"));
    assert!(matches!(refused, Err(MetaError::MissingReference { missing: found, .. }) if found == missing));
    assert_eq!(store.manifest(&name, &image.digest().into()).await.unwrap(), None);
    let index = StoredManifest::from_index(registry_wire::Index::of(vec![image.descriptor()]));
    store.grant_blob(&name, &Digest::of(b"{}"), None).await.unwrap();
    assert!(matches!(
        store.put_manifest(&name, &index, &[]).await,
        Err(MetaError::MissingReference { missing: MissingReference::Manifest(_), .. })
    ));
    store.put_manifest(&name, &image, &tags(&["v1"])).await.unwrap();
    store.put_manifest(&name, &index, &tags(&["v2"])).await.unwrap();
    let row = store.manifest(&name, &Reference::Tag("v2".parse().unwrap())).await.unwrap().unwrap();
    assert_eq!((row.digest, row.bytes.as_slice()), (index.digest(), index.bytes()));
    assert_eq!(store.manifest(&repository("two"), &image.digest().into()).await.unwrap(), None);
}

#[tokio::test]
async fn deleting_a_manifest_takes_its_tags_and_deleting_a_tag_leaves_it() {
    let (_root, store) = store().await;
    let (name, image) = (repository("one"), manifest(b"{}", None));
    store.grant_blob(&name, &Digest::of(b"{}"), None).await.unwrap();
    store.put_manifest(&name, &image, &tags(&["a", "b", "c"])).await.unwrap();
    assert!(store.delete_manifest(&name, &Reference::Tag("b".parse().unwrap())).await.unwrap());
    assert_eq!(store.tags(&name, &Page::default()).await.unwrap().entries, tags(&["a", "c"]));
    assert!(store.delete_manifest(&name, &image.digest().into()).await.unwrap());
    assert!(!store.delete_manifest(&name, &image.digest().into()).await.unwrap());
    assert_eq!(store.tags(&name, &Page::default()).await.unwrap().entries, []);
}

#[tokio::test]
async fn pages_are_sorted_and_end() {
    let (_root, store) = store().await;
    let (name, image) = (repository("one"), manifest(b"{}", None));
    store.grant_blob(&name, &Digest::of(b"{}"), None).await.unwrap();
    store.put_manifest(&name, &image, &tags(&["c", "B", "a", "d"])).await.unwrap();
    let page = async |limit, after: Option<&str>| {
        let page = Page { limit, after: after.map(str::to_owned) };
        let listing = store.tags(&name, &page).await.unwrap();
        (listing.entries, listing.more)
    };
    assert_eq!(page(None, None).await, (tags(&["B", "a", "c", "d"]), false));
    assert_eq!(page(Some(2), None).await, (tags(&["B", "a"]), true));
    assert_eq!(page(Some(2), Some("a")).await, (tags(&["c", "d"]), false));
    assert_eq!(page(Some(0), None).await, (Vec::new(), false));
    assert_eq!(page(Some(u32::MAX), Some("bb")).await, (tags(&["c", "d"]), false));
    store.begin_upload(&repository("empty"), &SessionId::from_random([0; 16])).await.unwrap();
    let catalog = store.repositories(&Page::default()).await.unwrap();
    assert_eq!(catalog.entries, [name], "a repository without manifests is not listed");
}

#[tokio::test]
async fn referrers_come_before_their_subject_too() {
    let (_root, store) = store().await;
    let (name, subject) = (repository("one"), manifest(b"{}", None));
    store.grant_blob(&name, &Digest::of(b"{}"), None).await.unwrap();
    let referrer = manifest(b"{}", Some(subject.descriptor()));
    store.put_manifest(&name, &referrer, &[]).await.unwrap();
    let kind = MediaType::from_static("application/test");
    let other = MediaType::from_static("application/other");
    let listed = [referrer.referrer_descriptor()];
    assert_eq!(store.referrers(&name, &subject.digest(), None).await.unwrap(), listed);
    assert_eq!(store.referrers(&name, &subject.digest(), Some(&kind)).await.unwrap(), listed);
    assert_eq!(store.referrers(&name, &subject.digest(), Some(&other)).await.unwrap(), []);
    assert_eq!(store.referrers(&repository("two"), &subject.digest(), None).await.unwrap(), []);
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again() {
    let (root, store) = store().await;
    let digest = Digest::of(b"x");
    store.grant_blob(&repository("one"), &digest, None).await.unwrap();
    store.close().await;
    let store = MetaStore::open(&root.path().join("meta.sqlite")).await.unwrap();
    assert!(store.has_blob(&repository("one"), &digest).await.unwrap());
}
