use std::{
    fs,
    io::{self, Read},
    process::Command,
    time::Duration,
};

use proptest::prelude::*;
use registry_wire::SessionId;
use tempfile::TempDir;

use super::*;

fn store() -> (TempDir, BlobStore) {
    let root = tempfile::tempdir().unwrap();
    let store = BlobStore::open(root.path()).unwrap();
    (root, store)
}

fn session() -> SessionId {
    SessionId::from_random([1; 16])
}

/// Every file under the root.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found
}

/// Gives one byte at a time, and fails after so many.
struct Slow<'a> {
    bytes: &'a [u8],
    fails_at: Option<usize>,
    at: usize,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.fails_at == Some(self.at) {
            return Err(io::Error::other("cut"));
        }
        let Some(byte) = self.bytes.get(self.at) else { return Ok(0) };
        buffer[0] = *byte;
        self.at += 1;
        Ok(1)
    }
}

#[test]
fn what_is_written_is_read() {
    let (_root, store) = store();
    let digest = Digest::of(b"hello");
    assert_eq!(store.size(&digest).unwrap(), None);
    assert_eq!(store.read(&digest, 10).unwrap(), None);
    let mut source = Slow { bytes: b"hello", fails_at: None, at: 0 };
    assert_eq!(store.write(&digest, 5, &mut source).unwrap(), 5);
    assert_eq!(store.size(&digest).unwrap(), Some(5));
    assert_eq!(store.read(&digest, 5).unwrap().unwrap(), b"hello");
    assert!(matches!(store.read(&digest, 4), Err(BlobError::TooLarge { limit: 4 })));
    assert_eq!(
        store.write(&digest, 5, &mut io::empty()).unwrap(),
        5,
        "a blob that is here is not read again"
    );
    assert!(store.remove(&digest).unwrap());
    assert!(!store.remove(&digest).unwrap());
}

#[test]
fn a_failed_write_leaves_nothing() {
    let (root, store) = store();
    let digest = Digest::of(b"hello");
    let cut = store.write(&digest, 10, &mut Slow { bytes: b"hello", fails_at: Some(3), at: 0 });
    assert!(matches!(cut, Err(BlobError::Source { .. })), "{cut:?}");
    let other = store.write(&digest, 10, &mut b"hellO".as_slice());
    assert!(matches!(other, Err(BlobError::Mismatch { .. })), "{other:?}");
    let large = store.write(&digest, 4, &mut b"hello".as_slice());
    assert!(matches!(large, Err(BlobError::TooLarge { .. })), "{large:?}");
    assert_eq!(files(root.path()), Vec::<PathBuf>::new());
}

#[test]
fn damage_on_disk_is_seen() {
    let (_root, store) = store();
    let digest = Digest::of(b"hello");
    store.write(&digest, 5, &mut b"hello".as_slice()).unwrap();
    fs::write(store.path(&digest), b"hellO").unwrap();
    assert!(matches!(store.read(&digest, 5), Err(BlobError::Damaged { .. })));
}

#[test]
fn a_mismatched_upload_is_gone() {
    let (root, store) = store();
    let upload = store.begin_upload(&session()).unwrap().append(b"hellO", 5).unwrap();
    let digest = Digest::of(b"hello");
    assert!(matches!(upload.publish(&digest), Err(BlobError::Mismatch { .. })));
    assert!(matches!(store.resume_upload(&session()), Err(BlobError::UnknownUpload { .. })));
    let upload = store.begin_upload(&session()).unwrap();
    assert!(matches!(upload.append(b"hello", 4), Err(BlobError::TooLarge { limit: 4 })));
    assert_eq!(files(root.path()), Vec::<PathBuf>::new());
}

#[test]
fn old_uploads_are_swept() {
    let (root, store) = store();
    drop(store.begin_upload(&session()).unwrap().append(b"x", 1).unwrap());
    assert_eq!(store.sweep_uploads(SystemTime::now() - Duration::from_hours(1)).unwrap(), 0);
    assert_eq!(store.sweep_uploads(SystemTime::now() + Duration::from_hours(1)).unwrap(), 1);
    assert_eq!(files(root.path()), Vec::<PathBuf>::new());
}

/// A file system of its own, unmounted on drop.
struct Small(TempDir);

impl Small {
    fn mount(options: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(root.path()).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "this test mounts a small tmpfs: run it as root"
        );
        Self(root)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(self.0.path()).status().unwrap().success());
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let small = Small::mount("size=1m");
    let store = BlobStore::open(small.0.path()).unwrap();
    let large = vec![7; 2 * 1024 * 1024];
    let digest = Digest::of(&large);
    let error = store.write(&digest, u64::MAX, &mut large.as_slice()).unwrap_err();
    assert!(matches!(error, BlobError::Full { .. }), "{error:?}");
    assert!(error.hint().is_some());
    let error = store.begin_upload(&session()).unwrap().append(&large, u64::MAX).unwrap_err();
    assert!(matches!(error, BlobError::Full { .. }), "{error:?}");
    assert_eq!(files(small.0.path()), Vec::<PathBuf>::new());
    let fits = vec![7; 512 * 1024];
    store.write(&Digest::of(&fits), u64::MAX, &mut fits.as_slice()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However the pieces are cut, and wherever the process stopped in between, the blob is the same.
    #[test]
    fn an_upload_is_the_sum_of_its_pieces(pieces in prop::collection::vec((any::<Vec<u8>>(), any::<bool>()), 0..6)) {
        let (_root, store) = store();
        let whole: Vec<u8> = pieces.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let mut upload = store.begin_upload(&session()).unwrap();
        for (bytes, restart) in &pieces {
            upload = upload.append(bytes, u64::MAX).unwrap();
            if *restart {
                drop(upload);
                upload = store.resume_upload(&session()).unwrap();
            }
        }
        prop_assert_eq!(upload.length(), whole.len() as u64);
        let digest = Digest::of(&whole);
        prop_assert_eq!(upload.publish(&digest).unwrap(), whole.len() as u64);
        prop_assert_eq!(store.read(&digest, u64::MAX).unwrap().unwrap(), whole);
        prop_assert!(store.resume_upload(&session()).is_err());
    }
}
