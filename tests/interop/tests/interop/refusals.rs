//! Bad input on the way from recipes to images: each is refused by name, with what to type next, and nothing changes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use registry_wire::Digest;
use tempfile::TempDir;
use test_interop::{
    platform,
    program::refused_with,
    served::{self, text},
    tool::Bundle,
};

use crate::scratch;

/// Exit code of a recipe, lock or package that is wrong.
const INPUT: i32 = 3;

/// A copy of the recipes, and the executable with a home of its own.
struct Copy {
    _folder: TempDir,
    recipes: PathBuf,
    bundle: Bundle,
}

impl Copy {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let recipes = folder.path().join("recipes");
        platform::copy(&platform::recipes()?, &recipes)?;
        let bundle = served::bundle(scratch(), &folder.path().join("home"))?;
        Ok(Self { _folder: folder, recipes, bundle })
    }

    /// Replaces a text that stands once in a file.
    fn change(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.recipes.join(file);
        let before = fs::read_to_string(&path)?;
        ensure!(before.matches(from).count() == 1, "{from} stands once in {file}");
        fs::write(&path, before.replace(from, to)).context("the copy is written")
    }

    fn refused(&self, verb: &str) -> Result<String> {
        refused_with(INPUT, &mut self.bundle.command([verb, "--platform", text(&self.recipes)?]))
    }
}

fn says(said: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(said.contains(part), "`{part}` is missing in:\n{said}");
    }
    Ok(())
}

#[test]
fn an_unknown_package_names_package_and_recipe() -> Result<()> {
    let copy = Copy::new()?;
    copy.change("cache/recipe.toml", r#"["redis-server"]"#, r#"["redis-sever"]"#)?;
    let lock = fs::read(copy.recipes.join("bundle.lock"))?;
    says(
        &copy.refused("lock")?,
        &[
            "recipe cache asks for package redis-sever",
            "did you mean redis-server",
            "\n  try: ",
            "bundle lock",
        ],
    )?;
    ensure!(fs::read(copy.recipes.join("bundle.lock"))? == lock, "the lock stays as it was");
    Ok(())
}

#[test]
fn a_stale_lock_names_recipe_and_command() -> Result<()> {
    let copy = Copy::new()?;
    copy.change("cache/recipe.toml", r#"["redis-server"]"#, r#"["redis-server", "redis-tools"]"#)?;
    let command = format!("\n  try: bundle lock --platform {}", copy.recipes.display());
    for verb in ["build", "fetch", "release"] {
        says(&copy.refused(verb)?, &["bundle.lock is out of date", "recipe cache asks", &command])?;
    }
    ensure!(!copy.bundle.home().join("store").exists(), "nothing was begun");
    Ok(())
}

#[test]
fn broken_toml_names_file_and_line() -> Result<()> {
    let copy = Copy::new()?;
    copy.change("cache/recipe.toml", r#"suite = "bookworm""#, r#"suite = "bookworm"#)?;
    says(&copy.refused("build")?, &["not TOML", "--> cache/recipe.toml:5:", "suite = \"bookworm\n"])
}

/// Where the locked package is in the cache.
fn cached(downloads: &Path, recipes: &Path, name: &str) -> Result<(PathBuf, Digest)> {
    let lock = bundles_release::lock::Lock::parse(&fs::read_to_string(recipes.join("bundle.lock"))?)?;
    let package = lock.packages.iter().find(|package| package.name.as_str() == name);
    let digest = package.with_context(|| format!("{name} is locked"))?.sha256;
    Ok((downloads.join("sha256").join(digest.hex()), digest))
}

#[test]
fn a_corrupted_package_in_the_cache_is_never_built_in() -> Result<()> {
    let copy = Copy::new()?;
    let build = ["build", "cache", "--platform", text(&copy.recipes)?];
    let good = platform::images(&copy.bundle.json(build)?)?["cache"].digest;

    // The other tests keep the good file.
    let downloads = copy.bundle.home().join("downloads");
    fs::remove_file(&downloads)?;
    platform::copy(&served::downloads(scratch())?, &downloads)?;
    fs::remove_dir_all(copy.bundle.home().join("store"))?;
    let (path, locked) = cached(&downloads, &copy.recipes, "redis-tools")?;
    let mut bytes = fs::read(&path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes)?;

    let command = format!("\n  try: bundle fetch --platform {}", copy.recipes.display());
    says(
        &refused_with(INPUT, &mut copy.bundle.command(build))?,
        &[
            "of package redis-tools is corrupted",
            text(&path)?,
            &locked.to_string(),
            &Digest::of(&bytes).to_string(),
            &command,
        ],
    )?;
    let fetched = copy.bundle.json(["fetch", "--platform", text(&copy.recipes)?])?;
    ensure!(fetched["repaired"] == 1 && fetched["files"] == 1, "that one file is fetched again: {fetched}");
    let again = platform::images(&copy.bundle.json(build)?)?["cache"];
    ensure!(again.built && again.digest == good, "{} instead of {good}", again.digest);
    Ok(())
}
