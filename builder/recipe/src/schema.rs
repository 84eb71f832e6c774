//! JSON Schemas of the four kinds of files, made from the types. Editors complete by them, and the check of form
//! follows them, so what they say is what is accepted.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use crate::{EnvironmentDocument, PlatformDocument, RecipeDocument, TrustDocument};

/// The schema of `recipe.toml`.
pub fn recipe_schema() -> Value {
    schema::<RecipeDocument>()
}

/// The schema of `bundle.toml`.
pub fn platform_schema() -> Value {
    schema::<PlatformDocument>()
}

/// The schema of `environments/*.toml`.
pub fn environment_schema() -> Value {
    schema::<EnvironmentDocument>()
}

/// The schema of `trust.toml`.
pub fn trust_schema() -> Value {
    schema::<TrustDocument>()
}

fn schema<T: JsonSchema>() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    without_null(generator.root_schema_for::<T>().to_value())
}

/// TOML has no null: what may be null may be left out.
fn without_null(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(without_null).collect()),
        Value::Object(mut members) => {
            if members.get("default").is_some_and(Value::is_null) {
                members.shift_remove("default");
            }
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(options)) = members.get_mut("anyOf") {
                options.retain(|option| option.get("type").is_none_or(|name| name != "null"));
                if let [Value::Object(only)] = options.as_slice() {
                    let only = only.clone();
                    members.shift_remove("anyOf");
                    for (key, value) in only {
                        members.entry(key).or_insert(value);
                    }
                }
            }
            Value::Object(members.into_iter().map(|(key, value)| (key, without_null(value))).collect())
        }
        scalar => scalar,
    }
}
