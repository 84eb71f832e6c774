//! Texts with a grammar, each a private newtype that is checked when it is made: what all of them have is written here
//! once, for every room.

/// Gives a type with `FromStr` and `Display` serde both ways: it is written as its text and checked when it is read.
///
/// The crate that uses it depends on `serde`.
#[macro_export]
macro_rules! serde_as_text {
    ($($name:ty),+ $(,)?) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

/// Declares a text type: its name, the check behind it, the error of a text that does not pass, and how such an error
/// is made of the text.
///
/// The crate that uses it depends on `serde`.
#[macro_export]
macro_rules! text_newtype {
    ($(#[$meta:meta])* $name:ident, $check:expr, $error:ty, $refuse:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                let check: fn(&str) -> bool = $check;
                let refuse: fn(&str) -> $error = $refuse;
                if check(text) { Ok(Self(text.into())) } else { Err(refuse(text)) }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        $crate::serde_as_text!($name);
    };
}

/// Declares a text type with an error of its own, which says what was expected.
///
/// The crate that uses it depends on `serde` and `thiserror`.
#[macro_export]
macro_rules! checked_text {
    ($(#[$meta:meta])* $name:ident, $error:ident, $expected:literal, $check:expr) => {
        #[doc = concat!("A text that is not ", $expected, ".")]
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        #[error("`{text}` is not {expected}", expected = $expected)]
        pub struct $error {
            text: String,
        }

        $crate::text_newtype!(
            $(#[$meta])* $name, $check, $error, |text| $error { text: text.to_owned() }
        );
    };
}
