//! Verbs that speak to a cluster: what is refused before there is one.

use insta::assert_snapshot;

use crate::{
    session::{Session, with_filters},
    shop::Shop,
};

const KUBECONFIG: &str = "apiVersion: v1
kind: Config
clusters: [{ name: bed, cluster: { server: 'http://127.0.0.1:1' } }]
users: [{ name: nobody, user: {} }]
contexts: [{ name: bed, context: { cluster: bed, user: nobody } }]
";

const VERBS: [&str; 7] = [
    "status",
    "history shop",
    "pin shop --reason freeze --by alice",
    "unpin shop",
    "hold shop --reason freeze --by alice",
    "unhold shop",
    "clear shop sha256:0000000000000000000000000000000000000000000000000000000000000000 --reason mended --by alice",
];

#[test]
fn contexts_that_are_not_there() {
    let session = Session::new();
    session.write("kubeconfig", KUBECONFIG);
    with_filters(|| {
        let run = |verb: &str| session.run(&format!("{verb} --context production --kubeconfig kubeconfig"));
        for verb in VERBS {
            insta::allow_duplicates! {
                assert_snapshot!(run(verb), @r"
                exit 5
                error: the kubeconfig has no usable context `production`
                  because: failed to load current context: production
                  try: list the contexts with `kubectl config get-contexts`
                ");
            }
        }
        assert_snapshot!(run("daemon --guest-image image"), @r"
        exit 5
        error: the kubeconfig has no usable context `production`
          because: failed to load current context: production
          try: in a cluster: `bundle subscribe` or `bundle up PLATFORM --context NAME` installs it; elsewhere: --context NAME
        ");
        assert_snapshot!(session.run("status --context bed --kubeconfig absent"), @r#"
        exit 5
        error: cannot read kubeconfig absent
          because: failed to read kubeconfig from '"absent"': No such file or directory (os error 2)
          because: No such file or directory (os error 2)
          try: name a kubeconfig with `--kubeconfig FILE` or in KUBECONFIG
        "#);
        assert_snapshot!(session.run("status"), @r"
        exit 2
        error: the following required arguments were not provided:
          --context <NAME>

        Usage: bundle status --context <NAME> [SUBSCRIPTION]

        For more information, try '--help'.
        ");
        assert_snapshot!(session.run("daemon --guest-image image"), @r"
        exit 5
        error: there is no service account of a pod to reach the API server with
          because: failed to read an incluster environment variable: environment variable not found
          because: environment variable not found
          try: in a cluster: `bundle subscribe` or `bundle up PLATFORM --context NAME` installs it; elsewhere: --context NAME
        ");
    });
}

#[test]
fn clusters_that_do_not_answer() {
    let session = Session::new();
    session.write("kubeconfig", KUBECONFIG);
    with_filters(|| {
        for verb in VERBS {
            let shown = session.run(&format!("{verb} --context bed --kubeconfig kubeconfig"));
            assert!(shown.starts_with("exit 5\nerror: "), "{verb}: {shown}");
        }
    });
}

#[test]
fn subscriptions_that_are_refused() {
    let shop = Shop::new();
    let session = &shop.session;
    session.write("kubeconfig", KUBECONFIG);
    shop.make_root();
    let subscribe = |what: &str| {
        let rest = "--environment test --kubeconfig kubeconfig";
        session.run(&["subscribe ", what, " ", rest].concat())
    };
    with_filters(|| {
        assert_snapshot!(subscribe("production registry.example/shop:0.1.0 --trust-root trust-root.json --context bed"), @r"
        exit 2
        error: `registry.example/shop:0.1.0` names a release; a channel says itself which one
          try: registry.example/shop
        ");
        assert_snapshot!(subscribe("production registry.example --trust-root trust-root.json --context bed"), @r"
        exit 2
        error: invalid value 'registry.example' for '<REPOSITORY>': `registry.example` is not an image name: registry/repository[:tag][@digest] is expected

        For more information, try '--help'.
        ");
        assert_snapshot!(subscribe("production registry.example/shop --trust-root trust.toml --context bed"), @r"
        exit 3
        error: trust.toml is not a trust root
          because: manifest sha256:[DIGEST] is not valid
          because: expected value at line 1 column 1
          try: bundle trust init trust.toml --key FILE makes one
        ");
        assert_snapshot!(subscribe("dev registry.example/shop --trust-root trust-root.json --context bed"), @r"
        exit 4
        error: the trust root names no keys for channel:shop/dev
          try: add the role channel:shop/dev in the next version of the trust root: bundle trust next
        ");
        assert_snapshot!(subscribe("production registry.example/shop --trust-root trust-root.json --context production"), @r"
        exit 5
        error: the kubeconfig has no usable context `production`
          because: failed to load current context: production
          try: list the contexts with `kubectl config get-contexts`
        ");
        let silent = subscribe("production registry.example/shop --trust-root trust-root.json --context bed");
        assert!(silent.starts_with("exit 5\nerror: cannot read subscription shop\n"), "{silent}");
    });
    // Before anything is locked, fetched or built.
    let up = "up shop --context production --registry registry.example --kubeconfig kubeconfig";
    let said = session.run(up);
    assert!(said.starts_with("exit 5\nerror: the kubeconfig has no usable context `production`\n"), "{said}");
    assert!(!session.path("work/shop/bundle.lock").exists());
}
