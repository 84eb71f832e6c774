//! dpkg's database in `/var/lib/dpkg`.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{file_stem, of_package, status};
use crate::{
    EffectError, InstallError, MemberKind, Owner, Package, PackageMember, TreePath,
    effect::Image,
    install::{place_of, replaces},
};

const FOLDER: &str = "var/lib/dpkg";

pub(super) fn write(image: &mut Image<'_>) -> Result<(), InstallError> {
    let owner = Owner::Generated("dpkg".into());
    let packages = image.packages;
    let mut stanzas: Vec<(&str, String)> = Vec::new();
    let mut triggers = Triggers::default();
    for package in packages {
        let written = status::stanza(image, package)
            .and_then(|stanza| write_info(image, &owner, package).map(|()| stanza))
            .and_then(|stanza| triggers.add(package).map(|()| stanza));
        stanzas.push((package.name.as_str(), written.map_err(|source| of_package(package, source))?));
    }
    stanzas.sort();
    let status: String = stanzas.into_iter().map(|(_, stanza)| stanza).collect();
    let mut files = vec![("status".to_owned(), status), ("info/format".to_owned(), "1\n".to_owned())];
    if let Some(package) = packages.iter().find(|package| package.architecture.as_str() != "all") {
        files.push(("arch".to_owned(), format!("{}\n", package.architecture)));
    }
    files.extend(triggers.files().into_iter().map(|(name, text)| (format!("triggers/{name}"), text)));
    let diversions = image.diversions.iter().fold(String::new(), |mut text, (path, diversion)| {
        let _infallible = writeln!(text, "{path}\n{}\n{}", diversion.to, diversion.package);
        text
    });
    let overrides = image.overrides.iter().fold(String::new(), |mut text, line| {
        let _infallible = writeln!(text, "{line}");
        text
    });
    let lists = [("diversions", diversions), ("statoverride", overrides)];
    files.extend(
        lists.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name.to_owned(), text)),
    );
    let written = files.into_iter().try_for_each(|(name, text)| {
        image.write(&owner, &TreePath::known(&format!("{FOLDER}/{name}")), text.into_bytes(), 0o644)
    });
    written.map_err(|source| of_image(image, source))
}

/// Names the package that is in the way, if it is one.
fn of_image(image: &Image<'_>, source: EffectError) -> InstallError {
    let (EffectError::Taken { path } | EffectError::Links { path }) = &source else {
        return InstallError::Trigger { trigger: "the record of packages", source };
    };
    let mut at = Some(path.clone());
    while let Some(path) = at {
        let owner = image.tree.lookup(&path).map(|(_, entry)| &entry.owner);
        let package = match owner {
            Some(Owner::Package(name)) => image.package(name),
            _ => None,
        };
        if let Some(package) = package {
            return of_package(package, source);
        }
        at = path.parent();
    }
    InstallError::Trigger { trigger: "the record of packages", source }
}

fn write_info(image: &mut Image<'_>, owner: &Owner, package: &Package) -> Result<(), EffectError> {
    let stem = file_stem(package);
    for (name, file) in &package.control {
        if name != "control" {
            let path = TreePath::known(&format!("{FOLDER}/info/{stem}.{name}"));
            image.write(owner, &path, file.bytes(), file.mode)?;
        }
    }
    let mut list = String::new();
    for member in package.members.iter().filter(|member| !is_taken_over(image, package, member)) {
        let path = if member.path.is_root() { "/.".to_owned() } else { member.path.to_string() };
        let _infallible = writeln!(list, "{path}");
    }
    image.write(owner, &TreePath::known(&format!("{FOLDER}/info/{stem}.list")), list.into_bytes(), 0o644)
}

/// Whether another package has this path by a `Replaces`: dpkg then strikes it off the list of the one that lost it.
fn is_taken_over(image: &Image<'_>, package: &Package, member: &PackageMember) -> bool {
    let Ok(path) = place_of(image, package, &member.path) else { return false };
    match image.tree.get(&path).map(|entry| &entry.owner) {
        Some(Owner::Package(name))
            if **name != *package.name.as_str() && member.kind != MemberKind::Directory =>
        {
            image.package(name).is_some_and(|other| replaces(other, package))
        }
        _ => false,
    }
}

/// Who wants to know about what: one file for each named trigger, and one for all paths.
#[derive(Default)]
struct Triggers {
    named: BTreeMap<String, String>,
    paths: Vec<String>,
}

impl Triggers {
    fn add(&mut self, package: &Package) -> Result<(), EffectError> {
        for line in package.control_text("triggers").unwrap_or_default().lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(directive), Some(name)) = (words.next(), words.next()) else { continue };
            let suffix = match directive {
                "interest" | "interest-await" => "",
                "interest-noawait" => "/noawait",
                _ => continue,
            };
            if name.starts_with('/') {
                self.paths.push(format!("{name} {}{suffix}\n", file_stem(package)));
                continue;
            }
            // The name of a file, whatever else it is.
            if name.parse::<TreePath>().is_ok_and(|path| path.as_str() == name && !name.contains('/')) {
                let file = self.named.entry(name.to_owned()).or_default();
                let _infallible = writeln!(file, "{}{suffix}", file_stem(package));
            } else {
                let path = TreePath::known(&format!("{FOLDER}/info/{}.triggers", file_stem(package)));
                let reason = format!("`{}` is no name of a trigger", name.escape_debug());
                return Err(EffectError::Form { path, reason });
            }
        }
        Ok(())
    }

    fn files(self) -> BTreeMap<String, String> {
        let Self { named: mut files, mut paths } = self;
        paths.sort();
        if !paths.is_empty() {
            files.insert("File".to_owned(), paths.concat());
        }
        files.insert("Unincorp".to_owned(), String::new());
        files
    }
}
