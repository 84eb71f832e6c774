//! The shape of a maintainer script: what is left of its text when the parts that debhelper generated are cut out and
//! parameters are replaced by their names.
//!
//! A generated part stands between two comment lines that debhelper writes (debhelper(7), autoscript). Which texts in
//! it are parameters is said by the rules of `effects/snippets.toml`; a parameter consists of characters that a shell
//! takes as they are. All else is hashed, so a part that does anything more than a known one has another hash.

use std::{collections::BTreeMap, fmt::Write as _};

use regex::Regex;
use registry_wire::Digest;

const BEGIN: &str = "# Automatically added by ";
const END: &str = "# End automatically added section";
/// What stands in a frame where a generated part was.
const PLACE: &str = "# generated\n";

/// A part of a script that debhelper generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Generated<'a> {
    /// The program that wrote it, without its version.
    pub(super) tool: &'a str,
    /// The lines between the marks.
    pub(super) text: &'a str,
}

/// A script without its generated parts, and these in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) frame: String,
    pub(super) generated: Vec<Generated<'a>>,
}

/// A text whose parameters were taken out.
#[derive(Debug)]
pub(super) struct Shape {
    /// SHA-256 of the text with names in place of parameters.
    pub(super) digest: Digest,
    /// Parameters by name. Equal ones share a name; `unit`, `unit2`… are different.
    pub(super) parameters: BTreeMap<String, String>,
}

/// Cuts the generated parts out. A part without end stays in the frame, where nobody knows it.
pub(super) fn split(text: &str) -> Parts<'_> {
    let mut parts = Parts { frame: String::new(), generated: Vec::new() };
    let mut rest = text;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.find('\n').map_or(rest.len(), |at| at + 1));
        let end = || after.find(END).filter(|at| *at == 0 || after[..*at].ends_with('\n'));
        if let Some(tool) = line.strip_prefix(BEGIN)
            && let Some(at) = end()
        {
            let tool = tool.trim_end().split('/').next().unwrap_or_default();
            parts.generated.push(Generated { tool, text: &after[..at] });
            parts.frame.push_str(PLACE);
            let ended = &after[at..];
            rest = ended.find('\n').map_or("", |at| &ended[at + 1..]);
        } else {
            parts.frame.push_str(line);
            rest = after;
        }
    }
    parts
}

/// The commands of a text: its lines, those that end in a backslash joined with the next; no empty lines, no comments.
pub(super) fn commands(text: &str) -> Vec<&str> {
    let mut commands = Vec::new();
    let mut start = 0;
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        end += line.len();
        let command = text[start..end].trim();
        let is_comment = command.starts_with('#') && !(start == 0 && command.starts_with("#!"));
        if !is_comment && line.trim_end_matches('\n').ends_with('\\') {
            continue;
        }
        if !is_comment && !command.is_empty() {
            commands.push(command);
        }
        start = end;
    }
    if start < end {
        commands.push(text[start..end].trim());
    }
    commands
}

/// Takes the parameters out of a text. Each group of a rule is one; where two rules meet, the one that starts first, then
/// the one that stands first, holds.
pub(super) fn shape<'r>(text: &str, rules: impl Iterator<Item = &'r Regex>) -> Shape {
    let mut found: Vec<(usize, usize, &str, String)> = Vec::new();
    for rule in rules {
        for captures in rule.captures_iter(text) {
            for name in rule.capture_names().flatten() {
                let Some(group) = captures.name(name) else { continue };
                if let Some(value) = plain(group.as_str()) {
                    found.push((group.start(), group.end(), name, value));
                }
            }
        }
    }
    found.sort_by_key(|(start, ..)| *start);
    let (mut normal, mut parameters) = (String::new(), BTreeMap::new());
    let mut at = 0;
    for (start, end, name, value) in found {
        if start < at {
            continue;
        }
        let name = named(&mut parameters, name, value);
        normal.push_str(&text[at..start]);
        let _infallible = write!(normal, "<{name}>");
        at = end;
    }
    normal.push_str(&text[at..]);
    Shape { digest: Digest::of(normal.as_bytes()), parameters }
}

