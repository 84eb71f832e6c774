//! Loading a platform from its folder.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{Platform, PlatformFolder, Problems, folder::read_text};

/// Why a platform could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The folder is no platform.
    #[error("{} holds no bundle.toml", folder.display())]
    NoPlatform {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder could not be read.
    #[error("folder {} cannot be read", path.display())]
    ReadFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be read.
    #[error("file {} cannot be read", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the language, or a configuration file, is not UTF-8.
    #[error("file {} is not UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// A file of the language, or a configuration file, is too large.
    #[error("file {} has more than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A name is not UTF-8.
    #[error("the name of {} is not UTF-8", path.display())]
    NameNotText {
        /// The path.
        path: PathBuf,
    },
    /// A recipe's folder is a symbolic link, which is not followed.
    #[error("{} leads to a recipe, and is a symbolic link, which is not followed", path.display())]
    LinkedRecipe {
        /// The link.
        path: PathBuf,
    },
    /// The files say something wrong.
    #[error("{problems}")]
    Invalid {
        /// What, with places.
        problems: Problems,
    },
}

impl LoadError {
    /// What to do, when there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoPlatform { .. } | Self::ReadFolder { .. } => {
                Some("name the folder that holds bundle.toml, and see that it can be read".to_owned())
            }
            Self::LinkedRecipe { path } => {
                Some(format!("put the folder itself in the place of {}, or remove the link", path.display()))
            }
            Self::NotText { path } if path.extension().is_some_and(|ending| ending == "toml") => {
                Some("save it as UTF-8".to_owned())
            }
            Self::NotText { .. } | Self::TooLarge { .. } => {
                Some("put it into the image with [[image.files]] instead".to_owned())
            }
            Self::NameNotText { path } => Some(format!("rename or remove {}", path.display())),
            Self::ReadFile { .. } | Self::Invalid { .. } => None,
        }
    }
}

impl Platform {
    /// Reads the platform in `folder`.
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        let found = PlatformFolder::read(folder)?;
        if !found.entries.contains_key("bundle.toml") {
            return Err(LoadError::NoPlatform { folder: folder.to_owned() });
        }
        let mut platform = Self::parse(&found).map_err(|problems| LoadError::Invalid { problems })?;
        for recipe in platform.recipes.values_mut() {
            let Some(service) = &recipe.service else { continue };
            for (target, source) in &service.config_files {
                let path = folder.join(recipe.name.as_str()).join(source.as_str());
                recipe.config_files.insert(target.clone(), read_text(&path)?);
            }
        }
        Ok(platform)
    }
}
