//! What the daemon may do, and why: the one list from which its roles are made.

use serde_json::{Value, json};

/// One rule with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PermissionReason {
    /// Where it holds.
    pub scope: PermissionScope,
    /// API group; empty for the core API.
    pub group: &'static str,
    /// The resources.
    pub resources: &'static [&'static str],
    /// The verbs.
    pub verbs: &'static [&'static str],
    /// Why it is needed.
    pub why: &'static str,
}

/// Where a permission holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PermissionScope {
    /// In the daemon's own namespace.
    Home,
    /// In the whole cluster.
    Cluster,
    /// In each namespace that a subscription may install to.
    Target,
}

const MANAGE: &[&str] = &["get", "list", "create", "patch", "delete"];

use PermissionScope::{Cluster, Home, Target};

/// Everything that the daemon may do.
pub const PERMISSIONS: &[PermissionReason] = &[
    rule(
        Home,
        "bundle.build",
        &["subscriptions"],
        &["get", "list"],
        "to learn what is to run; what people write there is theirs",
    ),
    rule(
        Home,
        "bundle.build",
        &["subscriptions/status", "releases/status"],
        &["update"],
        "journal and report, by compare-and-swap",
    ),
    rule(
        Home,
        "bundle.build",
        &["releases"],
        &["get", "list", "create", "delete"],
        "one object for each release, old ones are forgotten",
    ),
    rule(
        Home,
        "",
        &["configmaps"],
        &["get", "list", "create", "update", "delete"],
        "documents in pieces, inventories, the trust floor, trust roots",
    ),
    rule(Home, "", &["pods"], &["list", "create", "delete"], "to put images on nodes before the first write"),
    rule(Home, "coordination.k8s.io", &["leases"], &["get", "create", "update"], "one daemon leads"),
    rule(Home, "events.k8s.io", &["events"], &["create"], "the story of a rollout in `kubectl describe`"),
    rule(Cluster, "", &["nodes"], &["list"], "to know on which nodes images have to be"),
    rule(Target, "", &["serviceaccounts", "configmaps", "services"], MANAGE, "objects of a release"),
    rule(
        Target,
        "",
        &["persistentvolumeclaims"],
        &["get", "list", "create", "patch"],
        "volumes of a release and of restore points; never deleted",
    ),
    rule(Target, "apps", &["deployments", "statefulsets"], MANAGE, "objects of a release"),
    rule(Target, "autoscaling", &["horizontalpodautoscalers"], MANAGE, "objects of a release"),
    rule(Target, "networking.k8s.io", &["networkpolicies"], MANAGE, "objects of a release"),
    rule(Target, "policy", &["poddisruptionbudgets"], MANAGE, "objects of a release"),
    rule(
        Target,
        "",
        &["pods"],
        &["get", "list", "delete"],
        "to judge, and to free a set that a broken pod holds up",
    ),
    rule(
        Target,
        "apps",
        &["replicasets", "controllerrevisions"],
        &["list"],
        "to tell new pods from old ones",
    ),
    rule(Target, "batch", &["jobs"], &["get", "create"], "restore points"),
    rule(
        Target,
        "",
        &["secrets"],
        &["get"],
        "to refuse a release whose Secret or key is missing before anything is written; who may make workloads can mount any of them anyway",
    ),
];

const fn rule(
    scope: PermissionScope,
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
    why: &'static str,
) -> PermissionReason {
    PermissionReason { scope, group, resources, verbs, why }
}

/// The rules of one scope, as they stand in a role.
pub(crate) fn rules(scope: PermissionScope) -> Vec<Value> {
    PERMISSIONS
        .iter()
        .filter(|permission| permission.scope == scope)
        .map(|permission| {
            json!({
                "apiGroups": [permission.group],
                "resources": permission.resources,
                "verbs": permission.verbs,
            })
        })
        .collect()
}
