//! Texts of recipes and of `bundle.toml`: their grammar for the JSON Schema and for the check of form.
//!
//! Most of their types are those of the lock, the release and the wire. What a schema has to say of such a type is
//! said here by a stand-in that is used in `#[schemars(with = …)]` only.

use bundles_objects::{TextError, TextFormat};
use bundles_release::{ProductName, ReleaseVersion, lock};
use bundles_trust::{ChannelName, Owner};
use jiff::Timestamp;
use registry_wire::RepositoryName;

macro_rules! stand_in {
    ($name:ident, $type:ty, $pattern:literal, $expected:literal, $example:literal) => {
        pub(crate) struct $name;

        impl $name {
            const FORMAT: TextFormat = TextFormat {
                pattern: $pattern,
                check: |text| text.parse::<$type>().map(|_| ()).map_err(|_| TextError::new(text, $expected)),
            };
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).trim_end_matches("Text").into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": $pattern,
                    "description": $expected,
                    "examples": [$example],
                })
            }
        }
    };
}

stand_in!(
    ProductNameText,
    ProductName,
    "^(?:[a-z0-9]|[a-z0-9][-a-z0-9]{0,61}[a-z0-9])$",
    "a product name: at most 63 lower-case letters, digits and inner dashes",
    "generator"
);
stand_in!(
    ReleaseVersionText,
    ReleaseVersion,
    "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$",
    "a version: at most 100 letters, digits, _, . and -, such as 1.4.2, that is no reserved tag",
    "1.4.2"
);
stand_in!(
    RepositoryNameText,
    RepositoryName,
    "^[a-z0-9]+((\\.|_|__|-+|/)[a-z0-9]+)*$",
    "a repository name: lower-case words of letters, digits and single separators, joined by /",
    "shop"
);
stand_in!(
    PackageNameText,
    lock::PackageName,
    "^[a-z0-9][a-z0-9+.-]+$",
    "a package name: at least two lower-case letters, digits, +, - and ., starting with a letter or digit",
    "nodejs"
);
stand_in!(
    ConstraintText,
    lock::Constraint,
    "^\\s*(<<|<=|=|>=|>>)\\s*[0-9A-Za-z.+~:-]+\\s*$",
    "versions: one of <<, <=, =, >= and >> before a Debian version",
    ">= 2.36-9"
);
stand_in!(
    SuiteNameText,
    lock::SuiteName,
    "^[a-z0-9][-a-z0-9+._/]{0,63}$",
    "a suite name such as bookworm or bookworm/updates",
    "bookworm"
);
stand_in!(
    CodenameText,
    lock::Codename,
    "^[a-z0-9](?:[-a-z0-9+._/]{0,63})$",
    "a code name such as bookworm",
    "bookworm"
);
stand_in!(
    ComponentText,
    lock::Component,
    "^(?:[a-z0-9][-a-z0-9+._/]{0,63})$",
    "a component such as main",
    "main"
);
stand_in!(
    ReleaseFieldText,
    lock::ReleaseField,
    "^\\S(.{0,126}\\S)?$",
    "one line of 1 to 128 printable characters",
    "Debian"
);
stand_in!(
    FingerprintText,
    lock::Fingerprint,
    "^([0-9A-F]{40}|[0-9A-F]{64})$",
    "a key fingerprint: 40 or 64 upper-case hexadecimal digits",
    "4D64FEC119C2029067D6E791F8D2585B8783D481"
);

stand_in!(
    OwnerText,
    Owner,
    "^[a-z0-9][a-z0-9._@-]{0,62}$",
    "an owner: at most 63 lower-case letters, digits, ., _, @ and -, starting with a letter or digit",
    "alice"
);
stand_in!(
    ChannelNameText,
    ChannelName,
    "^[a-z]([a-z0-9._]{0,30}[a-z0-9])?$",
    "a channel name: at most 32 lower-case letters and digits, starting with a letter, with inner . and _",
    "production"
);
stand_in!(
    ExpiryText,
    Timestamp,
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
    "a time in UTC, as text",
    "2027-12-31T00:00:00Z"
);

/// All grammars that a text in a file of a platform may have.
pub(crate) fn text_formats() -> Vec<TextFormat> {
    let mut formats = bundles_objects::text_formats();
    formats.extend([
        crate::SourcePattern::FORMAT,
        crate::ImageUser::FORMAT,
        ProductNameText::FORMAT,
        ReleaseVersionText::FORMAT,
        RepositoryNameText::FORMAT,
        PackageNameText::FORMAT,
        ConstraintText::FORMAT,
        SuiteNameText::FORMAT,
        CodenameText::FORMAT,
        ComponentText::FORMAT,
        ReleaseFieldText::FORMAT,
        FingerprintText::FORMAT,
        OwnerText::FORMAT,
        ChannelNameText::FORMAT,
        ExpiryText::FORMAT,
    ]);
    formats
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A text is checked by the parser that its pattern leads to, so no two types may share one.
    #[test]
    fn patterns_identify_types() {
        let formats = text_formats();
        let patterns: BTreeSet<_> = formats.iter().map(|format| format.pattern).collect();
        assert_eq!(patterns.len(), formats.len());
    }
}
