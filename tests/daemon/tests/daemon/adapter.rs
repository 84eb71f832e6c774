//! The contract of the adapter, as the API server sees it.

use std::{collections::BTreeSet, time::Duration};

use daemon_cluster::{
    ApplyMode, ApplyOutcome, Cluster, ClusterError, DeleteOutcome, DocumentOwner, LeaseOptions, LeaseTiming,
    Present, RefusalCause, Subscription, WarmRequest, acquire,
};
use daemon_plan::{
    ObjectKey,
    conflict::{Decision, Scaling, decide},
    inventory::Live,
    prune::Doomed,
};
use jiff::Timestamp;
use registry_wire::Digest;
use serde_json::{Value, json};
use test_daemon::lab::{HOME, Lab, TARGET};

const WRITE: ApplyMode = ApplyMode { dry_run: false, take_over: false };
const CHECK: ApplyMode = ApplyMode { dry_run: true, take_over: false };

fn map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": TARGET },
        "data": { "key": value },
    })
}

fn deployment(replicas: Option<i64>) -> Value {
    let mut value = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": TARGET },
        "spec": {
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": "registry.example/web:1" }] },
            },
        },
    });
    if let Some(replicas) = replicas {
        value["spec"]["replicas"] = json!(replicas);
    }
    value
}

fn applied(outcome: ApplyOutcome) -> Value {
    match outcome {
        ApplyOutcome::Applied(value) => value,
        other => panic!("{other:?}"),
    }
}

