//! The arrows between rooms, read from `cargo metadata`, and the page that describes them.

use std::{collections::BTreeMap, fs, path::Path};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Floors and the rooms of each, lowest first. A room uses rooms of lower floors, or rooms that stand before it on its
/// own floor.
const FLOORS: &[(&str, &[&str])] = &[
    ("registry", &["wire", "blobs", "client", "meta", "server"]),
    ("bundles", &["release", "objects", "trust", "remote"]),
    ("builder", &["recipe", "inputs", "tree", "image", "sandbox", "record", "build"]),
    ("daemon", &["plan", "cluster", "backup", "rollout", "console", "daemon"]),
];

/// Height of a room: floor and place on it. The roof and the tests stand above all floors.
fn height(folder: &str) -> Option<(usize, usize)> {
    if folder == "builder/cli" {
        return Some((FLOORS.len(), 0));
    }
    if folder.starts_with("tests/") {
        return Some((FLOORS.len() + 1, 0));
    }
    let (floor_name, room) = folder.split_once('/')?;
    let floor = FLOORS.iter().position(|(name, _)| *name == floor_name)?;
    let place = FLOORS[floor].1.iter().position(|name| *name == room)?;
    Some((floor, place))
}

fn workspace() -> (BTreeMap<String, Package>, String) {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata runs");
    let root = metadata.workspace_root.to_string();
    let rooms = metadata
        .packages
        .into_iter()
        .map(|package| {
            let folder = package.manifest_path.parent().expect("a manifest is in a folder");
            (folder.strip_prefix(&root).expect("members are below the root").to_string(), package)
        })
        .collect();
    (rooms, root)
}

#[test]
fn arrows_point_downward() {
    let (rooms, _) = workspace();
    let folder_of: BTreeMap<_, _> =
        rooms.iter().map(|(folder, package)| (package.name.to_string(), folder.clone())).collect();
    let mut arrows = 0;
    let mut upward = Vec::new();
    for (folder, package) in &rooms {
        let from = height(folder).unwrap_or_else(|| panic!("{folder} is not a room of the house"));
        for dependency in &package.dependencies {
            // Tests of a room may use any room below the tests; only what ships counts.
            if dependency.kind == DependencyKind::Development {
                continue;
            }
            let Some(target) = folder_of.get(dependency.name.as_str()) else { continue };
            arrows += 1;
            let to = height(target).unwrap_or_else(|| panic!("{target} is not a room of the house"));
            let between_tests = folder.starts_with("tests/") && target.starts_with("tests/");
            if to >= from && !between_tests {
                upward.push(format!("{folder} → {target}"));
            }
        }
    }
    assert!(upward.is_empty(), "arrows that point upward: {upward:?}");
    assert!(arrows >= 30, "only {arrows} arrows were seen: is the workspace whole?");
}

#[test]
fn architecture_page_names_every_crate() {
    let (rooms, root) = workspace();
    let page = fs::read_to_string(Path::new(&root).join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is read");
    let missing: Vec<_> = rooms.keys().filter(|folder| !page.contains(&format!("`{folder}`"))).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md does not name {missing:?}");
    assert!(rooms.len() >= 19, "only {} crates were seen", rooms.len());
}

#[test]
fn files_stay_readable() {
    let (_, root) = workspace();
    let mut seen = 0;
    let mut long = Vec::new();
    let mut folders = vec![Path::new(&root).to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder is read") {
            let path = entry.expect("an entry is read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                seen += 1;
                let lines = fs::read_to_string(&path).expect("a source file is read").lines().count();
                if lines > 600 {
                    long.push(format!("{} has {lines} lines", path.display()));
                }
                assert!(
                    !matches!(
                        name.as_str(),
                        "util.rs" | "utils.rs" | "common.rs" | "helper.rs" | "helpers.rs" | "misc.rs"
                    ),
                    "{}: a file is named by a noun of the field",
                    path.display()
                );
            }
        }
    }
    assert!(long.is_empty(), "files over 600 lines: {long:?}");
    assert!(seen > 100, "only {seen} source files were seen");
}
