//! Relations between packages (Debian policy, chapter 7).

use std::fmt;

use bundles_release::lock::{Version, VersionError};

/// How two versions must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Comparison {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

/// A set of versions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Constraint {
    pub(crate) comparison: Comparison,
    pub(crate) version: Version,
}

/// A package that satisfies a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alternative<'a> {
    pub(crate) name: &'a str,
    /// What stands behind a colon: `any`, `native` or an architecture.
    pub(crate) architecture: Option<&'a str>,
    pub(crate) constraint: Option<Constraint>,
}

/// Alternatives, best first.
pub(crate) type Group<'a> = Vec<Alternative<'a>>;

/// A relation that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelationError {
    /// Not of the form `name[:architecture] [(comparison version)]`.
    #[error("`{text}` is not a relation between packages")]
    Form {
        /// The text.
        text: String,
    },
    /// The version of a relation.
    #[error("relation `{text}` has a wrong version")]
    Version {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: VersionError,
    },
}

impl Constraint {
    pub(crate) fn contains(&self, version: &Version) -> bool {
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

impl Alternative<'_> {
    /// Whether a package of the image's architecture can satisfy it.
    pub(crate) fn is_for(&self, architecture: &str) -> bool {
        self.architecture
            .is_none_or(|wanted| matches!(wanted, "any" | "native" | "all") || wanted == architecture)
    }

    /// Whether a version satisfies it.
    pub(crate) fn accepts(&self, version: &Version) -> bool {
        self.constraint.as_ref().is_none_or(|constraint| constraint.contains(version))
    }

    /// Whether something provided satisfies it: an unversioned one only if no version is asked for.
    pub(crate) fn accepts_provided(&self, version: Option<&Version>) -> bool {
        match (&self.constraint, version) {
            (None, _) => true,
            (Some(constraint), Some(version)) => constraint.contains(version),
            (Some(_), None) => false,
        }
    }
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

impl fmt::Display for Alternative<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)?;
        match &self.constraint {
            Some(constraint) => write!(formatter, " ({constraint})"),
            None => Ok(()),
        }
    }
}

/// Reads a relation field.
pub(crate) fn parse(text: &str) -> Result<Vec<Group<'_>>, RelationError> {
    text.split(',')
        .map(str::trim_ascii)
        .filter(|group| !group.is_empty())
        .map(|group| group.split('|').map(alternative).collect())
        .collect()
}

fn alternative(text: &str) -> Result<Alternative<'_>, RelationError> {
    let text = text.trim_ascii();
    let wrong = || RelationError::Form { text: text.to_owned() };
    let (target, rest) = match text.split_once('(') {
        Some((target, rest)) => (target.trim_ascii_end(), Some(rest.strip_suffix(')').ok_or_else(wrong)?)),
        None => (text, None),
    };
    let (name, architecture) = match target.split_once(':') {
        Some((name, architecture)) => (name, Some(architecture)),
        None => (target, None),
    };
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    if !is_name(name) || !architecture.is_none_or(is_name) {
        return Err(wrong());
    }
    let constraint = match rest {
        None => None,
        Some(rest) => {
            let rest = rest.trim_ascii();
            let signs = rest.bytes().take_while(|byte| b"<=>".contains(byte)).count();
            let comparison = match &rest[..signs] {
                "<<" => Comparison::Earlier,
                "<=" | "<" => Comparison::EarlierOrEqual,
                "=" => Comparison::Equal,
                ">=" | ">" => Comparison::LaterOrEqual,
                ">>" => Comparison::Later,
                _ => return Err(wrong()),
            };
            let version = rest[signs..].trim_ascii().parse();
            let version =
                version.map_err(|source| RelationError::Version { text: text.to_owned(), source })?;
            Some(Constraint { comparison, version })
        }
    };
    Ok(Alternative { name, architecture, constraint })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let groups = parse(text).unwrap();
        groups
            .iter()
            .map(|group| group.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "))
            .collect()
    }

    #[test]
    fn reads_relations() {
        for (text, expected) in [
            ("", &[][..]),
            ("libc6 (>= 2.34), awk", &["libc6 (>= 2.34)", "awk"]),
            ("debconf(>=0.5)|debconf-2.0", &["debconf (>= 0.5) | debconf-2.0"]),
            (
                "python3:any (>> 3.11~),\n a (< 1), b (> 2), c (= 1:2-3),",
                &["python3 (>> 3.11~)", "a (<= 1)", "b (>= 2)", "c (= 1:2-3)"],
            ),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for bad in ["a (>= 1", "a (1)", "a (>= )", "a b", "|", "a (=> 1)", "a/../b", "a: (>= 1)"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn knows_architectures_and_provided_versions() {
        let group = &parse("a:any | b:arm64 | c (>= 2)").unwrap()[0];
        assert!(group[0].is_for("amd64") && !group[1].is_for("amd64") && group[2].is_for("amd64"));
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(!group[2].accepts_provided(None));
        assert!(group[2].accepts_provided(Some(&version("2.1"))));
        assert!(!group[2].accepts(&version("2~rc1")));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[ab:()<=>|, 0-9~\u{e9}]{0,40}") {
            let _result = parse(&text);
        }
    }
}
