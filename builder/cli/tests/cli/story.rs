//! A release from its recipe to its channel, with real keys.

use insta::assert_snapshot;
use registry_client::{Registry, Scheme};
use registry_wire::{ImageName, MediaType, Reference, RepositoryName};

use crate::{
    session::{Serving, with_filters},
    shop::Shop,
};

fn promotion(reference: &str, more: &str) -> String {
    format!(
        "promote production {reference} --scheme http --environment test --trust-root trust-root.json --reason \
         CHG-1 --by alice {more}"
    )
}

#[test]
fn a_release_is_signed_and_promoted_by_two_of_three_owners() {
    let shop = Shop::new();
    let session = &shop.session;
    let serving = Serving::start(session, &session.path("registry"));
    with_filters(|| {
        let sources = shop.archive.sources().join(" ");
        assert_snapshot!(session.run(&format!("lock --platform shop {sources}")), @r"
        shop/bundle.lock: written, 2 packages
        fetching 1 file: [SIZE]
        fetching 2 files: [SIZE]
        solved in [TIME], fetched [SIZE]
        ");
        assert_snapshot!(session.run("lock --platform shop"), @"shop/bundle.lock: up to date, 2 packages");
        assert_snapshot!(session.run(&format!("fetch --platform shop {sources}")), @"fetched 0 files, [SIZE]; 2 were there, 0 damaged ones were replaced");
        assert_snapshot!(session.run("build --platform shop"), @r"
        web          sha256:[DIGEST]     [SIZE]  built
        web: unpacking, 2 parts
        web: encoding layers, 5 parts
        ");
        assert_snapshot!(session.run("build --platform shop web"), @"web          sha256:[DIGEST]     [SIZE]  unchanged");
        assert_snapshot!(session.run("release --platform shop"), @"sha256:[DIGEST]");
        let release = format!("release --platform shop --scheme http --registry {}", serving.address);
        assert_snapshot!(session.run(&release), @r"
        [REGISTRY]/shop@sha256:[DIGEST]
        web: pushing: [SIZE]
        ");
        let reference = session.json(&release)["reference"].as_str().unwrap().to_owned();

        assert_snapshot!(session.run("key generate alice"), @r"
        alice.key (keep it secret)
        alice.pub
        hint [KEY]
        ");
        for owner in ["bob", "carol", "ci"] {
            session.json(&format!("key generate {owner}"));
        }
        shop.write_trust();
        assert_snapshot!(session.run("trust init trust.toml --key alice.key --key bob.key"), @r"
        trust-root.json: trust root of shop, version 1, until [INSTANT]
          digest sha256:[DIGEST]
          root: 2 of alice, bob, carol
          release: 1 of ci
          channel:shop/production: 2 of alice, bob, carol
          key [KEY] of alice
          key [KEY] of bob
          key [KEY] of carol
          key [KEY] of ci
        ");
        assert_snapshot!(session.run("trust init trust.toml --key bob.key --key alice.key"), @r"
        trust-root.json: trust root of shop, version 1, until [INSTANT]
          digest sha256:[DIGEST]
          root: 2 of alice, bob, carol
          release: 1 of ci
          channel:shop/production: 2 of alice, bob, carol
          key [KEY] of alice
          key [KEY] of bob
          key [KEY] of carol
          key [KEY] of ci
        ");
        assert_snapshot!(session.run("trust show trust-root.json"), @r"
        trust-root.json: trust root of shop, version 1, until [INSTANT]
          digest sha256:[DIGEST]
          root: 2 of alice, bob, carol
          release: 1 of ci
          channel:shop/production: 2 of alice, bob, carol
          key [KEY] of alice
          key [KEY] of bob
          key [KEY] of carol
          key [KEY] of ci
        ");

        let sign = format!("sign {reference} --scheme http --key ci.key");
        assert_snapshot!(session.run(&sign), @"signed [REGISTRY]/shop@sha256:[DIGEST] with key [KEY]");
        assert_snapshot!(session.run(&sign), @"skipped: [REGISTRY]/shop@sha256:[DIGEST] has a valid signature of key [KEY]");
        let by_tag = format!("{}/shop:0.1.0", serving.address);
        let verify = format!("verify {by_tag} --scheme http --trust-root trust-root.json");
        assert_snapshot!(session.run(&verify), @r"
        [REGISTRY]/shop@sha256:[DIGEST] 0.1.0
          signed by ci, key [KEY]
          1 of 1 signatures for release: enough
        ");

        let promote = promotion(&reference, "--key alice.key --key carol.key");
        assert_snapshot!(session.run(&promote), @r"
        shop/production names 0.1.0 sha256:[DIGEST] for environment test
        record 1, promote, signed by alice, carol
        ");
        assert_snapshot!(session.run(&promote), @r"
        shop/production unchanged: it names 0.1.0 sha256:[DIGEST] for environment test
        record 1, promote, signed by alice, carol
        ");
        // What is said already needs no key.
        let unchanged = session.json(&promotion(&by_tag, "--key nobody.key"));
        assert_eq!((unchanged["record"].as_u64(), unchanged["changed"].as_bool()), (Some(1), Some(false)));
    });
}

#[test]
fn a_channel_goes_on_comes_back_on_purpose_and_is_not_led_back() {
    let shop = Shop::locked();
    let session = &shop.session;
    let serving = Serving::start(session, &session.path("registry"));
    shop.make_root();
    let owners = "--key alice.key --key bob.key";
    let [first, second] = ["0.1.0", "0.2.0"].map(|version| {
        let reference = shop.release(version, &serving);
        session.json(&format!("sign {reference} --scheme http --key ci.key"));
        let document = session.json(&promotion(&reference, owners));
        assert_eq!(document["version"], version);
        reference
    });
    with_filters(|| {
        // Somebody who may push moves the tag of the channel back.
        move_tag(&serving, "channel-shop-production-1", "channel-shop-production");
        assert_snapshot!(session.run(&promotion(&first, owners)), @r"
        exit 4
        error: the tag channel-shop-production names record 1, but record 2 is there and signed: an older record is replayed, or a promotion was cut off
          try: bundle promote production [REGISTRY]/shop@sha256:[DIGEST] --scheme http --environment test … puts record 2 back; then promote again
        ");
        // The hint says what mends it, and nobody has to sign for that.
        assert_snapshot!(session.run(&promotion(&second, "--key nobody.key")), @r"
        shop/production names 0.2.0 sha256:[DIGEST] for environment test
        record 2, promote, signed by alice, bob
        ");
        assert_snapshot!(session.run(&promotion(&second, owners)), @r"
        shop/production unchanged: it names 0.2.0 sha256:[DIGEST] for environment test
        record 2, promote, signed by alice, bob
        ");

        assert_snapshot!(session.run(&promotion(&first, owners)), @r"
        exit 4
        error: the channel has left the release sha256:[DIGEST] before and comes back to it only by a rollback
          try: the same command with --rollback
        ");
        assert_snapshot!(session.run(&promotion(&first, &format!("{owners} --rollback"))), @r"
        shop/production names 0.1.0 sha256:[DIGEST] for environment test
        record 3, rollback, signed by alice, bob
        ");
        assert_snapshot!(session.run(&promotion(&first, owners)), @r"
        shop/production unchanged: it names 0.1.0 sha256:[DIGEST] for environment test
        record 3, rollback, signed by alice, bob
        ");

        // What stands at the channel's tag is no record.
        move_tag(&serving, "0.1.0", "channel-shop-production");
        assert_snapshot!(session.run(&promotion(&second, owners)), @r"
        exit 4
        error: the manifest sha256:[DIGEST] does not have the form of a channel record
          because: unknown field `annotations`, expected one of `mediaType`, `digest`, `size`, `data` at line 1 column 469
          try: look who wrote the tag channel-shop-production, and put the record of the channel there that belongs there
        ");
    });
}

#[test]
fn a_release_and_its_images_lie_together() {
    let shop = Shop::locked();
    let serving = Serving::start(&shop.session, &shop.session.path("registry"));
    let release = format!("release --platform shop --scheme http --registry {}", serving.address);
    let document = shop.session.json(&release);
    let carrier: ImageName = document["carrier"].as_str().unwrap().parse().unwrap();
    let registry = Registry::new(carrier.registry.clone(), Scheme::Http).unwrap();
    runtime().block_on(async {
        let read = |reference: Reference| {
            let registry = registry.clone();
            let repository = carrier.repository.clone();
            async move { registry.get_manifest(&repository, &reference).await.unwrap().unwrap() }
        };
        let index = read(carrier.reference().unwrap()).await;
        assert_eq!(*index.media_type(), MediaType::IMAGE_INDEX);
        let listed = &index.index().unwrap().manifests;
        assert_eq!(listed[0].digest.to_string(), document["digest"]);
        assert_eq!(listed.len(), 2);
        let mut blobs = 0;
        for descriptor in listed {
            let manifest = read(Reference::Digest(descriptor.digest)).await;
            let image = manifest.image().unwrap();
            for blob in image.layers.iter().chain([&image.config]) {
                assert!(registry.has_blob(&carrier.repository, &blob.digest).await.unwrap(), "{blob:?}");
                blobs += 1;
            }
        }
        assert!(blobs >= 5, "only {blobs} blobs were seen");
    });
}

/// Does what anybody can who may push: puts the manifest of one tag at another.
fn move_tag(serving: &Serving, from: &str, to: &str) {
    let registry = Registry::new(serving.address.parse().unwrap(), Scheme::Http).unwrap();
    let repository: RepositoryName = "shop".parse().unwrap();
    runtime().block_on(async {
        let manifest = registry.get_manifest(&repository, &from.parse().unwrap()).await.unwrap().unwrap();
        registry.put_manifest(&repository, &to.parse().unwrap(), &manifest).await.unwrap();
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
