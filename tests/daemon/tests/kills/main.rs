//! The kill sweep: a daemon that is killed before or after any call that changes the cluster leaves a cluster from
//! which the next daemon comes to the same end, with no work done twice.
//!
//! `tests/run kills` runs it. Every rollout is of a fresh release, promoted over what the rollout before it left, so
//! what one kill leaves behind is seen at the next.

#![allow(clippy::unwrap_used, reason = "the helpers of this test are tests too")]
#![allow(clippy::print_stdout, reason = "the coverage is for people")]

mod call;
mod end_state;
mod lane;
mod sweep;
mod words;

use std::{path::Path, sync::Arc, time::Instant};

use test_cluster::ClusterOptions;
use test_daemon::{goods::Goods, lab::Lab};

use crate::{
    lane::{Lane, Scenario},
    sweep::{Sweep, proven_by_audit},
};

/// How many daemons work side by side on each kind of rollout: a rollout waits more than it works.
const LANES: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn every_kill_comes_to_the_same_end() {
    let start = Instant::now();
    let options = ClusterOptions { volumes_per_node: 32, ..ClusterOptions::default() };
    let lab = Arc::new(Lab::start_bare(options).await.unwrap());
    let (_server, registry) = lab.registry().await.unwrap();
    let goods = Goods::push(&registry, Path::new(env!("CARGO_BIN_EXE_guest"))).await.unwrap();
    let mut sweeps = Vec::new();
    for scenario in [Scenario::Update, Scenario::Rollback] {
        let (lab, registry, goods) = (Arc::clone(&lab), registry.clone(), goods.clone());
        sweeps.push(tokio::spawn(async move {
            let lanes: Vec<_> = (0..LANES)
                .map(|number| {
                    let (lab, registry, goods) = (Arc::clone(&lab), registry.clone(), goods.clone());
                    tokio::spawn(async move { Lane::open(&lab, &registry, &goods, scenario, number).await })
                })
                .collect();
            let mut ready = Vec::new();
            for lane in lanes {
                ready.push(lane.await.unwrap().unwrap());
            }
            println!("{scenario:?}: {LANES} lanes stand after {:.0} s", start.elapsed().as_secs_f64());
            Sweep::run(scenario, ready).await
        }));
    }
    let mut faults = Vec::new();
    let mut places = Vec::new();
    for sweep in sweeps {
        let sweep = sweep.await.unwrap();
        println!("{}", sweep.table());
        faults.extend(sweep.faults());
        places.extend(sweep.ledgers());
    }
    faults.extend(proven_by_audit(&lab, &places).unwrap());
    println!("the sweep took {:.0} s", start.elapsed().as_secs_f64());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n\n"));
    Arc::into_inner(lab).expect("the lanes have ended").bed.stop().unwrap();
}
