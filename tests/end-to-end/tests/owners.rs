//! Release managers with keys of their own: two of three move a channel, and a cluster that was subscribed with their trust
//! root follows it; nobody with other keys turns it away.

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use test_end_to_end::{place::Place, platform::Platform};

const TRUST: &str = r#"product = "generator"
expires = "2099-12-31T00:00:00Z"

[owners]
alice = { keys = ["alice.pub"] }
bob = { keys = ["bob.pub"] }
carol = { keys = ["carol.pub"] }
ci = { keys = ["ci.pub"] }

[roles]
root = { owners = ["alice", "bob", "carol"], threshold = 2 }
release = { owners = ["ci"], threshold = 1 }

[roles.channel]
production = { owners = ["alice", "bob", "carol"], threshold = 2 }
staging = { owners = ["bob"], threshold = 1 }
"#;
/// Namespace that the platform runs in, and name of its subscription.
const PLACE: &str = "generator-eu";
const KEPT_WITHIN: Duration = Duration::from_mins(4);

/// A registry that serves as long as this is there.
struct Registry {
    process: Child,
}

impl Registry {
    fn start(place: &Place, scratch: &Path) -> Result<Self> {
        let folder = scratch.join("registry").display().to_string();
        let arguments = ["registry", "serve", "--address", &place.registry, "--root", &folder];
        let process = place.bundle.spawn(arguments, &scratch.join("registry.log"))?;
        let begun = Instant::now();
        while TcpStream::connect(&place.registry).is_err() {
            ensure!(begun.elapsed() < Duration::from_secs(10), "the registry does not answer");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { process })
    }
}

#[allow(clippy::print_stderr, reason = "nobody else hears of it")]
impl Drop for Registry {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("the registry is not stopped: {error}");
        }
    }
}

/// People at their terminal, in a folder with their keys.
struct People<'a> {
    place: &'a Place,
    folder: PathBuf,
}

impl People<'_> {
    fn output(&self, line: &str) -> Result<Output> {
        let mut command = self.place.bundle.command(["--json"]);
        command.args(line.split_whitespace()).env("BUNDLE_PASSWORD", "secret").current_dir(&self.folder);
        command.output().context("bundle starts")
    }

    fn run(&self, line: &str) -> Result<Value> {
        let output = self.output(line)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "bundle {line}: {}\n{said}\n{}",
            output.status,
            self.place.describe()
        );
        serde_json::from_slice(&output.stdout).with_context(|| format!("bundle {line} writes JSON"))
    }

    /// What a command says that is refused with `code`.
    fn refused(&self, line: &str, code: i32) -> Result<String> {
        let output = self.output(line)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.code() == Some(code),
            "bundle {line}: {}, expected {code}\n{said}",
            output.status
        );
        Ok(said)
    }

    /// Builds, pushes and signs what the platform is now, and has two owners move the channel to it.
    fn release(&self, platform: &Platform) -> Result<String> {
        let root = platform.root().display();
        self.run(&format!("fetch --platform {root}"))?;
        let registry = &self.place.registry;
        let pushed = self.run(&format!("release --platform {root} --scheme http --registry {registry}"))?;
        let reference = pushed["reference"].as_str().context("a reference")?;
        self.run(&format!("sign {reference} --scheme http --key ci.key"))?;
        let promote = format!(
            "promote production {reference} --scheme http --environment test --trust-root trust-root.json --reason CHG-1 \
             --by alice"
        );
        self.refused(&format!("{promote} --key alice.key"), 4)?;
        self.run(&format!("{promote} --key alice.key --key carol.key"))?;
        let (_, digest) = reference.split_once('@').context("a digest")?;
        Ok(digest.to_owned())
    }
}

fn keeps(status: &Value, release: &str) -> bool {
    let ready = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
    status["running"]["digest"] == release
        && status["conditions"].as_array().is_some_and(|all| all.iter().any(ready))
}

