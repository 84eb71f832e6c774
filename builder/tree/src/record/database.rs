//! dpkg's database in `/var/lib/dpkg`.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{file_stem, status};
use crate::{EffectError, Owner, Package, TreePath, effect::Image};

const FOLDER: &str = "var/lib/dpkg";

pub(super) fn write(image: &mut Image<'_>) -> Result<(), EffectError> {
    let owner = Owner::Generated("dpkg".into());
    let packages = image.packages;
    let mut stanzas: Vec<(&str, String)> = Vec::new();
    for package in packages {
        stanzas.push((package.name.as_str(), status::stanza(image, package)?));
        write_info(image, &owner, package)?;
    }
    stanzas.sort();
    let text: String = stanzas.into_iter().map(|(_, stanza)| stanza).collect();
    let mut put = |name: &str, text: String| {
        image.write(&owner, &TreePath::known(&format!("{FOLDER}/{name}")), text.into_bytes(), 0o644)
    };
    put("status", text)?;
    put("info/format", "1\n".to_owned())?;
    if let Some(package) = packages.iter().find(|package| package.architecture.as_str() != "all") {
        put("arch", format!("{}\n", package.architecture))?;
    }
    for (name, text) in triggers(packages) {
        put(&format!("triggers/{name}"), text)?;
    }
    let diversions = image.diversions.iter().fold(String::new(), |mut text, (path, diversion)| {
        let _infallible = writeln!(text, "{path}\n{}\n{}", diversion.to, diversion.package);
        text
    });
    let overrides = image.overrides.concat();
    for (name, text) in [("diversions", diversions), ("statoverride", overrides)] {
        if !text.is_empty() {
            image.write(&owner, &TreePath::known(&format!("{FOLDER}/{name}")), text.into_bytes(), 0o644)?;
        }
    }
    Ok(())
}

fn write_info(image: &mut Image<'_>, owner: &Owner, package: &Package) -> Result<(), EffectError> {
    let stem = file_stem(package);
    for (name, file) in &package.control {
        if name != "control" {
            let path = TreePath::known(&format!("{FOLDER}/info/{stem}.{name}"));
            image.write(owner, &path, file.text.as_bytes().to_vec(), file.mode)?;
        }
    }
    let mut list = String::new();
    for member in &package.members {
        let path = if member.path.is_root() { "/.".to_owned() } else { member.path.to_string() };
        let _infallible = writeln!(list, "{path}");
    }
    image.write(owner, &TreePath::known(&format!("{FOLDER}/info/{stem}.list")), list.into_bytes(), 0o644)
}

/// Who wants to know about what: one file for each named trigger, and one for all paths.
fn triggers(packages: &[Package]) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut paths = Vec::new();
    for package in packages {
        for line in package.control_text("triggers").unwrap_or_default().lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(directive), Some(name)) = (words.next(), words.next()) else { continue };
            let suffix = match directive {
                "interest" | "interest-await" => "",
                "interest-noawait" => "/noawait",
                _ => continue,
            };
            if name.starts_with('/') {
                paths.push(format!("{name} {}{suffix}\n", file_stem(package)));
            } else {
                let _infallible =
                    writeln!(files.entry(name.to_owned()).or_default(), "{}{suffix}", file_stem(package));
            }
        }
    }
    paths.sort();
    if !paths.is_empty() {
        files.insert("File".to_owned(), paths.concat());
    }
    files.insert("Unincorp".to_owned(), String::new());
    files
}
