//! The API server goes away in the middle of an apply.

use std::{path::Path, time::Duration};

use axum::http::Method;
use bundles_trust::Action;
use jiff::Timestamp;
use serde_json::Value;
use test_daemon::{
    goods::{Behaviour, Goods},
    lab::{HOME, Lab, Place, RunningDaemon, TARGET},
    proxy::{Call, Caught, Door, Moment, Others, Proxy},
    shop::Shop,
};
use tokio::{sync::oneshot, task::block_in_place, time::timeout};

const PATIENCE: Duration = Duration::from_secs(90);

fn is_apply(call: &Call) -> bool {
    call.method == Method::PATCH && call.path.contains(&format!("/namespaces/{TARGET}/"))
}

async fn held(trap: oneshot::Receiver<Caught>) -> Caught {
    timeout(PATIENCE, trap).await.expect("an apply comes").expect("the trap stays")
}

async fn start(lab: &Lab, proxy: &Proxy, goods: &Goods) -> (RunningDaemon, Door) {
    let door = proxy.door(lab.folder()).await.unwrap();
    let identity = format!("door-{}", door.number);
    (lab.daemon_behind(&door, &goods.guest(), &identity).await.unwrap(), door)
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
    let lab = Lab::start_bare(test_cluster::ClusterOptions::default()).await.unwrap();
    let (_server, registry) = lab.registry().await.unwrap();
    let goods = Goods::push(&registry, Path::new(env!("CARGO_BIN_EXE_guest"))).await.unwrap();
    let mut shop = Shop::new(registry.clone()).unwrap();
    let proxy = Proxy::new(&lab.install(&Place::default()).unwrap()).unwrap();
    // Whoever loses the lease while nobody can renew it has a successor.
    let mut daemons = vec![start(&lab, &proxy, &goods).await, start(&lab, &proxy, &goods).await];
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
    let Caught { call: first, go_on } = held(trap).await;
    block_in_place(|| lab.bed.stop_api_server()).unwrap();
    // The next one that arrives is done, and the API server stops before it can say so.
    let trap = proxy.catch(Moment::After, Others::GoOn, is_apply);
    // A daemon that lost its lease by now has gone; either way the API server never hears of the call.
    go_on.send(()).ok();
    block_in_place(|| lab.bed.start_api_server()).unwrap();
    let Caught { call: second, go_on } = held(trap).await;
    block_in_place(|| lab.bed.stop_api_server()).unwrap();
    go_on.send(()).ok();
    block_in_place(|| lab.bed.start_api_server()).unwrap();
    daemons.push(start(&lab, &proxy, &goods).await);
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

    for (daemon, _door) in daemons {
        daemon.stop_or_lost().await.unwrap();
    }
    lab.bed.stop().unwrap();
}
