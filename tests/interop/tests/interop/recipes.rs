//! `tests/recipes` goes on when a locked file has left the mirrors, and only then.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use bundles_release::lock::Lock;
use test_interop::{
    platform,
    program::{refused_with, run},
    served::{self, text},
    tool::workspace,
};

use crate::scratch;

/// The script on `recipes`; what it keeps goes to `folder`.
fn script(recipes: &Path, folder: &Path) -> Result<Command> {
    let home = folder.join("home");
    if !home.exists() {
        served::bundle(scratch(), &home)?;
    }
    let mut command = Command::new(workspace()?.join("tests/recipes"));
    command.arg(recipes).arg(folder).arg(served::executable(scratch())?);
    Ok(command)
}

#[test]
fn a_lock_whose_files_left_the_mirrors_is_updated_in_a_copy() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let recipes = folder.path().join("recipes");
    platform::copy(&platform::recipes()?, &recipes)?;
    let printed = run(&mut script(&recipes, folder.path())?)?;
    ensure!(printed == format!("{}\n", recipes.display()).into_bytes(), "what is there is used as it is");

    // A version that no mirror ever had.
    let path = recipes.join("bundle.lock");
    let text_before = fs::read_to_string(&path)?;
    let lock = Lock::parse(&text_before)?;
    let package = lock.packages.iter().find(|package| package.name.as_str() == "redis-server");
    let package = package.context("redis-server is locked")?;
    let gone = text_before
        .replace(package.path.as_str(), "pool/main/r/redis/redis-server_7.0.0-0gone_amd64.deb")
        .replace(&package.sha256.to_string(), &registry_wire::Digest::of(b"gone").to_string());
    fs::write(&path, &gone)?;
    Lock::parse(&gone).context("it is still a lock")?;

    let output = script(&recipes, folder.path())?.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    ensure!(said.contains("redis-server") && said.contains("has left the archive"), "{said}");
    ensure!(said.contains("going on with an updated copy"), "it says so: {said}");
    let copy = String::from_utf8(output.stdout)?;
    let copy = Path::new(copy.trim_end());
    ensure!(copy != recipes && fs::read_to_string(&path)? == gone, "the recipes themselves stay as they are");
    let bundle = served::bundle(scratch(), &folder.path().join("other"))?;
    let fetched = bundle.json(["fetch", "--platform", text(copy)?])?;
    ensure!(fetched["files"] == 0, "the copy's files were fetched: {fetched}");
    let updated = Lock::parse(&fs::read_to_string(copy.join("bundle.lock"))?)?;
    ensure!(
        updated.packages.iter().any(|other| other.name == package.name && other.path == package.path),
        "what is there now is locked"
    );
    Ok(())
}

#[test]
fn every_other_error_stops() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let recipes = folder.path().join("recipes");
    platform::copy(&platform::recipes()?, &recipes)?;
    fs::remove_file(recipes.join("bundle.lock"))?;
    let said = refused_with(3, &mut script(&recipes, folder.path())?)?;
    ensure!(said.contains("there is no lock at") && !said.contains("going on"), "{said}");
    Ok(())
}
