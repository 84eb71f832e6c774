//! Holds `docs/effects.md` to the verbs and to the table. `BUNDLE_WRITE_DOCS=1` writes the page anew.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use super::table;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/effects.md");

/// One row for each variant: its name, its parameters, its documentation.
fn verbs() -> String {
    let source = include_str!("verb.rs");
    let start = source.find("pub(crate) enum Verb {").unwrap();
    let body = &source[start..start + source[start..].find("\n}\n").unwrap()];
    let mut rows = String::from("| Verb | Parameters | Does |\n|---|---|---|\n");
    let (mut doc, mut lines) = (String::new(), body.lines().skip(1).peekable());
    while let Some(line) = lines.next() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("/// ") {
            doc.push_str(if doc.is_empty() { "" } else { " " });
            doc.push_str(text);
            continue;
        }
        let mut variant = line.to_owned();
        while variant.matches('{').count() > variant.matches('}').count() {
            let next = lines.next().unwrap().trim();
            if !next.starts_with('#') && !next.starts_with("///") {
                variant.push(' ');
                variant.push_str(next);
            }
        }
        let name = variant.split([' ', ',', '(']).next().unwrap();
        let kebab = name.chars().fold(String::new(), |mut text, letter| {
            if letter.is_ascii_uppercase() && !text.is_empty() {
                text.push('-');
            }
            text.push(letter.to_ascii_lowercase());
            text
        });
        let fields: Vec<String> = match variant.split_once('{') {
            Some((_, fields)) => {
                let names = fields.split(',').filter_map(|field| field.split_once(':'));
                names.map(|(name, _)| format!("`{}`", name.trim().replace('_', "-"))).collect()
            }
            None if variant.contains('(') => {
                ["name", "link", "path", "priority", "slaves"].map(|name| format!("`{name}`")).into()
            }
            None => Vec::new(),
        };
        writeln!(rows, "| `{kebab}` | {} | {doc} |", fields.join(" ")).unwrap();
        doc.clear();
    }
    rows
}

/// One row for each thing that a program generates.
fn snippets() -> String {
    let mut rows: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for snippet in table::snippets() {
        let verbs = snippet.effect.iter().map(|effect| format!("`{}`", effect["verb"].as_str().unwrap()));
        let does = snippet.nothing.clone().unwrap_or_else(|| verbs.collect::<Vec<_>>().join(" "));
        *rows.entry((snippet.tool.clone(), snippet.scripts.join(", "), does)).or_default() +=
            snippet.shape.len();
    }
    let mut text = String::from("| Program | Scripts | Does | Shapes |\n|---|---|---|---|\n");
    for ((tool, scripts, does), shapes) in rows {
        writeln!(text, "| `{tool}` | {scripts} | {does} | {shapes} |").unwrap();
    }
    text
}

#[test]
fn the_page_says_what_there_is() {
    let page = fs::read_to_string(PAGE).unwrap();
    let mut wanted = page.clone();
    for (name, rows) in [("verbs", verbs()), ("snippets", snippets())] {
        let start = wanted.find(&format!("<!-- {name}:")).unwrap();
        let start = start + wanted[start..].find('\n').unwrap() + 1;
        let end = wanted.find(&format!("<!-- end of {name} -->")).unwrap();
        wanted.replace_range(start..end, &rows);
    }
    if std::env::var_os("BUNDLE_WRITE_DOCS").is_some() {
        fs::write(PAGE, &wanted).unwrap();
    } else {
        assert!(page == wanted, "docs/effects.md is out of date; BUNDLE_WRITE_DOCS=1 writes it anew");
    }
    assert!(wanted.lines().filter(|line| line.starts_with("| `")).count() > 40);
}
