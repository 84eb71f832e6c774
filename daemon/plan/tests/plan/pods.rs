use daemon_plan::{
    Health, Reason,
    health::health,
    pods::{current_pods, lost_readiness, pod_failure, stuck_pods},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const START: &str = "2026-07-01T10:00:00Z";

fn start() -> Timestamp {
    START.parse().expect("a time")
}

fn later(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

/// A pod of `owner` that was made and scheduled `made` seconds after the start.
fn pod(name: &str, owner: &str, made: i64, container: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "creationTimestamp": later(made).to_string(),
            "ownerReferences": [{"uid": owner, "controller": true}],
            "labels": {"controller-revision-hash": "cache-2"},
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": later(made).to_string()},
                {"type": "Ready", "status": "False", "lastTransitionTime": later(made).to_string()},
            ],
            "containerStatuses": [container],
        },
    })
}

fn running(restarts: u8) -> Value {
    json!({"name": "api", "restartCount": restarts, "state": {"running": {"startedAt": later(2).to_string()}}})
}

fn waiting(reason: &str) -> Value {
    json!({"name": "api", "restartCount": 0, "state": {"waiting": {"reason": reason, "message": "text"}}})
}

#[test]
fn what_fails_at_once_and_what_has_time() {
    let killed = |second: i64| {
        json!({"name": "api", "restartCount": 1, "state": {"running": {}},
            "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": later(second).to_string()}}})
    };
    let cases = [
        ("well", pod("p", "o", 1, &running(0)), 5, None),
        ("one restart", pod("p", "o", 1, &running(1)), 5, None),
        ("two restarts", pod("p", "o", 1, &running(2)), 5, Some(Reason::Restarts)),
        ("two restarts of an old pod", pod("p", "o", -9000, &running(40)), 5, None),
        ("killed for memory", pod("p", "o", 1, &killed(3)), 5, Some(Reason::OutOfMemory)),
        ("killed last week", pod("p", "o", -9000, &killed(-8000)), 5, None),
        ("crash loop", pod("p", "o", 1, &waiting("CrashLoopBackOff")), 5, Some(Reason::CrashLoop)),
        ("image, early", pod("p", "o", 0, &waiting("ErrImagePull")), 20, None),
        ("image, late", pod("p", "o", 0, &waiting("ErrImagePull")), 21, Some(Reason::ImagePull)),
        ("image, backing off", pod("p", "o", 0, &waiting("ImagePullBackOff")), 21, Some(Reason::ImagePull)),
        ("image name", pod("p", "o", 0, &waiting("InvalidImageName")), 1, Some(Reason::ImagePull)),
        ("configuration, early", pod("p", "o", 0, &waiting("CreateContainerConfigError")), 10, None),
        (
            "configuration",
            pod("p", "o", 0, &waiting("CreateContainerConfigError")),
            11,
            Some(Reason::ContainerConfig),
        ),
        ("creating", pod("p", "o", 0, &waiting("ContainerCreating")), 500, None),
    ];
    for (what, pod, second, reason) in cases {
        let found = pod_failure(&pod, start(), later(second));
        assert_eq!(found.as_ref().map(|failure| failure.reason), reason, "{what}: {found:?}");
        if let Some(failure) = found {
            assert!(failure.message.starts_with("container api of pod p: "), "{failure}");
        }
        let mut going = pod;
        going["metadata"]["deletionTimestamp"] = json!(START);
        assert_eq!(pod_failure(&going, start(), later(second)), None, "{what}, but it is going");
    }
    let mut init = pod("p", "o", 0, &running(0));
    init["status"]["initContainerStatuses"] = json!([waiting("CrashLoopBackOff")]);
    assert!(pod_failure(&init, start(), later(1)).is_some(), "containers that run first count as well");
}

#[test]
fn what_a_container_said_last_is_told() {
    let ended = |code: u8, reason: &str, words: &str| {
        let container = json!({"name": "api", "restartCount": 1, "state": {"waiting": {
            "reason": "CrashLoopBackOff", "message": "back-off 10s"}}, "lastState": {"terminated": {
            "exitCode": code, "reason": reason, "message": words}}});
        let failure = pod_failure(&pod("p", "o", 1, &container), start(), later(5)).expect("a failure");
        let told = failure.message;
        told.strip_prefix("container api of pod p: CrashLoopBackOff, back-off 10s; ").expect(&told).to_owned()
    };
    assert_eq!(ended(1, "Error", ""), "it ended with exit code 1");
    assert_eq!(ended(137, "OOMKilled", ""), "it ended with exit code 137, OOMKilled");
    let node = "/srv/api/main.js:3\nthrow new Error('no');\n      ^\n\nError: no\n    at Object.x (/srv/api/main.js:3:7)\n\
        \n\nNode.js v20.19.2\n";
    assert_eq!(
        ended(1, "Error", node),
        "it ended with exit code 1: throw new Error('no'); | Error: no | Node.js v20.19.2"
    );
    assert_eq!(ended(1, "Error", "\u{1b}[31mno\u{9b}\u{7}\r\n"), "it ended with exit code 1: [31mno");
    assert_eq!(ended(1, "Error", "  at a\n  at b\n"), "it ended with exit code 1: at a | at b");
    let long = ended(1, "Error", &"é".repeat(2000));
    assert!(long.ends_with("éé") && long.contains(": …é") && long.chars().count() < 400, "{long}");

    let mut restarted = running(2);
    restarted["lastState"] = json!({"terminated": {"exitCode": 3, "signal": 9, "message": "no"}});
    let failure = pod_failure(&pod("p", "o", 1, &restarted), start(), later(5)).expect("a failure");
    assert!(
        failure.message.ends_with("restarted 2 times, it ended with exit code 3, signal 9: no"),
        "{failure}"
    );
}

