//! Commands that people are told to type. The daemon does not know what their kubeconfig calls this cluster, so they put
//! the NAME in, and say WHY and WHO.

use bundles_release::names::API_GROUP;
use daemon_cluster::{InstallOptions, RegistryScheme, SubscriptionSpec, floor_name};
use daemon_plan::ObjectKey;
use registry_wire::Digest;

/// The flags that name the cluster, and the daemon's namespace where it is not the usual one.
fn place(home: &str) -> String {
    if home == InstallOptions::NAMESPACE {
        "--context NAME".to_owned()
    } else {
        format!("--context NAME --daemon-namespace {home}")
    }
}

/// Gives the daemon its rights in the namespace of a subscription.
pub(crate) fn grant(home: &str, name: &str, spec: &SubscriptionSpec) -> String {
    let SubscriptionSpec { registry, repository, channel, environment, namespace, poll_seconds, .. } = spec;
    let soak = spec.soak_seconds.map_or_else(String::new, |seconds| format!(" --soak {seconds}"));
    let class = spec.backup.storage_class.as_ref();
    let class = class.map_or_else(String::new, |class| format!(" --storage-class {class}"));
    let channel = channel.split_once('/').map_or(channel.as_str(), |(_, channel)| channel);
    let scheme = match registry.scheme {
        RegistryScheme::Http => " --scheme http",
        RegistryScheme::Https => "",
    };
    format!(
        "bundle subscribe {channel} {}/{repository}{scheme} --environment {environment} --name {name} --namespace \
         {namespace} --poll {poll_seconds}{soak}{class} --trust-root FILE {}",
        registry.address,
        place(home)
    )
}

/// Shows what is known of a subscription.
pub(crate) fn show(home: &str, subscription: &str) -> String {
    format!("bundle status {subscription} {}", place(home))
}

/// Lets a denied release be tried again.
pub(crate) fn clear(home: &str, subscription: &str, release: &Digest) -> String {
    format!("bundle clear {subscription} {release} --reason WHY --by WHO {}", place(home))
}

/// Lets a release prune more than the limit.
pub(crate) fn confirm_prune(home: &str, subscription: &str, release: &Digest) -> String {
    let spec =
        format!(r#"{{"spec":{{"confirmedPrune":{{"digest":"{release}","reason":"WHY","by":"WHO"}}}}}}"#);
    format!("kubectl -n {home} patch subscriptions.{API_GROUP} {subscription} --type=merge -p '{spec}'")
}

/// Forgets the trust floor of a subscription on purpose.
pub(crate) fn forget_floor(home: &str, subscription: &str) -> String {
    format!("kubectl -n {home} delete configmap {}", floor_name(subscription))
}

/// Deletes an object that the daemon leaves to people.
pub(crate) fn delete(key: &ObjectKey) -> String {
    let namespace = key.namespace().map(|namespace| format!("-n {namespace} ")).unwrap_or_default();
    let mut kind = key.kind().to_lowercase();
    if !key.group().is_empty() {
        kind = format!("{kind}.{}", key.group());
    }
    format!("kubectl {namespace}delete {kind} {}", key.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_whole() {
        let release = Digest::of(b"release");
        assert_eq!(
            clear("bundle-system", "shop", &release),
            format!("bundle clear shop {release} --reason WHY --by WHO --context NAME")
        );
        assert_eq!(show("other", "shop"), "bundle status shop --context NAME --daemon-namespace other");
        let key = |group: &str, kind: &str| ObjectKey::new(group, "v1", kind, Some("shop"), "cache").unwrap();
        assert_eq!(delete(&key("apps", "StatefulSet")), "kubectl -n shop delete statefulset.apps cache");
        assert_eq!(
            delete(&key("", "PersistentVolumeClaim")),
            "kubectl -n shop delete persistentvolumeclaim cache"
        );
        assert_eq!(
            forget_floor("bundle-system", "shop"),
            "kubectl -n bundle-system delete configmap trust-floor-shop"
        );
        let spec = serde_json::from_value(serde_json::json!({
            "registry": { "address": "registry:5000", "scheme": "http" }, "repository": "shop/releases",
            "channel": "shop/prod", "environment": "production", "namespace": "shop-eu",
            "trustRoot": { "digest": release }, "soakSeconds": 600, "backup": { "storageClass": "fast" },
        }));
        assert_eq!(
            grant("bundle-system", "eu", &spec.unwrap()),
            "bundle subscribe prod registry:5000/shop/releases --scheme http --environment production --name eu \
             --namespace shop-eu --poll 30 --soak 600 --storage-class fast --trust-root FILE --context NAME"
        );
        let confirm = confirm_prune("bundle-system", "shop", &release);
        let patch = confirm.split('\'').nth(1).unwrap();
        let patch: serde_json::Value = serde_json::from_str(patch).unwrap();
        assert_eq!(patch["spec"]["confirmedPrune"]["digest"], release.to_string());
    }
}
