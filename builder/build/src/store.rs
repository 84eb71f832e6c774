//! The store: results of steps on the file system.
//!
//! `blobs/sha256/HEX` holds content by its hash, `steps/HEX` the results of steps by their key, `roots/HEX` what is kept
//! and for whom. All are written to a temporary name, synced and renamed, blobs before the step that names them, so a crash leaves nothing half-written:
//! at worst a blob that no step names. A step is a small document with a checksum of its own; one that cannot be read
//! counts as not there, and its step is run again.
//!
//! Whoever builds holds the store's lock; whoever only reads needs none, since nothing visible ever changes.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
};

use registry_wire::{Digest, HashingWriter};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tempfile::{NamedTempFile, TempPath};

/// Version of the form of the store.
const FORMAT: &str = "1\n";
/// Longest result of a step.
const STEP_LIMIT: u64 = 64 << 20;

/// Results of steps, by key, and content, by hash.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Held for as long as the store is open.
    _lock: File,
}

/// What a result rests on: it is of use as long as all of it is there.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reach {
    /// Content that the result names.
    pub(crate) blobs: Vec<Digest>,
    /// Steps that it was made of: without them the next build, of nearly the same, begins from nothing.
    pub(crate) steps: Vec<Digest>,
}

/// The result of a step, as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepDocument<T> {
    reach: Reach,
    result: T,
}

