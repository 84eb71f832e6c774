//! Reading objects: fields that may be missing or null, and paths as the API server writes them.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

static NOTHING: Value = Value::Null;

/// The value at a JSON pointer, null if there is none.
pub(crate) fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(&NOTHING)
}

/// The elements of a list; none for what is no list, since the API server writes empty lists as null at times.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer).as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer).as_str().unwrap_or("")
}

pub(crate) fn number(object: &Value, pointer: &str) -> i64 {
    at(object, pointer).as_i64().unwrap_or(0)
}

pub(crate) fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    at(object, pointer).as_str()?.parse().ok()
}

/// The condition of a type.
pub(crate) fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    condition_of(list(object, "/status/conditions"), name)
}

pub(crate) fn condition_of<'a>(conditions: &'a [Value], name: &str) -> Option<&'a Value> {
    conditions.iter().find(|condition| text(condition, "/type") == name)
}

pub(crate) fn is_true(condition: Option<&Value>) -> bool {
    condition.is_some_and(|condition| text(condition, "/status") == "True")
}

/// Reason and message of a condition for people.
pub(crate) fn words(condition: &Value) -> String {
    match (text(condition, "/reason"), text(condition, "/message")) {
        ("", "") => format!("condition {} is {}", text(condition, "/type"), text(condition, "/status")),
        (reason, "") => reason.to_owned(),
        ("", message) => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// A path to a field as the API server writes it in conflicts: `.spec.containers[name="api"].image`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldPath(String);

/// A text that is no path to a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not a path to a field")]
pub struct FieldPathError {
    path: String,
}

impl FieldPath {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value at the path.
    ///
    /// Names of fields may hold dots (`.metadata.annotations.example.org/owner`) and are not quoted, so the path can
    /// only be read along an object: at each step the longest field that fits is taken.
    pub fn read<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        read(object, &self.0)
    }

    /// Removes the value at the path, and says whether there was one.
    pub fn remove(&self, object: &mut Value) -> bool {
        remove(object, &self.0)
    }
}

impl TryFrom<String> for FieldPath {
    type Error = FieldPathError;

    fn try_from(path: String) -> Result<Self, FieldPathError> {
        let fits = (path.starts_with('.') && path.len() > 1 || path.starts_with('['))
            && !path.contains(|character: char| character.is_control());
        if fits { Ok(Self(path)) } else { Err(FieldPathError { path }) }
    }
}

impl std::str::FromStr for FieldPath {
    type Err = FieldPathError;

    fn from_str(path: &str) -> Result<Self, FieldPathError> {
        Self::try_from(path.to_owned())
    }
}

impl From<FieldPath> for String {
    fn from(path: FieldPath) -> Self {
        path.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One step along an object.
enum Next<'p> {
    Field(String, &'p str),
    Item(usize, &'p str),
}

fn step<'p>(object: &Value, path: &'p str) -> Option<Next<'p>> {
    match object {
        Value::Object(fields) => {
            let rest = path.strip_prefix('.')?;
            let ends = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
            let name = fields
                .keys()
                .filter(|name| rest.strip_prefix(name.as_str()).is_some_and(ends))
                .max_by_key(|name| name.len())?;
            Some(Next::Field(name.clone(), &rest[name.len()..]))
        }
        Value::Array(items) => {
            let (selector, rest) = selector(path.strip_prefix('[')?)?;
            let index = match selector {
                Selector::Index(index) => index,
                Selector::Value(value) => items.iter().position(|item| *item == value)?,
                Selector::Keys(keys) => items.iter().position(|item| matches_keys(item, &keys))?,
            };
            Some(Next::Item(index, rest))
        }
        _ => None,
    }
}

fn read<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return Some(object);
    }
    match step(object, path)? {
        Next::Field(name, rest) => read(object.get(name)?, rest),
        Next::Item(index, rest) => read(object.get(index)?, rest),
    }
}

fn remove(object: &mut Value, path: &str) -> bool {
    match (step(object, path), object) {
        (Some(Next::Field(name, "")), Value::Object(fields)) => fields.shift_remove(&name).is_some(),
        (Some(Next::Field(name, rest)), Value::Object(fields)) => {
            fields.get_mut(&name).is_some_and(|inner| remove(inner, rest))
        }
        (Some(Next::Item(index, "")), Value::Array(items)) if index < items.len() => {
            items.remove(index);
            true
        }
        (Some(Next::Item(index, rest)), Value::Array(items)) => {
            items.get_mut(index).is_some_and(|inner| remove(inner, rest))
        }
        _ => false,
    }
}