#[test]
fn a_cluster_follows_owners_of_its_own_trust_root() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let place = Place::start(&scratch.path().join("home"))?;
    let _registry = Registry::start(&place, scratch.path())?;
    let platform = Platform::copy(&scratch.path().join("platform"))?;
    let people = People { place: &place, folder: scratch.path().to_owned() };
    for owner in ["alice", "bob", "carol", "ci"] {
        people.run(&format!("key generate {owner}"))?;
    }
    std::fs::write(scratch.path().join("trust.toml"), TRUST)?;
    people.run("trust init trust.toml --key alice.key --key bob.key")?;
    let first = people.release(&platform)?;

    // The cluster has no daemon yet.
    let kubeconfig = place.cluster.kubeconfig().display().to_string();
    let registry = &place.registry;
    let cluster = format!("--context bed --kubeconfig {kubeconfig}");
    let subscribe = |channel: &str| {
        format!(
            "subscribe {channel} {registry}/generator --scheme http --environment test --name {PLACE} --namespace {PLACE} --poll \
             1 --soak 3 --trust-root trust-root.json {cluster}"
        )
    };
    let said = people.refused(&subscribe("dev"), 4)?;
    ensure!(said.contains("generator/dev"), "{said}");
    let document = people.run(&subscribe("production"))?;
    assert_eq!(document["daemonInstalled"], true, "{document:#}");
    place.wait_for(PLACE, "the first release", KEPT_WITHIN, |status| keeps(status, &first))?;

    // Without its rights the daemon says what gives them back, and that does.
    place.cluster.kubectl(&["delete", "rolebinding", "bundle-daemon-target", "-n", PLACE])?;
    let advice =
        |status: &Value| {
            let conditions = status["conditions"].as_array()?;
            let ready = conditions.iter().find(|one| one["type"] == "Ready")?;
            let (_, command) =
                ready["message"].as_str()?.split_once("bundle-daemon-target is missing: bundle ")?;
            Some(command.replace(
                "--trust-root FILE --context NAME",
                &format!("--trust-root trust-root.json {cluster}"),
            ))
        };
    let is_said = |status: &Value| advice(status).is_some();
    let status = place.wait_for(PLACE, "the word of missing rights", Duration::from_mins(1), is_said)?;
    let command = advice(&status).context("a command")?;
    assert_eq!(command, subscribe("production"));
    let document = people.run(&command)?;
    assert_eq!((&document["daemonInstalled"], &document["trustedBefore"]), (&false.into(), &Value::Null));
    platform.change("bundle.toml", "version = \"0.1.0\"", "version = \"0.2.0\"")?;
    let second = people.release(&platform)?;
    assert_ne!(first, second);
    place.wait_for(PLACE, "the second release", KEPT_WITHIN, |status| keeps(status, &second))?;

    // What was passed over in silence would be lost: another channel, another namespace.
    let said = people.refused(&subscribe("staging"), 2)?;
    ensure!(said.contains("--name OTHER"), "{said}");
    let said = people.refused(&subscribe("production").replace(&format!("--namespace {PLACE}"), ""), 2)?;
    ensure!(said.contains(&format!("--namespace {PLACE}")), "{said}");
    ensure!(place.cluster.kubectl(&["get", "namespace", "generator"]).is_err(), "a namespace was made");

    // The next version of the root takes the place of the first.
    people.run("trust next trust.toml --previous trust-root.json --key alice.key --key bob.key")?;
    let pinned = place.subscription(PLACE)?["spec"]["trustRoot"]["digest"].clone();
    let document = people.run(&subscribe("production").replace("trust-root.json", "trust-root-2.json"))?;
    assert_eq!(document["trustedBefore"], pinned);
    let generation = place.subscription(PLACE)?["metadata"]["generation"].clone();
    place.wait_for(PLACE, "the next root", Duration::from_mins(1), |status| {
        status["observedGeneration"] == generation && keeps(status, &second)
    })?;

    // On request, and only then, the daemon is this executable's from now on.
    assert_eq!(document["daemonInstalled"], false);
    let upgrade = subscribe("production").replace("trust-root.json", "trust-root-2.json");
    let document = people.run(&format!("{upgrade} --upgrade-daemon"))?;
    assert_eq!((&document["daemonInstalled"], &document["trustedBefore"]), (&true.into(), &Value::Null));

    // Keys of this machine do not take over what trusts others, nor the daemon that serves it.
    let daemon = document["daemon"].as_str().context("an image")?;
    let root = platform.root().display();
    let taken =
        format!("subscribe production {registry}/generator --scheme http --environment test {cluster}");
    people.run(&format!("{taken} --trust-root trust-root-2.json --poll 1"))?;
    let before = place.subscription("generator")?["spec"].clone();
    let up = format!("up {root} --listen 127.0.0.1:0 --registry {registry} {cluster}");
    let said = people.refused(&up, 4)?;
    ensure!(said.contains("generator/production") && said.contains("--name OTHER"), "{said}");
    assert_eq!(place.subscription("generator")?["spec"], before);
    let image = ["-o", "jsonpath={.spec.template.spec.containers[0].image}"];
    let of_daemon = ["get", "deployment", "bundle-daemon", "-n", "bundle-system"];
    assert_eq!(place.cluster.kubectl(&[&of_daemon[..], &image].concat())?, daemon);
    // Where it trusts nobody yet, it is subscribed, and the daemon that serves others stays as it is all the same.
    place.cluster.kubectl(&["delete", "subscription", "generator", "-n", "bundle-system"])?;
    let said = people.output(&format!("{up} --wait 1"))?.stderr;
    let said = String::from_utf8_lossy(&said);
    ensure!(said.contains(&format!("stays as it is: it serves {PLACE}")), "{said}");
    assert_eq!(place.subscription("generator")?["spec"]["channel"], "generator/dev");
    assert_eq!(place.cluster.kubectl(&[&of_daemon[..], &image].concat())?, daemon);
    Ok(())
}
