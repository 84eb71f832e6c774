//! Names of Kubernetes objects, checked once.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names one object of a cluster.
///
/// Two keys are equal when they name the same object. The version only says how to reach it, so it takes no part in
/// comparing: a release that moves a kind from one version to the next keeps its objects.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "RawKey", into = "RawKey")]
pub struct ObjectKey {
    group: Box<str>,
    version: Box<str>,
    kind: Box<str>,
    namespace: Option<Box<str>>,
    name: Box<str>,
}

/// A key that cannot name an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The group is neither empty nor a DNS name.
    #[error("`{group}` is not an API group of {kind} `{name}`")]
    Group {
        /// The text in place of the group.
        group: String,
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
    },
    /// The version is not like `v1` or `v1beta1`.
    #[error("`{version}` is not an API version of {kind} `{name}`")]
    Version {
        /// The text in place of the version.
        version: String,
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
    },
    /// The kind is not a capitalised word.
    #[error("`{kind}` is not a kind of object (object `{name}`)")]
    Kind {
        /// The text in place of the kind.
        kind: String,
        /// Name of the object.
        name: String,
    },
    /// The namespace is not a DNS label.
    #[error("`{namespace}` is not a namespace ({kind} `{name}`)")]
    Namespace {
        /// The text in place of the namespace.
        namespace: String,
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
    },
    /// The name cannot stand in a path of the API.
    #[error("`{name}` is not a name of a {kind}")]
    Name {
        /// The text in place of the name.
        name: String,
        /// Kind of the object.
        kind: String,
    },
    /// The document lacks `apiVersion`, `kind` or `metadata.name`.
    #[error("an object has no text at `{field}`")]
    Field {
        /// The field that is missing.
        field: &'static str,
    },
}

impl ObjectKey {
    /// Checks the parts of a key; `group` is empty for the core API.
    pub fn new(
        group: &str,
        version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Self, KeyError> {
        let owned = || (kind.to_owned(), name.to_owned());
        if !is_kind(kind) {
            return Err(KeyError::Kind { kind: kind.to_owned(), name: name.to_owned() });
        }
        if !group.is_empty() && !is_subdomain(group) {
            let (kind, name) = owned();
            return Err(KeyError::Group { group: group.to_owned(), kind, name });
        }
        if !is_label(version) || !version.starts_with('v') {
            let (kind, name) = owned();
            return Err(KeyError::Version { version: version.to_owned(), kind, name });
        }
        if let Some(namespace) = namespace.filter(|namespace| !is_label(namespace)) {
            let (kind, name) = owned();
            return Err(KeyError::Namespace { namespace: namespace.to_owned(), kind, name });
        }
        if !is_path_segment(name) {
            return Err(KeyError::Name { name: name.to_owned(), kind: kind.to_owned() });
        }
        Ok(Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            namespace: namespace.map(Into::into),
            name: name.into(),
        })
    }

    /// Reads the key of an object from its document.
    pub fn of(object: &Value) -> Result<Self, KeyError> {
        let text = |pointer: &str, field: &'static str| {
            object.pointer(pointer).and_then(Value::as_str).ok_or(KeyError::Field { field })
        };
        let (group, version) = split_api_version(text("/apiVersion", "apiVersion")?);
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        Self::new(group, version, text("/kind", "kind")?, namespace, text("/metadata/name", "metadata.name")?)
    }

    /// The API group, empty for the core API.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The version within the group.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The namespace, none for objects of the whole cluster.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `apiVersion` as it stands in documents.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether the object is of this group and kind.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        &*self.group == group && &*self.kind == kind
    }

    fn identity(&self) -> (&str, &str, Option<&str>, &str) {
        (&self.group, &self.kind, self.namespace.as_deref(), &self.name)
    }
}

/// Splits `apps/v1` into group and version.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

impl PartialEq for ObjectKey {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for ObjectKey {}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl Hash for ObjectKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl fmt::Display for ObjectKey {
    /// `Deployment.apps shop/api`, as people name objects.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.kind)?;
        if !self.group.is_empty() {
            write!(formatter, ".{}", self.group)?;
        }
        formatter.write_str(" ")?;
        if let Some(namespace) = &self.namespace {
            write!(formatter, "{namespace}/")?;
        }
        formatter.write_str(&self.name)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    group: String,
    version: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
}

impl TryFrom<RawKey> for ObjectKey {
    type Error = KeyError;

    fn try_from(raw: RawKey) -> Result<Self, KeyError> {
        Self::new(&raw.group, &raw.version, &raw.kind, raw.namespace.as_deref(), &raw.name)
    }
}

impl From<ObjectKey> for RawKey {
    fn from(key: ObjectKey) -> Self {
        Self {
            group: key.group.into(),
            version: key.version.into(),
            kind: key.kind.into(),
            namespace: key.namespace.map(Into::into),
            name: key.name.into(),
        }
    }
}

fn is_kind(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// What the API server asks of every name: it must stand as one segment of a path. Most kinds ask for more.
fn is_path_segment(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text != "."
        && text != ".."
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b'%')
}

/// The identity that the API server gives to one life of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid(String);

/// An empty or unprintable UID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the uid of an object")]
pub struct UidError {
    text: String,
}

impl Uid {
    /// The text of the UID.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Uid {
    type Err = UidError;

    fn from_str(text: &str) -> Result<Self, UidError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Uid {
    type Error = UidError;

    fn try_from(text: String) -> Result<Self, UidError> {
        let fits = !text.is_empty() && text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text)) } else { Err(UidError { text }) }
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_the_object_and_not_the_version() {
        let old =
            ObjectKey::new("autoscaling", "v1", "HorizontalPodAutoscaler", Some("shop"), "api").unwrap();
        let new =
            ObjectKey::new("autoscaling", "v2", "HorizontalPodAutoscaler", Some("shop"), "api").unwrap();
        assert_eq!(old, new);
        assert_eq!(new.to_string(), "HorizontalPodAutoscaler.autoscaling shop/api");
        assert_eq!(new.api_version(), "autoscaling/v2");
    }

    #[test]
    fn keys_come_from_documents_and_survive_storage() {
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}});
        let key = ObjectKey::of(&object).unwrap();
        let stored = serde_json::to_string(&key).unwrap();
        assert_eq!(stored, r#"{"version":"v1","kind":"ConfigMap","namespace":"n","name":"a"}"#);
        assert_eq!(serde_json::from_str::<ObjectKey>(&stored).unwrap(), key);
    }

    #[test]
    fn wrong_parts_are_named() {
        let cases = [
            (("a b", "v1", "Pod", None, "x"), "`a b` is not an API group of Pod `x`"),
            (("", "1", "Pod", None, "x"), "`1` is not an API version of Pod `x`"),
            (("", "v1", "pod", None, "x"), "`pod` is not a kind of object (object `x`)"),
            (("", "v1", "Pod", Some("../n"), "x"), "`../n` is not a namespace (Pod `x`)"),
            (("", "v1", "Pod", None, "x/y"), "`x/y` is not a name of a Pod"),
            (("", "v1", "Pod", None, ".."), "`..` is not a name of a Pod"),
        ];
        for ((group, version, kind, namespace, name), text) in cases {
            let error = ObjectKey::new(group, version, kind, namespace, name).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
        assert_eq!(
            ObjectKey::of(&json!({"kind": "Pod"})).unwrap_err(),
            KeyError::Field { field: "apiVersion" }
        );
        // Names of roles hold colons.
        assert!(
            ObjectKey::new("rbac.authorization.k8s.io", "v1", "ClusterRole", None, "system:node").is_ok()
        );
        assert!("".parse::<Uid>().is_err());
    }
}