/// The name under which a parameter is kept: that of an equal one if there is one.
fn named(parameters: &mut BTreeMap<String, String>, name: &str, value: String) -> String {
    let mut number = 1;
    loop {
        let candidate = if number == 1 { name.to_owned() } else { format!("{name}{number}") };
        match parameters.get(&candidate) {
            Some(known) if *known != value => number += 1,
            Some(_) => return candidate,
            None => {
                parameters.insert(candidate.clone(), value);
                return candidate;
            }
        }
    }
}

/// A parameter with one space between its words, if a shell would take all its characters as they are. A backslash stands
/// before some of them in versions and names.
fn plain(value: &str) -> Option<String> {
    let joined = value.replace("\\\n", " ");
    let value = joined.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "_@.+~:/%=,-".contains(character);
    let is_paired = |quote| value.matches(quote).count() % 2 == 0;
    let mut characters = value.chars().peekable();
    let mut all_plain = true;
    while let Some(character) = characters.next() {
        all_plain &= match character {
            '\\' => characters.peek().is_some_and(|next| is_plain(*next)),
            ' ' | '"' | '\'' => true,
            other => is_plain(other),
        };
    }
    (!value.is_empty() && all_plain && is_paired('"') && is_paired('\'')).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "#!/bin/sh\nset -e\n# Automatically added by dh_unit/13.1\nenable 'a.service' && 'a.service'\n\
                          # End automatically added section\nexit 0\n";

    fn rule(text: &str) -> Regex {
        Regex::new(text).unwrap()
    }

    #[test]
    fn generated_parts_are_cut_out() {
        let parts = split(SCRIPT);
        assert_eq!(parts.frame, "#!/bin/sh\nset -e\n# generated\nexit 0\n");
        let expected = Generated { tool: "dh_unit", text: "enable 'a.service' && 'a.service'\n" };
        assert_eq!(parts.generated, [expected]);
        for odd in [
            "# Automatically added by dh_unit\nrm -r /\n",
            " # Automatically added by dh_unit\nx\n# End automatically added section\n",
            "echo # Automatically added by dh_unit\nx\n # End automatically added section\n",
        ] {
            assert_eq!(split(odd), Parts { frame: odd.to_owned(), generated: vec![] });
        }
    }

    #[test]
    fn equal_parameters_share_a_name_and_others_do_not() {
        let rule = rule("'(?<unit>[^']*)'");
        let shape = |text: &str| shape(text, std::iter::once(&rule));
        let [one, other, two] = ["'a' 'a'", "'b' 'b'", "'a' 'b'"].map(shape);
        assert_eq!(one.digest, other.digest);
        assert_ne!(one.digest, two.digest);
        assert_eq!(two.parameters["unit2"], "b");
    }

    #[test]
    fn what_a_shell_would_act_on_is_no_parameter() {
        let rule = rule("(?s)^x (?<all>.*)$");
        for text in
            ["x $(id)", "x `id`", "x a;b", "x a|b", "x a&", "x >a", "x $a", "x \"a", "x {a}", "x *", "x a\\"]
        {
            let shape = shape(text, std::iter::once(&rule));
            assert!(shape.parameters.is_empty(), "{text}");
            assert_eq!(shape.digest, Digest::of(text.as_bytes()));
        }
        let shape = shape("x a  \\\n\tb", std::iter::once(&rule));
        assert_eq!(shape.parameters["all"], "a b");
    }

    #[test]
    fn commands_are_whole() {
        let text = "#!/bin/sh\n# a\n\nset -e\ncp a \\\n  b\n# c \\\nrm d\nlast";
        assert_eq!(commands(text), ["#!/bin/sh", "set -e", "cp a \\\n  b", "rm d", "last"]);
    }
}