enum Selector {
    Index(usize),
    Value(Value),
    Keys(Vec<(String, Value)>),
}

/// Reads `name="api"]…`, `containerPort=80,protocol="TCP"]…`, `="value"]…` or `3]…`.
fn selector(mut path: &str) -> Option<(Selector, &str)> {
    if let Some(rest) = path.strip_prefix('=') {
        let (value, rest) = scalar(rest)?;
        return Some((Selector::Value(value), rest.strip_prefix(']')?));
    }
    if path.starts_with(|first: char| first.is_ascii_digit()) {
        let (index, rest) = path.split_once(']')?;
        return Some((Selector::Index(index.parse().ok()?), rest));
    }
    let mut keys = Vec::new();
    loop {
        let (name, rest) = path.split_once('=')?;
        let (value, rest) = scalar(rest)?;
        keys.push((name.to_owned(), value));
        if let Some(rest) = rest.strip_prefix(']') {
            return Some((Selector::Keys(keys), rest));
        }
        path = rest.strip_prefix(',')?;
    }
}

/// Reads one JSON scalar at the beginning of `path`.
fn scalar(path: &str) -> Option<(Value, &str)> {
    let mut stream = serde_json::Deserializer::from_str(path).into_iter::<Value>();
    if let Some(Ok(value)) = stream.next() {
        return Some((value, &path[stream.byte_offset()..]));
    }
    // A number or word directly before `,` or `]` is not complete for a stream of values.
    let end = path.find([',', ']'])?;
    Some((serde_json::from_str(&path[..end]).ok()?, &path[end..]))
}

/// Whether an element of a list is the one with these keys. A key that it leaves out is one that the API server
/// filled in (`protocol`).
pub(crate) fn matches_keys(item: &Value, keys: &[(String, Value)]) -> bool {
    let Some(fields) = item.as_object() else { return false };
    keys.iter().any(|(name, _)| fields.contains_key(name))
        && keys.iter().all(|(name, value)| fields.get(name).is_none_or(|own| own == value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> FieldPath {
        text.parse().unwrap()
    }

    #[test]
    fn paths_are_read_along_the_object() {
        let object = json!({
            "metadata": {"annotations": {"example.org/owner": "a", "example": "b"}, "finalizers": ["x", "y"]},
            "spec": {"containers": [
                {"name": "sidecar", "image": "1"},
                {"name": "a\"]b", "image": "2", "ports": [{"containerPort": 80}, {"containerPort": 81, "protocol": "UDP"}]},
            ]},
        });
        let cases = [
            (".metadata.annotations.example.org/owner", json!("a")),
            (".metadata.annotations.example", json!("b")),
            (".metadata.finalizers[=\"y\"]", json!("y")),
            (".spec.containers[name=\"sidecar\"].image", json!("1")),
            (".spec.containers[name=\"a\\\"]b\"].image", json!("2")),
            (".spec.containers[1].image", json!("2")),
            (".spec.containers[1].ports[containerPort=80,protocol=\"TCP\"].containerPort", json!(80)),
            (".spec.containers[1].ports[containerPort=81,protocol=\"UDP\"].protocol", json!("UDP")),
        ];
        for (text, value) in cases {
            assert_eq!(path(text).read(&object), Some(&value), "{text}");
            let mut less = object.clone();
            assert!(path(text).remove(&mut less), "{text}");
            assert_ne!(path(text).read(&less), Some(&value), "{text}");
        }
        for absent in
            [".metadata.labels", ".spec.containers[name=\"none\"].image", ".spec.containers[9]", ".spec.cont"]
        {
            assert_eq!(path(absent).read(&object), None, "{absent}");
            assert!(!path(absent).remove(&mut object.clone()), "{absent}");
        }
        assert!("spec".parse::<FieldPath>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[.\\[][\\PC]{0,30}") {
            if let Ok(path) = text.parse::<FieldPath>() {
                let object = json!({"a": [{"name": "x"}, "y", 3], "b": {"c.d": 1}});
                path.read(&object);
                path.remove(&mut object.clone());
            }
        }
    }
}