fn refused(outcome: ApplyOutcome) -> (RefusalCause, String) {
    match outcome {
        ApplyOutcome::Refused { cause, message } => (cause, message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_adapter_keeps_its_contract() {
    let lab = Lab::start(1).await.unwrap();
    let adapter = lab.adapter();
    apply_and_refusals(&lab, &adapter).await;
    conflicts(&lab, &adapter).await;
    terminating_and_deletion(&lab, &adapter).await;
    documents_and_floor(&lab, &adapter).await;
    statuses(&lab, &adapter).await;
    nodes(&lab, &adapter).await;
    leases(&lab).await;
    deleted_lease(&lab, &adapter).await;
    lab.bed.stop().unwrap();
}

async fn apply_and_refusals(lab: &Lab, adapter: &Cluster) {
    let key = ObjectKey::of(&map("a", "1")).unwrap();
    // A dry run writes nothing.
    applied(adapter.apply(&map("a", "1"), CHECK).await.unwrap());
    assert_eq!(adapter.get(&key).await.unwrap(), Present::Absent);
    let first = applied(adapter.apply(&map("a", "1"), WRITE).await.unwrap());
    // The same intent again changes nothing, so a crash after sending is harmless.
    let again = applied(adapter.apply(&map("a", "1"), WRITE).await.unwrap());
    assert_eq!(first["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"]);

    let mut elsewhere = map("a", "1");
    elsewhere["metadata"]["namespace"] = json!("nowhere");
    // Without rights in a namespace nothing is said about it; the administrator learns that it is not there.
    assert_eq!(refused(adapter.apply(&elsewhere, CHECK).await.unwrap()).0, RefusalCause::Forbidden);
    let person = lab.person();
    assert_eq!(refused(person.apply(&elsewhere, CHECK).await.unwrap()).0, RefusalCause::NamespaceAbsent);

    let mut bad = deployment(Some(-1));
    assert_eq!(refused(adapter.apply(&bad, CHECK).await.unwrap()).0, RefusalCause::Invalid);
    bad = deployment(None);
    bad["spec"]["template"]["spec"]["containers"][0]["imagge"] = json!("x");
    assert_eq!(refused(adapter.apply(&bad, CHECK).await.unwrap()).0, RefusalCause::Invalid);

    let unknown = json!({
        "apiVersion": "example.org/v1", "kind": "Thing", "metadata": { "name": "x", "namespace": TARGET },
    });
    assert_eq!(refused(adapter.apply(&unknown, CHECK).await.unwrap()).0, RefusalCause::NotServed);
    let key = ObjectKey::of(&unknown).unwrap();
    assert_eq!(adapter.get(&key).await.unwrap(), Present::Absent);

    lab.bed.kubectl(&["create", "namespace", "going"]).unwrap();
    lab.bed
        .apply(
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"going","finalizers":["example.org/x"]}}"#,
        )
        .unwrap();
    lab.bed.kubectl(&["delete", "namespace", "going", "--wait=false"]).unwrap();
    let mut late = map("late", "1");
    late["metadata"]["namespace"] = json!("going");
    assert_eq!(refused(person.apply(&late, WRITE).await.unwrap()).0, RefusalCause::NamespaceTerminating);
}

async fn conflicts(lab: &Lab, adapter: &Cluster) {
    applied(adapter.apply(&deployment(Some(0)), WRITE).await.unwrap());
    lab.bed.kubectl(&["-n", TARGET, "set", "image", "deployment/web", "web=registry.example/web:2"]).unwrap();
    let ApplyOutcome::Conflict(answer) = adapter.apply(&deployment(Some(0)), WRITE).await.unwrap() else {
        panic!("kubectl owns the image now")
    };
    let Decision::Resolve { leave, force: true } = decide(&answer, Scaling::Fixed).unwrap() else {
        panic!("{answer}")
    };
    assert!(leave.is_empty(), "{leave:?}");
    let take = ApplyMode { take_over: true, ..WRITE };
    let taken = applied(adapter.apply(&deployment(Some(0)), take).await.unwrap());
    assert_eq!(taken["spec"]["template"]["spec"]["containers"][0]["image"], "registry.example/web:1");
    // Somebody unknown: nothing is forced.
    lab.bed
        .kubectl(&[
            "-n",
            TARGET,
            "patch",
            "deployment",
            "web",
            "--field-manager=somebody",
            "-p",
            r#"{"spec":{"minReadySeconds":7}}"#,
        ])
        .unwrap();
    let mut wanted = deployment(Some(0));
    wanted["spec"]["minReadySeconds"] = json!(3);
    let ApplyOutcome::Conflict(answer) = adapter.apply(&wanted, WRITE).await.unwrap() else { panic!() };
    assert!(
        matches!(decide(&answer, Scaling::Fixed).unwrap(), Decision::Stop { conflicts } if conflicts[0].manager == "somebody")
    );
}

async fn terminating_and_deletion(lab: &Lab, adapter: &Cluster) {
    lab.bed
        .apply(&format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"held","namespace":"{TARGET}","finalizers":["example.org/x"]}}}}"#
        ))
        .unwrap();
    lab.bed.kubectl(&["-n", TARGET, "delete", "configmap", "held", "--wait=false"]).unwrap();
    let outcome = adapter.apply(&map("held", "1"), WRITE).await.unwrap();
    assert!(matches!(outcome, ApplyOutcome::Terminating(_)), "{outcome:?}");

    let first = applied(adapter.apply(&map("doomed", "1"), WRITE).await.unwrap());
    let live = Live::of(&first).unwrap();
    let key = ObjectKey::of(&first).unwrap();
    let doomed = Doomed { key: key.clone(), uid: live.uid.clone(), resource_version: live.resource_version };
    // Somebody changes it after it was seen: it stays.
    applied(adapter.apply(&map("doomed", "2"), WRITE).await.unwrap());
    assert_eq!(adapter.delete(&doomed).await.unwrap(), DeleteOutcome::Changed);
    let Present::Present(now) = adapter.get(&key).await.unwrap() else { panic!("it was deleted") };
    let live = Live::of(&now).unwrap();
    let other = Doomed { uid: "another-life".parse().unwrap(), ..doomed.clone() };
    assert_eq!(adapter.delete(&other).await.unwrap(), DeleteOutcome::Changed);
    let right = Doomed { resource_version: live.resource_version, ..doomed };
    assert_eq!(adapter.delete(&right).await.unwrap(), DeleteOutcome::Accepted);
    assert_eq!(adapter.delete(&right).await.unwrap(), DeleteOutcome::Absent);
    // Claims are not the daemon's to delete.
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data", "namespace": TARGET },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } },
    });
    let claim = applied(adapter.apply(&claim, WRITE).await.unwrap());
    let live = Live::of(&claim).unwrap();
    let claim = Doomed {
        key: ObjectKey::of(&claim).unwrap(),
        uid: live.uid,
        resource_version: live.resource_version,
    };
    assert_eq!(adapter.delete(&claim).await.unwrap(), DeleteOutcome::Forbidden);
}

pub(crate) async fn subscription(lab: &Lab, adapter: &Cluster, name: &str) -> Subscription {
    let value = json!({
        "apiVersion": "bundle.build/v1alpha1", "kind": "Subscription",
        "metadata": { "name": name, "namespace": HOME },
        "spec": {
            "registry": { "address": "registry.example:5000" },
            "repository": "shop", "channel": "shop/dev", "environment": "test", "namespace": TARGET,
            "trustRoot": { "digest": Digest::of(b"root"), "inline": "{}" },
        },
    });
    lab.bed.apply(&value.to_string()).unwrap();
    adapter.subscription(name).await.unwrap().unwrap()
}

