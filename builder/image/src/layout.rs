//! Export as an OCI layout: a folder that other tools read (OCI image specification, image-layout.md).

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use registry_wire::{Digest, Index, StoredManifest};

const LAYOUT_FILE: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const REFERENCE_NAME: &str = "org.opencontainers.image.ref.name";

/// A manifest of an export and the name that it goes by there.
#[derive(Debug, Clone)]
pub struct NamedImage {
    /// The name.
    pub name: String,
    /// The manifest, or the index.
    pub manifest: StoredManifest,
    /// What it names that is not among the files: configurations, and the manifests of an index.
    pub documents: BTreeMap<Digest, Vec<u8>>,
}

/// An export that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file or folder cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is something else already.
    #[error("{} is there already and is not an OCI layout", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
}

/// Writes `images` to `folder`, which is empty, absent, or an earlier export. `blobs` are verified files; they are
/// copied, so that nobody changes ours through the export. The index is written last: a reader never sees a name
/// without its content.
pub fn export_layout(
    folder: &Path,
    images: &[NamedImage],
    blobs: &BTreeMap<Digest, PathBuf>,
) -> Result<(), LayoutError> {
    let is_layout = folder.join("oci-layout").exists();
    let is_empty = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(source) => return Err(LayoutError::Write { path: folder.to_owned(), source }),
    };
    if !is_layout && !is_empty {
        return Err(LayoutError::Occupied { path: folder.to_owned() });
    }
    let store = folder.join("blobs/sha256");
    fs::create_dir_all(&store).map_err(|source| LayoutError::Write { path: store.clone(), source })?;
    for (digest, file) in blobs {
        let path = store.join(digest.hex());
        if !path.exists() {
            publish(&path, |temporary| fs::copy(file, temporary).map(|_| ()))?;
        }
    }
    for image in images {
        let documents = image.documents.iter().map(|(digest, bytes)| (*digest, &bytes[..]));
        for (digest, bytes) in documents.chain([(image.manifest.digest(), image.manifest.bytes())]) {
            publish(&store.join(digest.hex()), |temporary| fs::write(temporary, bytes))?;
        }
    }
    let named = images.iter().map(|image| image.manifest.descriptor().annotated(REFERENCE_NAME, &image.name));
    let index = StoredManifest::from_index(Index::of(named.collect()));
    publish(&folder.join("oci-layout"), |temporary| fs::write(temporary, LAYOUT_FILE))?;
    publish(&folder.join("index.json"), |temporary| fs::write(temporary, index.bytes()))
}

fn publish(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), LayoutError> {
    let temporary = path.with_extension("partial");
    write(&temporary).and_then(|()| fs::rename(&temporary, path)).map_err(|source| {
        // The first error is the one that explains.
        fs::remove_file(&temporary).ok();
        LayoutError::Write { path: path.to_owned(), source }
    })
}
