//! Scanners find in our images exactly what is locked, from the files alone: our SBOM is no part of an image.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use test_interop::{
    platform,
    program::{built, run},
    served::Served,
};

use crate::scratch;

/// Name, version, architecture.
type Found = (String, String, String);

fn text(document: &Value, name: &str) -> String {
    document[name].as_str().unwrap_or_default().to_owned()
}

/// `list` says what a scanner finds in an image. Nothing may be found twice. Returns precision and recall.
fn listed_exactly(scanner: &str, list: impl Fn(&str) -> Result<Vec<Found>>) -> Result<String> {
    let mut figures = String::new();
    let served = Served::shared(scratch())?;
    let lock = platform::lock()?;
    let mut seen = BTreeMap::new();
    for (name, reference, _) in served.image_references() {
        let listed = list(&reference)?;
        let found: BTreeSet<&Found> = listed.iter().collect();
        ensure!(found.len() == listed.len(), "{name}: {scanner} lists a package twice: {listed:?}");
        let locked: BTreeSet<Found> = lock
            .recipe_packages(&name.parse()?)
            .map(|package| {
                (package.name.to_string(), package.version.to_string(), package.architecture.to_string())
            })
            .collect();
        let right = found.iter().filter(|package| locked.contains(**package)).count();
        let (found_count, locked_count) = (found.len(), locked.len());
        writeln!(
            figures,
            "{scanner}, {name}: precision {right}/{found_count}, recall {right}/{locked_count}"
        )?;
        let more: Vec<_> = found.iter().filter(|package| !locked.contains(**package)).collect();
        let less: Vec<_> = locked.iter().filter(|package| !found.contains(*package)).collect();
        ensure!(more.is_empty() && less.is_empty(), "{name}: not locked: {more:?}; not found: {less:?}");
        seen.insert(name.to_owned(), right);
    }
    ensure!(seen.len() == 2 && seen.values().all(|count| *count > 20), "packages of two images: {seen:?}");
    Ok(figures)
}

#[test]
fn syft_lists_exactly_the_locked_packages() -> Result<()> {
    let home = tempfile::tempdir()?;
    let figures = listed_exactly("Syft", |reference| {
        let mut syft = built("syft", home.path())?;
        syft.env("SYFT_REGISTRY_INSECURE_USE_HTTP", "true").env("SYFT_CHECK_FOR_APP_UPDATE", "false");
        let output =
            run(syft.args(["scan", &format!("registry:{reference}"), "--output", "json", "--quiet"]))?;
        let document: Value = serde_json::from_slice(&output)?;
        let artifacts = document["artifacts"].as_array().context("syft lists artifacts")?;
        let packages = artifacts.iter().filter(|package| package["type"] == "deb");
        Ok(packages
            .map(|package| {
                (text(package, "name"), text(package, "version"), text(&package["metadata"], "architecture"))
            })
            .collect())
    })?;
    println!("{figures}");
    Ok(())
}

#[cfg(feature = "trivy")]
#[test]
fn trivy_lists_exactly_the_locked_packages() -> Result<()> {
    let home = tempfile::tempdir()?;
    let figures = listed_exactly("Trivy", |reference| {
        let mut trivy = built("trivy", home.path())?;
        // An SBOM is made without a database of vulnerabilities.
        trivy.args(["image", "--image-src", "remote", "--insecure", "--format", "cyclonedx", "--quiet"]);
        trivy.args(["--offline-scan", "--skip-version-check", reference]);
        let document: Value = serde_json::from_slice(&run(&mut trivy)?)?;
        let components = document["components"].as_array().context("Trivy lists components")?;
        let property = |component: &Value, name: &str| {
            let properties = component["properties"].as_array().map(Vec::as_slice).unwrap_or_default();
            properties
                .iter()
                .find(|property| property["name"] == name)
                .map(|property| text(property, "value"))
        };
        let packages = components.iter().filter(|component| {
            property(component, "aquasecurity:trivy:PkgType").is_some_and(|kind| kind == "debian")
        });
        packages
            .map(|package| {
                let identifier = text(package, "purl");
                let (_, qualifiers) = identifier.split_once('?').context("a deb has qualifiers")?;
                let architecture = qualifiers.split('&').find_map(|pair| pair.strip_prefix("arch="));
                Ok((
                    text(package, "name"),
                    text(package, "version"),
                    architecture.context("a deb has an architecture")?.to_owned(),
                ))
            })
            .collect()
    })?;
    println!("{figures}");
    Ok(())
}
