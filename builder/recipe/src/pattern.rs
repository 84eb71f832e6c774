//! Patterns over the files of a recipe's folder.

use bundles_objects::{SourcePath, text_type};

text_type!(
    /// A file, a folder, or a pattern in a recipe's folder: `*` and `?` match within a name, `**` any number of folders.
    SourcePattern,
    "^[^/]+(/[^/]+)*/?$",
    "a path or pattern inside the recipe's folder: relative, with / between names, without `.` and `..`, with `**` \
     only as a whole name",
    "app/**",
    |text| {
        let text = text.strip_suffix('/').unwrap_or(text);
        text.parse::<SourcePath>().is_ok() && text.split('/').all(|name| name == "**" || !name.contains("**"))
    }
);

impl SourcePattern {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.as_str().trim_end_matches('/').split('/')
    }

    /// Whether it names one file or folder.
    pub fn is_literal(&self) -> bool {
        !self.as_str().contains(['*', '?'])
    }

    /// Whether the pattern takes a path, and where it goes.
    pub(crate) fn take<'a>(&self, path: &'a str) -> Taken<'a> {
        let names: Vec<&str> = self.names().collect();
        let parts: Vec<&str> = path.split('/').collect();
        if self.is_literal() {
            let is_below = parts.len() >= names.len() && parts[..names.len()] == names[..];
            return if is_below { tail(path, names.len()) } else { Taken::Not };
        }
        let base = names.iter().take_while(|name| !name.contains(['*', '?'])).count();
        if matches(&names, &parts) { tail(path, base) } else { Taken::Not }
    }
}

/// What a pattern makes of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken<'a> {
    /// It is left.
    Not,
    /// It is the one file that the pattern names and goes to the target itself.
    Itself,
    /// It goes to this path below the target.
    Below(&'a str),
}

/// What comes after the first `count` names.
fn tail(path: &str, count: usize) -> Taken<'_> {
    let mut rest = path;
    for _ in 0..count {
        match rest.split_once('/') {
            Some((_, after)) => rest = after,
            None => return Taken::Itself,
        }
    }
    Taken::Below(rest)
}

/// Both levels, names in a path and letters in a name, are the same question with another "any number of".
fn matches(names: &[&str], parts: &[&str]) -> bool {
    wildcard(names, parts, &|name| *name == "**", &|name, part| {
        let (letters, text): (Vec<char>, Vec<char>) = (name.chars().collect(), part.chars().collect());
        wildcard(&letters, &text, &|letter| *letter == '*', &|letter, given| {
            *letter == '?' || letter == given
        })
    })
}

/// Matches in time proportional to the product of the lengths: on a mismatch only the last "any number of" takes more.
fn wildcard<T>(pattern: &[T], text: &[T], any: &dyn Fn(&T) -> bool, one: &dyn Fn(&T, &T) -> bool) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while position < text.len() {
        if at < pattern.len() && any(&pattern[at]) {
            retry = Some((at, position));
            at += 1;
        } else if at < pattern.len() && one(&pattern[at], &text[position]) {
            at += 1;
            position += 1;
        } else if let Some((star, taken)) = retry {
            retry = Some((star, taken + 1));
            at = star + 1;
            position = taken + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for good in ["app", "app/", "app/**", "*.conf", "a/**/b?.js", "..a"] {
            assert!(good.parse::<SourcePattern>().is_ok(), "{good}");
        }
        for bad in ["", "/app", "../app", "app/../b", "./app", "app//b", "a**", "app/**b", "/"] {
            assert!(bad.parse::<SourcePattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_taken_and_where_it_goes() {
        let cases = [
            ("server.js", "server.js", Taken::Itself),
            ("server.js", "server.jsx", Taken::Not),
            ("app", "app/server.js", Taken::Below("server.js")),
            ("app/", "app/lib/a.js", Taken::Below("lib/a.js")),
            ("app", "apple/server.js", Taken::Not),
            ("app/*", "app/server.js", Taken::Below("server.js")),
            ("app/*", "app/lib/a.js", Taken::Not),
            ("app/**", "app/lib/a.js", Taken::Below("lib/a.js")),
            ("app/**/*.js", "app/server.js", Taken::Below("server.js")),
            ("app/**/*.js", "app/lib/deep/a.js", Taken::Below("lib/deep/a.js")),
            ("app/**/*.js", "app/lib/a.json", Taken::Not),
            ("*.conf", "redis.conf", Taken::Below("redis.conf")),
            ("?.js", "ä.js", Taken::Below("ä.js")),
            ("**", "a/b", Taken::Below("a/b")),
        ];
        for (pattern, path, expected) in cases {
            let pattern: SourcePattern = pattern.parse().unwrap();
            assert_eq!(pattern.take(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn many_wildcards_end_soon() {
        let pattern: SourcePattern = "*a*a*a*a*a*a*a*a*a*a*a*a*b".parse().unwrap();
        assert_eq!(pattern.take(&"a".repeat(5000)), Taken::Not);
    }
}
