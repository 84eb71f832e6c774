//! The whole chain on a real Kubernetes: a release is installed by the daemon in the cluster, the next one replaces it
//! without a lost request, bad ones take themselves back, a pinned cluster stays where it is.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "figures of the run")]

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use test_cluster::AuditEvent;
use test_end_to_end::{
    keys::Redis,
    load::{Load, Tally},
    place::Place,
    platform::Platform,
};

const DAEMON: &str = "system:serviceaccount:bundle-system:bundle-daemon";
const NAMESPACE: &str = "generator";
const RATE: u32 = 100;

struct Stage {
    place: Place,
    platform: Platform,
    _scratch: tempfile::TempDir,
}

impl Stage {
    fn set_up() -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let place = Place::start(&scratch.path().join("home"))?;
        let platform = Platform::copy(&scratch.path().join("platform"))?;
        Ok(Self { place, platform, _scratch: scratch })
    }

    fn up(&self, wait: u32) -> Result<std::process::Output> {
        self.place.up(self.platform.root(), wait)
    }

    /// `bundle up` until the release is kept. Returns its digest.
    fn up_and_kept(&self) -> Result<String> {
        let document = self.place.up_and_kept(self.platform.root(), 240)?;
        Ok(document["release"].as_str().context("a digest")?.to_owned())
    }

    fn operator(&self, arguments: &[&str]) -> Result<Value> {
        self.place.operator(arguments)
    }

    fn status(&self) -> Result<Value> {
        self.place.status("generator")
    }

    /// Waits until the status is as wanted.
    fn wait_for(&self, what: &str, limit: Duration, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        self.place.wait_for("generator", what, limit, is_so)
    }

    /// The API server takes every object of `production`, with the figures of the specification.
    fn production_is_accepted(&self) -> Result<()> {
        let root = self.platform.root().display().to_string();
        self.place.cluster.kubectl(&["create", "namespace", "production"])?;
        let list = self.place.bundle.run([
            "show",
            "--platform",
            &root,
            "--environment",
            "production",
            "--registry",
            &self.place.registry,
            "--namespace",
            "production",
        ])?;
        let file = self.platform.root().with_file_name("production.json");
        fs::write(&file, &list)?;
        let file = file.display().to_string();
        let accepted = self.place.cluster.kubectl(&[
            "apply",
            "--server-side",
            "--dry-run=server",
            "-f",
            &file,
            "-o",
            "json",
        ])?;
        let accepted: Value = serde_json::from_str(&accepted)?;
        let sent: Value = serde_json::from_str(&list)?;
        let (sent, accepted) = (sent["items"].as_array(), accepted["items"].as_array());
        let (sent, accepted) = sent.zip(accepted).context("lists of objects")?;
        ensure!(sent.len() == accepted.len() && sent.len() > 8, "{} of {}", accepted.len(), sent.len());
        let object = |kind: &str, name: &str| {
            let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
            accepted.iter().find(is_it).with_context(|| format!("{kind} {name}"))
        };
        for (kind, name) in [("Deployment", "api"), ("StatefulSet", "cache")] {
            let resources = &object(kind, name)?["spec"]["template"]["spec"]["containers"][0]["resources"];
            assert_eq!(resources["requests"], json!({ "cpu": "2", "memory": "4Gi" }), "{kind} {name}");
        }
        let scaling = &object("HorizontalPodAutoscaler", "api")?["spec"];
        assert_eq!((&scaling["minReplicas"], &scaling["maxReplicas"]), (&json!(2), &json!(10)));
        assert_eq!(scaling["metrics"][0]["resource"]["target"]["averageUtilization"], 70);
        println!("production: {} objects accepted by dry run", accepted.len());
        Ok(())
    }

    /// containerd pushes to our registry what it pulled from there, byte for byte.
    fn containerd_pushes(&self) -> Result<()> {
        let path = "jsonpath={.spec.template.spec.containers[0].image}";
        let pulled =
            self.place.cluster.kubectl(&["get", "deployment", "api", "-n", NAMESPACE, "-o", path])?;
        let (_, digest) = pulled.trim().split_once('@').context("an image by digest")?;
        let target = format!("{}/copied/api:1", self.place.registry);
        let push = ["ctr", "--namespace=k8s.io", "images", "push", "--plain-http", &target, pulled.trim()];
        let output = self.place.cluster.node(1)?.run(&push)?;
        ensure!(output.code == 0, "ctr images push: {}", output.stderr);
        let url = format!("http://{}/v2/copied/api/manifests/1", self.place.registry);
        let head = Command::new("curl").args(["-sf", "-I", "-m", "5", &url]).output()?;
        let head = String::from_utf8_lossy(&head.stdout).into_owned();
        ensure!(head.contains(digest), "{target} is not {digest}: {head}");
        Ok(())
    }

    fn address(&self) -> Result<SocketAddr> {
        let ip = self.place.cluster.kubectl(&[
            "get",
            "service",
            "api",
            "-n",
            NAMESPACE,
            "-o",
            "jsonpath={.spec.clusterIP}",
        ])?;
        Ok(SocketAddr::new(ip.trim().parse()?, 3000))
    }

    fn load(&self) -> Result<Load> {
        Ok(Load::start(self.address()?, "/version", RATE))
    }

    fn served_version(&self) -> Result<String> {
        let url = format!("http://{}/version", self.address()?);
        let output = Command::new("curl").args(["-sf", "-m", "5", &url]).output()?;
        let document: Value = serde_json::from_slice(&output.stdout).context("the application answers")?;
        Ok(document["version"].as_str().unwrap_or_default().to_owned())
    }

    /// Changes in the namespace of the release that the daemon has made so far.
    fn writes(&self) -> Result<Vec<AuditEvent>> {
        let events = self.place.cluster.audit_log()?;
        let is_ours = |event: &AuditEvent| {
            let place = event.object.as_ref().map(|object| object.namespace.as_str());
            event.is_write() && !event.dry_run && event.user == DAEMON && place == Some(NAMESPACE)
        };
        Ok(events.into_iter().filter(is_ours).collect())
    }

    /// The restore point of that name, on the volume.
    fn restore_point(&self, name: &str) -> Result<PathBuf> {
        let node = self.place.cluster.node(1)?;
        (0..8)
            .flat_map(|number| fs::read_dir(node.volume(number)).into_iter().flatten().flatten())
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)))
            .with_context(|| format!("a volume holds {name}"))
    }
}