/// A store that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder cannot be made.
    #[error("{} cannot be written", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another version made it.
    #[error("the store {} has form {found}, this program knows form {}", path.display(), FORMAT.trim())]
    Format {
        /// The store.
        path: PathBuf,
        /// The form that it has.
        found: String,
    },
    /// Content is not what was put there: the disk, or somebody, changed it.
    #[error("{} was damaged and is removed", path.display())]
    Damaged {
        /// Where it was.
        path: PathBuf,
    },
    /// The lock cannot be had.
    #[error("the lock of the store {} cannot be taken", path.display())]
    Lock {
        /// The store.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A root cannot be written down.
    #[error("what is kept for {} cannot be written down", path.display())]
    Root {
        /// For whom.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A result cannot be written down.
    #[error("the result of step {key} cannot be written down")]
    Encode {
        /// The step.
        key: Digest,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl StoreError {
    /// What to do about it.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Damaged { .. } => Some("run the command again: it is built anew"),
            _ => None,
        }
    }
}

impl Store {
    /// Opens the store in `root`, which is made if it is not there. Waits while another build holds it.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::open_saying(root, || {})
    }

    /// The same, and says once that another build has to be waited for.
    pub fn open_saying(root: &Path, waits: impl FnOnce()) -> Result<Self, StoreError> {
        let write = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Write { path, source }
        };
        for folder in ["blobs/sha256", "steps", "roots", "partial"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).map_err(write(&folder))?;
        }
        let lock_path = root.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(write(&lock_path))?;
        let lock_failed = |source| StoreError::Lock { path: root.to_owned(), source };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waits();
                lock.lock().map_err(lock_failed)?;
            }
            Err(TryLockError::Error(source)) => return Err(lock_failed(source)),
        }
        let format_path = root.join("format");
        match fs::read_to_string(&format_path) {
            Ok(found) if found == FORMAT => {}
            Ok(found) => {
                return Err(StoreError::Format { path: root.to_owned(), found: found.trim().to_owned() });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                publish_bytes(root, &format_path, FORMAT.as_bytes())?;
            }
            Err(source) => return Err(StoreError::Read { path: format_path, source }),
        }
        let store = Self { root: root.to_owned(), _lock: lock };
        store.clear_partial()?;
        Ok(store)
    }

    /// What a build that died was writing. Nobody else is: we hold the lock.
    fn clear_partial(&self) -> Result<(), StoreError> {
        let folder = self.root.join("partial");
        let failed = |source| StoreError::Read { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            fs::remove_file(&path).map_err(|source| StoreError::Write { path, source })?;
        }
        Ok(())
    }

    /// Where the content of that hash is, if it is there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Whether content of that hash and length is there. What became visible was verified before.
    pub fn has_blob(&self, digest: &Digest, size: u64) -> bool {
        fs::metadata(self.blob_path(digest)).is_ok_and(|file| file.is_file() && file.len() == size)
    }

    /// Reads content and compares it with its hash, before others are told that it is that. What is damaged is removed,
    /// so that the next build makes it anew.
    pub fn verify_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        let read = |source| StoreError::Read { path: path.clone(), source };
        let mut file = File::open(&path).map_err(read)?;
        let mut hash = HashingWriter::new(io::sink());
        io::copy(&mut file, &mut hash).map_err(read)?;
        if hash.into_parts().1.finish() == *digest {
            return Ok(());
        }
        fs::remove_file(&path).map_err(|source| StoreError::Write { path: path.clone(), source })?;
        Err(StoreError::Damaged { path })
    }

    /// Begins content whose hash is not known yet.
    pub(crate) fn begin_blob(&self) -> Result<PartialBlob<'_>, StoreError> {
        let (file, path) = begin(&self.root)?;
        Ok(PartialBlob {
            store: self,
            file: HashingWriter::new(io::BufWriter::with_capacity(1 << 20, file)),
            path,
            failure: None,
        })
    }

    /// Puts content under its hash.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if self.has_blob(&digest, bytes.len() as u64) {
            return Ok(digest);
        }
        publish_bytes(&self.root, &self.blob_path(&digest), bytes)?;
        Ok(digest)
    }

    /// The result of a step, if there is one that can be read.
    pub(crate) fn result<T: DeserializeOwned>(&self, key: &Digest) -> Result<Option<T>, StoreError> {
        Ok(self.step::<T>(key)?.map(|step| step.result))
    }

    /// What the result of a step rests on, if there is one that can be read.
    pub(crate) fn reach(&self, key: &Digest) -> Result<Option<Reach>, StoreError> {
        Ok(self.step::<serde::de::IgnoredAny>(key)?.map(|step| step.reach))
    }

    fn step<T: DeserializeOwned>(&self, key: &Digest) -> Result<Option<StepDocument<T>>, StoreError> {
        let path = self.step_path(key);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Read { path, source }),
        };
        let mut bytes = Vec::new();
        file.take(STEP_LIMIT).read_to_end(&mut bytes).map_err(|source| StoreError::Read { path, source })?;
        let Some((sum, document)) = bytes.split_at_checked(32) else { return Ok(None) };
        if Digest::of(document).as_bytes() != sum {
            return Ok(None);
        }
        Ok(serde_json::from_slice(document).ok())
    }

    /// Keeps the result of a step.
    pub(crate) fn keep_result(
        &self,
        key: &Digest,
        result: &impl Serialize,
        reach: Reach,
    ) -> Result<(), StoreError> {
        let document = serde_json::to_vec(&StepDocument { reach, result })
            .map_err(|source| StoreError::Encode { key: *key, source })?;
        let mut bytes = Digest::of(&document).as_bytes().to_vec();
        bytes.extend_from_slice(&document);
        self.write_file(&self.step_path(key), &bytes)
    }

    /// Makes a small file visible whole.
    pub(crate) fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        publish_bytes(&self.root, path, bytes)
    }

    fn step_path(&self, key: &Digest) -> PathBuf {
        self.steps().join(key.hex())
    }

    pub(crate) fn steps(&self) -> PathBuf {
        self.root.join("steps")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.root.join("roots")
    }
}

/// Begins a file that nobody sees: it has a temporary name, and goes when it is dropped.
fn begin(root: &Path) -> Result<(File, TempPath), StoreError> {
    let folder = root.join("partial");
    let file = NamedTempFile::new_in(&folder).map_err(|source| StoreError::Write { path: folder, source })?;
    Ok(file.into_parts())
}

/// Makes a written file visible at `target`.
fn publish(file: &File, path: TempPath, target: &Path) -> Result<(), StoreError> {
    file.sync_data().map_err(|source| StoreError::Write { path: path.to_path_buf(), source })?;
    path.persist(target).map_err(|error| StoreError::Write { path: target.to_owned(), source: error.error })
}

