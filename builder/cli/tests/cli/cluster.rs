//! Verbs that speak to a cluster: what is refused before there is one.

use insta::assert_snapshot;

use crate::session::{Session, with_filters};

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
          try: in a cluster: bundle up PLATFORM --context NAME installs it; elsewhere: --context NAME
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

        Usage: bundle status --context <NAME> --home <FOLDER> [SUBSCRIPTION]

        For more information, try '--help'.
        ");
        assert_snapshot!(session.run("daemon --guest-image image"), @r"
        exit 5
        error: there is no service account of a pod to reach the API server with
          because: failed to read an incluster environment variable: environment variable not found
          because: environment variable not found
          try: in a cluster: bundle up PLATFORM --context NAME installs it; elsewhere: --context NAME
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