fn is_condition(status: &Value, kind: &str, wanted: &str) -> bool {
    status["conditions"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["type"] == kind && one["status"] == wanted))
}

fn ready(status: &Value) -> Option<&Value> {
    status["conditions"].as_array()?.iter().find(|one| one["type"] == "Ready")
}

/// The release that was judged well last, while the one that the channel names is denied.
fn went_back_to(status: &Value, digest: &str) -> bool {
    status["running"]["digest"] == digest && is_condition(status, "Denied", "True")
}

fn denial<'a>(status: &'a Value, digest: &str) -> Option<&'a Value> {
    status["denied"].as_array()?.iter().find(|denied| denied["digest"] == digest)
}

fn expect_none_failed(what: &str, tally: &Tally) {
    println!("{what}: {} requests, {} failed {:?}", tally.sent, tally.failed(), tally.failures);
    assert!(tally.sent > 500, "{what}: only {} requests were sent", tally.sent);
    assert_eq!(tally.failed(), 0, "{what}: {tally:?}");
}

/// A Redis of the machine that starts from a restore point.
struct Restored {
    process: std::process::Child,
    redis: Redis,
    _folder: tempfile::TempDir,
}

impl Restored {
    fn start(point: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::copy(point, folder.path().join("dump.rdb"))?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .context("redis-server starts (Debian package redis-server)")?;
        let restored = Self { process, redis: Redis::new("127.0.0.1", port), _folder: folder };
        let begun = Instant::now();
        while !restored.redis.send("PING\n").is_ok_and(|answer| answer.contains("PONG")) {
            ensure!(begun.elapsed() < Duration::from_secs(20), "the restored Redis does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(restored)
    }
}

#[test]
fn releases_come_and_bad_ones_go() -> Result<()> {
    let stage = Stage::set_up()?;
    let server = stage.platform.read("api/app/server.js")?;
    let recipe = stage.platform.read("api/recipe.toml")?;

    // The control is installed by the daemon in the cluster: its processes are stopped without a pause and end at once.
    stage.platform.change("bundle.toml", "version = \"0.1.0\"", "version = \"0.0.1\"")?;
    stage.platform.change("api/recipe.toml", "delay = \"5s\"", "delay = \"0s\"")?;
    stage.platform.change(
        "api/app/server.js",
        "process.on('SIGTERM', stop);",
        "process.on('SIGTERM', () => process.exit(0));",
    )?;
    let begun = Instant::now();
    stage.up_and_kept()?;
    println!("the control is kept after {:.1} s", begun.elapsed().as_secs_f64());
    stage.production_is_accepted()?;
    stage.containerd_pushes()?;

    // v1 replaces it: the requests that this loses show that the client counts them.
    stage.platform.change("bundle.toml", "version = \"0.0.1\"", "version = \"0.1.0\"")?;
    stage.platform.write("api/recipe.toml", &recipe)?;
    stage.platform.write("api/app/server.js", &server)?;
    // At a higher rate, since the gap between the end of a process and the news of it is short.
    let load = Load::start(stage.address()?, "/version", 3 * RATE);
    let begun = Instant::now();
    let first = stage.up_and_kept()?;
    println!("v1 kept after {:.1} s", begun.elapsed().as_secs_f64());
    let control = load.stop();
    println!("control → v1: {} requests, {} failed {:?}", control.sent, control.failed(), control.failures);
    assert!(control.failed() > 0, "without a pause before the stop nothing was lost: {control:?}");
    assert_eq!(stage.served_version()?, "1.0.0");
    stage.place.cluster.kubectl(&[
        "wait",
        "deployment/api",
        "-n",
        NAMESPACE,
        "--for=jsonpath={.status.availableReplicas}=2",
        "--timeout=90s",
    ])?;
    let cache = stage.place.cluster.kubectl(&[
        "get",
        "pod",
        "cache-0",
        "-n",
        NAMESPACE,
        "-o",
        "jsonpath={.status.podIP}",
    ])?;
    let cache = Redis::new(cache.trim(), 6379);
    let keys = cache.fill()?;
    assert!(keys >= 10_000);
    let before = cache.content()?;
    assert_eq!(before.len(), keys);

    // v2 replaces it without a lost request, after a restore point.
    stage.platform.change("bundle.toml", "version = \"0.1.0\"", "version = \"0.2.0\"")?;
    stage.platform.change("api/recipe.toml", "VERSION = \"1.0.0\"", "VERSION = \"2.0.0\"")?;
    let load = stage.load()?;
    let begun = Instant::now();
    let second = stage.up_and_kept()?;
    println!("v2 kept after {:.1} s", begun.elapsed().as_secs_f64());
    expect_none_failed("v1 → v2", &load.stop());
    assert_ne!(first, second);
    assert_eq!(stage.served_version()?, "2.0.0");

    cache.send("SET later x\n")?;
    let history = stage.operator(&["history", "generator"])?;
    let entry =
        history["entries"].as_array().and_then(|all| all.iter().find(|one| one["digest"] == second.as_str()));
    let name = entry
        .and_then(|entry| entry["restorePoints"][0]["name"].as_str())
        .context("v2 has a restore point")?;
    let mut restored = Restored::start(&stage.restore_point(name)?)?;
    let content = restored.redis.content();
    restored.process.kill()?;
    restored.process.wait()?;
    let content = content?;
    assert!(!content.contains_key("later"));
    let differing: Vec<_> =
        before.iter().filter(|(key, value)| content.get(*key) != Some(*value)).take(3).collect();
    assert!(differing.is_empty() && content.len() == before.len(), "restored keys differ: {differing:?}");
    println!("restore point {name}: {} keys equal", content.len());

    // v3 crashes, v4 is never ready: each goes back to v2 by itself.
    let second_platform = stage.platform.read("bundle.toml")?;
    let recipe = stage.platform.read("api/recipe.toml")?;
    for (version, server, recipe) in [
        ("0.3.0", format!("process.exit(3);\n{server}"), recipe.clone()),
        (
            "0.4.0",
            server.clone(),
            recipe.replace("path = \"/ready\"", "path = \"/never\"").replace("90s", "15s"),
        ),
    ] {
        let was = stage.platform.read("bundle.toml")?;
        let old = was.lines().find(|line| line.starts_with("version")).context("a version")?;
        stage.platform.change("bundle.toml", old, &format!("version = \"{version}\""))?;
        stage.platform.write("api/app/server.js", &server)?;
        stage.platform.write("api/recipe.toml", &recipe)?;
        let load = stage.load()?;
        let begun = Instant::now();
        let output = stage.up(240)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(6), "{version}: {said}");
        assert!(said.contains("did not keep the release"), "{version}: {said}");
        let status = stage
            .wait_for("the return to v2", Duration::from_mins(2), |status| went_back_to(status, &second))?;
        println!("{version} went back after {:.1} s", begun.elapsed().as_secs_f64());
        expect_none_failed(&format!("return from {version}"), &load.stop());
        let release = status["accepted"]["release"].as_str().context("a record was accepted")?;
        let denied = denial(&status, release).with_context(|| format!("{release} is denied: {status:#}"))?;
        println!("{version} denied: {} {}", denied["reason"], denied["message"]);
        assert_eq!(stage.served_version()?, "2.0.0");
    }

    // v5 names an image that is gone: refused before any write.
    stage.platform.write("api/app/server.js", &format!("// v5\n{server}"))?;
    stage.platform.write("api/recipe.toml", &recipe)?;
    stage.platform.change("bundle.toml", "version = \"0.4.0\"", "version = \"0.5.0\"")?;
    let scale = |replicas: &str| {
        stage.place.cluster.kubectl(&[
            "scale",
            "deployment/bundle-daemon",
            "-n",
            "bundle-system",
            replicas,
        ])?;
        anyhow::Ok(())
    };
    scale("--replicas=0")?;
    stage.place.cluster.kubectl(&[
        "wait",
        "pod",
        "-n",
        "bundle-system",
        "-l",
        "app.kubernetes.io/name=bundle-daemon",
        "--for=delete",
        "--timeout=60s",
    ])?;
    let root = stage.platform.root().display().to_string();
    // Without a cluster, so that nobody starts the daemon again.
    let document = stage.place.bundle.json(["up", &root, "--listen", &stage.place.registry])?;
    let fifth = document["release"].as_str().context("a digest")?.to_owned();
    let image = document["images"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["name"] == "api"))
        .and_then(|one| one["digest"].as_str())
        .context("an image")?;
    let url = format!("http://{}/v2/generator/api/manifests/{image}", stage.place.registry);
    ensure!(
        Command::new("curl").args(["-sf", "-X", "DELETE", &url]).status()?.success(),
        "the image is deleted"
    );
    let writes = stage.writes()?.len();
    scale("--replicas=1")?;
    let status = stage.wait_for("the refusal of v5", Duration::from_mins(2), |status| {
        status["accepted"]["release"] == fifth.as_str()
            && ready(status).is_some_and(|ready| ready["reason"] == "Refused")
    })?;
    let message = ready(&status).and_then(|ready| ready["message"].as_str()).unwrap_or_default();
    assert!(message.contains(image), "the refusal names the image: {message}");
    println!("v5: {message}");
    assert_eq!(stage.writes()?.len(), writes, "v5 wrote");
    assert_eq!(stage.served_version()?, "2.0.0");

