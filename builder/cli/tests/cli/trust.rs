//! Keys and trust roots: what is refused.

use insta::assert_snapshot;

use crate::{
    session::{Serving, Session, with_filters},
    shop::Shop,
};

#[test]
fn keys_that_are_refused() {
    let session = Session::new();
    session.json("key generate alice");
    session.write("notes.txt", "no key\n");
    with_filters(|| {
        assert_snapshot!(session.run("key generate alice"), @r"
        exit 1
        error: the key alice.key cannot be written
          because: File exists (os error 17)
          try: choose another name: keys are never overwritten
        ");
        assert_snapshot!(session.run("key hint notes.txt"), @r"
        exit 3
        error: notes.txt is not a public key
          because: this is not a P-256 public key in PEM
          because: ASN.1 error: PEM error: PEM preamble contains invalid data (NUL byte)
          try: name NAME.pub, the public half that `bundle key generate` made
        ");
        assert_snapshot!(session.run("key hint bob.pub"), @r"
        exit 3
        error: the key bob.pub cannot be read
          because: No such file or directory (os error 2)
          try: bundle key generate NAME makes NAME.key and NAME.pub
        ");
        let mut command = session.command(["key", "generate", "bob"]);
        command.env_remove("BUNDLE_PASSWORD");
        // Without a terminal there is nobody to ask.
        assert_snapshot!(session.show(command), @r"
        exit 2
        error: no password for bob.key
          try: set BUNDLE_PASSWORD, or run it at a terminal
        ");
    });
}

#[test]
fn trust_roots_that_are_refused() {
    let shop = Shop::new();
    let session = &shop.session;
    shop.make_keys();
    let good = session.read("trust.toml");
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "trust.toml does not hold `{from}`");
        session.write("trust.toml", &good.replacen(from, to, 1));
        session.run("trust init trust.toml --key alice.key --key bob.key")
    };
    with_filters(|| {
        assert_snapshot!(session.run("trust init absent.toml --key alice.key"), @r"
        exit 3
        error: absent.toml cannot be read: No such file or directory (os error 2)
          try: `bundle schema trust` describes what it holds
        ");
        assert_snapshot!(with("[roles.channel]", "[roles.channels]"), @r"
        exit 3
        error: `roles` has no key `channels`
          --> trust.toml:14:8
           |
        14 | [roles.channels]
           |        ^^^^^^^^
           = expected: one of `root`, `release`, `channel`
           = help: did you mean `channel`?
        ");
        assert_snapshot!(with("expires = \"2099-12-31T00:00:00Z\"", "expires = 2099-12-31"), @r"
        exit 3
        error: `expires` is a date or time, a text is expected
         --> trust.toml:2:11
          |
        2 | expires = 2099-12-31
          |           ^^^^^^^^^^
          = help: put it in quotes
        ");
        assert_snapshot!(with("expires = \"2099-12-31T00:00:00Z\"", "expires = \"never\""), @r#"
        exit 3
        error: `expires` cannot be `never`
         --> trust.toml:2:11
          |
        2 | expires = "never"
          |           ^^^^^^^
          = expected: a time in UTC, as text
          = help: for example "[INSTANT]"
        "#);
        assert_snapshot!(with("release = { owners = [\"ci\"]", "release = { owners = [\"ca\"]"), @r#"
        exit 3
        error: there is no owner `ca`
          --> trust.toml:12:23
           |
        12 | release = { owners = ["ca"], threshold = 1 }
           |                       ^^^^
           = help: did you mean `ci`?
        "#);
        assert_snapshot!(with("[\"alice\", \"bob\", \"carol\"]", "[\"alice\", \"bob\", \"bob\"]"), @r#"
        exit 3
        error: `bob` stands twice
          --> trust.toml:11:36
           |
        11 | root = { owners = ["alice", "bob", "bob"], threshold = 2 }
           |                                    ^^^^^
           = help: an owner counts once, however often it is named
        "#);
        assert_snapshot!(with("carol.pub", "carl.pub"), @r#"
        exit 3
        error: the key carl.pub cannot be read: No such file or directory (os error 2)
         --> trust.toml:7:19
          |
        7 | carol = { keys = ["carl.pub"] }
          |                   ^^^^^^^^^^
          = help: bundle key generate NAME makes NAME.key and NAME.pub; the public half is named here
        "#);
        assert_snapshot!(with("carol.pub", "alice.key"), @r#"
        exit 3
        error: alice.key is not a public key: this is not a P-256 public key in PEM
         --> trust.toml:7:19
          |
        7 | carol = { keys = ["alice.key"] }
          |                   ^^^^^^^^^^^
          = help: bundle key generate NAME makes NAME.key and NAME.pub; the public half is named here
        "#);
        assert_snapshot!(with("carol.pub", "bob.pub"), @r"
        exit 3
        error: the trust root breaks a rule: the key [KEY] stands twice
         --> trust.toml:4:2
          |
        4 | [owners]
          |  ^^^^^^
        ");
        assert_snapshot!(with("threshold = 1", "threshold = 2"), @r#"
        exit 3
        error: the trust root breaks a rule: its role release wants 2 signatures and has 1 owners
          --> trust.toml:12:42
           |
        12 | release = { owners = ["ci"], threshold = 2 }
           |                                          ^
        "#);
        // Two of four could fork the channel.
        let four = "production = { owners = [\"alice\", \"bob\", \"carol\", \"ci\"]";
        assert_snapshot!(with("production = { owners = [\"alice\", \"bob\", \"carol\"]", four), @r#"
        exit 3
        error: the trust root breaks a rule: its role channel:shop/production wants 2 signatures of 4 owners: more than half are needed, or two groups could fork the channel
          --> trust.toml:15:70
           |
        15 | production = { owners = ["alice", "bob", "carol", "ci"], threshold = 2 }
           |                                                                      ^
        "#);
        session.write("trust.toml", &good);
        assert_snapshot!(session.run("trust init trust.toml --key alice.key"), @r"
        exit 4
        error: the trust root sha256:[DIGEST] has 1 of 2 signatures of its own root keys
          try: the same command with --key FILE of more owners of the role root: alice, bob, carol
        ");
        assert_snapshot!(session.run("trust init trust.toml --key alice.key --key ci.key"), @r"
        exit 4
        error: the trust root sha256:[DIGEST] has 1 of 2 signatures of its own root keys: [KEY]: the key does not have this role
          try: the same command with --key FILE of more owners of the role root: alice, bob, carol
        ");
        assert_snapshot!(session.run("trust init trust.toml --key alice.key --key alice.key"), @r"
        exit 4
        error: the trust root sha256:[DIGEST] has 1 of 2 signatures of its own root keys
          try: the same command with --key FILE of more owners of the role root: alice, bob, carol
        ");
        assert_snapshot!(session.run("trust init trust.toml --key alice.pub --key bob.key"), @r"
        exit 3
        error: alice.pub is not opened as a private key
          because: the key file holds a `PUBLIC KEY`, an `ENCRYPTED SIGSTORE PRIVATE KEY` is expected
          try: name NAME.key, the private half that `bundle key generate` made
        ");
        assert_snapshot!(session.run("trust init trust.toml --key alice.key --key dave.key"), @r"
        exit 3
        error: the key dave.key cannot be read
          because: No such file or directory (os error 2)
          try: bundle key generate NAME makes NAME.key and NAME.pub
        ");
        let mut command = session.command("trust init trust.toml --key alice.key --key bob.key".split(' '));
        command.env("BUNDLE_PASSWORD", "wrong");
        assert_snapshot!(session.show(command), @r"
        exit 4
        error: alice.key is not opened as a private key
          because: the password does not open the key file, or the file is damaged
          try: set BUNDLE_PASSWORD to the password of this key, or type it at the terminal
        ");
        assert!(!session.path("work/trust-root.json").exists(), "a refused root was written");
    });
}

#[test]
fn an_owner_with_two_keys_counts_once() {
    let shop = Shop::new();
    let session = &shop.session;
    shop.make_keys();
    session.json("key generate spare");
    let text = session.read("trust.toml").replace("[\"alice.pub\"]", "[\"alice.pub\", \"spare.pub\"]");
    session.write("trust.toml", &text);
    with_filters(|| {
        assert_snapshot!(session.run("trust init trust.toml --key alice.key --key spare.key"), @r"
        exit 4
        error: the trust root sha256:[DIGEST] has 1 of 2 signatures of its own root keys: [KEY]: another key of this owner counts already
          try: the same command with --key FILE of more owners of the role root: alice, bob, carol
        ");
        session.json("trust init trust.toml --key spare.key --key bob.key");
        // Another root under the same name would be another trust.
        assert_snapshot!(session.run("trust init trust.toml --key alice.key --key bob.key"), @r"
        exit 3
        error: trust-root.json is there and is another file: a trust root is not replaced
          try: --output FILE, or move it away
        ");
    });
}

/// A key is taken from one owner and another comes, as the owners of both versions want it; the channel goes on.
#[test]
fn a_trust_root_goes_on() {
    let shop = Shop::locked();
    let session = &shop.session;
    shop.make_root();
    let serving = Serving::start(session, &session.path("registry"));
    let release = |version: &str| {
        let reference = shop.release(version, &serving);
        session.json(&format!("sign {reference} --scheme http --key ci.key"));
        reference
    };
    let promote = |reference: &str, root: &str, keys: [&str; 2]| {
        let [first, second] = keys;
        session.run(&format!(
            "promote production {reference} --scheme http --environment test --trust-root {root} --reason CHG-1 \
             --by bob --key {first}.key --key {second}.key"
        ))
    };
    let (one, two) = (release("0.1.0"), release("0.2.0"));
    assert!(promote(&one, "trust-root.json", ["alice", "bob"]).contains("record 1"));
    session.json("key generate dave");
    let text = session.read("trust.toml").replace("alice", "dave");
    session.write("trust.toml", &text);
    let next = |keys: &str| session.run(&format!("trust next trust.toml --previous trust-root.json {keys}"));
    with_filters(|| {
        session.write("other.toml", &text.replace("product = \"shop\"", "product = \"farm\""));
        let other = "trust next other.toml --previous trust-root.json --key bob.key --key dave.key";
        assert_snapshot!(session.run(other), @r#"
        exit 4
        error: the trust root sha256:[DIGEST] is for the product farm, not for shop
          try: other.toml is to say product = "shop"; another product has a root of its own
        "#);
        assert_snapshot!(next("--key dave.key --key bob.key"), @r"
        exit 4
        error: the trust root sha256:[DIGEST] has 1 of 2 signatures of the root keys of the version before: [KEY]: the trust root does not know the key
          try: the same command with --key FILE of more owners of the role root: before alice, bob, carol, now bob, carol, dave
        ");
        assert_snapshot!(next("--key alice.key --key bob.key"), @r"
        exit 4
        error: the trust root sha256:[DIGEST] has 1 of 2 signatures of its own root keys: [KEY]: the trust root does not know the key
          try: the same command with --key FILE of more owners of the role root: before alice, bob, carol, now bob, carol, dave
        ");
        assert_snapshot!(next("--key alice.key --key bob.key --key dave.key"), @r"
        trust-root-2.json: trust root of shop, version 2, until [INSTANT]
          digest sha256:[DIGEST]
          root: 2 of bob, carol, dave
          release: 1 of ci
          channel:shop/production: 2 of bob, carol, dave
          key [KEY] of bob
          key [KEY] of carol
          key [KEY] of ci
          key [KEY] of dave
        ");
        assert_snapshot!(promote(&two, "trust-root-2.json", ["alice", "bob"]), @r"
        exit 4
        error: the record at channel-shop-production is refused: 1 of 2 signatures for channel:shop/production: [KEY]: the trust root does not know the key
          try: it was made under version 1 of the trust root: name that before yours, --trust-root FILE --trust-root FILE
        ");
        let both = "trust-root.json --trust-root trust-root-2.json";
        assert_snapshot!(promote(&two, both, ["alice", "bob"]), @r"
        exit 4
        error: 1 of 2 signatures for channel:shop/production: [KEY]: the trust root does not know the key
          try: the same command with --key FILE of carol or dave
        ");
        assert_snapshot!(promote(&two, both, ["dave", "bob"]), @r"
        shop/production names 0.2.0 sha256:[DIGEST] for environment test
        record 2, promote, signed by bob, dave
        ");
        // From then on the second is enough.
        assert_snapshot!(promote(&two, "trust-root-2.json", ["dave", "bob"]), @r"
        shop/production unchanged: it names 0.2.0 sha256:[DIGEST] for environment test
        record 2, promote, signed by bob, dave
        ");
        // Who still has the first version only is told so.
        assert_snapshot!(promote(&one, "trust-root.json", ["alice", "bob"]), @r"
        exit 4
        error: the record at channel-shop-production is refused: 1 of 2 signatures for channel:shop/production: [KEY]: the trust root does not know the key
          try: it was made under version 2 of the trust root: get that from its owners
        ");
    });
}

#[test]
fn files_that_are_no_trust_root() {
    let shop = Shop::new();
    let session = &shop.session;
    shop.make_root();
    let root = session.read("trust-root.json");
    session.write("other.json", "{}");
    // The layer says otherwise than its digest.
    session.write("changed.json", &root.replacen("\"data\":\"ey", "\"data\":\"eY", 1));
    with_filters(|| {
        assert_snapshot!(session.run("trust show absent.json"), @r"
        exit 3
        error: the trust root absent.json cannot be read
          because: No such file or directory (os error 2)
          try: bundle trust init trust.toml --key FILE makes one
        ");
        assert_snapshot!(session.run("trust show trust.toml"), @r"
        exit 3
        error: trust.toml is not a trust root
          because: manifest sha256:[DIGEST] is not valid
          because: expected value at line 1 column 1
          try: bundle trust init trust.toml --key FILE makes one
        ");
        assert_snapshot!(session.run("trust show other.json"), @r"
        exit 3
        error: other.json is not a trust root
          because: manifest sha256:[DIGEST] is not valid
          because: missing field `schemaVersion`
          try: bundle trust init trust.toml --key FILE makes one
        ");
        assert_snapshot!(session.run("trust show changed.json"), @r"
        exit 4
        error: changed.json is not a signed trust root
          because: layer sha256:[DIGEST] of the trust root sha256:[DIGEST] is not an inlined bundle of its digest and size
          try: get the file anew from the owners of the root
        ");
    });
}
