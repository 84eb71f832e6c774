//! Canonical JSON: compact UTF-8. Fields of our own types stand in the order of their declaration; keys of free values
//! are sorted by their bytes. Readers never write a document anew: they hash and keep the bytes that they received.

use serde::Serialize;
use serde_json::Value;

/// Writes one of our documents. Its type must have string keys only.
#[allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "documents are structs with string keys, so JSON can always hold them"
)]
pub fn write(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("a document is plain JSON")
}

/// Sorts the keys of a free value, at every depth, by their bytes. Two values that are equal as JSON are then written
/// with the same bytes.
#[must_use]
pub fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> =
                members.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            members.sort_by(|left, right| left.0.cmp(&right.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_of_insertion_leaves_no_trace() {
        let one = json!({"b": [{"z": 1, "a": 2}], "a": {"y": null, "x": 1.5}});
        let other = json!({"a": {"x": 1.5, "y": null}, "b": [{"a": 2, "z": 1}]});
        let expected = r#"{"a":{"x":1.5,"y":null},"b":[{"a":2,"z":1}]}"#;
        assert_eq!(write(&sorted(one)), expected.as_bytes());
        assert_eq!(write(&sorted(other)), expected.as_bytes());
    }

    #[test]
    fn order_of_a_list_is_kept() {
        assert_eq!(write(&sorted(json!([2, 1]))), b"[2,1]");
    }
}
