//! What is in the folder of a platform, as far as the language cares.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::LoadError;

const LARGEST_TEXT: u64 = 1 << 20;

/// The files of a platform by their path from its folder, sorted by bytes.
#[derive(Debug, Clone, Default)]
pub struct PlatformFolder {
    /// The files, and whatever else is there.
    pub entries: BTreeMap<String, FolderEntry>,
}

/// Something in the folder of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FolderEntry {
    /// A file of the language, with its text.
    Text(String),
    /// Any other file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A symbolic link. It is not followed.
    Link,
    /// A socket, pipe or device.
    Special,
}

impl PlatformFolder {
    /// Reads a folder: names and kinds of everything, the text of `bundle.toml`, `environments/*.toml` and
    /// `*/recipe.toml`. Folders at the top that hold no recipe are not looked into.
    pub fn read(folder: &Path) -> Result<Self, LoadError> {
        let mut found = Self::default();
        for entry in sorted_entries(folder)? {
            if entry.name.starts_with('.') {
                continue;
            }
            if entry.kind.is_dir() {
                let is_recipe = entry.path.join("recipe.toml").symlink_metadata().is_ok();
                if is_recipe || entry.name == "environments" {
                    found.add_folder(&entry.path, &entry.name)?;
                }
            } else if entry.name == "bundle.toml" {
                found.add(&entry, entry.name.clone())?;
            } else if entry.kind.is_symlink() && entry.path.join("recipe.toml").exists() {
                return Err(LoadError::LinkedRecipe { path: entry.path });
            }
        }
        Ok(found)
    }

    fn add_folder(&mut self, folder: &Path, prefix: &str) -> Result<(), LoadError> {
        for entry in sorted_entries(folder)? {
            let name = format!("{prefix}/{}", entry.name);
            if entry.kind.is_dir() { self.add_folder(&entry.path, &name)? } else { self.add(&entry, name)? }
        }
        Ok(())
    }

    fn add(&mut self, entry: &Entry, name: String) -> Result<(), LoadError> {
        let value = if entry.kind.is_symlink() {
            FolderEntry::Link
        } else if !entry.kind.is_file() {
            FolderEntry::Special
        } else if is_text(&name) {
            FolderEntry::Text(read_text(&entry.path)?)
        } else {
            let metadata = fs::metadata(&entry.path)
                .map_err(|source| LoadError::ReadFile { path: entry.path.clone(), source })?;
            FolderEntry::File { executable: metadata.permissions().mode() & 0o100 != 0 }
        };
        self.entries.insert(name, value);
        Ok(())
    }
}

/// Whether a file is part of the language.
fn is_text(name: &str) -> bool {
    match name.split('/').collect::<Vec<_>>()[..] {
        ["bundle.toml"] | [_, "recipe.toml"] => true,
        ["environments", file] => file.rsplit_once('.').is_some_and(|(_, ending)| ending == "toml"),
        _ => false,
    }
}

struct Entry {
    path: PathBuf,
    name: String,
    kind: fs::FileType,
}

fn sorted_entries(folder: &Path) -> Result<Vec<Entry>, LoadError> {
    let read = |source| LoadError::ReadFolder { path: folder.to_owned(), source };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let path = entry.path();
        let kind = entry.file_type().map_err(read)?;
        let name =
            entry.file_name().into_string().map_err(|_| LoadError::NameNotText { path: path.clone() })?;
        entries.push(Entry { path, name, kind });
    }
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(entries)
}

/// Reads a file of at most a mebibyte that holds UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String, LoadError> {
    let refuse = |source| LoadError::ReadFile { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(refuse)?;
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, LARGEST_TEXT + 1), &mut text).map_err(refuse)?;
    if text.len() as u64 > LARGEST_TEXT {
        return Err(LoadError::TooLarge { path: path.to_owned(), limit: LARGEST_TEXT });
    }
    String::from_utf8(text).map_err(|_| LoadError::NotText { path: path.to_owned() })
}
