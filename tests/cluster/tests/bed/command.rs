//! The command line.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::probe;

const PATIENCE: Duration = Duration::from_secs(20);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_test-cluster"));
    command.args(arguments);
    command
}

fn output(arguments: &[&str]) -> Result<String, String> {
    let output = command(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn a_detached_bed_stays_until_it_is_put_down() {
    output(&["up", "--detach", "--name", "detached"]).unwrap();
    let taken = output(&["up", "--detach", "--name", "detached"]).unwrap_err();
    assert!(taken.contains("test-cluster down --name detached"), "{taken}");
    let kubeconfig = output(&["kubeconfig", "--name", "detached"]).unwrap();
    assert!(output(&["list"]).unwrap().contains("detached 10.77."));
    let nodes = Command::new(test_cluster::program("kubernetes").unwrap())
        .args(["kubectl", "get", "nodes", "--kubeconfig", &kubeconfig])
        .env("KUBECACHEDIR", format!("{kubeconfig}.cache"))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&nodes.stdout).contains("node1"));
    output(&["down", "--name", "detached"]).unwrap();
    assert!(!std::fs::exists(&kubeconfig).unwrap());
    assert!(output(&["kubeconfig", "--name", "detached"]).is_err());
}

#[test]
fn an_interrupt_ends_a_bed() {
    let mut up = command(&["up", "--name", "interrupted"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines();
    let ready = lines.next().unwrap().unwrap();
    assert!(ready.starts_with("ready after"), "{ready}");
    let kubeconfig = lines.next().unwrap().unwrap().split_once('=').unwrap().1.to_owned();
    let status = Command::new("kill").args(["-INT", &up.id().to_string()]).status().unwrap();
    assert!(status.success());
    up.wait().unwrap();
    probe::eventually("the end", PATIENCE, || (!std::fs::exists(&kubeconfig).unwrap()).then_some(()));
}
