//! A Kubernetes object as a release holds it: a JSON value with a known kind and a name, keys sorted, no nulls.

use std::{collections::BTreeSet, fmt};

use bundles_release::{canonical, names::IMAGE_PLACEHOLDER_REGISTRY};
use registry_wire::{Digest, Hasher, ImageName};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use crate::{SecretReference, ServiceName};

/// When an object is applied, in relation to objects of other kinds. All objects of one stage come before those of
/// the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// What pods refer to: accounts, network borders, configuration, volumes.
    Foundation,
    /// Services and disruption budgets.
    Network,
    /// Workloads with data.
    Stateful,
    /// Workloads without data.
    Stateless,
    /// Autoscalers.
    Scaling,
}

/// Kinds that a release may hold, with their stage. A kind that is not here has no rule and is refused.
const KINDS: [(&str, &str, Stage); 9] = [
    ("v1", "ServiceAccount", Stage::Foundation),
    ("v1", "ConfigMap", Stage::Foundation),
    ("networking.k8s.io/v1", "NetworkPolicy", Stage::Foundation),
    ("v1", "PersistentVolumeClaim", Stage::Foundation),
    ("v1", "Service", Stage::Network),
    ("policy/v1", "PodDisruptionBudget", Stage::Network),
    ("apps/v1", "StatefulSet", Stage::Stateful),
    ("apps/v1", "Deployment", Stage::Stateless),
    ("autoscaling/v2", "HorizontalPodAutoscaler", Stage::Scaling),
];

/// A Kubernetes object.
#[derive(Clone, PartialEq)]
pub struct Object {
    value: Value,
    stage: Stage,
}

/// A value that is no object of a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// A member that every object has is missing or no text.
    #[error("object {object} has no text at {member}")]
    NoText {
        /// What is known of the object.
        object: String,
        /// The missing member.
        member: &'static str,
    },
    /// There is no rule for the kind.
    #[error("object {name} is of kind {kind} ({api_version}), for which there is no rule")]
    UnknownKind {
        /// The API version.
        api_version: String,
        /// The kind.
        kind: String,
        /// The name.
        name: String,
    },
}

impl Object {
    /// Takes a value: checks kind and name, removes nulls, sorts keys.
    pub fn new(value: Value) -> Result<Self, ObjectError> {
        let text = |pointer: &'static str| {
            value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or_else(|| {
                let name =
                    value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("without a name");
                ObjectError::NoText { object: name.to_owned(), member: pointer }
            })
        };
        let (api_version, kind, name) = (text("/apiVersion")?, text("/kind")?, text("/metadata/name")?);
        let rule = KINDS.iter().find(|rule| rule.0 == api_version && rule.1 == kind);
        let Some((_, _, stage)) = rule.copied() else {
            return Err(ObjectError::UnknownKind {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                name: name.to_owned(),
            });
        };
        Ok(Self { value: canonical::sorted(without_nulls(value)), stage })
    }

    /// API version, such as `apps/v1`.
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    /// Kind, such as `Deployment`.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// Name.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// Namespace, once the object is bound.
    pub fn namespace(&self) -> Option<&str> {
        self.value.pointer("/metadata/namespace").and_then(Value::as_str)
    }

    /// The text of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.value.pointer("/metadata/labels")?.get(key)?.as_str()
    }

    /// When it is applied.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// The object as JSON.
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// The object as JSON.
    pub fn into_value(self) -> Value {
        self.value
    }

    /// The object as canonical bytes.
    pub fn bytes(&self) -> Vec<u8> {
        canonical::write(&self.value)
    }

    /// Changes the value and puts its keys in order again. Kind and name stay.
    pub(crate) fn change<E>(&mut self, change: impl FnOnce(&mut Value) -> Result<(), E>) -> Result<(), E> {
        change(&mut self.value)?;
        self.value = canonical::sorted(self.value.take());
        Ok(())
    }

    fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

impl fmt::Display for Object {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind(), self.name())
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Hashes parts of any length so that no two lists of parts and no two domains share a digest.
pub(crate) fn digest_of_parts<'a>(domain: &'a str, parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut hasher = Hasher::new();
    for part in std::iter::once(domain.as_bytes()).chain(parts) {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finish()
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(members.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        scalar => scalar,
    }
}

/// An image that objects name: a service of the release and the digest of its image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlacedImage {
    /// The service that builds it.
    pub name: ServiceName,
    /// Digest of its manifest or index.
    pub digest: Digest,
}

