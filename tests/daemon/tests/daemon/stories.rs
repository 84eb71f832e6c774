//! Releases one after the other into one cluster: each that cannot go on says what to type, and goes on once it is typed;
//! each that goes on writes no more than what it changes.

use std::{collections::BTreeSet, path::Path, time::Duration};

use bundles_trust::Action;
use daemon::clear_denied;
use daemon_cluster::release_object_name;
use jiff::Timestamp;
use registry_client::Registry;
use registry_wire::Digest;
use serde_json::{Value, json};
use test_cluster::{AuditEvent, program};
use test_daemon::{
    image::Image,
    lab::{HOME, Lab, NODE_REGISTRY, TARGET},
    shop::{Part, Shop, api, cache, stateless},
};

use crate::rollout::{condition, runs};

const PATIENCE: Duration = Duration::from_secs(90);
/// More than one release may prune without a person's word.
const MANY: usize = 12;

type Field = (&'static str, Value);

fn asks(path: &str) -> Field {
    ("readinessProbe", json!({ "httpGet": { "path": path, "port": 8080 }, "periodSeconds": 1 }))
}

/// Whether the subscription is not ready for this reason, with these words about it.
fn unready<'a>(reason: &'a str, words: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |object| {
        let ready = condition(object, "Ready");
        ready["status"] == "False"
            && ready["reason"] == reason
            && ready["message"].as_str().is_some_and(|text| text.contains(words))
    }
}

/// The command for people in a message, between two texts, as words.
fn command(message: &Value, before: &str, after: &str) -> Vec<String> {
    let text = message.as_str().unwrap();
    let (_, text) = text.split_once(before).unwrap_or_else(|| panic!("no `{before}` in {text}"));
    let text = text.split(after).next().unwrap();
    let mut words = Vec::new();
    // Of quotes there are single ones only.
    for (index, piece) in text.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(piece.to_owned());
        } else {
            words.extend(piece.split_whitespace().map(str::to_owned));
        }
    }
    assert_eq!(words.remove(0), "kubectl", "{text}");
    words
}

