//! The reference platform: copies of its recipes, its lock, its images as a command reports them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use bundles_release::lock::Lock;
use registry_wire::Digest;
use serde_json::Value;

use crate::tool;

/// Names the folder that every test reads the reference platform in. `tests/run` sets it when a file of the committed
/// lock has left the mirrors.
const RECIPES_VARIABLE: &str = "BUNDLE_TEST_RECIPES";

/// The folder of the recipes.
pub fn recipes() -> Result<PathBuf> {
    match std::env::var_os(RECIPES_VARIABLE) {
        Some(folder) => {
            fs::canonicalize(&folder).with_context(|| format!("{RECIPES_VARIABLE} is {}", folder.display()))
        }
        None => Ok(tool::workspace()?.join("recipes")),
    }
}

/// What is locked for it.
pub fn lock() -> Result<Lock> {
    let path = recipes()?.join("bundle.lock");
    let text = fs::read_to_string(&path).with_context(|| format!("{} is read", path.display()))?;
    Ok(Lock::parse(&text)?)
}

/// Copies a folder of files and folders.
pub fn copy(source: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(source).with_context(|| format!("{} is read", source.display()))? {
        let entry = entry?;
        let to = target.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to).with_context(|| format!("{} is written", to.display()))?;
        }
    }
    Ok(())
}

/// An image in the document of `bundle build` or `bundle up`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltImage {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Whether it was built just now.
    pub built: bool,
}

/// The images in a document.
pub fn images(document: &Value) -> Result<BTreeMap<String, BuiltImage>> {
    let images = document["images"].as_array().context("the document has images")?;
    let image = |image: &Value| {
        let name = image["name"].as_str().context("an image has a name")?;
        let digest = image["digest"].as_str().context("an image has a digest")?.parse()?;
        let built = image["built"].as_bool().context("an image is built or not")?;
        Ok((name.to_owned(), BuiltImage { digest, built }))
    };
    images.iter().map(image).collect()
}