#[test]
fn readiness_that_was_there_and_is_lost() {
    let mut lost = pod("p", "o", 0, &running(0));
    assert!(!lost_readiness(&lost), "never ready");
    lost["status"]["conditions"][1]["lastTransitionTime"] = json!(later(30).to_string());
    assert!(lost_readiness(&lost));
    let mut ready = lost.clone();
    ready["status"]["conditions"][1]["status"] = json!("True");
    assert!(!lost_readiness(&ready));
    let mut restarted = lost.clone();
    restarted["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] =
        json!(later(31).to_string());
    assert!(!lost_readiness(&restarted), "its container began anew");
    let mut silent = lost.clone();
    silent["status"]["conditions"][0] = json!({"type": "ContainersReady", "status": "True"});
    assert!(!lost_readiness(&silent), "its node was not heard of");
    silent["status"]["conditions"][1]["reason"] = json!("ReadinessGatesNotReady");
    assert!(lost_readiness(&silent), "a gate closed");
    lost["metadata"]["deletionTimestamp"] = json!(START);
    assert!(!lost_readiness(&lost), "it is going");
}

fn deployment(generation: u8, observed: u8) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "api", "uid": "d", "generation": generation,
            "annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": observed, "replicas": 1, "updatedReplicas": 1},
    })
}

fn replica_set(uid: &str, revision: &str) -> Value {
    json!({"metadata": {"uid": uid, "ownerReferences": [{"uid": "d", "controller": true}],
        "annotations": {"deployment.kubernetes.io/revision": revision}}})
}

fn names<'a>(pods: &[&'a Value]) -> Vec<&'a str> {
    pods.iter().map(|pod| pod["metadata"]["name"].as_str().expect("a name")).collect()
}

#[test]
fn only_the_current_revision_counts() {
    let sets = [replica_set("r1", "1"), replica_set("r2", "2")];
    let pods = [
        pod("old", "r1", 0, &waiting("CrashLoopBackOff")),
        pod("new", "r2", 1, &running(0)),
        pod("foreign", "x", 1, &waiting("CrashLoopBackOff")),
    ];
    assert_eq!(names(&current_pods(&deployment(3, 3), &sets, &pods)), ["new"]);
    let judged = |pods: &[Value], workload: &Value| health(workload, None, &sets, pods, start(), later(5));
    assert!(matches!(judged(&pods, &deployment(3, 3)), Health::Progressing { .. }));
    let crashing = [pod("new", "r2", 1, &waiting("CrashLoopBackOff"))];
    assert!(matches!(judged(&crashing, &deployment(3, 3)), Health::Failed(_)));
    // What the controller has not seen yet has no pods: these are of the document before.
    assert!(matches!(judged(&crashing, &deployment(4, 3)), Health::Progressing { .. }));
    let mut lost = pod("new", "r2", 0, &running(0));
    lost["status"]["conditions"][1]["lastTransitionTime"] = json!(later(30).to_string());
    assert!(matches!(judged(&[lost], &deployment(3, 3)), Health::Degraded { .. }));
    assert!(matches!(judged(&[], &Value::Null), Health::Progressing { .. }));
    // Without pods nothing crashes; that is no health where an autoscaler has a minimum.
    let mut stopped = deployment(3, 3);
    stopped["spec"]["replicas"] = json!(0);
    stopped["status"] = json!({"observedGeneration": 3});
    assert_eq!(judged(&[], &stopped), Health::Healthy);
    let scaled = health(&stopped, Some(2), &sets, &[], start(), later(5));
    assert!(matches!(scaled, Health::Progressing { .. }), "{scaled:?}");

    let daemon_set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"uid": "s",
        "annotations": {"deprecated.daemonset.template.generation": "2"}}});
    let mut pods = [pod("old", "s", 0, &running(0)), pod("new", "s", 0, &running(0))];
    pods[0]["metadata"]["labels"]["pod-template-generation"] = json!("1");
    pods[1]["metadata"]["labels"]["pod-template-generation"] = json!("2");
    assert_eq!(names(&current_pods(&daemon_set, &[], &pods)), ["new"]);
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"uid": "s"}});
    assert!(current_pods(&job, &[], &pods).is_empty(), "a Job's own back-off decides about its pods");
}

#[test]
fn a_set_that_cannot_go_on_names_the_pods_in_its_way() {
    let set = |observed: u8, revision: &str| {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"uid": "s", "generation": 4},
            "status": {"observedGeneration": observed, "updateRevision": revision}})
    };
    let mut ready = pod("cache-1", "s", 0, &running(0));
    ready["status"]["conditions"][1]["status"] = json!("True");
    let pods = [pod("cache-0", "s", 0, &running(0)), ready, pod("other-0", "x", 0, &running(0))];
    let stuck = stuck_pods(&set(4, "cache-1"), &pods);
    assert_eq!(stuck.len(), 1);
    assert_eq!((stuck[0].name.as_str(), stuck[0].uid.as_str()), ("cache-0", "uid-cache-0"));
    assert!(
        stuck_pods(&set(3, "cache-1"), &pods).is_empty(),
        "its controller has not seen the newest document"
    );
    assert!(stuck_pods(&set(4, "cache-2"), &pods).is_empty(), "pods of the wanted revision are given time");
    assert!(stuck_pods(&deployment(3, 3), &pods).is_empty());
    let mut by_hand = set(4, "cache-1");
    by_hand["spec"]["updateStrategy"]["type"] = json!("OnDelete");
    assert!(stuck_pods(&by_hand, &pods).is_empty(), "people replace them");
    assert_eq!(names(&current_pods(&set(4, "cache-2"), &[], &pods)), ["cache-0", "cache-1"]);
}
