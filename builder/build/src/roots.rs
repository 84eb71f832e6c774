//! Roots: what the store keeps when it is cleared of the rest.
//!
//! `roots/HEX` names, for one path of this machine, the image steps that were built for it last. A root lives as long as
//! its path: whoever deletes a platform's folder lets go of its images. Roots are written by rename, after the results
//! that they name.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use registry_wire::Digest;
use serde::{Deserialize, Serialize};

use crate::{Store, StoreError};

/// Which images are kept for a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// Those of this build and no others.
    Only(PathBuf),
    /// Those of this build beside the ones that were built for it before.
    Also(PathBuf),
}

/// One root, as it is stored.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    path: PathBuf,
    /// Keys of image steps by the names of images.
    images: BTreeMap<String, Digest>,
}

/// What was removed from a store, and for whom the rest is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Paths whose images are kept.
    pub kept: Vec<PathBuf>,
    /// Paths that are no longer there.
    pub dropped: Vec<PathBuf>,
    /// Files that were removed.
    pub files: u64,
    /// Their length together.
    pub bytes: u64,
}

impl Store {
    /// Keeps images for a path. Nothing is written when they are kept already.
    pub(crate) fn keep(&self, keep: &Keep, images: BTreeMap<String, Digest>) -> Result<(), StoreError> {
        let (Keep::Only(path) | Keep::Also(path)) = keep;
        let file = self.roots().join(Digest::of(path.as_os_str().as_bytes()).hex());
        let before = read(&file)?;
        let mut root = Root { path: path.clone(), images };
        if let (Keep::Also(_), Some(before)) = (keep, &before) {
            for (name, key) in &before.images {
                root.images.entry(name.clone()).or_insert(*key);
            }
        }
        if before.as_ref() == Some(&root) {
            return Ok(());
        }
        let bytes =
            serde_json::to_vec(&root).map_err(|source| StoreError::Root { path: path.clone(), source })?;
        self.write_file(&file, &bytes)
    }

    /// Removes all that no root reaches. Steps go before the content that they name, so whatever ends this half-way
    /// leaves no result without its content.
    pub fn collect(&self) -> Result<Collected, StoreError> {
        let mut collected = Collected::default();
        let mut keys = VecDeque::new();
        for file in files_of(&self.roots())? {
            // One that cannot be read protects nothing; the next build writes it anew.
            match read(&file)? {
                Some(root) if is_there(&root.path)? => {
                    keys.extend(root.images.values().copied());
                    collected.kept.push(root.path);
                }
                other => {
                    remove(&file, &mut collected)?;
                    collected.dropped.extend(other.map(|root| root.path));
                }
            }
        }
        let (mut steps, mut blobs) = (BTreeSet::new(), BTreeSet::new());
        while let Some(key) = keys.pop_front() {
            if steps.insert(key.hex())
                && let Some(reach) = self.reach(&key)?
            {
                blobs.extend(reach.blobs.iter().map(Digest::hex));
                keys.extend(reach.steps);
            }
        }
        for (folder, live) in [(self.steps(), steps), (self.blobs(), blobs)] {
            for file in files_of(&folder)? {
                let name = file.file_name().and_then(|name| name.to_str());
                if !name.is_some_and(|name| live.contains(name)) {
                    remove(&file, &mut collected)?;
                }
            }
        }
        collected.kept.sort();
        collected.dropped.sort();
        Ok(collected)
    }
}

/// A root; none if there is none that can be read.
fn read(file: &Path) -> Result<Option<Root>, StoreError> {
    match fs::read(file) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Read { path: file.to_owned(), source }),
    }
}

/// Whether the path is there. Not being able to tell is an error, never "no".
fn is_there(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(|source| StoreError::Read { path: path.to_owned(), source })
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |source| StoreError::Read { path: folder.to_owned(), source };
    fs::read_dir(folder).map_err(failed)?.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

fn remove(file: &Path, collected: &mut Collected) -> Result<(), StoreError> {
    let failed = |source| StoreError::Write { path: file.to_owned(), source };
    let length = fs::metadata(file).map_err(failed)?.len();
    fs::remove_file(file).map_err(failed)?;
    collected.files += 1;
    collected.bytes += length;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Reach;

    fn step(store: &Store, name: &str, content: &[u8], steps: Vec<Digest>) -> (Digest, Digest) {
        let key = Digest::of(name.as_bytes());
        let blob = store.put_blob(content).unwrap();
        store.keep_result(&key, &name, Reach { blobs: vec![blob], steps }).unwrap();
        (key, blob)
    }

    #[test]
    fn what_no_root_reaches_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (shop, farm) = (folder.path().join("shop"), folder.path().join("farm"));
        fs::create_dir(&shop).unwrap();
        fs::create_dir(&farm).unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let (part, part_blob) = step(&store, "part", b"part", vec![]);
        let (image, image_blob) = step(&store, "image", b"image", vec![part]);
        let (other, other_blob) = step(&store, "other", b"other", vec![part]);
        let (_, lost_blob) = step(&store, "lost", b"lost", vec![]);
        let keep = |keep: Keep, name: &str, key: Digest| {
            store.keep(&keep, BTreeMap::from([(name.to_owned(), key)])).unwrap();
        };
        keep(Keep::Only(shop.clone()), "image", image);
        keep(Keep::Also(farm.clone()), "other", other);
        let is_kept = |blob: &Digest| store.blob_path(blob).exists();

        let collected = store.collect().unwrap();
        assert_eq!((collected.files, collected.dropped.len()), (2, 0), "{collected:?}");
        assert_eq!(collected.kept, [farm.clone(), shop.clone()]);
        assert!(is_kept(&part_blob) && is_kept(&image_blob) && is_kept(&other_blob) && !is_kept(&lost_blob));

        fs::remove_dir(&farm).unwrap();
        let collected = store.collect().unwrap();
        assert_eq!(collected.dropped, [farm]);
        assert!(is_kept(&part_blob) && is_kept(&image_blob) && !is_kept(&other_blob));
        assert_eq!(store.result::<String>(&image).unwrap().as_deref(), Some("image"));
        assert_eq!(store.collect().unwrap(), Collected { kept: vec![shop.clone()], ..Collected::default() });

        // `Also` keeps what was there, `Only` lets go of it.
        let (next, next_blob) = step(&store, "next", b"next", vec![]);
        keep(Keep::Also(shop.clone()), "next", next);
        assert_eq!(store.collect().unwrap().files, 0);
        keep(Keep::Only(shop), "next", next);
        store.collect().unwrap();
        assert!(is_kept(&next_blob) && !is_kept(&image_blob) && !is_kept(&part_blob));
    }
}
