//! Three nodes, and what happens when one is lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use test_cluster::{Cluster, ClusterOptions};

use crate::probe;

const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn three_nodes_serve_while_one_is_lost() {
    let cluster = Cluster::start(&ClusterOptions { nodes: 3, ..ClusterOptions::default() }).unwrap();
    println!("three nodes ready after {:?}", cluster.ready_after());
    cluster.import_image(&probe::archive()).unwrap();
    cluster.apply(&probe::deployment(probe::IMAGE, 6)).unwrap();
    probe::wait(&cluster);
    let nodes = cluster
        .kubectl(&["get", "pods", "--output=jsonpath={.items[*].spec.nodeName}"])
        .unwrap()
        .split_whitespace()
        .map(str::to_owned)
        .collect::<BTreeSet<_>>();
    assert_eq!(nodes.len(), 3, "replicas are spread");

    let address = format!("{}:80", probe::cluster_ip(&cluster));
    let mut seen = BTreeSet::new();
    probe::eventually("an answer of every replica", PATIENCE, || {
        seen.extend(probe::get(&address, "/ready"));
        (seen.len() == 6).then_some(())
    });
    let path = "/get?url=http://probe/ready";
    probe::eventually("the Service by its name", PATIENCE, || probe::get(&address, path));

    let began = Instant::now();
    let cut = cluster.node(3).unwrap();
    cut.cut_link().unwrap();
    cut.wait_lost(PATIENCE).unwrap();
    println!("a cut node is missed after {:?}", began.elapsed());
    for _ in 0..20 {
        probe::eventually("an answer without the cut node", PATIENCE, || probe::get(&address, "/ready"));
    }
    let began = Instant::now();
    cut.heal_link().unwrap();
    cut.wait_ready(PATIENCE).unwrap();
    println!("a healed node is ready after {:?}", began.elapsed());

    let stopped = cluster.node(2).unwrap();
    stopped.stop().unwrap();
    stopped.run(&["true"]).unwrap_err();
    stopped.stop().unwrap_err();
    stopped.wait_lost(PATIENCE).unwrap();
    let began = Instant::now();
    stopped.start().unwrap();
    stopped.wait_ready(PATIENCE).unwrap();
    println!("a stopped node is ready {:?} after its start", began.elapsed());
    // Its image was on its disk, so its pods come back without a registry.
    probe::eventually("all replicas again", PATIENCE, || {
        let ready = ["get", "deployment", "probe", "--output=jsonpath={.status.readyReplicas}"];
        (cluster.kubectl(&ready).unwrap() == "6").then_some(())
    });
    cluster.stop().unwrap();
}

#[test]
fn a_bed_has_one_to_three_nodes() {
    for nodes in [0, 4] {
        assert!(Cluster::start(&ClusterOptions { nodes, ..ClusterOptions::default() }).is_err());
    }
}
