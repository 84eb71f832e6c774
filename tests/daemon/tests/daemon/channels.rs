//! What somebody who can move tags, but not sign, puts under the channel's tag: it changes nothing, and the condition
//! says why.

use std::{path::Path, time::Duration};

use bundles_trust::{Action, PrivateKey, SystemRandomness};
use daemon::{Freed, hold, unhold};
use jiff::Timestamp;
use serde_json::{Value, json};
use test_cluster::program;
use test_daemon::{
    image::Image,
    lab::{HOME, Lab, NODE_REGISTRY, TARGET},
    shop::{CHANNEL, Shop, api, sign},
};

use crate::rollout::{condition, runs};

const PATIENCE: Duration = Duration::from_secs(90);
/// Records of a channel while nobody looked.
const MISSED: usize = 70;

/// Whether the channel is not verified for this reason, with words about it.
fn doubts<'a>(reason: &'a str, words: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |object| {
        let channel = condition(object, "ChannelVerified");
        channel["status"] == "False"
            && channel["reason"] == reason
            && channel["message"].as_str().is_some_and(|text| text.contains(words))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_moves_tags_moves_nothing_else() {
    let lab = Lab::start(1).await.unwrap();
    let (server, registry) = lab.registry().await.unwrap();
    let mut shop = Shop::of_owners(registry.clone(), CHANNEL, &["alice", "bob"]).unwrap();
    let guest = Image::of_program(Path::new(env!("CARGO_BIN_EXE_guest")), "guest").unwrap();
    let (guest, _) = guest.push(&registry, &"daemon".parse().unwrap()).await.unwrap();
    let guest = format!("{NODE_REGISTRY}/daemon@{guest}");
    let probe = Image::of_program(&program("probe").unwrap(), "probe").unwrap();
    let probe = probe.push(&registry, &"shop/api".parse().unwrap()).await.unwrap();
    let ready =
        [("readinessProbe", json!({ "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1 }))];
    let one = shop.release("1", vec![api(probe, "one", &ready, 60)], true).await.unwrap();
    let first = shop.promote(&one, Action::Promote).await.unwrap();
    let subscription = lab.subscription(&registry, &shop.root()).to_string();
    lab.bed.apply(&subscription).unwrap();
    let daemon = lab.daemon(&guest, "first");
    lab.wait("subscription", HOME, "shop", PATIENCE, runs("1", "Kept")).await.unwrap();
    let floor = lab.adapter().read_floor("shop").await.unwrap().texts;

    // The accepted record again, with one of its two signatures: the stored ones stay, also for a daemon that starts
    // while the registry is silent.
    let (alice, bob) = (&shop.keys()[0], &shop.keys()[1]);
    let weaker = sign(first.document(), &[alice]).unwrap();
    assert_eq!(weaker.digest(), first.digest());
    shop.put(&weaker, [shop.channel().tag()]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(lab.adapter().read_floor("shop").await.unwrap().texts, floor);
    daemon.stop().await.unwrap();
    let port = server.address().port();
    server.stop().await.unwrap();
    let daemon = lab.daemon(&guest, "second");
    lab.wait("subscription", HOME, "shop", PATIENCE, |object| {
        condition(object, "ChannelVerified")["reason"] == "RegistrySilent" && runs("1", "Kept")(object)
    })
    .await
    .unwrap();
    let server = lab.serve(port).await.unwrap();

    // A next record that one of two owners signed, and one that a stranger signed.
    let since = Timestamp::now();
    let two = shop.release("2", vec![api(probe, "two", &ready, 60)], true).await.unwrap();
    let next = shop.next_record(&two, Action::Promote).unwrap();
    shop.put(&sign(&next, &[bob]).unwrap(), [shop.channel().tag()]).await.unwrap();
    let told = doubts("TooFewSignatures", "1 of 2 signatures for channel:shop/dev");
    let object = lab.wait("subscription", HOME, "shop", PATIENCE, &told).await.unwrap();
    let ready_now = condition(&object, "Ready");
    assert_eq!(ready_now["reason"], "Refused", "{ready_now}");
    let told = format!("release 1@{} runs", one.digest().short());
    assert!(ready_now["message"].as_str().unwrap().contains(&told), "{ready_now}");
    let stranger = PrivateKey::generate(&mut SystemRandomness).unwrap();
    shop.put(&sign(&next, &[&stranger]).unwrap(), [shop.channel().tag()]).await.unwrap();
    lab.wait("subscription", HOME, "shop", PATIENCE, doubts("WrongKey", "")).await.unwrap();
    let writes = lab.writes(since, Some(TARGET)).unwrap();
    assert!(writes.is_empty(), "{writes:#?}");

    // Signed by both it is taken; the older record after it is a replay.
    shop.promote(&two, Action::Promote).await.unwrap();
    lab.wait("subscription", HOME, "shop", PATIENCE, runs("2", "Kept")).await.unwrap();
    let since = Timestamp::now();
    shop.put(&first, [shop.channel().tag()]).await.unwrap();
    let replayed = doubts("Replayed", "move it to version 2 or promote anew");
    let object = lab.wait("subscription", HOME, "shop", PATIENCE, &replayed).await.unwrap();
    assert_eq!(object["status"]["running"]["version"], "2");
    assert_eq!(object["status"]["accepted"]["version"], 2);

    // The floor outlives the subscription: made again, it still refuses the older record.
    lab.bed.kubectl(&["-n", HOME, "delete", "subscription", "shop"]).unwrap();
    lab.wait("releases.bundle.build", HOME, "", PATIENCE, Value::is_null).await.unwrap();
    lab.bed.apply(&subscription).unwrap();
    let object = lab.wait("subscription", HOME, "shop", PATIENCE, &replayed).await.unwrap();
    assert_eq!(object["status"]["running"], Value::Null, "nothing is rolled out on a replayed record");
    let writes = lab.writes(since, Some(TARGET)).unwrap();
    assert!(writes.is_empty(), "{writes:#?}");
    // With the right record under the tag what runs is taken over as it is, however many records were missed.
    daemon.stop().await.unwrap();
    for _ in 0..MISSED {
        shop.promote(&two, Action::Promote).await.unwrap();
    }
    let daemon = lab.daemon(&guest, "third");
    lab.wait("subscription", HOME, "shop", PATIENCE, runs("2", "Kept")).await.unwrap();
    let writes = lab.writes(since, Some(TARGET)).unwrap();
    assert!(writes.is_empty(), "nothing had changed: {writes:#?}");

    // A held channel starts nothing, not even the release at which it stands; going back to what runs ends that.
    let since = Timestamp::now();
    hold(&lab.person(), "shop", "freeze", "alice").await.unwrap();
    let three = shop.release("3", vec![api(probe, "three", &ready, 60)], true).await.unwrap();
    let named = shop.promote(&three, Action::Promote).await.unwrap().document().version;
    let held = |record: u64, words: &str| {
        let words = words.to_owned();
        move |object: &Value| {
            object["status"]["accepted"]["version"] == record
                && condition(object, "Held")["message"] == words.as_str()
                && runs("2", "Held")(object)
        }
    };
    lab.wait("subscription", HOME, "shop", PATIENCE, held(named, "by alice: freeze")).await.unwrap();
    let holding = shop.promote(&three, Action::Hold).await.unwrap().document().version;
    lab.wait("subscription", HOME, "shop", PATIENCE, held(holding, "by alice: freeze")).await.unwrap();
    assert_eq!(unhold(&lab.person(), "shop").await.unwrap(), Freed::Follows);
    let told = held(holding, &format!("by record {holding} of the channel"));
    lab.wait("subscription", HOME, "shop", PATIENCE, told).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let writes = lab.writes(since, Some(TARGET)).unwrap();
    assert!(writes.is_empty(), "{writes:#?}");
    shop.promote(&two, Action::Rollback).await.unwrap();
    lab.wait("subscription", HOME, "shop", PATIENCE, runs("2", "Kept")).await.unwrap();

    // Another root of the same version is pinned: nothing goes on under the old one as if nothing had been said.
    let other = Shop::of_owners(registry.clone(), CHANNEL, &["alice", "bob"]).unwrap();
    lab.bed.apply(&lab.subscription(&registry, &other.root()).to_string()).unwrap();
    let told = doubts("RootMismatch", "kubectl -n bundle-system delete configmap trust-floor-shop");
    lab.wait("subscription", HOME, "shop", PATIENCE, &told).await.unwrap();

    daemon.stop().await.unwrap();
    server.stop().await.unwrap();
    lab.bed.stop().unwrap();
}
