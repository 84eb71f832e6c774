//! Sets of versions, as Debian's relations name them (Debian policy, section 7.1).

use std::{fmt, str::FromStr};

use registry_wire::serde_as_text;

use super::version::{Version, VersionError};

/// How two versions must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

/// A set of versions, written as `>= 2.34`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Constraint {
    /// How a version must compare.
    pub comparison: Comparison,
    /// To which.
    pub version: Version,
}

/// A text that is not a set of versions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// Neither `<<`, `<=`, `=`, `>=` nor `>>` before a version.
    #[error("`{text}` does not begin with one of <<, <=, =, >= and >>")]
    Comparison {
        /// The text.
        text: String,
    },
    /// No version behind it.
    #[error("`{text}` has a wrong version")]
    Version {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: VersionError,
    },
}

impl Constraint {
    /// Reads what a relation of a package says. Old packages write `<` and `>`, which mean `<=` and `>=` there; a person who
    /// writes them means something else.
    pub fn of_relation(text: &str) -> Result<Self, ConstraintError> {
        let (sign, version) = parts(text);
        let sign = match sign {
            "<" => "<=",
            ">" => ">=",
            sign => sign,
        };
        Self::new(sign, version, text)
    }

    fn new(sign: &str, version: &str, text: &str) -> Result<Self, ConstraintError> {
        let comparison = match sign {
            "<<" => Comparison::Earlier,
            "<=" => Comparison::EarlierOrEqual,
            "=" => Comparison::Equal,
            ">=" => Comparison::LaterOrEqual,
            ">>" => Comparison::Later,
            _ => return Err(ConstraintError::Comparison { text: text.to_owned() }),
        };
        let version = version.trim_ascii().parse();
        let version = version.map_err(|source| ConstraintError::Version { text: text.to_owned(), source })?;
        Ok(Self { comparison, version })
    }

    /// Whether a version is one of them.
    pub fn contains(&self, version: &Version) -> bool {
        let order = version.cmp(&self.version);
        match self.comparison {
            Comparison::Earlier => order.is_lt(),
            Comparison::EarlierOrEqual => order.is_le(),
            Comparison::Equal => order.is_eq(),
            Comparison::LaterOrEqual => order.is_ge(),
            Comparison::Later => order.is_gt(),
        }
    }
}

impl FromStr for Constraint {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        let (sign, version) = parts(text);
        Self::new(sign, version, text)
    }
}

/// The sign, and what is behind it.
fn parts(text: &str) -> (&str, &str) {
    let trimmed = text.trim_ascii();
    trimmed.split_at(trimmed.bytes().take_while(|byte| b"<=>".contains(byte)).count())
}

impl fmt::Display for Constraint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            Comparison::Earlier => "<<",
            Comparison::EarlierOrEqual => "<=",
            Comparison::Equal => "=",
            Comparison::LaterOrEqual => ">=",
            Comparison::Later => ">>",
        };
        write!(formatter, "{sign} {}", self.version)
    }
}

serde_as_text!(Constraint);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn holds_what_its_sign_says() {
        for (text, held) in [
            ("<< 2", [true, false, false]),
            ("<= 2", [true, true, false]),
            ("<2", [true, true, false]),
            ("= 2", [false, true, false]),
            (">=2", [false, true, true]),
            ("> 2", [false, true, true]),
            (" >> 2 ", [false, false, true]),
        ] {
            let constraint = Constraint::of_relation(text).unwrap();
            let holds =
                ["1", "2~", "2", "2-0", "3"].map(|version| constraint.contains(&version.parse().unwrap()));
            assert_eq!([holds[0], holds[2], holds[4]], held, "{text}");
            assert_eq!((holds[1], holds[3]), (holds[0], holds[2]), "{text}");
            assert_eq!(constraint.to_string().parse::<Constraint>().unwrap(), constraint);
        }
        for bad in ["", "2", "=", "== 2", "=< 2", ">= ", "!= 2", "= 1 2"] {
            assert!(bad.parse::<Constraint>().is_err(), "{bad}");
            assert!(Constraint::of_relation(bad).is_err(), "{bad}");
        }
        for old in ["< 2", "> 2"] {
            let error = old.parse::<Constraint>().unwrap_err().to_string();
            assert_eq!(error, format!("`{old}` does not begin with one of <<, <=, =, >= and >>"));
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[<=> 0-9a.~\u{e9}-]{0,12}") {
            let _result = (text.parse::<Constraint>(), Constraint::of_relation(&text));
        }
    }
}
