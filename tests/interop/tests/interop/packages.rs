//! Syft finds in our images exactly what is locked.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use test_interop::{
    platform,
    program::{built, run},
    served::Served,
};

use crate::scratch;

#[test]
fn syft_lists_exactly_the_locked_packages() -> Result<()> {
    let served = Served::shared(scratch())?;
    let lock = platform::lock()?;
    let home = tempfile::tempdir()?;
    let mut seen = BTreeMap::new();
    for (name, reference, _) in served.image_references() {
        let mut syft = built("syft", home.path())?;
        syft.env("SYFT_REGISTRY_INSECURE_USE_HTTP", "true").env("SYFT_CHECK_FOR_APP_UPDATE", "false");
        let text = run(syft.args(["scan", &format!("registry:{reference}"), "--output", "json", "--quiet"]))?;
        let document: Value = serde_json::from_slice(&text)?;
        let found = document["artifacts"].as_array().context("syft lists artifacts")?;
        let field = |package: &Value, name: &str| package[name].as_str().unwrap_or_default().to_owned();
        let mut found: Vec<_> = found
            .iter()
            .filter(|package| package["type"] == "deb")
            .map(|package| {
                (
                    field(package, "name"),
                    field(package, "version"),
                    field(&package["metadata"], "architecture"),
                )
            })
            .collect();
        let mut locked: Vec<_> = lock
            .recipe_packages(&name.parse()?)
            .map(|package| {
                (package.name.to_string(), package.version.to_string(), package.architecture.to_string())
            })
            .collect();
        found.sort_unstable();
        locked.sort_unstable();
        let more: Vec<_> = found.iter().filter(|package| !locked.contains(package)).collect();
        let less: Vec<_> = locked.iter().filter(|package| !found.contains(package)).collect();
        ensure!(found == locked, "{name}: not locked: {more:?}; not found: {less:?}");
        seen.insert(name.to_owned(), found.len());
    }
    ensure!(seen.len() == 2 && seen.values().all(|count| *count > 20), "packages of two images: {seen:?}");
    println!("deb packages: {seen:?}");
    Ok(())
}
