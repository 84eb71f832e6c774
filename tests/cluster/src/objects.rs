//! What every bed holds from the start: the name server's Service and the storage class `local` with its volumes.

use serde_json::{Value, json};

use crate::network::Subnet;

/// A List for `kubectl create`.
pub(crate) fn first_objects(subnet: Subnet, nodes: u8, volumes: u8) -> String {
    let mut items = vec![name_service(subnet), name_endpoints(subnet), storage_class()];
    for node in 1..=nodes {
        items.extend((1..=volumes).map(|volume| local_volume(node, volume)));
    }
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn name_service(subnet: Subnet) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        "spec": {
            "clusterIP": subnet.dns_service().to_string(),
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
            ],
        },
    })
}

fn name_endpoints(subnet: Subnet) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "kube-dns", "namespace": "kube-system", "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "endpoints": [{"addresses": [subnet.control().to_string()], "conditions": {"ready": true}}],
        "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        ],
    })
}

fn storage_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Retain",
    })
}

fn local_volume(node: u8, volume: u8) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": format!("node{node}-{volume}")},
        "spec": {
            "storageClassName": "local", "persistentVolumeReclaimPolicy": "Retain",
            "accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
            // What a claim may ask for; nothing holds a pod to it.
            "capacity": {"storage": "100Gi"},
            "local": {"path": format!("/var/lib/bed/volumes/{volume}")},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [format!("node{node}")]},
            ]}]}},
        },
    })
}
