//! Documents that the cluster lost.

use std::{path::Path, time::Duration};

use bundles_trust::Action;
use daemon_cluster::release_object_name;
use jiff::Timestamp;
use test_daemon::{
    goods::{Behaviour, Goods},
    lab::{HOME, Lab, TARGET},
    shop::Shop,
};

use crate::rollout::{condition, runs};

const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn lost_documents_are_fetched_again_by_digest() {
    let lab = Lab::start(1).await.unwrap();
    let (server, registry) = lab.registry().await.unwrap();
    let goods = Goods::push(&registry, Path::new(env!("CARGO_BIN_EXE_guest"))).await.unwrap();
    let mut shop = Shop::new(registry.clone()).unwrap();
    let one = goods.release(&shop, "1", Behaviour::Good, true).await.unwrap();
    shop.promote(&one, Action::Promote).await.unwrap();
    lab.bed.apply(&lab.subscription(&registry, &shop.root()).to_string()).unwrap();
    let daemon = lab.daemon(&goods.guest(), "first");
    lab.wait("subscription", HOME, "shop", PATIENCE, runs("1", "Kept")).await.unwrap();

    // A daemon that starts without them, while the registry is silent, does not say that all is well.
    daemon.stop().await.unwrap();
    let port = server.address().port();
    server.stop().await.unwrap();
    let name = release_object_name("shop", &one.digest());
    let documents = format!("bundle.build/document-of=release-{name}");
    lab.bed.kubectl(&["-n", HOME, "delete", "configmaps", "-l", &documents]).unwrap();
    let since = Timestamp::now();
    let daemon = lab.daemon(&goods.guest(), "second");
    let address = registry.address().to_string();
    let told = lab.wait("subscription", HOME, "shop", PATIENCE, |object| {
        condition(object, "Ready")["message"].as_str().is_some_and(|text| text.contains(&address))
    });
    let object = told.await.unwrap();
    assert_eq!(condition(&object, "Ready")["status"], "Unknown");

    // With the registry they are there again, and what was changed meanwhile is repaired.
    lab.bed.kubectl(&["-n", TARGET, "delete", "service", "api"]).unwrap();
    let server = lab.serve(port).await.unwrap();
    lab.wait("service", TARGET, "api", PATIENCE, |service| !service.is_null()).await.unwrap();
    lab.wait("subscription", HOME, "shop", PATIENCE, runs("1", "Kept")).await.unwrap();
    assert!(lab.bed.kubectl(&["-n", HOME, "get", "configmaps", "-l", &documents]).unwrap().contains("doc-"));
    let writes = lab.writes(since, Some(TARGET)).unwrap();
    assert_eq!(writes.len(), 1, "the Service: {writes:#?}");

    daemon.stop().await.unwrap();
    server.stop().await.unwrap();
    lab.bed.stop().unwrap();
}
