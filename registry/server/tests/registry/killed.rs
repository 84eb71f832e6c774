//! A registry process that is killed in the middle of uploads.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use registry_client::{BlobSource, ClientError};
use registry_wire::{Descriptor, Digest, MediaType};
use tokio::io::AsyncReadExt as _;

use crate::world::{client, files, http, noise, repository};

struct Process {
    child: Child,
    address: String,
}

impl Process {
    /// Cargo builds examples with the tests, beside them.
    fn start(root: &Path) -> Self {
        let tests = std::env::current_exe().unwrap();
        let program = tests.parent().unwrap().parent().unwrap().join("examples/serve");
        let mut child = Command::new(&program)
            .arg(root)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}: build the example `serve`", program.display()));
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned() }
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_killed_registry_shows_no_broken_blob() {
    let root = tempfile::tempdir().unwrap();
    let name = repository("a");
    let mut interrupted = 0;
    for round in 0..12_u8 {
        let process = Process::start(root.path());
        let blob = noise(round, 20_000_000);
        let (digest, source) = (Digest::of(&blob), BlobSource::from(blob.clone()));
        let registry = client(&process.address, 1);
        let push = tokio::spawn({
            let (registry, name, source) = (registry.clone(), name.clone(), source.clone());
            async move { registry.put_blob(&name, digest, 20_000_000, &source).await }
        });
        // From before the first byte to after the last one.
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 7)).await;
        process.kill();
        let pushed = push.await.unwrap();
        if let Err(error) = &pushed {
            interrupted += 1;
            let told = error.to_string();
            // An upload that was only asked for has no digest yet.
            let names_it = told.contains(&digest.to_string()) || told.contains("begin an upload to");
            assert!(names_it && error.hint().is_some(), "{error:?}: {told}");
        }

        let process = Process::start(root.path());
        let registry = client(&process.address, 1);
        for file in files(&root.path().join("blobs")) {
            let bytes = std::fs::read(&file).unwrap();
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            assert_eq!(Digest::of(&bytes).hex(), name, "round {round}: a broken blob is visible");
        }
        let has = registry.has_blob(&name, &digest).await.unwrap();
        assert!(has || pushed.is_err(), "round {round}: a blob that was answered with 201 is lost");
        registry.put_blob(&name, digest, 20_000_000, &source).await.unwrap();
        let descriptor = Descriptor::of(MediaType::LAYER_TAR_GZIP, &blob);
        assert_eq!(registry.get_blob(&name, &descriptor, u64::MAX).await.unwrap(), blob);
        process.kill();
    }
    assert!(interrupted >= 3, "only {interrupted} of 12 kills hit an upload: the test shows nothing");
}

#[tokio::test]
async fn a_pull_from_a_killed_registry_is_told_and_succeeds_next_time() {
    // More than all buffers between the disk and the sink hold.
    const LENGTH: usize = 64_000_000;
    let root = tempfile::tempdir().unwrap();
    let (name, blob) = (repository("a"), noise(77, LENGTH));
    let descriptor = Descriptor::of(MediaType::LAYER_TAR_GZIP, &blob);
    let process = Process::start(root.path());
    let source = BlobSource::from(blob.clone());
    client(&process.address, 1).put_blob(&name, descriptor.digest, descriptor.size, &source).await.unwrap();

    let (mut sink, mut reader) = tokio::io::duplex(65536);
    let pull = tokio::spawn({
        let (registry, name, descriptor) = (client(&process.address, 1), name.clone(), descriptor.clone());
        async move { registry.read_blob_to(&name, &descriptor, &mut sink).await }
    });
    let mut pulled = vec![0; 1_000_000];
    reader.read_exact(&mut pulled).await.unwrap();
    process.kill();
    reader.read_to_end(&mut pulled).await.unwrap();
    let error = pull.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Interrupted { .. }), "{error:?}");
    assert!(error.to_string().contains(&descriptor.digest.to_string()), "{error}");
    assert!(error.hint().is_some());
    assert!(pulled.len() < LENGTH && blob.starts_with(&pulled), "{} bytes came before the end", pulled.len());

    let process = Process::start(root.path());
    let whole = client(&process.address, 1).get_blob(&name, &descriptor, u64::MAX).await.unwrap();
    assert!(whole == blob);
    process.kill();
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let blob = noise(99, 300_000);
    let digest = Digest::of(&blob);
    let http = http();
    let process = Process::start(root.path());
    let url = |address: &str, path: &str| format!("http://{address}{path}");
    let begun = http.post(url(&process.address, "/v2/a/blobs/uploads/")).send().await.unwrap();
    let location = begun.headers()["location"].to_str().unwrap().to_owned();
    let first = http.patch(url(&process.address, &location)).header("content-range", "0-99999");
    assert_eq!(first.body(blob[..100_000].to_vec()).send().await.unwrap().status(), 202);
    process.kill();

    let process = Process::start(root.path());
    let status = http.get(url(&process.address, &location)).send().await.unwrap();
    assert_eq!((status.status().as_u16(), &status.headers()["range"]), (204, &"0-99999".parse().unwrap()));
    let rest = http
        .put(url(&process.address, &format!("{location}?digest={digest}")))
        .header("content-range", "100000-299999")
        .body(blob[100_000..].to_vec());
    assert_eq!(rest.send().await.unwrap().status(), 201);
    let read = http.get(url(&process.address, &format!("/v2/a/blobs/{digest}"))).send().await.unwrap();
    assert_eq!(read.bytes().await.unwrap(), blob);
    process.kill();
}
