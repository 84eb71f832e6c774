//! Where the programs of a bed are.

use std::path::{Path, PathBuf};

use crate::Error;

/// The path of a program that `tests/programs/build` made: `kubernetes`, `coredns`, `pause`, `probe`, `crane`, `oras`,
/// `cosign` or `syft`.
pub fn program(name: &str) -> Result<PathBuf, Error> {
    let folder = std::env::var_os("BUNDLE_PROGRAMS").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        Some(cache.join("bundle/programs"))
    });
    let path = folder.ok_or(Error::NoHome)?.join(name);
    // The link's target, so that a running bed keeps its program when a newer one is built.
    std::fs::canonicalize(&path).map_err(|_| Error::ProgramNotBuilt { name: name.to_owned(), path })
}

/// Where the distribution keeps the CNI plugins.
pub(crate) fn cni_plugins() -> Result<&'static Path, Error> {
    ["/usr/lib/cni", "/opt/cni/bin"]
        .into_iter()
        .map(Path::new)
        .find(|folder| folder.join("bridge").exists())
        .ok_or(Error::NoCniPlugins)
}

/// The `test-cluster` command that belongs to this library: from `TEST_CLUSTER`, or beside the running program's
/// build folder.
pub(crate) fn supervisor() -> Result<PathBuf, Error> {
    if let Some(path) = std::env::var_os("TEST_CLUSTER") {
        return Ok(path.into());
    }
    let running = std::env::current_exe().map_err(Error::NoOwnPath)?;
    running
        .ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join("test-cluster"))
        .find(|path| path.is_file())
        .ok_or(Error::SupervisorNotBuilt { running })
}