impl PlacedImage {
    /// Reads a placeholder `bundle.invalid/NAME@sha256:…`.
    pub fn from_placeholder(text: &str) -> Option<Self> {
        let image: ImageName = text.parse().ok()?;
        if image.registry.as_str() != IMAGE_PLACEHOLDER_REGISTRY || image.tag.is_some() {
            return None;
        }
        Some(Self { name: image.repository.as_str().parse().ok()?, digest: image.digest? })
    }

    /// The placeholder.
    pub fn placeholder(&self) -> String {
        format!("{IMAGE_PLACEHOLDER_REGISTRY}/{}@{}", self.name, self.digest)
    }
}

const CONTAINER_LISTS: [&str; 2] = ["initContainers", "containers"];

fn pod_spec(object: &Value) -> Option<&Map<String, Value>> {
    object.pointer("/spec/template/spec").and_then(Value::as_object)
}

fn containers(object: &Value) -> impl Iterator<Item = &Value> {
    let spec = pod_spec(object);
    CONTAINER_LISTS.iter().filter_map(move |list| spec?.get(*list)?.as_array()).flatten()
}

pub(crate) fn containers_mut(object: &mut Value) -> impl Iterator<Item = &mut Value> {
    let spec = object.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut);
    spec.into_iter()
        .flat_map(|spec| spec.iter_mut())
        .filter(|(key, _)| CONTAINER_LISTS.contains(&key.as_str()))
        .filter_map(|(_, list)| list.as_array_mut())
        .flatten()
}

/// The images that objects name before they are bound. Bound objects have none.
pub fn images<'a>(objects: impl IntoIterator<Item = &'a Object>) -> BTreeSet<PlacedImage> {
    objects
        .into_iter()
        .flat_map(|object| containers(&object.value))
        .filter_map(|container| PlacedImage::from_placeholder(container.get("image")?.as_str()?))
        .collect()
}

/// The keys of Secrets that have to be in the namespace before the objects can run.
pub fn required_secrets<'a>(objects: impl IntoIterator<Item = &'a Object>) -> BTreeSet<SecretReference> {
    let variables = objects
        .into_iter()
        .flat_map(|object| containers(&object.value))
        .filter_map(|container| container.get("env")?.as_array())
        .flatten();
    variables
        .filter_map(|variable| {
            let reference = variable.pointer("/valueFrom/secretKeyRef")?;
            let is_optional = reference.get("optional").and_then(Value::as_bool).unwrap_or(false);
            let text = format!("{}/{}", reference.get("name")?.as_str()?, reference.get("key")?.as_str()?);
            if is_optional { None } else { text.parse().ok() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        Object::new(value).unwrap()
    }

    #[test]
    fn refuses_what_has_no_rule() {
        let cases = [
            (json!({}), "object without a name has no text at /apiVersion"),
            (json!({"apiVersion": "v1", "metadata": {"name": "x"}}), "object x has no text at /kind"),
            (
                json!({"apiVersion": "v1", "kind": "Service", "metadata": {}}),
                "object without a name has no text at /metadata/name",
            ),
            (
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}),
                "object x is of kind Secret (v1), for which there is no rule",
            ),
            (
                json!({"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "x"}}),
                "object x is of kind Deployment (apps/v1beta1), for which there is no rule",
            ),
        ];
        for (value, text) in cases {
            assert_eq!(Object::new(value).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn bytes_are_canonical() {
        let one =
            object(json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "x", "uid": null}}));
        let other =
            object(json!({"metadata": {"name": "x"}, "apiVersion": "v1", "kind": "Service", "spec": null}));
        assert_eq!(one.bytes(), br#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"x"}}"#);
        assert_eq!(one.bytes(), other.bytes());
    }

    #[test]
    fn digests_of_parts_do_not_run_into_each_other() {
        let digest = |parts: &[&str]| digest_of_parts("d", parts.iter().map(|part| part.as_bytes()));
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&["ab"]), digest(&["ab", ""]));
        assert_ne!(digest_of_parts("d", [b"x".as_slice()]), digest_of_parts("dx", []));
    }

    #[test]
    fn placeholders() {
        let image = PlacedImage { name: "api".parse().unwrap(), digest: Digest::of(b"x") };
        assert_eq!(PlacedImage::from_placeholder(&image.placeholder()), Some(image.clone()));
        for wrong in [
            format!("registry.example/api@{}", image.digest),
            "bundle.invalid/api:latest".to_owned(),
            format!("bundle.invalid/api:tag@{}", image.digest),
            format!("bundle.invalid/a/b@{}", image.digest),
            String::new(),
        ] {
            assert_eq!(PlacedImage::from_placeholder(&wrong), None, "{wrong}");
        }
    }
}