async fn documents_and_floor(lab: &Lab, adapter: &Cluster) {
    let subscription = subscription(lab, adapter, "documents").await;
    let owner = DocumentOwner::subscription(&subscription).unwrap();
    // Bytes that do not compress and span three pieces.
    let mut large = Vec::new();
    let mut seed = Digest::of(b"seed");
    while large.len() < 1_800_000 {
        large.extend(seed.as_bytes());
        seed = Digest::of(seed.as_bytes());
    }
    let stored = adapter.store_document(&owner, &large).await.unwrap();
    assert_eq!(stored.chunks, 3);
    assert_eq!(adapter.store_document(&owner, &large).await.unwrap(), stored, "keeping it again is the same");
    assert!(adapter.load_document(&owner, &stored).await.unwrap() == large);
    let small = adapter.store_document(&owner, b"small").await.unwrap();
    adapter.drop_documents(&owner, &BTreeSet::from([small.digest])).await.unwrap();
    assert_eq!(adapter.load_document(&owner, &small).await.unwrap(), b"small");
    let lost = adapter.load_document(&owner, &stored).await.unwrap_err();
    assert!(matches!(lost, ClusterError::Document { .. }), "{lost}");
    // The pieces cannot be changed, not even by an administrator.
    let pieces =
        lab.bed.kubectl(&["-n", HOME, "get", "configmaps", "-l", "bundle.build/document-of", "-o", "name"]);
    let pieces = pieces.unwrap();
    let piece = pieces.lines().next().unwrap();
    let patch = lab.bed.kubectl(&["-n", HOME, "patch", piece, "-p", r#"{"binaryData":{"piece":"AAAA"}}"#]);
    assert!(patch.is_err(), "a piece was changed");

    let empty = adapter.read_floor("documents").await.unwrap();
    assert!(empty.texts.is_empty());
    let texts = |text: &str| [("floor.json".to_owned(), text.to_owned())].into();
    let first = adapter.write_floor("documents", &empty, texts("1")).await.unwrap();
    let stale = adapter.write_floor("documents", &empty, texts("0")).await.unwrap_err();
    assert!(matches!(stale, ClusterError::Stale { .. }), "{stale}");
    let second = adapter.write_floor("documents", &first, texts("2")).await.unwrap();
    assert!(adapter.write_floor("documents", &first, texts("1")).await.is_err(), "the floor fell");
    // The floor outlives the subscription; its pieces do not. The garbage collector learns of new kinds twice a minute.
    lab.bed.kubectl(&["-n", HOME, "delete", "subscription", "documents"]).unwrap();
    lab.wait("configmaps", HOME, "", Duration::from_secs(90), |list| {
        let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().all(|item| item["metadata"]["labels"]["bundle.build/document-of"].is_null())
    })
    .await
    .unwrap();
    assert_eq!(adapter.read_floor("documents").await.unwrap(), second);
}

async fn statuses(lab: &Lab, adapter: &Cluster) {
    let mut one = subscription(lab, adapter, "statuses").await;
    let mut two = one.clone();
    one.status.get_or_insert_default().rollout = Some("one".to_owned());
    two.status.get_or_insert_default().rollout = Some("two".to_owned());
    adapter.replace_subscription_status(&one).await.unwrap();
    let stale = adapter.replace_subscription_status(&two).await.unwrap_err();
    assert!(matches!(stale, ClusterError::Stale { .. }), "{stale}");
    let release = adapter.ensure_release(&one, Digest::of(b"release")).await.unwrap();
    let again = adapter.ensure_release(&one, Digest::of(b"release")).await.unwrap();
    assert_eq!(release.metadata.uid, again.metadata.uid);
    // A digest that agrees in the digits of the name is another release all the same.
    let mut digits = Digest::of(b"release").to_string();
    let last = if digits.ends_with('0') { '1' } else { '0' };
    digits.pop();
    digits.push(last);
    let alike: Digest = digits.parse().unwrap();
    for _ in 0..2 {
        let other = adapter.ensure_release(&one, alike).await.unwrap();
        assert_ne!(release.metadata.uid, other.metadata.uid);
        assert_eq!(other.spec.digest, alike);
    }
    // The daemon cannot change what people write.
    let change = adapter.change_subscription("statuses", json!({ "pollSeconds": 5 })).await.unwrap_err();
    assert!(change.is_forbidden(), "{change}");
    // A subscription stays in its namespace.
    let elsewhere = json!({ "namespace": "elsewhere" });
    let error = lab.person().change_subscription("statuses", elsewhere).await.unwrap_err();
    assert!(error.to_string().contains("a subscription stays in its namespace"), "{error}");
    // What the schema refuses never reaches the daemon.
    let bad = lab.bed.kubectl(&[
        "-n",
        HOME,
        "patch",
        "subscription",
        "statuses",
        "--type=merge",
        "-p",
        r#"{"spec":{"pollSeconds":0}}"#,
    ]);
    assert!(bad.is_err());
}

/// Where no node counts nothing is proven.
async fn nodes(lab: &Lab, adapter: &Cluster) {
    let subscription = subscription(lab, adapter, "nodes").await;
    let owner = DocumentOwner::subscription(&subscription).unwrap();
    let images = BTreeSet::from([format!("registry.example/shop/api@{}", Digest::of(b"image"))]);
    let request = WarmRequest {
        subscription: "nodes",
        release: Digest::of(b"release"),
        attempt: 1,
        images: &images,
        guest: "registry.example/guest:1",
        owner: &owner,
    };
    let list = lab.get("nodes", HOME, "").unwrap();
    let node = list["items"][0]["metadata"]["name"].as_str().unwrap();
    lab.bed.kubectl(&["cordon", node]).unwrap();
    let found = adapter.warm_nodes(&request, Timestamp::now()).await.unwrap();
    assert_eq!(found.missing, images);
    assert!(found.waits.is_some_and(|why| why.contains("no node")), "it does not say why");
    let pods = || lab.get("pods", HOME, "").unwrap()["items"].as_array().map_or(0, Vec::len);
    assert_eq!(pods(), 0);
    lab.bed.kubectl(&["uncordon", node]).unwrap();
    let found = adapter.warm_nodes(&request, Timestamp::now()).await.unwrap();
    assert_eq!((found.missing, found.waits), (images.clone(), None));
    assert_eq!(pods(), 1);
    adapter.cool_nodes("nodes").await.unwrap();
}

async fn leases(lab: &Lab) {
    let timing = LeaseTiming {
        duration: Duration::from_secs(3),
        renew: Duration::from_secs(2),
        retry: Duration::from_millis(200),
    };
    let options =
        |identity: &str| LeaseOptions { name: "test".to_owned(), identity: identity.to_owned(), timing };
    let first = acquire(lab.client.clone(), HOME, options("a"), Timestamp::now).await.unwrap();
    let waiting = acquire(lab.client.clone(), HOME, options("b"), Timestamp::now);
    assert!(tokio::time::timeout(Duration::from_secs(5), waiting).await.is_err(), "two hold one lease");
    assert!(first.fence().is_open());
    let epoch = first.epoch();
    first.release().await.unwrap();
    let lease = lab.get("lease", HOME, "test").unwrap();
    assert_eq!(
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default(),
        "",
        "a released lease is nobody's"
    );
    let second = acquire(lab.client.clone(), HOME, options("b"), Timestamp::now).await.unwrap();
    assert_eq!(second.epoch(), epoch + 1);
    // Somebody takes the lease away: the holder learns of it and its fence closes before it could write.
    let fence = second.fence().clone();
    lab.bed
        .kubectl(&[
            "-n",
            HOME,
            "patch",
            "lease",
            "test",
            "--type=merge",
            "-p",
            r#"{"spec":{"holderIdentity":"thief"}}"#,
        ])
        .unwrap();
    tokio::time::timeout(Duration::from_secs(5), second.lost()).await.expect("the loss is noticed");
    assert!(!fence.is_open());
    let fenced = Cluster::new(lab.client.clone(), HOME).fenced(fence);
    let error = fenced.apply(&map("late", "1"), WRITE).await.unwrap_err();
    assert!(matches!(error, ClusterError::LeaseLost { .. }), "{error}");
}

/// Who deletes the lease neither makes two lead at once nor sets the epoch back behind what is stored.
async fn deleted_lease(lab: &Lab, adapter: &Cluster) {
    let timing = LeaseTiming {
        duration: Duration::from_secs(3),
        renew: Duration::from_secs(2),
        retry: Duration::from_millis(200),
    };
    let options =
        |identity: &str| LeaseOptions { name: "deleted".to_owned(), identity: identity.to_owned(), timing };
    let first = acquire(lab.client.clone(), HOME, options("a"), Timestamp::now).await.unwrap();
    let subscription = subscription(lab, adapter, "epochs").await;
    let mut release = adapter.ensure_release(&subscription, Digest::of(b"epoch")).await.unwrap();
    release.status.get_or_insert_default().epoch = 41;
    adapter.replace_release_status(&release).await.unwrap();
    lab.bed.kubectl(&["-n", HOME, "delete", "lease", "deleted"]).unwrap();
    let second = acquire(lab.client.clone(), HOME, options("b"), Timestamp::now).await.unwrap();
    assert!(!first.fence().is_open(), "two lead");
    assert_eq!(second.epoch(), 42);
    second.release().await.unwrap();
}