    // A pinned cluster sees v6 and stays.
    stage.operator(&["pin", "generator", "--reason", "freeze", "--by", "story"])?;
    stage.platform.write("api/app/server.js", &server)?;
    stage.platform.change("bundle.toml", "version = \"0.5.0\"", "version = \"0.6.0\"")?;
    stage.platform.change("api/recipe.toml", "VERSION = \"2.0.0\"", "VERSION = \"6.0.0\"")?;
    let document = stage.place.bundle.json(["up", &root, "--listen", &stage.place.registry])?;
    let sixth = document["release"].as_str().context("a digest")?.to_owned();
    let status = stage.wait_for("v6 seen", Duration::from_mins(1), |status| {
        status["accepted"]["release"] == sixth.as_str() && is_condition(status, "Pinned", "True")
    })?;
    let writes = stage.writes()?.len();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(stage.writes()?.len(), writes, "a pinned cluster was written to over three polls");
    assert_eq!(stage.status()?["running"]["digest"], second.as_str(), "{status:#}");
    assert_eq!(stage.served_version()?, "2.0.0");

    // A person lets it go on.
    let load = stage.load()?;
    stage.operator(&["unpin", "generator"])?;
    stage.wait_for("v6", Duration::from_mins(2), |status| {
        status["running"]["digest"] == sixth.as_str() && is_condition(status, "Ready", "True")
    })?;
    expect_none_failed("v2 → v6", &load.stop());
    assert_eq!(stage.served_version()?, "6.0.0");
    assert!(is_condition(&stage.status()?, "Pinned", "False"), "{:#}", stage.status()?);

    // Whoever reverts a change gets the release of before, and the channel goes back to it by a signed rollback.
    stage.platform.write("bundle.toml", &second_platform)?;
    stage.platform.write("api/recipe.toml", &recipe)?;
    let load = stage.load()?;
    assert_eq!(stage.up_and_kept()?, second);
    expect_none_failed("v6 → v2", &load.stop());
    assert_eq!(stage.served_version()?, "2.0.0");

    Ok(())
}
