//! Whether a live object is as we want it.
//!
//! The API server fills in defaults, other managers own other fields, lists with keys may hold more than ours: so our
//! intent is compared as a part of the live object. What we applied earlier and no longer want counts as well, by the
//! fields that the server says are ours.

use serde_json::{Map, Value};

use crate::{
    managed::{applied_fields, left_behind},
    quantity::same_quantity,
};

/// How a live object compares with the intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// All is as intended; a write would change nothing.
    InSync,
    /// It differs.
    Drifted {
        /// The fields, as paths for people.
        fields: Vec<String>,
    },
}

/// Compares an intent with the live object, on which `manager` applies.
pub fn drift(intent: &Value, live: &Value, manager: &str) -> Drift {
    let mut fields = Vec::new();
    if let (Some(intent), Some(live)) = (intent.as_object(), live.as_object()) {
        let mut path = Path::default();
        for (name, wanted) in intent {
            // Status is written by controllers; name and kind are how the object was found.
            if !matches!(name.as_str(), "apiVersion" | "kind" | "status") {
                path.within(&format!(".{name}"), name, |path| {
                    compare(wanted, live.get(name), path, &mut fields);
                });
            }
        }
    }
    match applied_fields(live, manager) {
        Some(owned) => fields.extend(left_behind(owned, intent)),
        None => fields.push(".metadata.managedFields".to_owned()),
    }
    if fields.is_empty() { Drift::InSync } else { Drift::Drifted { fields } }
}

/// Where in the object we are: for people, and as the names of the fields above.
#[derive(Default)]
struct Path {
    text: String,
    names: Vec<String>,
}

impl Path {
    fn within<T>(&mut self, step: &str, name: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.text.len();
        self.text.push_str(step);
        self.names.push(name.to_owned());
        let result = work(self);
        self.names.pop();
        self.text.truncate(length);
        result
    }

    fn name(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    fn above(&self) -> &str {
        self.names.iter().rev().nth(1).map_or("", String::as_str)
    }

    /// Values of these fields are quantities.
    fn is_quantity(&self) -> bool {
        matches!(
            self.above(),
            "requests"
                | "limits"
                | "capacity"
                | "hard"
                | "default"
                | "defaultRequest"
                | "max"
                | "min"
                | "overhead"
                | "podFixed"
                | "maxLimitRequestRatio"
        ) || matches!(self.name(), "sizeLimit" | "averageValue" | "divisor" | "storage")
            || self.name() == "value" && self.above() == "target"
    }

    /// Maps that the API server leaves out when they are empty; an empty object elsewhere says something.
    fn is_map(&self) -> bool {
        matches!(
            self.name(),
            "labels"
                | "annotations"
                | "matchLabels"
                | "nodeSelector"
                | "data"
                | "binaryData"
                | "requests"
                | "limits"
        )
    }

    /// The fields by which elements of this list are told apart; none for a list that is one value.
    fn keys(&self) -> &'static [&'static str] {
        let in_service = self.names.len() == 2;
        match self.name() {
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "volumes"
            | "env"
            | "imagePullSecrets"
            | "secrets"
            | "resourceClaims"
            | "schedulingGates"
            | "claims"
            | "webhooks"
            | "validations" => &["name"],
            "ports" if in_service => &["port", "protocol"],
            "ports" if self.above() == "[]" => &["containerPort", "protocol"],
            "volumeMounts" => &["mountPath"],
            "volumeDevices" => &["devicePath"],
            "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
            "hostAliases" => &["ip"],
            "ownerReferences" => &["uid"],
            "conditions" => &["type"],
            _ => &[],
        }
    }

    /// Lists of plain values without order.
    fn is_set(&self) -> bool {
        self.name() == "finalizers" && self.above() == "metadata"
    }
}

fn compare(wanted: &Value, live: Option<&Value>, path: &mut Path, fields: &mut Vec<String>) {
    let equal = match (wanted, live) {
        (Value::Null, _) => true,
        (Value::Object(wanted), None | Some(Value::Null)) => wanted.is_empty() && path.is_map(),
        (Value::Array(wanted), None | Some(Value::Null)) => wanted.is_empty(),
        (Value::Object(wanted), Some(Value::Object(live))) => {
            compare_objects(wanted, live, path, fields);
            true
        }
        (Value::Array(wanted), Some(Value::Array(live))) => compare_lists(wanted, live, path, fields),
        (wanted, Some(live)) => wanted == live || same_scalar(wanted, live, path),
        (_, None) => false,
    };
    if !equal {
        fields.push(path.text.clone());
    }
}

fn compare_objects(
    wanted: &Map<String, Value>,
    live: &Map<String, Value>,
    path: &mut Path,
    fields: &mut Vec<String>,
) {
    for (name, value) in wanted {
        // What a Secret is given as text comes back as data only.
        if name == "stringData" && path.names.is_empty() {
            continue;
        }
        path.within(&format!(".{name}"), name, |path| compare(value, live.get(name), path, fields));
    }
}

fn compare_lists(wanted: &[Value], live: &[Value], path: &mut Path, fields: &mut Vec<String>) -> bool {
    if path.is_set() {
        return wanted.iter().all(|item| live.contains(item));
    }
    let keys = path.keys();
    if keys.is_empty() || wanted.iter().any(|item| item.get(keys[0]).is_none()) {
        if wanted.len() != live.len() {
            return false;
        }
        for (index, (wanted, live)) in wanted.iter().zip(live).enumerate() {
            path.within(&format!("[{index}]"), "[]", |path| compare(wanted, Some(live), path, fields));
        }
        return true;
    }
    for item in wanted {
        let same = |other: &&Value| {
            keys.iter().all(|key| item.get(key).is_none_or(|wanted| other.get(key) == Some(wanted)))
        };
        let step = match &item[keys[0]] {
            Value::String(name) => format!("[{name}]"),
            other => format!("[{other}]"),
        };
        path.within(&step, "[]", |path| compare(item, live.iter().find(same), path, fields));
    }
    true
}

fn same_scalar(wanted: &Value, live: &Value, path: &Path) -> bool {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match (wanted, live) {
        (Value::Number(wanted), Value::Number(live)) => wanted.as_f64() == live.as_f64(),
        _ if path.is_quantity() => match (text(wanted), text(live)) {
            (Some(wanted), Some(live)) => same_quantity(&wanted, &live),
            _ => false,
        },
        _ => false,
    }
}
