//! Texts with a grammar: each is a private newtype that is checked when it is made.

use std::fmt;

use crate::{name, quantity};

/// A text that does not follow the grammar of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct TextError {
    text: String,
    expected: &'static str,
}

impl TextError {
    /// States that `text` is not what was expected.
    pub fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.to_owned(), expected }
    }

    /// What would have been right.
    pub const fn expected(&self) -> &'static str {
        self.expected
    }
}

/// The grammar of a text type: how the JSON Schema names it and the check behind it. A reader of recipes finds the
/// check by the pattern, so that it can report every wrong text of a file at once.
#[derive(Clone, Copy)]
pub struct TextFormat {
    /// The pattern in the JSON Schema; it identifies the type.
    pub pattern: &'static str,
    /// The full check, which may be stricter than the pattern.
    pub check: fn(&str) -> Result<(), TextError>,
}

impl fmt::Debug for TextFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TextFormat({})", self.pattern)
    }
}

/// All grammars of this crate.
pub fn text_formats() -> Vec<TextFormat> {
    let mut formats = name::formats();
    formats.extend(quantity::formats());
    formats
}

/// Gives a type with `FromStr<Err = TextError>` and `Display` the rest of what a text of a recipe has: serde both ways,
/// a JSON Schema and its [`TextFormat`].
#[macro_export]
macro_rules! text_type_traits {
    ($name:ident, $pattern:expr, $description:expr, $example:expr) => {
        registry_wire::serde_as_text!($name);
        $crate::text_format!($name, $pattern, $description, $example);
    };
}

/// Gives a type with `FromStr<Err = TextError>` a JSON Schema and its [`TextFormat`].
#[macro_export]
macro_rules! text_format {
    ($name:ident, $pattern:expr, $description:expr, $example:expr) => {
        impl $name {
            /// The grammar of this type.
            pub const FORMAT: $crate::TextFormat =
                $crate::TextFormat { pattern: $pattern, check: |text| text.parse::<Self>().map(|_| ()) };
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": $pattern,
                    "description": $description,
                    "examples": [$example],
                })
            }
        }
    };
}

/// Declares a text type that keeps its text as it was written.
///
/// The crate that uses it depends on `registry-wire`, `schemars` and `serde`.
#[macro_export]
macro_rules! text_type {
    ($(#[$meta:meta])* $name:ident, $pattern:expr, $expected:expr, $example:expr, $check:expr) => {
        registry_wire::text_newtype!(
            $(#[$meta])* $name, $check, $crate::TextError, |text| $crate::TextError::new(text, $expected)
        );
        $crate::text_format!($name, $pattern, $expected, $example);
    };
}
