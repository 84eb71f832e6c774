//! The probe: an HTTP server in pods, and how to ask it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_cluster::{Cluster, image_archive, program};

/// The name under which the probe's image is imported.
pub(crate) const IMAGE: &str = "test.invalid/probe:1";

/// The archive of the probe's image.
pub(crate) fn archive() -> Vec<u8> {
    image_archive(IMAGE, &program("probe").unwrap()).unwrap()
}

/// A Deployment and its Service, as strict as production would have it.
pub(crate) fn deployment(image: &str, replicas: u8) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "probe"},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": "probe"}},
                "template": {"metadata": {"labels": {"app": "probe"}}, "spec": pod(image)},
            },
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "probe"},
            "spec": {"selector": {"app": "probe"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]})
    .to_string()
}

/// The probe as a pod: without rights, without a writable root, spread over the nodes.
pub(crate) fn pod(image: &str) -> Value {
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 1,
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": "probe"}},
        }],
        "containers": [{
            "name": "probe", "image": image, "imagePullPolicy": "IfNotPresent",
            "ports": [{"containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1},
            "resources": {
                "requests": {"cpu": "20m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"},
            },
            "securityContext": {
                "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
            },
        }],
    })
}

/// Waits until all replicas are ready.
pub(crate) fn wait(cluster: &Cluster) {
    cluster.kubectl(&["rollout", "status", "deployment/probe", "--timeout=60s"]).unwrap();
}

/// The `ClusterIP` of the probe's Service.
pub(crate) fn cluster_ip(cluster: &Cluster) -> String {
    cluster.kubectl(&["get", "service", "probe", "--output=jsonpath={.spec.clusterIP}"]).unwrap()
}

/// The body of the answer, if it is a good one.
pub(crate) fn get(address: &str, path: &str) -> Option<String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: probe\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1)?.starts_with('2').then(|| body.trim().to_owned())
}

/// Looks until something is there.
pub(crate) fn eventually<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
