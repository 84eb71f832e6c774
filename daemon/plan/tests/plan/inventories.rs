use std::collections::BTreeSet;

use daemon_plan::{
    Entry, Inventory, ObjectKey,
    inventory::{InventoryError, Live, Ownership, ownership},
    order::{STAGES, Stage},
    prune::{Guard, prune_candidates, prune_limit, renamed},
};
use proptest::prelude::*;
use registry_wire::Digest;
use serde_json::json;

const KINDS: [(&str, &str, &str); 8] = [
    ("", "v1", "ConfigMap"),
    ("", "v1", "Service"),
    ("", "v1", "Namespace"),
    ("", "v1", "PersistentVolumeClaim"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "StatefulSet"),
    ("batch", "v1", "Job"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler"),
];

fn key(kind: usize, name: usize) -> ObjectKey {
    let (group, version, kind) = KINDS[kind % KINDS.len()];
    let namespace = (kind != "Namespace").then_some("shop");
    ObjectKey::new(group, version, kind, namespace, &format!("o{name}")).expect("a key")
}

fn entry(kind: usize, name: usize, uid: Option<u32>) -> Entry {
    let key = key(kind, name);
    Entry {
        uid: uid.map(|uid| format!("uid-{uid}").parse().expect("a uid")),
        intent: Digest::of(name.to_string().as_bytes()),
        generation: Some(3),
        resource_version: Some("17".to_owned()),
        stage: Stage::of(&key),
        guard: Guard::of(&key, &json!({})),
        completed: kind.is_multiple_of(2),
        key,
    }
}

fn inventory() -> impl Strategy<Value = Inventory> {
    prop::collection::vec((0_usize..8, 0_usize..40, prop::option::of(0_u32..60)), 0..80).prop_map(|entries| {
        Inventory::new(entries.into_iter().map(|(kind, name, uid)| entry(kind, name, uid)))
    })
}

proptest! {
    #[test]
    fn pieces_give_the_inventory_back(inventory in inventory()) {
        let (digest, mut chunks) = inventory.to_chunks().unwrap();
        chunks.reverse();
        let read = Inventory::from_chunks(digest, &chunks).unwrap();
        prop_assert_eq!(read.encode().unwrap(), inventory.encode().unwrap());
        prop_assert_eq!(read, inventory);
    }

    #[test]
    fn what_is_wanted_is_never_a_candidate(inventory in inventory(), wanted in prop::collection::btree_set((0_usize..8, 0_usize..40), 0..80)) {
        let wanted: BTreeSet<ObjectKey> = wanted.into_iter().map(|(kind, name)| key(kind, name)).collect();
        let candidates = prune_candidates(&inventory, &wanted);
        let wanted_uids: BTreeSet<_> = inventory.entries()
            .filter(|entry| wanted.contains(&entry.key)).filter_map(|entry| entry.uid.clone()).collect();
        for entry in &candidates {
            prop_assert!(!wanted.contains(&entry.key));
            prop_assert!(entry.uid.as_ref().is_none_or(|uid| !wanted_uids.contains(uid)));
        }
        prop_assert!(candidates.windows(2).all(|pair| pair[0].stage >= pair[1].stage), "the reverse of apply");
        let unwanted = inventory.entries().filter(|entry| !wanted.contains(&entry.key)).count();
        prop_assert_eq!(candidates.len() + renamed(&inventory, &wanted).len(), unwanted);
    }
}

#[test]
fn a_large_inventory_is_cut_into_small_pieces() {
    let inventory = Inventory::new((0..50_000).map(|index| entry(index, index, Some(7))));
    let (digest, chunks) = inventory.to_chunks().unwrap();
    assert!(chunks.len() > 10);
    assert!(chunks.iter().all(|chunk| chunk.bytes.len() < 1024 * 1024 * 3 / 4));
    assert_eq!(Inventory::from_chunks(digest, &chunks).unwrap(), inventory);
    let lost = Inventory::from_chunks(digest, &chunks[1..]).unwrap_err();
    assert!(matches!(lost, InventoryError::Chunks { .. }));
}

#[test]
fn a_changed_or_strange_document_is_refused() {
    let good = Inventory::new([entry(0, 1, None)]).encode().unwrap();
    let text = String::from_utf8(good).unwrap();
    for (bad, parse) in [
        (text.replace("\"formatVersion\":\"1\"", "\"formatVersion\":\"2\""), true),
        (text.replace("\"stage\"", "\"stages\""), true),
        (text[..text.len() - 2].to_owned(), true),
    ] {
        let error = Inventory::decode(bad.as_bytes()).unwrap_err();
        assert_eq!(matches!(error, InventoryError::Parse { .. }), parse, "{bad}");
    }
    let entries = text.split_once('[').unwrap().1.trim_end_matches("]}");
    let twice = format!("{{\"formatVersion\":\"1\",\"entries\":[{entries},{entries}]}}");
    assert!(matches!(Inventory::decode(twice.as_bytes()), Err(InventoryError::Twice { .. })));
}

#[test]
fn the_same_object_under_another_group_is_not_deleted() {
    let old = ObjectKey::new("extensions", "v1beta1", "Ingress", Some("shop"), "web").unwrap();
    let new = ObjectKey::new("networking.k8s.io", "v1", "Ingress", Some("shop"), "web").unwrap();
    let both = [old.clone(), new.clone()].map(|key| Entry { key, ..entry(0, 0, Some(1)) });
    let inventory = Inventory::new(both);
    let wanted = BTreeSet::from([new]);
    assert!(prune_candidates(&inventory, &wanted).is_empty());
    assert_eq!(renamed(&inventory, &wanted), BTreeSet::from([old]));
}

#[test]
fn data_is_guarded() {
    let claims = json!([{"metadata": {"name": "data"}}]);
    let mounts = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    let cases = [
        ("", "v1", "Namespace", json!({}), Guard::Never),
        ("", "v1", "PersistentVolumeClaim", json!({}), Guard::Confirm),
        ("", "v1", "PersistentVolume", json!({}), Guard::Confirm),
        ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", json!({}), Guard::Confirm),
        ("apps", "v1", "StatefulSet", json!({"spec": {"volumeClaimTemplates": claims}}), Guard::Confirm),
        (
            "apps",
            "v1",
            "StatefulSet",
            json!({"spec": {"template": {"spec": {"volumes": mounts}}}}),
            Guard::Confirm,
        ),
        ("apps", "v1", "StatefulSet", json!({"spec": {}}), Guard::Free),
        ("apps", "v1", "StatefulSet", json!({"spec": {"volumeClaimTemplates": []}}), Guard::Free),
        ("apps", "v1", "Deployment", json!({}), Guard::Free),
        (
            "",
            "v1",
            "ConfigMap",
            json!({"metadata": {"annotations": {"bundle.build/prune": "disabled"}}}),
            Guard::Confirm,
        ),
        (
            "",
            "v1",
            "Namespace",
            json!({"metadata": {"annotations": {"bundle.build/prune": "disabled"}}}),
            Guard::Never,
        ),
    ];
    let mut reached = BTreeSet::new();
    for (group, version, kind, object, guard) in cases {
        let key = ObjectKey::new(group, version, kind, None, "x").unwrap();
        assert_eq!(Guard::of(&key, &object), guard, "{kind} {object}");
        reached.insert(guard);
    }
    assert_eq!(reached.len(), 3);
    assert_eq!(prune_limit(&Inventory::default()), 10);
    let many = Inventory::new((0..100).map(|name| entry(0, name, None)));
    assert_eq!(prune_limit(&many), 20);
    assert_eq!(STAGES.len(), 9);
}

#[test]
fn objects_of_others_are_known_by_their_label() {
    let of = |labels| ownership(&json!({"metadata": {"labels": labels}}), "shop");
    assert_eq!(of(json!(null)), Ownership::Free);
    assert_eq!(of(json!({"bundle.build/subscription": "shop"})), Ownership::Own);
    assert_eq!(
        of(json!({"bundle.build/subscription": "other"})),
        Ownership::Foreign { subscription: "other".to_owned() }
    );
    let live = Live::of(&json!({"metadata": {"uid": "u", "resourceVersion": "5"}})).unwrap();
    assert_eq!((live.uid.as_str(), live.generation, live.resource_version.as_str()), ("u", None, "5"));
    assert_eq!(Live::of(&json!({"metadata": {"name": "x"}})), None);
}
