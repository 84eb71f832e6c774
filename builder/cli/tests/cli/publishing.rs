//! Releasing, signing, verifying and promoting: what is refused.

use insta::assert_snapshot;

use crate::{
    session::{Serving, silent_address, with_filters},
    shop::Shop,
};

#[test]
fn releases_that_cannot_be_named() {
    let shop = Shop::locked();
    let session = &shop.session;
    shop.make_root();
    let mut serving = Serving::start(session, &session.path("registry"));
    let reference = shop.release("0.1.0", &serving);
    let address = serving.address.clone();
    with_filters(|| {
        for verb in ["sign", "verify"] {
            let given = if verb == "sign" { "--key ci.key" } else { "--trust-root trust-root.json" };
            let run = |reference: &str| session.run(&format!("{verb} {reference} --scheme http {given}"));
            insta::allow_duplicates! {
                assert_snapshot!(run(&format!("{address}/shop")), @r"
                exit 2
                error: `[REGISTRY]/shop` names neither a tag nor a digest
                  try: `bundle release --registry HOST:PORT` prints the whole reference
                ");
                assert_snapshot!(run(&format!("{address}/shop:0.2.0")), @r"
                exit 3
                error: registry [REGISTRY] has no release 0.2.0 in shop
                  try: bundle release --registry [REGISTRY] --scheme http pushes one
                ");
                assert_snapshot!(run(&format!("{address}/shop:0.1.0-all")), @r"
                exit 3
                error: 0.1.0-all in shop is no release
                  because: manifest sha256:[DIGEST] is not a release
                  try: name a release: `bundle release --registry HOST:PORT` prints its reference
                ");
                assert_snapshot!(run(&format!("{}/shop:0.1.0", silent_address())), @r"
                exit 5
                error: the manifest 0.1.0 of shop is not read
                  because: registry [REGISTRY] does not answer: cannot read manifest shop:0.1.0
                  because: error sending request for url (http://[REGISTRY]/v2/shop/manifests/0.1.0)
                  because: client error (Connect)
                  because: tcp connect error
                  because: Connection refused (os error 111)
                  try: is it running and is the address right? `bundle registry serve` starts one for `--scheme http`; `curl [REGISTRY]/v2/` asks it
                ");
            }
        }
        assert_snapshot!(session.run("sign shop:0.1.0 --key ci.key"), @r"
        exit 2
        error: invalid value 'shop:0.1.0' for '<REFERENCE>': `shop:0.1.0` is not an image name: registry/repository[:tag][@digest] is expected

        For more information, try '--help'.
        ");
        assert_snapshot!(session.run(&format!("sign {reference} --key ci.key")), @r"
        exit 5
        error: the manifest sha256:[DIGEST] of shop is not read
          because: registry [REGISTRY] does not answer: cannot read manifest shop@sha256:[DIGEST]
          because: error sending request for url (https://[REGISTRY]/v2/shop/manifests/sha256:[DIGEST])
          because: client error (Connect)
          because: received corrupt message of type InvalidContentType
          try: is it running and is the address right? If it speaks plain HTTP: --scheme http
        ");
        assert_snapshot!(session.run(&format!("sign {reference} --scheme http --key absent.key")), @r"
        exit 3
        error: the key absent.key cannot be read
          because: No such file or directory (os error 2)
          try: bundle key generate NAME makes NAME.key and NAME.pub
        ");
        assert_snapshot!(session.run(&format!("sign {reference} --scheme http --key ci.pub")), @r"
        exit 3
        error: ci.pub is not opened as a private key
          because: the key file holds a `PUBLIC KEY`, an `ENCRYPTED SIGSTORE PRIVATE KEY` is expected
          try: name NAME.key, the private half that `bundle key generate` made
        ");
        let line = format!("sign {reference} --scheme http --key ci.key");
        let mut command = session.command(line.split(' '));
        command.env("BUNDLE_PASSWORD", "wrong");
        assert_snapshot!(session.show(command), @r"
        exit 4
        error: ci.key is not opened as a private key
          because: the password does not open the key file, or the file is damaged
          try: set BUNDLE_PASSWORD to the password of this key, or type it at the terminal
        ");

        let release = format!("release --platform shop --scheme http --registry {address}");
        serving.stop();
        assert_snapshot!(session.run(&release), @r"
        exit 5
        error: registry [REGISTRY] does not answer: cannot read manifest shop/web:kept-[HEX]
          because: error sending request for url (http://[REGISTRY]/v2/shop/web/manifests/kept-[HEX])
          because: client error (Connect)
          because: tcp connect error
          because: Connection refused (os error 111)
          try: is it running and is the address right? `bundle registry serve` starts one for `--scheme http`; `curl [REGISTRY]/v2/` asks it
        ");
        assert_snapshot!(session.run("release --platform shop --scheme ftp --registry localhost"), @r"
        exit 2
        error: invalid value 'ftp' for '--scheme <SCHEME>': `ftp` is neither http nor https

        For more information, try '--help'.
        ");
    });
}

#[test]
fn releases_that_nobody_vouches_for() {
    let shop = Shop::locked();
    let session = &shop.session;
    shop.make_root();
    let serving = Serving::start(session, &session.path("registry"));
    let reference = shop.release("0.1.0", &serving);
    let verify = format!("verify {reference} --scheme http --trust-root");
    with_filters(|| {
        assert_snapshot!(session.run(&format!("{verify} trust-root.json")), @r"
        exit 4
        error: the release sha256:[DIGEST] is not signed
          try: bundle sign [REGISTRY]/shop@sha256:[DIGEST] --scheme http --key FILE
        ");
        assert_snapshot!(session.run(&format!("{verify} absent.json")), @r"
        exit 3
        error: the trust root absent.json cannot be read
          because: No such file or directory (os error 2)
          try: bundle trust init trust.toml --key FILE makes one
        ");
        // A key that may not sign releases.
        session.json(&format!("sign {reference} --scheme http --key alice.key"));
        assert_snapshot!(session.run(&format!("{verify} trust-root.json")), @r"
        exit 4
        error: signed by the wrong key for release: [KEY]: the key does not have this role
          try: bundle sign [REGISTRY]/shop@sha256:[DIGEST] --scheme http --key FILE
        ");
        // The root of another product.
        let text = session.read("trust.toml").replace("\"shop\"", "\"stall\"");
        session.write("other.toml", &text);
        session.json("trust init other.toml --output other.json --key alice.key --key bob.key");
        assert_snapshot!(session.run(&format!("{verify} other.json")), @r"
        exit 4
        error: the trust root is for the product stall, not for shop
          try: check the pinned trust root against the one that its owners published
        ");
        // Signed twice, by one who may and by one who may not.
        session.json(&format!("sign {reference} --scheme http --key ci.key"));
        assert_snapshot!(session.run(&format!("{verify} trust-root.json")), @r"
        [REGISTRY]/shop@sha256:[DIGEST] 0.1.0
          signed by ci, key [KEY]
          not counted: key [KEY]: the key does not have this role
          1 of 1 signatures for release: enough
        ");
    });
}

#[test]
fn promotions_that_are_refused() {
    let shop = Shop::locked();
    let session = &shop.session;
    shop.make_root();
    let serving = Serving::start(session, &session.path("registry"));
    let reference = shop.release("0.1.0", &serving);
    let promote = |changes: &[(&str, &str)]| {
        let mut line = format!(
            "promote production {reference} --scheme http --environment test --trust-root trust-root.json --reason \
             CHG-1 --by alice --key alice.key --key bob.key"
        );
        for (from, to) in changes {
            assert!(line.contains(from), "`{line}` does not hold `{from}`");
            line = line.replacen(from, to, 1);
        }
        session.run(&line)
    };
    with_filters(|| {
        assert_snapshot!(promote(&[]), @r"
        exit 4
        error: the release sha256:[DIGEST] is not signed
          try: bundle sign [REGISTRY]/shop@sha256:[DIGEST] --scheme http --key FILE
        ");
        session.json(&format!("sign {reference} --scheme http --key ci.key"));
        assert_snapshot!(promote(&[(" --key bob.key", "")]), @r"
        exit 4
        error: 1 of 2 signatures for channel:shop/production
          try: the same command with --key FILE of bob or carol
        ");
        assert_snapshot!(promote(&[("bob.key", "alice.key")]), @r"
        exit 4
        error: 1 of 2 signatures for channel:shop/production
          try: the same command with --key FILE of bob or carol
        ");
        assert_snapshot!(promote(&[("bob.key", "ci.key")]), @r"
        exit 4
        error: 1 of 2 signatures for channel:shop/production: [KEY]: the key does not have this role
          try: the same command with --key FILE of bob or carol
        ");
        assert_snapshot!(promote(&[("alice.key", "ci.key"), (" --key bob.key", "")]), @r"
        exit 4
        error: signed by the wrong key for channel:shop/production: [KEY]: the key does not have this role
          try: the same command with --key FILE of alice or bob or carol
        ");
        assert_snapshot!(promote(&[("bob.key", "absent.key")]), @r"
        exit 3
        error: the key absent.key cannot be read
          because: No such file or directory (os error 2)
          try: bundle key generate NAME makes NAME.key and NAME.pub
        ");
        assert_snapshot!(promote(&[("--environment test", "--environment prod")]), @r"
        exit 3
        error: the release has no environment prod; it has test
          try: --environment test
        ");
        assert_snapshot!(promote(&[("production", "staging")]), @r"
        exit 4
        error: the trust root names no keys for channel:shop/staging
          try: add the role channel:shop/staging in the next version of the trust root: bundle trust next
        ");
        assert_snapshot!(promote(&[("production", "pre-production")]), @r"
        exit 2
        error: invalid value 'pre-production' for '<CHANNEL>': `pre-production` is not the name of a channel: 1 to 32 lower-case letters and digits, starting with a letter, with inner . and _ but no dash

        For more information, try '--help'.
        ");
        assert_snapshot!(promote(&[("--by alice", "--by dave")]), @r"
        exit 4
        error: the trust root has no owner dave; it has alice, bob, carol, ci
          try: --by OWNER, one of those
        ");
        assert_snapshot!(promote(&[("--trust-root trust-root.json", "--trust-root trust.toml")]), @r"
        exit 3
        error: trust.toml is not a trust root
          because: manifest sha256:[DIGEST] is not valid
          because: expected value at line 1 column 1
          try: bundle trust init trust.toml --key FILE makes one
        ");
        assert_snapshot!(promote(&[(" --key alice.key --key bob.key", "")]), @r"
        exit 2
        error: the following required arguments were not provided:
          --key <FILE>

        Usage: bundle promote --environment <NAME> --trust-root <FILE> --key <FILE> --reason <TEXT> --by <OWNER> --scheme <SCHEME> <CHANNEL> <REFERENCE>

        For more information, try '--help'.
        ");
        assert_snapshot!(promote(&[("/shop@", "/shop/web@")]), @r"
        exit 3
        error: registry [REGISTRY] has no release sha256:[DIGEST] in shop/web
          try: bundle release --registry [REGISTRY] --scheme http pushes one
        ");
        // Nothing of all that reached the registry.
        let tags = tags(&serving);
        assert!(
            matches!(&tags[..], [release, carrier, kept]
                if release == "0.1.0" && carrier == "0.1.0-all" && kept.starts_with("kept-")),
            "a refused promotion left something: {tags:?}"
        );

        // Another root of the same version is there: other keys made it.
        assert!(!promote(&[]).contains("error"));
        session.json("key generate mallory");
        let text = session.read("trust.toml").replace("[\"carol.pub\"]", "[\"mallory.pub\"]");
        session.write("trust.toml", &text);
        session.json("trust init trust.toml --output other.json --key alice.key --key bob.key");
        assert_snapshot!(promote(&[("trust-root.json", "other.json")]), @r"
        exit 4
        error: trust-root-shop-1 is sha256:[DIGEST] in the registry, ours is sha256:[DIGEST]
          try: use the trust root that is there, or another repository or registry
        ");
    });
}

fn tags(serving: &Serving) -> Vec<String> {
    let address = serving.address.parse().unwrap();
    let registry = registry_client::Registry::new(address, registry_client::Scheme::Http).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tags = runtime.block_on(registry.tags(&"shop".parse().unwrap())).unwrap();
    let all: Vec<_> = tags.iter().map(ToString::to_string).collect();
    // The fallback list of signatures, where the registry has none of its own, is no promotion.
    all.into_iter().filter(|tag| !tag.starts_with("sha256-")).collect()
}