fn run(lab: &Lab, words: &[String]) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    lab.bed.kubectl(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

fn shown(events: &[AuditEvent]) -> BTreeSet<String> {
    events
        .iter()
        .map(|event| {
            let object = event.object.as_ref().unwrap();
            format!("{} {}/{}", event.verb, object.resource, object.name)
        })
        .collect()
}

struct World {
    lab: Lab,
    registry: Registry,
    shop: Shop,
    probe: (Digest, u64),
    /// What `web` runs all the time.
    first_probe: (Digest, u64),
    redis: (Digest, u64),
}

impl World {
    fn api(&self, mark: &str, ready: &str, deadline: u32) -> Part {
        let env = json!([
            { "name": "MARK", "value": mark },
            { "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "token", "key": "token" } } },
        ]);
        api(self.probe, mark, &[asks(ready), ("env", env)], deadline)
    }

    fn web(&self) -> Part {
        stateless("web", self.first_probe, "same", &[asks("/ready")], 60)
    }

    async fn phase(&self, release: &Digest, wanted: impl Fn(&str) -> bool) -> Value {
        let name = release_object_name("shop", release);
        let found = |object: &Value| object["status"]["phase"].as_str().is_some_and(&wanted);
        self.lab.wait("releases.bundle.build", HOME, name.as_str(), PATIENCE, found).await.unwrap()
    }

    async fn ready(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.lab.wait("subscription", HOME, "shop", PATIENCE, wanted).await.unwrap()
    }

    fn count(&self, kind: &str, prefix: &str) -> usize {
        let list = self.lab.get(kind, TARGET, "").unwrap();
        let named = |item: &&Value| item["metadata"]["name"].as_str().unwrap().starts_with(prefix);
        list["items"].as_array().unwrap().iter().filter(named).count()
    }

    /// A first install that fails says so until a person clears it, and is tried again then.
    async fn first_install(&mut self) {
        let release =
            self.shop.release("1", vec![api(self.probe, "one", &[asks("/no")], 8)], true).await.unwrap();
        self.shop.promote(&release, Action::Promote).await.unwrap();
        self.lab.bed.apply(&self.lab.subscription(&self.registry, &self.shop.root()).to_string()).unwrap();
        let clear = format!("bundle clear shop {} --reason WHY --by WHO --context NAME", release.digest());
        let object = self.ready(unready("FirstInstallFailed", &clear)).await;
        assert!(
            condition(&object, "Ready")["message"].as_str().unwrap().contains("is not healthy within 8 s")
        );
        assert_eq!(object["status"]["denied"][0]["attempt"], 1);
        assert!(
            !self.lab.get("deployment", TARGET, "api").unwrap().is_null(),
            "it is left for whoever looks into it"
        );
        // What `bundle clear` does.
        clear_denied(&self.lab.person(), "shop", release.digest(), "the node was slow", "alice")
            .await
            .unwrap();
        self.ready(|object| {
            object["status"]["denied"][0]["attempt"] == 2 && unready("FirstInstallFailed", &clear)(object)
        })
        .await;
    }

    /// A Secret that is missing is asked for before anything is written, with the command that makes it.
    async fn missing_secret(&mut self) {
        let since = Timestamp::now();
        let parts = vec![self.api("two", "/ready", 60), self.web()];
        let release = self.shop.release("2", parts, true).await.unwrap();
        self.shop.promote(&release, Action::Promote).await.unwrap();
        let object = self.ready(unready("Refused", "Secret shop/token is missing")).await;
        let writes = self.lab.writes(since, Some(TARGET)).unwrap();
        assert!(writes.is_empty(), "{writes:#?}");
        let words = command(&condition(&object, "Ready")["message"], "is missing: ", ";");
        assert!(words.iter().any(|word| word == "--from-literal=token=VALUE"), "{words:?}");
        run(&self.lab, &words);
        self.ready(runs("2", "Kept")).await;
    }

    /// A release that changes one service writes that one only, and needs no registry once its images are on the nodes.
    async fn one_change(&mut self, server: registry_server::Server) -> registry_server::Server {
        let since = Timestamp::now();
        // An image that no node has had before.
        let image = Image::of_program(&program("probe").unwrap(), "probe of release 3").unwrap();
        self.probe = image.push(&self.registry, &"shop/api".parse().unwrap()).await.unwrap();
        let parts = vec![self.api("three", "/ready", 60), self.web()];
        let release = self.shop.release("3", parts, true).await.unwrap();
        self.shop.promote(&release, Action::Promote).await.unwrap();
        let object =
            self.phase(&release.digest(), |phase| !matches!(phase, "Started" | "Fetched" | "Verified")).await;
        let phase = object["status"]["phase"].as_str().unwrap();
        assert!(
            matches!(phase, "OnNodes" | "NothingToProtect"),
            "the registry went too late to show anything: {phase}"
        );
        let port = server.address().port();
        server.stop().await.unwrap();
        self.ready(runs("3", "Kept")).await;
        let writes = self.lab.writes(since, Some(TARGET)).unwrap();
        assert_eq!(shown(&writes), BTreeSet::from(["patch deployments/api".to_owned()]));
        self.lab.serve(port).await.unwrap()
    }

    /// Another place for images changes nothing of what runs: it was proven with the place that it was installed from.
    async fn another_registry(&mut self) {
        let since = Timestamp::now();
        let person = self.lab.person();
        let is_as_installed = |object: &Value| {
            let message = condition(object, "Ready")["message"].as_str().unwrap_or_default();
            message.contains("release 3@") && message.contains(" runs as it was installed")
        };
        let mirror = json!({ "registryMap": { "registry": NODE_REGISTRY, "prefix": "mirror" } });
        person.change_subscription("shop", mirror).await.unwrap();
        self.ready(|object| runs("3", "Kept")(object) && is_as_installed(object)).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let writes = self.lab.writes(since, Some(TARGET)).unwrap();
        assert!(writes.is_empty(), "{writes:#?}");
        let as_before = json!({ "registryMap": { "registry": NODE_REGISTRY, "prefix": null } });
        person.change_subscription("shop", as_before).await.unwrap();
        self.ready(|object| runs("3", "Kept")(object) && !is_as_installed(object)).await;
    }

    /// A newer record takes over while a rollout waits. What the newer release no longer has is pruned after it is well,
    /// each object by its UID; under an autoscaler it is well with as many replicas as that asks for.
    async fn takes_over(&mut self) {
        let parts = vec![self.api("four", "/no", 120), self.web()];
        let four = self.shop.release("4", parts, true).await.unwrap();
        self.shop.promote(&four, Action::Promote).await.unwrap();
        self.phase(&four.digest(), |phase| phase == "NothingToProtect").await;
        self.lab
            .wait("deployment", TARGET, "api", PATIENCE, |api| {
                api["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] == "four"
            })
            .await
            .unwrap();
        let since = Timestamp::now();
        let mut part = self.api("five", "/ready", 120);
        part.objects[1]["spec"].as_object_mut().unwrap().remove("replicas");
        part.objects.push(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": { "name": "api", "labels": { "bundle.build/service": "api" } },
            "spec": {
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "api" },
                "minReplicas": 2, "maxReplicas": 3,
                "metrics": [{ "type": "Resource", "resource": {
                    "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 70 } } }],
            },
        }));
        part.objects.extend((0..MANY).map(|index| {
            json!({ "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": { "name": format!("many-{index}"), "labels": { "bundle.build/service": "api" } },
                    "data": { "key": "value" } })
        }));
        let mut data = cache(self.redis);
        data.policy.as_object_mut().unwrap().remove("backup");
        let five = self.shop.release("5", vec![part, data], true).await.unwrap();
        self.shop.promote(&five, Action::Promote).await.unwrap();
        self.ready(runs("5", "Kept")).await;
        let four = self.phase(&four.digest(), |phase| phase == "Superseded").await;
        assert!(four["status"]["message"].as_str().unwrap().contains(&five.digest().to_string()), "{four}");
        self.check_replicas(&five.digest()).await;
        self.raises_what_was_stopped().await;
        let writes = self.lab.writes(since, None).unwrap();
        let deletions: Vec<AuditEvent> = writes
            .into_iter()
            .filter(|event| event.verb == "delete" && event.object.as_ref().unwrap().namespace != HOME)
            .collect();
        let web = ["delete deployments/web", "delete services/web"].map(str::to_owned);
        assert_eq!(shown(&deletions), BTreeSet::from(web));
        let judged = self.when(&five.digest(), "Judged");
        for deletion in deletions {
            let sent = &deletion.request.as_ref().unwrap()["preconditions"];
            assert!(sent["uid"].is_string() && sent["resourceVersion"].is_string(), "{deletion:#?}");
            assert!(deletion.received >= judged, "before health: {deletion:#?}, judged at {judged}");
        }
    }

    /// At 0 an autoscaler is switched off, and no pod is there that could be ill: that is not well, and is repaired.
    async fn raises_what_was_stopped(&self) {
        run(&self.lab, &["-n", TARGET, "scale", "deployment/api", "--replicas=0"].map(str::to_owned));
        let two = |api: &Value| api["spec"]["replicas"] == 2 && api["status"]["readyReplicas"] == 2;
        self.lab.wait("deployment", TARGET, "api", PATIENCE, two).await.unwrap();
        self.ready(runs("5", "Kept")).await;
    }

    /// Two pods were ready before the release was kept.
    async fn check_replicas(&self, release: &Digest) {
        let kept = self.phase(release, |phase| phase == "Kept").await;
        let since: Timestamp = kept["status"]["since"].as_str().unwrap().parse().unwrap();
        let pods = self.lab.get("pods", TARGET, "").unwrap();
        let ready = pods["items"].as_array().unwrap().iter().filter(|pod| {
            let is_api = pod["metadata"]["labels"]["app.kubernetes.io/name"] == "api";
            let ready = condition(pod, "Ready");
            is_api
                && ready["status"] == "True"
                && ready["lastTransitionTime"].as_str().unwrap().parse::<Timestamp>().unwrap() <= since
        });
        assert_eq!(ready.count(), 2, "{pods:#}");
    }

    /// When a phase of a release was told.
    fn when(&self, release: &Digest, phase: &str) -> Timestamp {
        let name = release_object_name("shop", release);
        let events = self.lab.get("events", HOME, "").unwrap();
        let event = events["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|event| event["reason"] == phase && event["involvedObject"]["name"] == name.as_str());
        event.unwrap_or_else(|| panic!("no event {phase}"))["eventTime"].as_str().unwrap().parse().unwrap()
    }

    /// Many deletions wait for a person's word, and what holds data waits for a person's hand.
    async fn drops_much(&mut self) {
        assert_eq!(self.count("configmaps", "many-"), MANY);
        let release = self.shop.release("6", vec![self.api("six", "/ready", 60)], true).await.unwrap();
        self.shop.promote(&release, Action::Promote).await.unwrap();
        let since = Timestamp::now();
        let object = self.ready(unready("Refused", "objects would be pruned, 10 are allowed")).await;
        assert!(self.lab.writes(since, Some(TARGET)).unwrap().is_empty());
        run(&self.lab, &command(&condition(&object, "Ready")["message"], "to allow it: ", ";"));
        self.ready(runs("6", "Kept")).await;
        let object = self.ready(|object| condition(object, "Pruned")["reason"] == "LeftToPeople").await;
        assert_eq!(self.count("configmaps", "many-"), 0);
        assert!(self.lab.get("horizontalpodautoscaler", TARGET, "api").unwrap().is_null());
        // The autoscaler asked for two; without it there are as many as the release says.
        let one = |api: &Value| api["spec"]["replicas"] == 1 && api["status"]["readyReplicas"] == 1;
        self.lab.wait("deployment", TARGET, "api", PATIENCE, one).await.unwrap();
        assert!(!self.lab.get("statefulset", TARGET, "cache").unwrap().is_null(), "it holds data");
        let words = command(&condition(&object, "Pruned")["message"], "when they may go: ", ";");
        assert_eq!(words, ["-n", TARGET, "delete", "statefulset.apps", "cache"]);
        run(&self.lab, &words);
        self.ready(|object| condition(object, "Pruned")["status"] == "True").await;
        assert_eq!(self.count("persistentvolumeclaims", "data-cache-"), 1, "claims are nobody's to delete");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_lets_a_release_go_on() {
    let lab = Lab::start(1).await.unwrap();
    let (server, registry) = lab.registry().await.unwrap();
    let shop = Shop::new(registry.clone()).unwrap();
    let guest = Image::of_program(Path::new(env!("CARGO_BIN_EXE_guest")), "guest").unwrap();
    let (guest, _) = guest.push(&registry, &"daemon".parse().unwrap()).await.unwrap();
    let guest = format!("{NODE_REGISTRY}/daemon@{guest}");
    let image = Image::of_program(&program("probe").unwrap(), "probe").unwrap();
    let probe = image.push(&registry, &"shop/api".parse().unwrap()).await.unwrap();
    image.push(&registry, &"shop/web".parse().unwrap()).await.unwrap();
    let redis = Image::of_redis().unwrap().push(&registry, &"shop/cache".parse().unwrap()).await.unwrap();
    let daemon = lab.daemon(&guest, "first");
    let since = Timestamp::now();
    let mut world = World { lab, registry, shop, probe, first_probe: probe, redis };
    world.first_install().await;
    world.missing_secret().await;
    let server = world.one_change(server).await;
    world.another_registry().await;
    world.takes_over().await;
    world.drops_much().await;
    let namespaces =
        |event: &AuditEvent| event.object.as_ref().is_some_and(|object| object.resource == "namespaces");
    assert!(
        !world.lab.writes(since, None).unwrap().iter().any(namespaces),
        "namespaces are nobody's to write"
    );
    daemon.stop().await.unwrap();
    server.stop().await.unwrap();
    world.lab.bed.stop().unwrap();
}
