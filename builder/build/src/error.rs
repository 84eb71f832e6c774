//! Why a build fails.

use builder_image::{EncodeError, LayerError};
use builder_tree::{InstallError, PackageError, TreePathError};

use crate::{StoreError, program::ProgramError};

/// A build that failed. The store holds what was complete before; nothing half-written.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store.
    #[error("the store fails while image {image} is built")]
    Store {
        /// The image.
        image: String,
        /// What is wrong.
        source: StoreError,
    },
    /// The images are built, but what is kept of them cannot be written down.
    #[error("the images are built, and the store fails to keep them")]
    Keep {
        /// What is wrong.
        source: StoreError,
    },
    /// A package cannot be unpacked.
    #[error("image {image} cannot be built")]
    Package {
        /// The image.
        image: String,
        /// What is wrong.
        source: Box<PackageError>,
    },
    /// The packages do not make a tree.
    #[error("the packages of image {image} cannot be put together")]
    Install {
        /// The image.
        image: String,
        /// What is wrong.
        source: Box<InstallError>,
    },
    /// A file of the recipe has no place in the tree.
    #[error("a file of the recipe of image {image} has no place")]
    Target {
        /// The image.
        image: String,
        /// What is wrong.
        source: TreePathError,
    },
    /// The image has not what its process starts.
    #[error("the process of image {image} would not start")]
    Program {
        /// The image.
        image: String,
        /// What is wrong.
        source: ProgramError,
    },
    /// The image has not what a check of its health starts.
    #[error("a check of image {image} would not start")]
    Check {
        /// The image.
        image: String,
        /// What the check starts.
        program: String,
        /// What is wrong.
        source: Box<ProgramError>,
    },
    /// Files cannot be encoded.
    #[error("files of image {image} cannot be encoded")]
    Fragment {
        /// The image.
        image: String,
        /// What is wrong.
        source: Box<EncodeError>,
    },
    /// A layer cannot be put together.
    #[error("a layer of image {image} cannot be put together")]
    Layer {
        /// The image.
        image: String,
        /// What is wrong.
        source: Box<LayerError>,
    },
}

impl BuildError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Package { source, .. } => source.hint().map(str::to_owned),
            Self::Install { source, .. } => source.hint(),
            Self::Store { source, .. } => source.hint().map(str::to_owned),
            Self::Program { source, .. } => Some(source.hint()),
            Self::Check { source, .. } => Some(source.hint()),
            _ => None,
        }
    }
}
