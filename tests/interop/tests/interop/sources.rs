//! A changed source file is seen by its content.

use std::fs::{self, File, FileTimes};

use anyhow::{Context as _, Result, ensure};
use test_interop::{
    platform,
    served::{self, text},
};

use crate::scratch;

#[test]
fn one_changed_byte_of_same_size_and_time_rebuilds_that_image_and_no_other() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let recipes = folder.path().join("recipes");
    platform::copy(&platform::recipes()?, &recipes)?;
    let bundle = served::bundle(scratch(), &folder.path().join("home"))?;
    let build = || platform::images(&bundle.json(["build", "--platform", text(&recipes)?])?);

    let first = build()?;
    ensure!(first.values().all(|image| image.built) && first.len() == 2, "all is built at first: {first:?}");
    let again = build()?;
    ensure!(again.values().all(|image| !image.built), "nothing is built when nothing changed: {again:?}");

    let path = recipes.join("api/app/server.js");
    let before = fs::metadata(&path)?;
    let original = fs::read(&path)?;
    let mut bytes = original.clone();
    let place = bytes.windows(2).position(|pair| pair == b"//").context("the program has a comment")? + 3;
    bytes[place] = if bytes[place] == b'x' { b'y' } else { b'x' };
    let write = |bytes: &[u8]| {
        fs::write(&path, bytes)?;
        let times = FileTimes::new().set_modified(before.modified()?).set_accessed(before.accessed()?);
        File::options().write(true).open(&path)?.set_times(times)?;
        let after = fs::metadata(&path)?;
        ensure!(
            after.len() == before.len() && after.modified()? == before.modified()?,
            "size and time are kept"
        );
        Ok(())
    };
    write(&bytes)?;
    ensure!(fs::read(&path)? != original, "the content is another");

    let changed = build()?;
    ensure!(
        changed["api"].built && changed["api"].digest != first["api"].digest,
        "the change is seen: {changed:?}"
    );
    ensure!(
        !changed["cache"].built && changed["cache"].digest == first["cache"].digest,
        "cache stays: {changed:?}"
    );

    write(&original)?;
    let back = build()?;
    ensure!(back["api"].digest == first["api"].digest, "the old content makes the old image: {back:?}");
    Ok(())
}
