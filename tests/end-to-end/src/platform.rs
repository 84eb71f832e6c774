//! A copy of the reference platform that a test changes from version to version.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

/// A platform of the test's own.
#[derive(Debug)]
pub struct Platform {
    root: PathBuf,
}

impl Platform {
    /// Copies the recipes to `root`.
    pub fn copy(root: &Path) -> Result<Self> {
        test_interop::platform::copy(&test_interop::platform::recipes()?, root)?;
        Ok(Self { root: root.to_owned() })
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Replaces a text of one of its files, which must hold it.
    pub fn change(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.root.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("{file} is read"))?;
        ensure!(text.contains(from), "{file} does not hold `{from}`");
        fs::write(&path, text.replacen(from, to, 1)).with_context(|| format!("{file} is written"))
    }

    /// A file's text.
    pub fn read(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.root.join(file)).with_context(|| format!("{file} is read"))
    }

    /// Writes a file.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        fs::write(self.root.join(file), text).with_context(|| format!("{file} is written"))
    }
}
