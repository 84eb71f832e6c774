//! Rollouts from a real registry, signed, into a real cluster.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bundles_trust::Action;
use daemon::{CommandError, Freed, PinChoice, clear_denied, history, pin, unpin};
use daemon_cluster::{Cluster, Subscription, release_object_name};
use jiff::Timestamp;
use registry_wire::Digest;
use serde_json::{Value, json};
use test_cluster::program;
use test_daemon::{
    image::Image,
    lab::{HOME, Lab, NODE_REGISTRY, TARGET},
    shop::{Part, Shop, api, cache},
};

const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

/// Whether the subscription runs this version and is ready for this reason.
pub(crate) fn runs<'a>(version: &'a str, reason: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |object| {
        object["status"]["running"]["version"] == version && condition(object, "Ready")["reason"] == reason
    }
}

fn mark(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"]
}

/// Notes the words about readiness, and whether a release runs by then.
async fn listen(cluster: Cluster, told: Arc<Mutex<BTreeSet<(bool, String)>>>) {
    loop {
        if let Ok(Some(Subscription { status: Some(status), .. })) = cluster.subscription("shop").await {
            let ready = status.conditions.iter().find(|one| one.kind == "Ready");
            let reason = ready.map(|one| one.reason.clone()).unwrap_or_default();
            told.lock().unwrap().insert((status.running.is_some(), reason));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_itself_right() {
    let lab = Lab::start(1).await.unwrap();
    let (server, registry) = lab.registry().await.unwrap();
    let mut shop = Shop::new(registry.clone()).unwrap();
    let guest = Image::of_program(Path::new(env!("CARGO_BIN_EXE_guest")), "guest").unwrap();
    let (guest, _) = guest.push(&registry, &"daemon".parse().unwrap()).await.unwrap();
    let guest = format!("{NODE_REGISTRY}/daemon@{guest}");
    let probe = Image::of_program(&program("probe").unwrap(), "probe").unwrap();
    let probe = probe.push(&registry, &"shop/api".parse().unwrap()).await.unwrap();
    let redis = Image::of_redis().unwrap().push(&registry, &"shop/cache".parse().unwrap()).await.unwrap();
    let ready =
        ("readinessProbe", json!({ "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1 }));
    let parts = |version: &str, deadline: u32, more: &[(&str, Value)]| -> Vec<Part> {
        vec![api(probe, version, more, deadline), cache(redis)]
    };

    // A first install: nothing to protect.
    let one = shop.release("1", parts("one", 60, std::slice::from_ref(&ready)), true).await.unwrap();
    shop.promote(&one, Action::Promote).await.unwrap();
    let subscription = lab.subscription(&registry, &shop.root()).to_string();
    let told: Arc<Mutex<BTreeSet<_>>> = Arc::default();
    let listener = tokio::spawn(listen(lab.person(), told.clone()));
    lab.bed.apply(&subscription).unwrap();
    let daemon = lab.daemon(&guest, "first");
    lab.wait("subscription", HOME, "shop", PATIENCE, runs("1", "Kept")).await.unwrap();
    listener.abort();
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert!(told.iter().any(|(runs, _)| !runs), "nothing was heard: {told:?}");
    assert!(!told.contains(&(true, "RollOut".to_owned())), "what runs is said to be next: {told:?}");
    let told = lab.bed.kubectl(&["-n", HOME, "get", "events"]).unwrap();
    for phase in ["Fetched", "Verified", "OnNodes", "NothingToProtect", "Applied", "Kept"] {
        assert!(told.contains(phase), "no event {phase}: {told}");
    }
    // Only one daemon leads.
    let standby = lab.daemon(&guest, "second");

    // Everything in place: nothing is written, no status either.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let since = Timestamp::now();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let writes = lab.writes(since, None).unwrap();
    assert!(writes.is_empty(), "{writes:#?}");

    // Drift is repaired.
    lab.bed
        .kubectl(&["-n", TARGET, "set", "image", "deployment/api", "api=registry.example/else:1"])
        .unwrap();
    lab.bed.kubectl(&["-n", TARGET, "delete", "service", "api"]).unwrap();
    let image = format!("{NODE_REGISTRY}/shop/api@{}", probe.0);
    lab.wait("deployment", TARGET, "api", PATIENCE, |api| {
        api["spec"]["template"]["spec"]["containers"][0]["image"] == image.as_str()
    })
    .await
    .unwrap();
    lab.wait("service", TARGET, "api", PATIENCE, |service| !service.is_null()).await.unwrap();
    lab.wait("subscription", HOME, "shop", PATIENCE, runs("1", "Kept")).await.unwrap();

    // An update: the data is protected first.
    let set = lab.bed.kubectl(&[
        "-n",
        TARGET,
        "exec",
        "cache-0",
        "--",
        "/usr/bin/redis-cli",
        "set",
        "key",
        "value",
    ]);
    assert!(set.unwrap().contains("OK"));
    let two = shop.release("2", parts("two", 60, std::slice::from_ref(&ready)), true).await.unwrap();
    shop.promote(&two, Action::Promote).await.unwrap();
    lab.wait("subscription", HOME, "shop", PATIENCE, runs("2", "Kept")).await.unwrap();
    let told = history(&lab.person(), "shop").await.unwrap();
    let points = &told.entries.last().unwrap().restore_points;
    assert_eq!(points.len(), 1, "{points:?}");
    assert_eq!(points[0].service, "cache");
    assert!(points[0].size > 0);
    check_restore_point(&lab, points[0].name.as_str(), &points[0].digest.to_string());

    // A release that crashes takes itself back.
    let crash = [("command", json!(["/program", "-no-such-flag"])), ready.clone()];
    let guest_image = Image::of_program(Path::new(env!("CARGO_BIN_EXE_guest")), "crash").unwrap();
    let crashing = guest_image.push(&registry, &"shop/api".parse().unwrap()).await.unwrap();
    let three =
        shop.release("3", vec![api(crashing, "three", &crash, 60), cache(redis)], true).await.unwrap();
    shop.promote(&three, Action::Promote).await.unwrap();
    // As soon as its images are on the nodes the registry goes, and the leading daemon is killed: the other one takes
    // over and needs neither.
    let name = release_object_name("shop", &three.digest());
    let object = lab
        .wait("releases.bundle.build", HOME, name.as_str(), PATIENCE, |object| {
            let phase = object["status"]["phase"].as_str().unwrap_or_default();
            !matches!(phase, "" | "Started" | "Fetched" | "Verified")
        })
        .await
        .unwrap();
    let phase = object["status"]["phase"].as_str().unwrap();
    assert!(matches!(phase, "OnNodes" | "Protected"), "the registry went too late to show anything: {phase}");
    let port = server.address().port();
    server.stop().await.unwrap();
    daemon.kill().await.unwrap();
    let object = lab.wait("subscription", HOME, "shop", PATIENCE, runs("2", "Denied")).await.unwrap();
    let server = lab.serve(port).await.unwrap();
    assert_eq!(object["status"]["denied"][0]["digest"], three.digest().to_string());
    // Its image ran: it was on the node, though there was no registry to pull it from.
    let reason = object["status"]["denied"][0]["reason"].as_str().unwrap();
    assert!(matches!(reason, "CrashLoop" | "Restarts"), "{object:#}");
    let live = lab.get("deployment", TARGET, "api").unwrap();
    assert_eq!(mark(&live), "two");

    // A release that never gets ready takes itself back at its deadline.
    let never = ("readinessProbe", json!({ "httpGet": { "path": "/no", "port": 8080 }, "periodSeconds": 1 }));
    let four = shop.release("4", parts("four", 8, &[never]), true).await.unwrap();
    shop.promote(&four, Action::Promote).await.unwrap();
    lab.wait("subscription", HOME, "shop", PATIENCE, |object| {
        object["status"]["denied"][1]["digest"] == four.digest().to_string() && runs("2", "Denied")(object)
    })
    .await
    .unwrap();
    assert_eq!(mark(&lab.get("deployment", TARGET, "api").unwrap()), "two");

    // A release whose image is missing is refused before any write.
    let since = Timestamp::now();
    let missing = (Digest::of(b"missing"), 1000);
    let five = shop
        .release("5", vec![api(missing, "five", std::slice::from_ref(&ready), 60), cache(redis)], true)
        .await
        .unwrap();
    shop.promote(&five, Action::Promote).await.unwrap();
    let object = lab.wait("subscription", HOME, "shop", PATIENCE, runs("2", "Refused")).await.unwrap();
    let message = condition(&object, "Ready")["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&missing.0.to_string()), "{message}");
    let writes = lab.writes(since, Some(TARGET)).unwrap();
    assert!(writes.is_empty(), "{writes:#?}");

    // An unsigned release is refused as well.
    let six = shop.release("6", parts("six", 60, std::slice::from_ref(&ready)), false).await.unwrap();
    shop.promote(&six, Action::Promote).await.unwrap();
    lab.wait("subscription", HOME, "shop", PATIENCE, |object| {
        condition(object, "Ready")["message"].as_str().is_some_and(|text| text.contains("is not signed"))
    })
    .await
    .unwrap();

    // A pinned cluster sees the next release and stays where it is.
    let pinned = pin(&lab.person(), "shop", PinChoice::Running, "inventory", "alice").await.unwrap();
    assert_eq!((pinned.release, pinned.denied), (two.digest(), None));
    let mistyped = PinChoice::Known(Digest::of(b"mistyped"));
    let error = pin(&lab.person(), "shop", mistyped, "inventory", "alice").await.unwrap_err();
    assert!(matches!(error, CommandError::UnknownRelease { .. }), "{error}");
    assert!(error.to_string().contains(&two.digest().to_string()), "{error}");
    let seven = shop.release("7", parts("seven", 60, std::slice::from_ref(&ready)), true).await.unwrap();
    shop.promote(&seven, Action::Promote).await.unwrap();
    let object = lab
        .wait("subscription", HOME, "shop", PATIENCE, |object| {
            object["status"]["accepted"]["releaseVersion"] == "7" && runs("2", "Pinned")(object)
        })
        .await
        .unwrap();
    assert_eq!(condition(&object, "Pinned")["status"], "True");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let since = Timestamp::now();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let writes = lab.writes(since, None).unwrap();
    assert!(writes.is_empty(), "{writes:#?}");

    // A release of another product, signed by the same owner, is not what the channel is for, whoever names it.
    let parts = parts("two", 60, std::slice::from_ref(&ready));
    let sibling = shop.release_of("warehouse", "7", parts, true).await.unwrap();
    let since = Timestamp::now();
    pin(&lab.person(), "shop", PinChoice::Any(sibling.digest()), "mistaken", "alice").await.unwrap();
    let object = lab.wait("subscription", HOME, "shop", PATIENCE, runs("2", "Refused")).await.unwrap();
    let message = condition(&object, "Ready")["message"].as_str().unwrap();
    let told = format!("Identity: the release {} is of the product warehouse", sibling.digest());
    assert!(message.starts_with(&told), "{message}");
    let writes = lab.writes(since, Some(TARGET)).unwrap();
    assert!(writes.is_empty(), "{writes:#?}");
    pin(&lab.person(), "shop", PinChoice::Running, "inventory", "alice").await.unwrap();
    lab.wait("subscription", HOME, "shop", PATIENCE, runs("2", "Pinned")).await.unwrap();

    // Without the registry what runs is kept in place, also by a daemon that starts now.
    server.stop().await.unwrap();
    standby.stop().await.unwrap();
    let daemon = lab.daemon(&guest, "third");
    lab.bed.kubectl(&["-n", TARGET, "delete", "service", "api"]).unwrap();
    lab.wait("service", TARGET, "api", PATIENCE, |service| !service.is_null()).await.unwrap();
    let object = lab.wait("subscription", HOME, "shop", PATIENCE, runs("2", "Pinned")).await.unwrap();
    assert_eq!(object["status"]["accepted"]["releaseVersion"], "7");

    // What cannot be fetched says why for as long as it waits.
    pin(&lab.person(), "shop", PinChoice::Known(seven.digest()), "a try", "alice").await.unwrap();
    let address = registry.address().to_string();
    lab.wait("subscription", HOME, "shop", PATIENCE, |object| {
        condition(object, "Progressing")["message"].as_str().is_some_and(|text| text.contains(&address))
    })
    .await
    .unwrap();
    pin(&lab.person(), "shop", PinChoice::Known(two.digest()), "inventory", "alice").await.unwrap();
    lab.wait("subscription", HOME, "shop", PATIENCE, runs("2", "Pinned")).await.unwrap();

    for entry in history(&lab.person(), "shop").await.unwrap().entries {
        let took = entry.since.unwrap().duration_since(entry.started.unwrap());
        // What was never fetched has no version.
        let version = entry.version.unwrap_or_else(|| entry.digest.to_string());
        println!("{version} attempt {}: {} after {took:#}", entry.attempt, entry.phase);
    }

    // What a person clears and unpins is a person's word.
    clear_denied(&lab.person(), "shop", three.digest(), "fixed outside", "alice").await.unwrap();
    assert_eq!(unpin(&lab.person(), "shop").await.unwrap(), Freed::Follows);
    daemon.stop().await.unwrap();
    let server = lab.serve(port).await.unwrap();
    saves_what_is_not_remembered(&lab, &subscription, &guest).await;
    server.stop().await.unwrap();
    lab.bed.stop().unwrap();
}

/// A subscription that is made anew remembers no release, and still writes over no data that it could not save: it says
/// what it waits for.
async fn saves_what_is_not_remembered(lab: &Lab, subscription: &str, guest: &str) {
    let kubectl = |words: &[&str]| lab.bed.kubectl(words).unwrap();
    kubectl(&["-n", HOME, "delete", "subscription", "shop"]);
    lab.wait("releases.bundle.build", HOME, "", PATIENCE, Value::is_null).await.unwrap();
    let probe = |port: u16| {
        let path = "/spec/template/spec/containers/0/readinessProbe";
        let probe = json!({ "tcpSocket": { "port": port }, "periodSeconds": 1 });
        json!([{ "op": "replace", "path": path, "value": probe }]).to_string()
    };
    let ready = |count: u64| move |set: &Value| set["status"]["readyReplicas"].as_u64().unwrap_or(0) == count;
    kubectl(&["-n", TARGET, "patch", "statefulset", "cache", "--type=json", "-p", &probe(1)]);
    lab.wait("statefulset", TARGET, "cache", PATIENCE, ready(0)).await.unwrap();
    lab.bed.apply(subscription).unwrap();
    let daemon = lab.daemon(guest, "fourth");
    let since = Timestamp::now();
    lab.wait("subscription", HOME, "shop", PATIENCE, |object| {
        let message = condition(object, "Progressing")["message"].as_str().unwrap_or_default();
        message.contains("claim data-cache-0 may hold its data")
            && message.contains(&format!("kubectl -n {TARGET} delete statefulset.apps cache"))
    })
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let writes = lab.writes(since, Some(TARGET)).unwrap();
    assert!(writes.is_empty(), "{writes:#?}");
    // As soon as it is there again its data is saved, and the release goes on.
    kubectl(&["-n", TARGET, "patch", "statefulset", "cache", "--type=json", "-p", &probe(6379)]);
    kubectl(&["-n", TARGET, "delete", "pod", "cache-0"]);
    lab.wait("subscription", HOME, "shop", PATIENCE, runs("7", "Kept")).await.unwrap();
    let told = history(&lab.person(), "shop").await.unwrap();
    assert_eq!(told.entries.last().unwrap().restore_points.len(), 1, "{told:?}");
    daemon.stop().await.unwrap();
}

/// The file on the volume is whole and Redis's own checker reads it.
fn check_restore_point(lab: &Lab, name: &str, digest: &str) {
    let claim = lab.get("persistentvolumeclaim", TARGET, "bundle-backup").unwrap();
    let volume = claim["spec"]["volumeName"].as_str().unwrap();
    let volume = lab.get("persistentvolume", TARGET, volume).unwrap();
    let inside = volume["spec"]["local"]["path"].as_str().unwrap().to_owned();
    let node = lab.bed.node(1).unwrap();
    let number: u8 = inside.rsplit(|end: char| !end.is_ascii_digit()).next().unwrap().parse().unwrap();
    let path = node.volume(number).join(format!("{name}.rdb"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(Digest::of(&bytes).to_string(), digest);
    let checked = std::process::Command::new("redis-check-rdb").arg(&path).output().unwrap();
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && text.contains("1 keys read"), "{text}");
}
