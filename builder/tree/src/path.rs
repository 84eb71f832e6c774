//! Paths inside a tree.

use std::{cmp::Ordering, fmt, str::FromStr};

use registry_wire::serde_as_text;

/// Longest path that Linux opens.
const PATH_LIMIT: usize = 4096;
/// Longest component that Linux's file systems hold.
const COMPONENT_LIMIT: usize = 255;

/// A path relative to the root of a tree: components joined by `/`, none of them empty, `.` or `..`. The root itself
/// is the empty path. The order is bytewise by component, so a directory stands directly before what is in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TreePath(Box<str>);

/// A text that is not a path inside a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a path inside the tree: no `..`, no control characters, at most {PATH_LIMIT} bytes")]
pub struct TreePathError {
    text: String,
}

impl TreePath {
    /// The root.
    pub fn root() -> Self {
        Self("".into())
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory that it is in; nothing for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or("", |(parent, _)| parent).into()))
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// Its components from the root on.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|component| !component.is_empty())
    }

    /// The path of `component` in this directory. The caller vouches that it is one checked component.
    pub(crate) fn child(&self, component: &str) -> Self {
        if self.is_root() { Self(component.into()) } else { Self(format!("{}/{component}", self.0).into()) }
    }

    /// The path of `component`, which is neither `.` nor `..`, in this directory; nothing if it would be too long.
    pub(crate) fn inner(&self, component: &str) -> Option<Self> {
        let is_short = component.len() <= COMPONENT_LIMIT && self.0.len() + component.len() < PATH_LIMIT;
        is_short.then(|| self.child(component))
    }

    /// A path that is known at compile time. The caller vouches for its form.
    pub(crate) fn known(text: &str) -> Self {
        Self(text.into())
    }

    /// Whether it is below `directory`.
    pub fn is_below(&self, directory: &Self) -> bool {
        directory.is_root() && !self.is_root()
            || self.0.strip_prefix(&*directory.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for TreePath {
    type Err = TreePathError;

    /// Accepts the ways in which archives write paths: `/a/b`, `./a/b`, `a/b/`.
    fn from_str(text: &str) -> Result<Self, TreePathError> {
        let wrong = || TreePathError { text: text.chars().take(200).collect() };
        if text.len() > PATH_LIMIT || text.chars().any(char::is_control) {
            return Err(wrong());
        }
        let mut path = String::with_capacity(text.len());
        for component in text.split('/').filter(|component| !matches!(*component, "" | ".")) {
            if component == ".." || component.len() > COMPONENT_LIMIT {
                return Err(wrong());
            }
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(component);
        }
        Ok(Self(path.into()))
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // A slash sorts before every other byte, which compares component by component in one pass.
        let key = |byte: u8| if byte == b'/' { 0 } else { byte };
        let (left, right) = (self.0.as_bytes(), other.0.as_bytes());
        match left.iter().zip(right).find(|(one, other)| one != other) {
            Some((one, other)) => key(*one).cmp(&key(*other)),
            None => left.len().cmp(&right.len()),
        }
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{}", self.0)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

serde_as_text!(TreePath);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grammar() {
        for (text, path) in [("./", ""), ("/", ""), ("./a/b/", "a/b"), ("/a//b", "a/b"), ("a-b", "a-b")] {
            assert_eq!(text.parse::<TreePath>().unwrap().as_str(), path);
        }
        for bad in ["..", "a/../b", "./..", "a\0b", "a\nb", &"x".repeat(256), &"x/".repeat(3000)] {
            assert!(bad.parse::<TreePath>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_directory_stands_directly_before_its_content() {
        let mut paths: Vec<TreePath> =
            ["a/b", "a-b", "a", "a/", "a.d/x", "a.d"].map(|text| text.parse().unwrap()).into();
        paths.sort();
        let texts: Vec<&str> = paths.iter().map(TreePath::as_str).collect();
        assert_eq!(texts, ["a", "a", "a/b", "a-b", "a.d", "a.d/x"]);
    }

    proptest! {
        #[test]
        fn the_order_is_by_component(one in "[a!./-]{0,8}", other in "[a!./-]{0,8}") {
            if let (Ok(one), Ok(other)) = (one.parse::<TreePath>(), other.parse::<TreePath>()) {
                prop_assert_eq!(one.cmp(&other), one.components().cmp(other.components()));
            }
        }

        #[test]
        fn never_escapes(text in "[./a-c]{0,30}") {
            if let Ok(path) = text.parse::<TreePath>() {
                prop_assert!(path.components().all(|component| component != ".." && component != "."));
                prop_assert_eq!(path.as_str().parse::<TreePath>().unwrap(), path);
            }
        }
    }
}
