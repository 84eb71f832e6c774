//! The control groups of a bed's nodes.
//!
//! A kubelet removes groups of pods that it does not know, so each has a root of its own below the groups' mounts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Error;

/// Killed processes leave their groups a moment after they are gone from view.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the group `name` in every hierarchy.
pub(crate) fn create(name: &str) -> Result<(), Error> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(name);
        fs::create_dir_all(&group).map_err(|source| Error::GroupNotMade { path: group.clone(), source })?;
        // A new cpuset is empty, and no process may enter it before it names processors and memory nodes.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let parent = hierarchy.join(file);
            if !hierarchy.join("cgroup.controllers").exists() && parent.exists() {
                fs::read(&parent)
                    .and_then(|text| fs::write(group.join(file), text))
                    .map_err(|source| Error::GroupNotMade { path: group.join(file), source })?;
            }
        }
    }
    Ok(())
}

/// Removes all groups whose name begins with `prefix`, and what is below them.
pub(crate) fn remove(prefix: &str) -> Result<(), Error> {
    for hierarchy in hierarchies()? {
        for group in folders(&hierarchy)? {
            if group.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)) {
                remove_tree(&group)?;
            }
        }
    }
    Ok(())
}

fn remove_tree(group: &Path) -> Result<(), Error> {
    for inner in folders(group)? {
        remove_tree(&inner)?;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::remove_dir(group) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() < deadline && error.kind() == std::io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(source) => {
                return Err(Error::GroupNotRemoved { path: group.to_owned(), source });
            }
        }
    }
}

fn folders(group: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(group) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(Error::GroupNotRead { path: group.to_owned(), source });
        }
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| Error::GroupNotRead { path: group.to_owned(), source })?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Where the hierarchies are mounted, each once.
fn hierarchies() -> Result<Vec<PathBuf>, Error> {
    let path = Path::new("/proc/self/mounts");
    let mounts =
        fs::read_to_string(path).map_err(|source| Error::FileNotRead { path: path.into(), source })?;
    let mut found: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (point, kind) = (words.next()?, words.next()?);
            matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(point))
        })
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}
