//! The digest of what we want an object to be.

use registry_wire::{Digest, Hasher};
use serde_json::Value;

/// Hashes an object independent of the order of its fields.
///
/// Encoding `intent1`: every value begins with a letter for its type; texts and containers carry their length, so no
/// two values share an encoding. Fields are in order of their names.
pub fn intent_digest(object: &Value) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(b"bundle intent1\0");
    hash_value(&mut hasher, object);
    hasher.finish()
}

fn hash_value(hasher: &mut Hasher, value: &Value) {
    match value {
        Value::Null => hasher.update(b"z"),
        Value::Bool(true) => hasher.update(b"t"),
        Value::Bool(false) => hasher.update(b"f"),
        Value::Number(number) => {
            hasher.update(b"n");
            hash_text(hasher, &number.to_string());
        }
        Value::String(text) => {
            hasher.update(b"s");
            hash_text(hasher, text);
        }
        Value::Array(items) => {
            hasher.update(b"a");
            hash_length(hasher, items.len());
            for item in items {
                hash_value(hasher, item);
            }
        }
        Value::Object(fields) => {
            hasher.update(b"o");
            hash_length(hasher, fields.len());
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            for name in names {
                hash_text(hasher, name);
                hash_value(hasher, &fields[name]);
            }
        }
    }
}

fn hash_text(hasher: &mut Hasher, text: &str) {
    hash_length(hasher, text.len());
    hasher.update(text.as_bytes());
}

fn hash_length(hasher: &mut Hasher, length: usize) {
    hasher.update(&(length as u64).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_of_fields_does_not_matter_and_content_does() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":{"c":"x","d":[1,2]}}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"b":{"d":[1,2],"c":"x"},"a":1}"#).unwrap();
        assert_eq!(intent_digest(&one), intent_digest(&two));
        for other in [
            json!({"a": 1, "b": {"c": "x", "d": [2, 1]}}),
            json!({"a": "1", "b": {"c": "x", "d": [1, 2]}}),
            json!({"a": 1, "b": {"c": "x", "d": [1, 2], "e": null}}),
        ] {
            assert_ne!(intent_digest(&one), intent_digest(&other), "{other}");
        }
    }

    #[test]
    fn the_encoding_is_frozen() {
        let object = json!({"kind": "ConfigMap", "data": {"a": "b"}, "n": [1, true, null]});
        assert_eq!(intent_digest(&object).to_string(), GOLDEN);
    }

    const GOLDEN: &str = "sha256:6b490de65733b2928f57b4fe201e598997ad6fb01e0663413f520d773f907c7d";
}
