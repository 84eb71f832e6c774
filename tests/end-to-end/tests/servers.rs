//! Servers of Debian packages on a real Kubernetes: each starts without rights and with a read-only root, and answers; what
//! keeps something starts again with it.
//!
//! The platform is `servers/`. `bundle` locks, fetches, builds and releases it, and the daemon installs it, as for any
//! user. One of the services asks all others over the cluster's network, each with the client that Debian has for it.
#![allow(clippy::print_stdout, reason = "figures of the run")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use test_cluster::{Cluster, Node};
use test_end_to_end::{place::Place, tool::Bundle};

const NAMESPACE: &str = "servers";
/// What is kept in the servers that keep something.
const WORD: &str = "kept";

/// A service, and what is expected of it.
struct Server {
    name: &'static str,
    /// What the program calls itself begins with this.
    program: &'static str,
    said: fn() -> Value,
    /// All folders that it may write to; its root is read-only.
    writable: &'static [&'static str],
}

const SERVERS: [Server; 7] = [
    Server {
        name: "web",
        program: "nginx/1.22.",
        said: || json!({ "page": "a page of nginx\n" }),
        writable: &["/tmp"],
    },
    Server {
        name: "balancer",
        program: "1.1 haproxy before nginx/1.22.",
        said: || json!({ "page": "a page of nginx\n" }),
        writable: &[],
    },
    Server {
        name: "database",
        program: "PostgreSQL 15.",
        said: || json!({ "words": [WORD] }),
        writable: &["/data", "/run/postgresql"],
    },
    Server { name: "cache", program: "Redis 7.0.", said: || json!({ "word": WORD }), writable: &[] },
    Server {
        name: "queue",
        program: "RabbitMQ 4.0.",
        said: || json!({ "words": [WORD] }),
        writable: &["/var/lib/rabbitmq"],
    },
    Server {
        name: "python",
        program: "Python 3.13.",
        said: || json!({ "word": WORD.chars().rev().collect::<String>() }),
        writable: &[],
    },
    Server {
        name: "node",
        program: "node 20.",
        said: || json!({ "product": "18446744078004518912" }),
        writable: &[],
    },
];

/// Locks, fetches and builds the platform, each with its verb.
fn build(bundle: &Bundle, platform: &Path) -> Result<()> {
    test_interop::platform::copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("servers"), platform)?;
    let root = platform.display().to_string();
    for verb in ["lock", "fetch", "build"] {
        let begun = Instant::now();
        let document = bundle.json([verb, "--platform", &root])?;
        println!("{verb}: {:.1} s", begun.elapsed().as_secs_f64());
        if verb == "build" {
            let images = test_interop::platform::images(&document)?;
            let names: BTreeSet<_> = images.keys().map(String::as_str).collect();
            assert_eq!(names, SERVERS.iter().map(|server| server.name).collect());
            assert!(images.values().all(|image| image.built), "{document:#}");
        }
    }
    Ok(())
}

/// The pod of a service; each has one.
fn pod(cluster: &Cluster, name: &str) -> Result<Value> {
    let label = format!("bundle.build/service={name}");
    let pods = cluster.kubectl(&["get", "pods", "-n", NAMESPACE, "-l", &label, "-o", "json"])?;
    let pods: Value = serde_json::from_str(&pods)?;
    let pods = pods["items"].as_array().context("a list of pods")?;
    ensure!(pods.len() == 1, "{name} has {} pods", pods.len());
    Ok(pods[0].clone())
}

/// What is asked of Kubernetes: no root, no capability, no writable file but those in `writable`.
fn expect_restricted(server: &Server, pod: &Value) {
    let name = server.name;
    let spec = &pod["spec"];
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{name}");
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
    let containers = spec["containers"].as_array().map(Vec::as_slice);
    let Some([container]) = containers else { panic!("{name} has not just one container") };
    let context = &container["securityContext"];
    assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
    assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
    assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }), "{name}");
    let mounts = container["volumeMounts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let writable = mounts.iter().filter(|mount| mount["readOnly"] != true);
    let writable: BTreeSet<_> = writable.filter_map(|mount| mount["mountPath"].as_str()).collect();
    assert_eq!(writable, server.writable.iter().copied().collect(), "{name}");
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "{name}: {pod:#}");
}

