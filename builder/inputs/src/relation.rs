//! Relations between packages (Debian policy, chapter 7).

use std::fmt;

use bundles_release::lock::{Constraint, ConstraintError, Version};

/// A package that satisfies a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alternative<'a> {
    pub(crate) name: &'a str,
    /// What stands behind a colon: `any`, `native` or an architecture.
    pub(crate) architecture: Option<&'a str>,
    pub(crate) constraint: Option<Constraint>,
}

/// Which packages an alternative reaches through its architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All of the image: they are of one architecture or of `all`.
    All,
    /// Those that are marked `Multi-Arch: allowed`.
    Allowed,
    /// None: another architecture is asked for.
    None,
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
    /// What stands in the brackets.
    #[error("relation `{text}` names no versions")]
    Constraint {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: ConstraintError,
    },
}

impl Alternative<'_> {
    /// Which packages of an image can satisfy it, as far as architectures go (dpkg's `deparchsatisfied`).
    pub(crate) fn reach(&self, architecture: &str) -> Reach {
        match self.architecture {
            None | Some("native") => Reach::All,
            Some("any") => Reach::Allowed,
            Some(wanted) if wanted == architecture => Reach::All,
            Some(_) => Reach::None,
        }
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

impl fmt::Display for Alternative<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)?;
        if let Some(architecture) = self.architecture {
            write!(formatter, ":{architecture}")?;
        }
        match &self.constraint {
            Some(constraint) => write!(formatter, " ({constraint})"),
            None => Ok(()),
        }
    }
}

/// Reads a relation field for packages of `host`. Alternatives for other architectures (`[arm64]`) and for build
/// profiles (`<!nocheck>`; none is active) are left out, and so is a group that has no others.
pub(crate) fn parse<'a>(text: &'a str, host: &str) -> Result<Vec<Group<'a>>, RelationError> {
    let mut groups = Vec::new();
    for group in text.split(',').map(str::trim_ascii).filter(|group| !group.is_empty()) {
        let mut alternatives = Vec::new();
        for text in group.split('|') {
            alternatives.extend(alternative(text, host)?);
        }
        if !alternatives.is_empty() {
            groups.push(alternatives);
        }
    }
    Ok(groups)
}

/// Takes the restrictions behind a relation off; whether they hold.
fn restricted<'a>(text: &'a str, host: &str) -> Option<(&'a str, bool)> {
    let (mut rest, mut holds) = (text, true);
    // A restriction list of profiles holds if all of its terms do, the lists together if one of them does.
    let mut profiles = None;
    loop {
        if let Some(before) = rest.strip_suffix(']') {
            let (before, list) = before.rsplit_once('[')?;
            let mut terms = list.split_ascii_whitespace().peekable();
            let is_denied = terms.peek()?.starts_with('!');
            let mut named = false;
            for term in terms {
                let name = term.strip_prefix('!');
                if name.is_some() != is_denied {
                    return None;
                }
                named |= covers(name.unwrap_or(term), host);
            }
            holds &= named != is_denied;
            rest = before.trim_ascii_end();
        } else if let Some(before) = rest.strip_suffix('>') {
            let (before, list) = before.rsplit_once('<')?;
            let mut terms = list.split_ascii_whitespace().peekable();
            terms.peek()?;
            let all = terms.all(|term| term.starts_with('!'));
            profiles = Some(profiles.unwrap_or(false) || all);
            rest = before.trim_ascii_end();
        } else {
            return Some((rest, holds && profiles.unwrap_or(true)));
        }
    }
}

/// Whether an architecture or wildcard names `host` (Debian policy, section 11.1). A name without a dash is Linux.
fn covers(wildcard: &str, host: &str) -> bool {
    let parts = |name| match str::split_once(name, '-') {
        Some((system, processor)) => (system, processor),
        None => ("linux", name),
    };
    let (host_system, host_processor) = parts(host);
    let (system, processor) = parts(wildcard);
    wildcard == "any"
        || (system == "any" || system == host_system) && (processor == "any" || processor == host_processor)
}

fn alternative<'a>(text: &'a str, host: &str) -> Result<Option<Alternative<'a>>, RelationError> {
    let text = text.trim_ascii();
    let wrong = || RelationError::Form { text: text.to_owned() };
    let (bare, holds) = restricted(text, host).ok_or_else(wrong)?;
    let (target, rest) = match bare.split_once('(') {
        Some((target, rest)) => (target.trim_ascii_end(), Some(rest.strip_suffix(')').ok_or_else(wrong)?)),
        None => (bare, None),
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
        Some(rest) => Some(
            Constraint::of_relation(rest)
                .map_err(|source| RelationError::Constraint { text: text.to_owned(), source })?,
        ),
    };
    Ok(holds.then_some(Alternative { name, architecture, constraint }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let groups = parse(text, "amd64").unwrap();
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
                &["python3:any (>> 3.11~)", "a (<= 1)", "b (>= 2)", "c (= 1:2-3)"],
            ),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for bad in [
            "a (>= 1",
            "a (1)",
            "a (>= )",
            "a b",
            "|",
            "a (=> 1)",
            "a/../b",
            "a: (>= 1)",
            "a [",
            "a []",
            "a [amd64",
            "a [!amd64 arm64]",
            "a <>",
            "a >",
        ] {
            assert!(parse(bad, "amd64").is_err(), "{bad}");
        }
    }

    #[test]
    fn knows_architectures_and_provided_versions() {
        let group = &parse("a:any | b:arm64 | c (>= 2) | d:amd64 | e:native", "amd64").unwrap()[0];
        let reaches: Vec<Reach> = group.iter().map(|alternative| alternative.reach("amd64")).collect();
        assert_eq!(reaches, [Reach::Allowed, Reach::None, Reach::All, Reach::All, Reach::All]);
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(!group[2].accepts_provided(None));
        assert!(group[2].accepts_provided(Some(&version("2.1"))));
        assert!(!group[2].accepts(&version("2~rc1")));
    }

    #[test]
    fn leaves_out_what_is_for_other_architectures_and_builds() {
        for (text, expected) in [
            ("a [amd64], b [arm64], c [!arm64], d [!amd64]", &["a", "c"][..]),
            ("a [linux-any], b [any-arm64], c [any-amd64], d [hurd-any], e [any]", &["a", "c", "e"]),
            (
                "a (>= 1) [amd64 arm64] <!nocheck>, b <stage1>, c <!stage1 !nodoc>, d <!stage1 nodoc>",
                &["a (>= 1)", "c"],
            ),
            ("a <stage1> <!cross>", &["a"]),
            ("a [arm64] | b, c | d [arm64], e [arm64] | f <cross>", &["b", "c"]),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[ab:()<=>|, 0-9~!\\[\\]\u{e9}]{0,40}") {
            let _result = parse(&text, "amd64");
        }
    }
}
