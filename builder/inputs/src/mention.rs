//! Where an index first speaks of a package.
//!
//! apt numbers packages in the order in which it meets their names, in relations of others too, and of several that
//! provide the same it takes the one that it met last (`CompareProviders` of apt 2.6). Nothing but this order tells them
//! apart, so we take it too.

use memchr::{memmem, memrchr};

/// Fields whose names apt takes in.
const FIELDS: [&str; 10] = [
    "Package",
    "Pre-Depends",
    "Depends",
    "Recommends",
    "Suggests",
    "Enhances",
    "Conflicts",
    "Breaks",
    "Replaces",
    "Provides",
];

/// The first place of a name in some indices: which of them, and where in it.
pub(crate) fn first(texts: &[&str], name: &str) -> Option<(usize, usize)> {
    let finder = memmem::Finder::new(name);
    let in_text = |(index, text): (usize, &&str)| {
        let bytes = text.as_bytes();
        let found =
            finder.find_iter(bytes).find(|at| is_whole(bytes, *at, name.len()) && is_relation(text, *at));
        found.map(|at| (index, at))
    };
    texts.iter().enumerate().find_map(in_text)
}

/// Whether the name is not a part of a longer word.
fn is_whole(bytes: &[u8], at: usize, length: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| bytes.get(before));
    let after = bytes.get(at + length);
    before.is_none_or(|byte| b" \t,|".contains(byte))
        && after.is_none_or(|byte| b" \t\r\n,|:(".contains(byte))
}

/// Whether the line is one of the fields.
fn is_relation(text: &str, at: usize) -> bool {
    let start = memrchr(b'\n', &text.as_bytes()[..at]).map_or(0, |end| end + 1);
    let field = text.get(start..at).and_then(|line| line.split_once(':')).map(|(field, _)| field);
    field.is_some_and(|field| FIELDS.contains(&field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_in_entries_and_relations_only() {
        let one =
            "Package: aa\nSource: bb\nDepends: libbb, cc (>= 1), bb-dev:any | dd\nDescription: has bb\n\n";
        let two = "Package: bb\nFilename: pool/bb/bb.deb\nProvides: ee,ff (= 1)\n";
        let place = |name| first(&[one, two], name).map(|(text, at)| (text, &[one, two][text][at..]));
        assert_eq!(place("bb").map(|(text, rest)| (text, rest.starts_with("bb\nFilename"))), Some((1, true)));
        for name in ["aa", "libbb", "cc", "bb-dev", "dd"] {
            assert_eq!(place(name).map(|(text, _)| text), Some(0), "{name}");
        }
        for name in ["ee", "ff"] {
            assert_eq!(place(name).map(|(text, _)| text), Some(1), "{name}");
        }
        assert_eq!(place("has"), None);
        assert_eq!(place("pool"), None);
    }
}
