//! Images on nodes: pulled before the first write, proven by what the node says it runs.
//!
//! One pod a node, in the daemon's namespace, bound to the node without the scheduler. Its first container copies
//! our static executable into a shared folder; then one container for each image runs that executable *in* the image
//! (images have no shell) and ends at once. The proof is the `imageID` that the node reports for a container that
//! ended well.
//!
//! Nodes that count are all that are ready, schedulable and without a taint that keeps pods off: which of them a
//! pod will land on is not known before. Where none counts nothing is proven.

use std::collections::{BTreeMap, BTreeSet};

use bundles_release::names::{RELEASE_ANNOTATION, SUBSCRIPTION_LABEL};
use daemon_plan::names::warm_name;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Node, Pod};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
};
use registry_wire::Digest;
use serde_json::json;

use crate::{Cluster, ClusterError, DocumentOwner, Verb, container_security, error::status_of, pod_security};

/// An image error counts after this time: registries hiccup.
const PATIENCE: SignedDuration = SignedDuration::from_secs(20);
/// A warming pod ends after this time whatever happens.
const LONGEST: i64 = 900;
const WARM_LABEL: &str = "bundle.build/warm";
const NO_NODE: &str =
    "no node is ready, schedulable and free of taints, so no image can be put on one: kubectl get nodes";
const GUEST_FOLDER: &str = "/guest";

/// Which images are to be put on nodes.
#[derive(Debug, Clone)]
pub struct WarmRequest<'a> {
    /// The subscription.
    pub subscription: &'a str,
    /// The release.
    pub release: Digest,
    /// The attempt at it.
    pub attempt: u32,
    /// The images as nodes pull them, by digest.
    pub images: &'a BTreeSet<String>,
    /// The image that holds our static executable.
    pub guest: &'a str,
    /// The pods go when this goes.
    pub owner: &'a DocumentOwner,
}

/// What is known of images on nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeImages {
    /// Images that some node lacks, as far as is known.
    pub missing: BTreeSet<String>,
    /// Why an image cannot come onto a node.
    pub refused: Option<String>,
    /// What has to change before an image can come onto a node.
    pub waits: Option<String>,
}

impl Cluster {
    /// Sees to it that the images come onto all nodes that count, and says which are missing. Does not wait: ask
    /// again until none is missing. Pods that have proven theirs are deleted at the end, all at once.
    pub async fn warm_nodes(
        &self,
        request: &WarmRequest<'_>,
        now: Timestamp,
    ) -> Result<NodeImages, ClusterError> {
        let nodes = self.nodes_that_count().await?;
        let label = format!("{WARM_LABEL},{SUBSCRIPTION_LABEL}={}", request.subscription);
        let api = self.own::<Pod>();
        let list = api
            .list(&ListParams::default().labels(&label))
            .await
            .map_err(|source| ClusterError::request(Verb::List, "warming pods", source))?;
        let mut pods: BTreeMap<String, Pod> =
            list.items.into_iter().map(|pod| (pod.name_any(), pod)).collect();
        let mut seen = NodeImages::default();
        if nodes.is_empty() {
            seen.missing.clone_from(request.images);
            seen.waits = Some(NO_NODE.to_owned());
        }
        let mut own = Vec::new();
        for node in nodes {
            let name = warm_name(&node, &request.release, request.attempt);
            let Some(pod) = pods.remove(name.as_str()) else {
                self.create_warm_pod(name.as_str(), &node, request).await?;
                seen.missing.extend(request.images.iter().cloned());
                continue;
            };
            judge_pod(&pod, &node, request, now, &mut seen);
            own.push(pod);
        }
        // What is left belongs to other attempts and to nodes that have gone.
        let done = seen.missing.is_empty() || seen.refused.is_some();
        for pod in pods.values().chain(own.iter().filter(|_| done)) {
            self.delete_pod(pod).await?;
        }
        Ok(seen)
    }

    /// Deletes all warming pods of a subscription.
    pub async fn cool_nodes(&self, subscription: &str) -> Result<(), ClusterError> {
        let label = format!("{WARM_LABEL},{SUBSCRIPTION_LABEL}={subscription}");
        let pods = self
            .own::<Pod>()
            .list(&ListParams::default().labels(&label))
            .await
            .map_err(|source| ClusterError::request(Verb::List, "warming pods", source))?;
        for pod in pods.items {
            self.delete_pod(&pod).await?;
        }
        Ok(())
    }

    async fn nodes_that_count(&self) -> Result<Vec<String>, ClusterError> {
        let api: kube::Api<Node> = kube::Api::all(self.client().clone());
        let nodes = api
            .list(&ListParams::default())
            .await
            .map_err(|source| ClusterError::request(Verb::List, "nodes", source))?;
        Ok(nodes.items.iter().filter(|node| counts(node)).map(ResourceExt::name_any).collect())
    }

    async fn create_warm_pod(
        &self,
        name: &str,
        node: &str,
        request: &WarmRequest<'_>,
    ) -> Result<(), ClusterError> {
        let object = format!("pod {name}");
        self.fence().check(&object)?;
        let pod = warm_pod(name, node, request);
        match self.own::<Pod>().create(&PostParams::default(), &pod).await {
            Ok(_) => Ok(()),
            Err(error) if status_of(&error).is_some_and(kube::core::Status::is_already_exists) => Ok(()),
            Err(source) => Err(ClusterError::request(Verb::Create, object, source)),
        }
    }