/// What the kernel says of every process of a container, and of its root.
fn expect_held(server: &Server, pod: &Value, node: Node<'_>) -> Result<usize> {
    let name = server.name;
    let container = pod["status"]["containerStatuses"][0]["containerID"].as_str().context("a container")?;
    let container = container.strip_prefix("containerd://").context("a container of containerd")?;
    let run = |command: &[&str]| {
        let output = node.run(command)?;
        ensure!(output.code == 0, "{command:?}: {}", output.stderr);
        anyhow::Ok(output.stdout)
    };
    let listed = run(&["ctr", "--namespace=k8s.io", "tasks", "ps", container])?;
    let mut seen = 0;
    for process in listed.lines().skip(1).filter_map(|line| line.split_whitespace().next()) {
        // A process that has ended meanwhile tells nothing.
        let Ok(status) = run(&["cat", &format!("/proc/{process}/status")]) else { continue };
        let field = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            line.map_or_else(|| panic!("{field} of {name}: {status}"), str::trim)
        };
        for identity in ["Uid", "Gid"] {
            let numbers: Vec<_> = field(identity).split_whitespace().collect();
            assert!(numbers.len() == 4 && !numbers.contains(&"0"), "{identity} of {name}: {numbers:?}");
        }
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(set), "0000000000000000", "{set} of {name}");
        }
        assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1", "2"), "{name}");
        let mounts = run(&["cat", &format!("/proc/{process}/mountinfo")])?;
        // ID, parent, device, root in the file system, mount point, options
        let root = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|it| it[4] == "/");
        let root = root.with_context(|| format!("{name} has a root: {mounts}"))?;
        assert!(root[5].split(',').any(|option| option == "ro"), "the root of {name}: {root:?}");
        seen += 1;
    }
    ensure!(seen > 0, "{name} has no process: {listed}");
    Ok(seen)
}

/// Lets the Python service ask; the Node.js service asks it in turn, so that no question comes from outside.
fn ask(cluster: &Cluster, name: &str) -> Result<Value> {
    let script = format!(
        "fetch('http://python:8000/{name}?word={WORD}').then(it => it.text()).then(it => console.log(it))"
    );
    let answer = cluster.kubectl(&[
        "exec",
        "-n",
        NAMESPACE,
        "deployment/node",
        "--",
        "/usr/bin/node",
        "-e",
        &script,
    ])?;
    serde_json::from_str(&answer).with_context(|| format!("{name} answers `{answer}`"))
}

#[test]
fn servers_start_without_rights_and_answer() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let home = scratch.path().join("home");
    // Downloads stay, and are verified by hash each time; all else is made anew.
    let downloads = Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers/downloads");
    fs::create_dir_all(&downloads)?;
    fs::create_dir_all(&home)?;
    symlink(&downloads, home.join("downloads"))?;

    let platform = scratch.path().join("platform");
    let bundle = Bundle::new(&home)?;
    let (place, built) = thread::scope(|scope| {
        let built = scope.spawn(|| build(&bundle, &platform));
        (Place::start(&home), built.join())
    });
    let place = place?;
    built.map_err(|_| anyhow!("the build ends with a panic"))??;
    place.cluster.kubectl(&["create", "namespace", NAMESPACE])?;
    for secret in ["database", "queue"] {
        let value = format!("--from-literal=password=a-password-of-{secret}");
        place.cluster.kubectl(&["create", "secret", "generic", secret, "-n", NAMESPACE, &value])?;
    }
    let document = place.up_and_kept(&platform, 420)?;
    println!("up: published {:#}, rolled out {:#}", document["seconds"], document["cluster"]["seconds"]);

    for server in &SERVERS {
        let name = server.name;
        let answer = ask(&place.cluster, name).with_context(|| logs(&place, name))?;
        let program =
            answer["program"].as_str().with_context(|| format!("{answer}\n{}", logs(&place, name)))?;
        assert!(program.starts_with(server.program), "{name}: {program}");
        assert_eq!(answer["said"], (server.said)(), "{name}");
        let pod = pod(&place.cluster, name)?;
        expect_restricted(server, &pod);
        let processes = expect_held(server, &pod, place.cluster.node(1)?)?;
        println!("{name}: {program}, {processes} processes, writes to {:?}", server.writable);
    }
    start_again(&place)
}

/// Servers with a volume end as asked, and their next pods find in it what they kept.
fn start_again(place: &Place) -> Result<()> {
    let begun = Instant::now();
    let kubectl = |verb: &[&str]| {
        let pods = ["pod/database-0", "pod/queue-0", "-n", NAMESPACE, "--timeout=90s"];
        place.cluster.kubectl(&[verb, &pods].concat())
    };
    kubectl(&["delete"])?;
    kubectl(&["wait", "--for=create"])?;
    kubectl(&["wait", "--for=condition=Ready"])?;
    for name in ["database", "queue"] {
        let mut answer = ask(&place.cluster, name)?;
        // A pod is ready a little before the network leads to it.
        while answer["error"].is_string() && begun.elapsed() < Duration::from_mins(2) {
            thread::sleep(Duration::from_millis(500));
            answer = ask(&place.cluster, name)?;
        }
        assert_eq!(
            answer["said"],
            json!({ "words": [WORD, WORD] }),
            "{name}: {answer}\n{}",
            logs(place, name)
        );
    }
    println!("started again with what they kept after {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// What the service and the one that asked it have written.
fn logs(place: &Place, name: &str) -> String {
    let tail = |name: &str| {
        let label = format!("bundle.build/service={name}");
        let logs = place.cluster.kubectl(&["logs", "-n", NAMESPACE, "-l", &label, "--tail=40"]);
        logs.unwrap_or_else(|error| error.to_string())
    };
    format!("{name}: {}\npython: {}", tail(name), tail("python"))
}
