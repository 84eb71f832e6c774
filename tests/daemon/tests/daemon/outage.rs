//! The API server goes away in the middle of an apply.

use std::{path::Path, sync::Arc, time::Duration};

use axum::http::Method;
use bundles_trust::Action;
use jiff::Timestamp;
use serde_json::Value;
use test_daemon::{
    goods::{Behaviour, Goods},
    lab::{HOME, Lab, Place, TARGET},
    proxy::{Call, Caught, Moment, Others, Proxy},
    shop::Shop,
};
use tokio::{
    sync::oneshot,
    task::block_in_place,
    time::{sleep, timeout},
};

const PATIENCE: Duration = Duration::from_mins(3);
/// Longer than the bed's nodes may be silent (8 s): the node controller takes readiness from all their pods.
const SILENCE: Duration = Duration::from_secs(12);

fn is_apply(call: &Call) -> bool {
    call.method == Method::PATCH && call.path.contains(&format!("/namespaces/{TARGET}/"))
}

async fn held(trap: oneshot::Receiver<Caught>, which: &str) -> Caught {
    timeout(PATIENCE, trap).await.expect(which).expect("the trap stays")
}

/// Keeps one daemon running, as a Deployment does: whoever ends, because the lease was lost or the API server refused
/// while it started, has a successor.
async fn keep_running(lab: Arc<Lab>, proxy: Proxy, guest: String) {
    loop {
        let door = proxy.door(lab.folder()).await.unwrap();
        let identity = format!("door-{}", door.number);
        let daemon = lab.daemon_behind(&door, &guest, &identity).await.unwrap();
        drop(daemon.ended().await);
        sleep(Duration::from_secs(1)).await;
    }
}

fn keeps(version: &str) -> impl Fn(&Value) -> bool {
    move |object| {
        let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let kept = conditions.iter().any(|one| one["type"] == "Ready" && one["reason"] == "Kept");
        kept && object["status"]["running"]["version"] == version
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_restarts_during_apply_costs_nothing() {
    let lab = Arc::new(Lab::start_bare(test_cluster::ClusterOptions::default()).await.unwrap());
    let (_server, registry) = lab.registry().await.unwrap();
    let goods = Goods::push(&registry, Path::new(env!("CARGO_BIN_EXE_guest"))).await.unwrap();
    let mut shop = Shop::new(registry.clone()).unwrap();
    let proxy = Proxy::new(&lab.install(&Place::default()).unwrap()).unwrap();
    let daemons: Vec<_> =
        (0..2).map(|_| tokio::spawn(keep_running(Arc::clone(&lab), proxy.clone(), goods.guest()))).collect();
    let one = goods.release(&shop, "1", Behaviour::Good, true).await.unwrap();
    shop.promote(&one, Action::Promote).await.unwrap();
    lab.bed.apply(&lab.subscription(&registry, &shop.root()).to_string()).unwrap();
    lab.wait("subscription", HOME, "shop", PATIENCE, keeps("1")).await.unwrap();
    let before = lab.get("deployment", TARGET, "api").unwrap();

    // The first apply is on its way when the API server stops: it never arrives.
    let since = Timestamp::now();
    let trap = proxy.catch(Moment::Before, Others::GoOn, is_apply);
    let two = goods.release(&shop, "2", Behaviour::Good, true).await.unwrap();
    shop.promote(&two, Action::Promote).await.unwrap();
    let Caught { call: first, go_on } = held(trap, "a first apply comes").await;
    block_in_place(|| lab.bed.stop_api_server()).unwrap();
    // The next one that arrives is done, and the API server stops before it can say so.
    let trap = proxy.catch(Moment::After, Others::GoOn, is_apply);
    // A daemon that lost its lease by now has gone; either way the API server never hears of the call.
    go_on.send(()).ok();
    block_in_place(|| lab.bed.start_api_server()).unwrap();
    let Caught { call: second, go_on } = held(trap, "it is tried again").await;
    block_in_place(|| lab.bed.stop_api_server()).unwrap();
    go_on.send(()).ok();
    sleep(SILENCE).await;
    block_in_place(|| lab.bed.start_api_server()).unwrap();
    // The old settings go when the release is kept, and not because nothing could be read.
    assert!(!lab.get("configmap", TARGET, "settings-1").unwrap().is_null(), "pruned on an error");
    lab.wait("subscription", HOME, "shop", PATIENCE, keeps("2")).await.unwrap();

    let calls = proxy.calls_since(0);
    let outcome = |caught: &Call| calls[caught.number - 1].status;
    assert_eq!(outcome(&first), None, "the first apply reached no API server");
    assert!(outcome(&second).is_some_and(|status| status < 300), "the second was done: {second:?}");

    // What the API server witnessed: the new settings were made once, the Deployment changed once, the old settings
    // were deleted once and after everything else, and one restore point was taken.
    let writes = lab.writes(since, Some(TARGET)).unwrap();
    let of = |verb: &str, name: &str| {
        let about = |event: &&test_cluster::AuditEvent| {
            event.verb == verb && event.object.as_ref().is_some_and(|object| object.name == name)
        };
        writes.iter().filter(about).collect::<Vec<_>>()
    };
    let made = of("patch", "settings-2").into_iter().filter(|event| event.code == 201).count();
    assert_eq!(made, 1, "{writes:#?}");
    let after = lab.get("deployment", TARGET, "api").unwrap();
    let generation = |object: &Value| object["metadata"]["generation"].as_i64().unwrap();
    assert_eq!(generation(&after), generation(&before) + 1, "one change, however often it was sent");
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    let deleted: Vec<_> = writes.iter().filter(|event| event.verb == "delete").collect();
    assert_eq!(deleted.len(), 1, "{deleted:#?}");
    assert_eq!(deleted[0].object.as_ref().unwrap().name, "settings-1");
    assert!(
        writes.iter().filter(|event| event.verb == "patch").all(|event| event.received < deleted[0].received)
    );
    assert_eq!(
        writes.iter().filter(|event| event.verb == "create").count(),
        2,
        "a claim and a Job: {writes:#?}"
    );

    for daemon in daemons {
        daemon.abort();
        // It held the lab.
        daemon.await.unwrap_err();
    }
    Arc::into_inner(lab).expect("nobody else has it").bed.stop().unwrap();
}
