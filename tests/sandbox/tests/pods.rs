//! Pods without privileges, with the settings that people give them: which level a sandbox reaches in each, and what it
//! holds back there, beside the same attempt in the pod itself.

#![allow(clippy::unwrap_used, reason = "the functions that the test calls may panic too")]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use builder_sandbox::{Level, Reached};
use serde::Deserialize;
use serde_json::{Value, json};
use test_cluster::{Cluster, ClusterOptions};

const IMAGE: &str = "sandbox.test/probe:1";
const PATIENCE: Duration = Duration::from_mins(2);

/// What the program says in a pod.
#[derive(Debug, Deserialize)]
struct Said {
    reached: Reached,
    /// For each attempt: whether the pod itself gets through, and what came of it inside.
    attempts: BTreeMap<String, (bool, String)>,
}

/// Settings of a pod, the level that they allow, and what keeps it from more.
struct Setting {
    name: &'static str,
    context: fn() -> Value,
    level: Level,
    cause: Option<&'static str>,
    /// What no sandbox holds back there, as the documentation of [`Level`] says.
    through: &'static [&'static str],
}

const SETTINGS: [Setting; 4] = [
    Setting {
        name: "restricted",
        context: || {
            json!({
                "runAsNonRoot": true,
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "seccompProfile": { "type": "RuntimeDefault" },
            })
        },
        level: Level::Confined,
        cause: Some("a seccomp profile around this process refuses user namespaces"),
        through: &[],
    },
    Setting {
        name: "root",
        context: || json!({ "runAsUser": 0, "seccompProfile": { "type": "RuntimeDefault" } }),
        level: Level::Confined,
        cause: Some("a seccomp profile around this process refuses user namespaces"),
        // The kernel counts no processes of user 0.
        through: &["fork-bomb 200"],
    },
    // What a cluster gives who asks for nothing.
    Setting {
        name: "default",
        context: || json!({}),
        level: Level::Confined,
        cause: Some("parts of /proc are masked"),
        through: &[],
    },
    Setting {
        name: "privileged",
        context: || json!({ "privileged": true }),
        level: Level::Full,
        cause: None,
        through: &[],
    },
];

#[test]
fn pods_reach_what_their_settings_allow() {
    let cluster = Cluster::start(&ClusterOptions::default()).unwrap();
    cluster.import_image(&test_cluster::image_archive(IMAGE, &program()).unwrap()).unwrap();
    for setting in &SETTINGS {
        cluster.apply(&pod(setting).to_string()).unwrap();
    }
    let mut wrong = Vec::new();
    for setting in &SETTINGS {
        let said = await_end(&cluster, setting.name);
        let level = said.reached.level();
        println!("{}: {level}", setting.name);
        for gap in &said.reached.gaps {
            println!(
                "  no {}: {}; try: {}",
                gap.wall,
                gap.cause,
                gap.remedy.as_deref().unwrap_or("nothing helps")
            );
        }
        for (name, (outside, inside)) in &said.attempts {
            println!("  {name:<66}{:<16}{inside}", if *outside { "pod: through" } else { "pod: held" });
        }
        let through = said.attempts.iter().filter(|(_, (_, inside))| inside == "through");
        let through: Vec<&str> = through.map(|(name, _)| name.as_str()).collect();
        if through != setting.through {
            wrong.push(format!("{through:?} get through in {}", setting.name));
        }
        let shown = said.attempts.values().filter(|(outside, _)| *outside).count();
        if shown < 5 {
            wrong.push(format!("only {shown} attempts get through in {} itself", setting.name));
        }
        let cause = said.reached.missing(Level::Full).next().map(|gap| gap.cause.as_str());
        if level != setting.level || cause != setting.cause {
            wrong.push(format!("{} reaches {level} for {cause:?}", setting.name));
        }
    }
    cluster.stop().unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The program that makes attempts, built beside this test.
fn program() -> PathBuf {
    let running = std::env::current_exe().unwrap();
    let folders = running.ancestors().skip(1).take(2);
    folders
        .map(|folder| folder.join("sandbox-probe"))
        .find(|path| path.is_file())
        .expect("cargo build --release -p builder-sandbox makes it")
}

fn pod(setting: &Setting) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": setting.name },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": "probe",
                "image": IMAGE,
                "imagePullPolicy": "Never",
                "args": ["pod"],
                "securityContext": (setting.context)(),
            }],
        },
    })
}

fn await_end(cluster: &Cluster, name: &str) -> Said {
    let begun = Instant::now();
    loop {
        let phase = ["get", "pod", name, "--output=jsonpath={.status.phase}"];
        match cluster.kubectl(&phase).unwrap().trim() {
            "Succeeded" => break,
            "Failed" => panic!("{name}: {}", cluster.kubectl(&["logs", name]).unwrap()),
            phase if begun.elapsed() > PATIENCE => {
                panic!("{name} is {phase}: {}", cluster.kubectl(&["describe", "pod", name]).unwrap())
            }
            _ => thread::sleep(Duration::from_millis(500)),
        }
    }
    let said = cluster.kubectl(&["logs", name]).unwrap();
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}
