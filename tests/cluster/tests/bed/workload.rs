//! One node does what a cluster does.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use test_cluster::{Cluster, ClusterOptions, Registry, program};

use crate::probe;

const PATIENCE: Duration = Duration::from_secs(20);
/// Five seconds are usual. Other beds and builds may take the processors: this fails for a fault, not for a neighbour.
const BOUND: Duration = Duration::from_secs(30);

#[test]
fn a_workload_runs_and_is_reached() {
    let cluster = Cluster::start(&ClusterOptions::default()).unwrap();
    println!("one node ready after {:?}", cluster.ready_after());
    assert!(cluster.ready_after() < BOUND);

    cluster.import_image(&probe::archive()).unwrap();
    let began = Instant::now();
    cluster.apply(&probe::deployment(probe::IMAGE, 3)).unwrap();
    probe::wait(&cluster);
    println!("three replicas ready {:?} after apply", began.elapsed());

    let address = format!("{}:80", probe::cluster_ip(&cluster));
    let mut seen = BTreeSet::new();
    probe::eventually("an answer of every replica", PATIENCE, || {
        seen.extend(probe::get(&address, "/ready"));
        (seen.len() == 3).then_some(())
    });
    for name in ["probe", "probe.default", "probe.default.svc.cluster.local"] {
        let path = format!("/get?url=http://{name}/ready");
        let answer = probe::eventually("a Service by its name", PATIENCE, || probe::get(&address, &path));
        assert!(seen.contains(&answer), "{name} gave {answer}");
    }

    the_audit_log_is_a_witness(&cluster);
    a_claim_binds(&cluster);
    identities_have_their_rights_only(&cluster);
    pods_outlive_the_api_server(&cluster, &address);
    a_command_runs_on_the_node(&cluster);
    cluster.stop().unwrap();
}

fn the_audit_log_is_a_witness(cluster: &Cluster) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dry"}}).to_string();
    let path = cluster.bed().folder.join("dry.json");
    std::fs::write(&path, map).unwrap();
    cluster.kubectl(&["create", "--dry-run=server", "--filename", path.to_str().unwrap()]).unwrap();
    cluster.kubectl(&["get", "configmap", "nobody"]).unwrap_err();

    let log = cluster.audit_log().unwrap();
    let about = |resource: &str, name: &str, verb: &str| {
        log.iter()
            .find(|event| {
                let object = event.object.clone().unwrap_or_default();
                object.resource == resource
                    && object.name == name
                    && event.verb == verb
                    && event.user == "admin"
            })
            .cloned()
            .unwrap_or_else(|| panic!("no {verb} of {resource} {name}"))
    };
    let create = about("deployments", "probe", "create");
    assert!(create.is_write() && create.code == 201 && create.received <= create.at);
    let dry = about("configmaps", "dry", "create");
    assert!(dry.dry_run && !dry.is_write());
    assert_eq!(about("configmaps", "nobody", "get").code, 404);
    assert!(log.iter().all(|event| event.stage != "RequestReceived"));
}

fn a_claim_binds(cluster: &Cluster) {
    let mut pod = probe::pod(probe::IMAGE);
    pod["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    pod["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let claim = json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
            "spec": {
                "storageClassName": "local", "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "keeper"}, "spec": pod},
    ]});
    let began = Instant::now();
    cluster.apply(&claim.to_string()).unwrap();
    cluster.kubectl(&["wait", "pod/keeper", "--for=condition=Ready", "--timeout=60s"]).unwrap();
    println!("claim bound and its pod ready after {:?}", began.elapsed());
    let phase = cluster.kubectl(&["get", "pvc", "data", "--output=jsonpath={.status.phase}"]).unwrap();
    assert_eq!(phase, "Bound");
}

fn identities_have_their_rights_only(cluster: &Cluster) {
    let account = cluster.kubeconfig_of_service_account("default", "default").unwrap();
    let who = cluster.kubectl_as(&account, &["auth", "whoami"]).unwrap();
    assert!(who.contains("system:serviceaccount:default:default"), "{who}");
    cluster.kubectl_as(&account, &["get", "pods"]).unwrap_err();

    let user = cluster.kubeconfig_of_user("alice", &["viewers"]).unwrap();
    cluster.kubectl_as(&user, &["get", "pods"]).unwrap_err();
    cluster
        .kubectl(&["create", "clusterrolebinding", "viewers", "--clusterrole=view", "--group=viewers"])
        .unwrap();
    probe::eventually("rights", PATIENCE, || cluster.kubectl_as(&user, &["get", "pods"]).ok());
}

fn pods_outlive_the_api_server(cluster: &Cluster, address: &str) {
    cluster.stop_api_server().unwrap();
    cluster.kubectl(&["get", "pods", "--request-timeout=2s"]).unwrap_err();
    assert!(probe::get(address, "/ready").is_some(), "pods answer without an API server");
    let began = Instant::now();
    cluster.start_api_server().unwrap();
    println!("API server back after {:?}", began.elapsed());
    probe::wait(cluster);
}

fn a_command_runs_on_the_node(cluster: &Cluster) {
    let node = cluster.node(1).unwrap();
    let output = node.run(&["sh", "-c", "ip -brief address show eth0; echo oops >&2; exit 3"]).unwrap();
    assert!(output.stdout.contains(&node.address().to_string()), "{output:?}");
    assert_eq!((output.code, output.stderr.as_str()), (3, "oops\n"));
}

#[test]
fn images_come_from_a_registry_without_tls() {
    let registry = Registry { name: "registry.test:5000".to_owned(), address: "http://HOST:5000".to_owned() };
    let options = ClusterOptions { registries: vec![registry], ..ClusterOptions::default() };
    let cluster = Cluster::start(&options).unwrap();
    let listen = format!("{}:5000", cluster.host_address());

    let layout = cluster.bed().folder.join("layout");
    std::fs::create_dir(&layout).unwrap();
    std::fs::write(layout.join("archive.tar"), probe::archive()).unwrap();
    let unpacked = Command::new("tar").args(["-xf", "archive.tar"]).current_dir(&layout).status().unwrap();
    assert!(unpacked.success());
    let crane = program("crane").unwrap();
    let mut server = Command::new(&crane)
        .args(["registry", "serve", "--address", &listen])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    probe::eventually("the registry", PATIENCE, || probe::get(&listen, "/v2/"));
    let pushed = Command::new(&crane)
        .args(["push", layout.to_str().unwrap(), &format!("{listen}/probe:1"), "--insecure"])
        .output()
        .unwrap();
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));

    cluster.apply(&probe::deployment("registry.test:5000/probe:1", 1)).unwrap();
    probe::wait(&cluster);

    // The same registry under a name that the nodes learn of later.
    let later = Registry { name: "later.test".to_owned(), address: format!("http://{listen}") };
    cluster.add_registry(&later).unwrap();
    cluster.apply(&probe::deployment("later.test/probe:1", 1)).unwrap();
    probe::wait(&cluster);
    server.kill().unwrap();
    server.wait().unwrap();
    cluster.stop().unwrap();
}