    async fn delete_pod(&self, pod: &Pod) -> Result<(), ClusterError> {
        let name = pod.name_any();
        let object = format!("pod {name}");
        self.fence().check(&object)?;
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.own::<Pod>().delete(&name, &parameters).await {
            Ok(_) => Ok(()),
            Err(error) if status_of(&error).is_some_and(|status| matches!(status.code, 404 | 409)) => Ok(()),
            Err(source) => Err(ClusterError::request(Verb::Delete, object, source)),
        }
    }
}

fn counts(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    let is_open = !spec.and_then(|spec| spec.unschedulable).unwrap_or(false);
    let taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let is_ready =
        node.status.as_ref().and_then(|status| status.conditions.as_ref()).is_some_and(|conditions| {
            conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True")
        });
    is_open && is_ready && taints.iter().all(|taint| taint.effect == "PreferNoSchedule")
}

/// The pod that puts images on one node.
#[allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "the literal below is a pod; a test reads it"
)]
pub fn warm_pod(name: &str, node: &str, request: &WarmRequest<'_>) -> Pod {
    let security = container_security();
    let mounts = json!([{ "name": "guest", "mountPath": GUEST_FOLDER }]);
    let containers: Vec<_> = request
        .images
        .iter()
        .enumerate()
        .map(|(index, image)| {
            json!({
                "name": format!("image-{index}"),
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": [format!("{GUEST_FOLDER}/bundle"), "guest", "present"],
                "resources": {
                    "requests": { "cpu": "1m", "memory": "8Mi" },
                    "limits": { "cpu": "100m", "memory": "64Mi" },
                },
                "securityContext": security,
                "volumeMounts": [{ "name": "guest", "mountPath": GUEST_FOLDER, "readOnly": true }],
            })
        })
        .collect();
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": { WARM_LABEL: request.release.short(), SUBSCRIPTION_LABEL: request.subscription },
            "annotations": { RELEASE_ANNOTATION: request.release, "bundle.build/attempt": request.attempt.to_string() },
            "ownerReferences": [request.owner.reference()],
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LONGEST,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "securityContext": pod_security(),
            "initContainers": [{
                "name": "guest",
                "image": request.guest,
                "imagePullPolicy": "IfNotPresent",
                "args": ["guest", "install", GUEST_FOLDER],
                "resources": {
                    "requests": { "cpu": "5m", "memory": "16Mi" },
                    "limits": { "cpu": "500m", "memory": "256Mi" },
                },
                "securityContext": security,
                "volumeMounts": mounts,
            }],
            "containers": containers,
            "volumes": [{ "name": "guest", "emptyDir": { "sizeLimit": "256Mi" } }],
        },
    }))
    .expect("a pod")
}

/// Reads from the pod which images are proven, and whether one cannot come.
fn judge_pod(pod: &Pod, node: &str, request: &WarmRequest<'_>, now: Timestamp, seen: &mut NodeImages) {
    let status = pod.status.as_ref();
    let age = pod
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(SignedDuration::ZERO, |made| now.duration_since(made.0));
    let statuses = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let first = status.and_then(|status| status.init_container_statuses.as_deref()).unwrap_or_default();
    let complaint = first.iter().chain(statuses).find_map(|container| complaint(container, age));
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    for image in request.images {
        let container = containers.iter().find(|container| container.image.as_ref() == Some(image));
        let status =
            container.and_then(|container| statuses.iter().find(|status| status.name == container.name));
        if !status.is_some_and(|status| proves(status, image)) {
            seen.missing.insert(image.clone());
        }
    }
    let phase = status.and_then(|status| status.phase.as_deref());
    let is_refused = match (&complaint, phase) {
        (Some(complaint), _) => Some(complaint.clone()),
        (None, Some("Failed")) => {
            let message = status.and_then(|status| status.message.as_deref().or(status.reason.as_deref()));
            Some(message.unwrap_or("a container failed").to_owned())
        }
        // It ended well and still an image is not the one that was asked for.
        (None, Some("Succeeded")) if request.images.iter().any(|image| seen.missing.contains(image)) => {
            Some("the node does not say which image ran".to_owned())
        }
        _ => None,
    };
    if let (None, Some(why)) = (&seen.refused, is_refused) {
        seen.refused = Some(format!("node {node}: {why}"));
    }
}

fn proves(container: &ContainerStatus, image: &str) -> bool {
    let ended_well = container
        .state
        .as_ref()
        .and_then(|state| state.terminated.as_ref())
        .is_some_and(|end| end.exit_code == 0);
    let digest = |text: &str| text.rsplit_once('@').and_then(|(_, digest)| digest.parse::<Digest>().ok());
    ended_well && digest(image).is_some() && digest(&container.image_id) == digest(image)
}

fn complaint(container: &ContainerStatus, age: SignedDuration) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let is_for_good =
        matches!(reason, "InvalidImageName" | "ErrImageNeverPull" | "CreateContainerConfigError");
    let is_bad = matches!(
        reason,
        "ErrImagePull"
            | "ImagePullBackOff"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "CreateContainerError"
            | "RunContainerError"
    );
    (is_for_good || (is_bad && age >= PATIENCE)).then(|| {
        let message = waiting.message.as_deref().unwrap_or_default();
        format!("image {}: {reason}: {message}", container.image)
    })
}
