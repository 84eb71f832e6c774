//! Stanzas of dpkg's status file.

use std::{cmp::Ordering, fmt::Write as _};

use md5::{Digest as _, Md5};

use crate::{EffectError, Kind, Package, TreePath, effect::Image};

/// dpkg's order of the fields that it knows; the others follow in their own order.
const BEFORE_CONFFILES: [&str; 22] = [
    "Package",
    "Essential",
    "Protected",
    "Status",
    "Priority",
    "Section",
    "Installed-Size",
    "Origin",
    "Maintainer",
    "Bugs",
    "Architecture",
    "Multi-Arch",
    "Source",
    "Version",
    "Replaces",
    "Provides",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Breaks",
    "Conflicts",
];
const AFTER: [&str; 3] = ["Enhances", "Conffiles", "Description"];
const RELATIONS: [&str; 9] = [
    "Replaces",
    "Provides",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Breaks",
    "Conflicts",
    "Enhances",
];

pub(super) fn stanza(image: &Image<'_>, package: &Package) -> Result<String, EffectError> {
    let paragraph = package.paragraph();
    // While a package is configured, those before it are done and those after it wait.
    let at = image.packages.iter().position(|other| other.name == package.name);
    let status = match image.configuring.and_then(|configuring| Some(at?.cmp(&configuring))) {
        None | Some(Ordering::Less) => "install ok installed",
        Some(Ordering::Equal) => "install ok half-configured",
        Some(Ordering::Greater) => "install ok unpacked",
    };
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        let separator = if value.starts_with('\n') { "" } else { " " };
        let _infallible = writeln!(text, "{name}:{separator}{value}");
    };
    for name in BEFORE_CONFFILES.into_iter().chain(AFTER) {
        match (name, paragraph.get(name)) {
            ("Status", _) => put(name, status),
            ("Conffiles", _) => {
                let lines = conffiles(image, package)?;
                if !lines.is_empty() {
                    put(name, &lines);
                }
            }
            (_, Some(value)) if RELATIONS.contains(&name) => put(name, &normal_relations(value)),
            (_, Some(value)) => put(name, value),
            (_, None) => {}
        }
    }
    for (name, value) in paragraph.fields() {
        let is_known = BEFORE_CONFFILES.iter().chain(&AFTER).any(|known| known.eq_ignore_ascii_case(name));
        if !is_known {
            put(name, value);
        }
    }
    text.push('\n');
    Ok(text)
}

/// Relations on one line, one space where dpkg writes one.
fn normal_relations(value: &str) -> String {
    let words: Vec<&str> = value.split_whitespace().collect();
    words.join(" ")
}

fn conffiles(image: &Image<'_>, package: &Package) -> Result<String, EffectError> {
    let mut lines = String::new();
    for line in package.control_text("conffiles").unwrap_or_default().lines() {
        // What the next version of the package will remove; dpkg has seen no file of that name.
        if let Some(path) = line.strip_prefix("remove-on-upgrade ") {
            let _infallible = write!(lines, "\n {} newconffile remove-on-upgrade", path.trim());
            continue;
        }
        let path: TreePath = match line.trim().parse() {
            Ok(path) if line.starts_with('/') => path,
            // Empty lines name nothing that is there.
            _ => continue,
        };
        let not_file = || EffectError::NotFile { path: path.clone() };
        let (_, entry) = image.tree.lookup(&path).ok_or_else(not_file)?;
        let Kind::File { content, .. } = &entry.kind else { return Err(not_file()) };
        let mut hasher = Md5::new();
        image
            .payloads
            .copy(content, &mut hasher)
            .map_err(|source| EffectError::Payload { path: path.clone(), source })?;
        let _infallible = write!(lines, "\n {path} ");
        for byte in hasher.finalize() {
            let _infallible = write!(lines, "{byte:02x}");
        }
    }
    Ok(lines)
}
