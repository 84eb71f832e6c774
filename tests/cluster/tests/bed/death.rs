//! However a bed ends, nothing of it is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use test_cluster::{Cluster, ClusterOptions};

use crate::probe;

const PATIENCE: Duration = Duration::from_secs(20);

/// What is known of a bed before it dies.
struct Remains {
    folder: PathBuf,
    /// Part of the name of the control groups of its pod.
    pod: String,
    /// All that ran in its namespaces, by id and start time: the kernel gives ids to others, of namespaces as well.
    processes: Vec<(u32, String)>,
}

impl Remains {
    fn of(cluster: &Cluster) -> Self {
        let folder = cluster.bed().folder.clone();
        let records = fs::read_to_string(folder.join("processes")).unwrap();
        let first: Vec<u32> =
            records.lines().map(|line| line.split_once(' ').unwrap().0.parse().unwrap()).collect();
        let of =
            |pid: u32| ["pid", "net", "mnt"].map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok());
        let namespaces: Vec<_> = first.iter().flat_map(|pid| of(*pid)).collect();
        assert!(namespaces.iter().all(Option::is_some));
        let pod = cluster.kubectl(&["get", "pod", "victim", "--output=jsonpath={.metadata.uid}"]).unwrap();
        let processes = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
            .filter(|pid| of(*pid).iter().any(|found| found.is_some() && namespaces.contains(found)))
            .filter_map(|pid| Some((pid, start(pid)?)))
            .collect();
        Self { folder, pod, processes }
    }

    fn living(&self) -> Vec<u32> {
        let lives = |(pid, started): &&(u32, String)| start(*pid).as_ref() == Some(started);
        self.processes.iter().filter(lives).map(|(pid, _)| *pid).collect()
    }

    fn has_pod_groups(&self) -> bool {
        let output =
            Command::new("find").args(["/sys/fs/cgroup", "-name", &format!("*{}*", self.pod)]).output();
        !output.unwrap().stdout.is_empty()
    }

    fn assert_gone(&self) {
        // A namespace lives as long as a process, a mount or an open file holds it.
        assert_eq!(self.living(), Vec::<u32>::new(), "processes are left");
        for mounts in ["/proc/self/mountinfo", "/proc/1/mountinfo"] {
            let mounts = fs::read_to_string(mounts).unwrap();
            let ours = |line: &&str| line.contains("bundle-test-beds") || line.contains("nsfs");
            assert_eq!(mounts.lines().find(ours), None, "a mount is left");
        }
        assert!(!self.has_pod_groups(), "a control group is left");
        assert!(!self.folder.join("marker").exists(), "files are left");
    }
}

/// When a process started, unless it has ended.
fn start(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    (fields.next()? != "Z").then(|| fields.nth(18).unwrap().to_owned())
}

fn supervisor(folder: &Path) -> String {
    let record: Value = serde_json::from_slice(&fs::read(folder.join("bed.json")).unwrap()).unwrap();
    record["supervisor"]["pid"].to_string()
}

fn with_a_pod() -> (Cluster, Remains) {
    let cluster = Cluster::start(&ClusterOptions::default()).unwrap();
    cluster.import_image(&probe::archive()).unwrap();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "victim"}, "spec": probe::pod(probe::IMAGE),
    });
    cluster.apply(&pod.to_string()).unwrap();
    cluster.kubectl(&["wait", "pod/victim", "--for=condition=Ready", "--timeout=60s"]).unwrap();
    fs::write(cluster.bed().folder.join("marker"), "").unwrap();
    let remains = Remains::of(&cluster);
    assert!(remains.processes.len() > 10, "there is something to lose: {:?}", remains.processes);
    assert!(remains.has_pod_groups());
    (cluster, remains)
}

#[test]
fn two_beds_live_and_one_is_killed() {
    let (killed, remains) = with_a_pod();
    let (kept, kept_remains) = with_a_pod();
    assert_ne!(killed.bed().slot, kept.bed().slot);
    assert_ne!(killed.host_address(), kept.host_address());

    let status = Command::new("kill").args(["-9", &supervisor(&remains.folder)]).status().unwrap();
    assert!(status.success());
    // No supervisor, no machines: the kernel sees to it, without any help.
    probe::eventually("the end of all processes", PATIENCE, || remains.living().is_empty().then_some(()));
    assert!(remains.has_pod_groups() && remains.folder.join("marker").exists(), "nobody has cleared up yet");
    assert!(killed.stop().is_err());

    let next = Cluster::start(&ClusterOptions::default()).unwrap();
    remains.assert_gone();
    assert!(kept_remains.folder.join("marker").exists(), "the living bed keeps its files");
    kept.kubectl(&["get", "pod", "victim"]).unwrap();
    next.stop().unwrap();
    kept.stop().unwrap();
    kept_remains.assert_gone();
}

#[test]
fn a_panic_ends_a_bed() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let (cluster, remains) = with_a_pod();
        sender.send(remains).unwrap();
        assert!(cluster.nodes().count() == 0, "a test fails while it holds a bed");
    });
    let remains = receiver.recv().unwrap();
    assert!(test.join().is_err());
    probe::eventually("the end", PATIENCE, || (!remains.folder.join("marker").exists()).then_some(()));
    remains.assert_gone();
}