/// Makes `bytes` visible at `target`.
fn publish_bytes(root: &Path, target: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let (mut file, path) = begin(root)?;
    file.write_all(bytes).map_err(|source| StoreError::Write { path: path.to_path_buf(), source })?;
    publish(&file, path, target)
}

/// Content on its way into the store. Dropped without [`PartialBlob::publish`], it leaves nothing.
pub(crate) struct PartialBlob<'s> {
    store: &'s Store,
    file: HashingWriter<io::BufWriter<File>>,
    path: TempPath,
    /// What the file system said, where a writer above keeps no more than that something failed.
    failure: Option<io::Error>,
}

impl PartialBlob<'_> {
    /// Makes the content visible under its hash.
    pub(crate) fn publish(self) -> Result<Digest, StoreError> {
        let (file, hasher) = self.file.into_parts();
        let (path, digest) = (self.path, hasher.finish());
        let file = file
            .into_inner()
            .map_err(|error| StoreError::Write { path: path.to_path_buf(), source: error.into_error() })?;
        publish(&file, path, &self.store.blob_path(&digest))?;
        Ok(digest)
    }

    /// Gives the content up; tells what the file system said, if that is why.
    pub(crate) fn give_up(self) -> Option<StoreError> {
        self.failure.map(|source| StoreError::Write { path: self.path.to_path_buf(), source })
    }
}

impl Write for PartialBlob<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| {
            let kind = error.kind();
            self.failure = Some(error);
            io::Error::from(kind)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_visible_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut blob = store.begin_blob().unwrap();
        blob.write_all(b"half").unwrap();
        drop(blob);
        assert_eq!(fs::read_dir(folder.path().join("blobs/sha256")).unwrap().count(), 0);
        let digest = store.put_blob(b"whole").unwrap();
        assert!(store.has_blob(&digest, 5) && !store.has_blob(&digest, 4));
        assert_eq!(fs::read(store.blob_path(&digest)).unwrap(), b"whole");
    }

    #[test]
    fn damaged_content_is_found_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let digest = store.put_blob(b"whole").unwrap();
        store.verify_blob(&digest).unwrap();
        fs::write(store.blob_path(&digest), b"whale").unwrap();
        assert!(matches!(store.verify_blob(&digest), Err(StoreError::Damaged { .. })));
        assert!(!store.has_blob(&digest, 5));
        assert!(matches!(store.verify_blob(&digest), Err(StoreError::Read { .. })));
        assert_eq!(store.put_blob(b"whole").unwrap(), digest);
        store.verify_blob(&digest).unwrap();
    }

    #[test]
    fn who_waits_for_another_build_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut other = Some(Store::open_saying(folder.path(), || panic!("nobody else is there")).unwrap());
        let waited = std::cell::Cell::new(false);
        Store::open_saying(folder.path(), || {
            waited.set(true);
            other.take();
        })
        .unwrap();
        assert!(waited.get());
    }

    #[test]
    fn a_damaged_result_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = Digest::of(b"step");
        assert_eq!(store.result::<String>(&key).unwrap(), None);
        store.keep_result(&key, &"result", Reach::default()).unwrap();
        assert_eq!(store.result::<String>(&key).unwrap().as_deref(), Some("result"));
        let path = store.step_path(&key);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(store.result::<String>(&key).unwrap(), None);
    }

    #[test]
    fn what_a_dead_build_left_is_cleared_and_other_forms_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::open(folder.path()).unwrap());
        fs::write(folder.path().join("partial/left"), "x").unwrap();
        drop(Store::open(folder.path()).unwrap());
        assert_eq!(fs::read_dir(folder.path().join("partial")).unwrap().count(), 0);
        fs::write(folder.path().join("format"), "2\n").unwrap();
        assert!(matches!(Store::open(folder.path()), Err(StoreError::Format { .. })));
    }
}
