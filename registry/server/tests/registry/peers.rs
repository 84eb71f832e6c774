//! Other people's clients: skopeo, crane and oras push and pull, and what comes out is what went in.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use registry_wire::{Digest, Index, MediaType, StoredManifest};
use tempfile::TempDir;

use crate::world::{World, files, manifest, noise, push, repository, tag};

/// A program that `tests/programs/build` makes, from `BUNDLE_PROGRAMS` or its usual cache.
fn built(name: &str) -> PathBuf {
    let folder = std::env::var_os("BUNDLE_PROGRAMS").map_or_else(
        || {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let cache =
                cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
            cache.expect("HOME is set").join("bundle/programs")
        },
        PathBuf::from,
    );
    let program = folder.join(name);
    assert!(
        program.exists(),
        "{} is absent: run tests/programs/build, or set BUNDLE_PROGRAMS",
        program.display()
    );
    program
}

async fn run(mut command: Command) -> Output {
    let text = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output =
        output.unwrap_or_else(|error| panic!("{text}: {error}: `apt-get install skopeo` for skopeo"));
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn command(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// An OCI layout with one image of two layers, which are real archives.
fn layout() -> (TempDir, StoredManifest) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = folder.path().join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let store = |bytes: &[u8]| std::fs::write(blobs.join(Digest::of(bytes).hex()), bytes).unwrap();
    let tree = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    let mut layers = Vec::new();
    for (seed, size) in [(1, 3_000_000), (2, 10_000)] {
        let file = format!("file{seed}");
        std::fs::write(tree.path().join(&file), noise(seed, size)).unwrap();
        let tar = command("tar", &["-cf", "layer.tar", &file]).current_dir(tree.path()).status();
        assert!(tar.unwrap().success());
        let path = tree.path().join("layer.tar");
        ids.push(Digest::of(&std::fs::read(&path).unwrap()).to_string());
        layers.push(Command::new("gzip").args(["-n", "-c"]).arg(&path).output().unwrap().stdout);
    }
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ids}
    });
    let config = config.to_string().into_bytes();
    let slices: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let image = manifest(&config, &slices, None);
    store(&config);
    for layer in &slices {
        store(layer);
    }
    store(image.bytes());
    let entry = image.descriptor().annotated("org.opencontainers.image.ref.name", "v1");
    let index = StoredManifest::from_index(Index::of(vec![entry]));
    std::fs::write(folder.path().join("index.json"), index.bytes()).unwrap();
    std::fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    (folder, image)
}

/// The blobs of a layout, by name.
fn blobs(folder: &Path) -> Vec<(String, Digest)> {
    let mut all: Vec<_> = files(&folder.join("blobs"))
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, Digest::of(&std::fs::read(path).unwrap()))
        })
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn skopeo_copies_in_and_out() {
    let world = World::start().await;
    let (folder, image) = layout();
    let (remote, here) =
        (format!("docker://{}/shop/api:v1", world.server.address()), folder.path().display());
    run(command("skopeo", &["copy", "--dest-tls-verify=false", &format!("oci:{here}:v1"), &remote])).await;
    let stored = world.client().get_manifest(&repository("shop/api"), &tag("v1")).await.unwrap().unwrap();
    assert_eq!(stored.digest(), image.digest());
    let out = tempfile::tempdir().unwrap();
    let back = format!("oci:{}:v1", out.path().display());
    run(command("skopeo", &["copy", "--src-tls-verify=false", &remote, &back])).await;
    assert_eq!(blobs(out.path()), blobs(folder.path()));
    assert_eq!(blobs(out.path()).len(), 4);
    // From one repository to another: the blobs are mounted.
    let other = format!("docker://{}/shop/other:v1", world.server.address());
    run(command("skopeo", &["copy", "--src-tls-verify=false", "--dest-tls-verify=false", &remote, &other]))
        .await;
    assert_eq!(world.files("blobs").len(), 3);
    let list = run(command("skopeo", &["list-tags", "--tls-verify=false", &remote.replace(":v1", "")])).await;
    assert!(String::from_utf8_lossy(&list.stdout).contains("\"v1\""));
    run(command("skopeo", &["delete", "--tls-verify=false", &other])).await;
    assert_eq!(world.client().get_manifest(&repository("shop/other"), &tag("v1")).await.unwrap(), None);
}

#[tokio::test]
async fn crane_pushes_pulls_and_lists() {
    let world = World::start().await;
    let (folder, image) = layout();
    let crane = built("crane");
    let name = format!("{}/shop/api:v1", world.server.address());
    run(command(&crane, &["push", "--insecure", folder.path().to_str().unwrap(), &name])).await;
    let digest = run(command(&crane, &["digest", "--insecure", &name])).await;
    assert_eq!(String::from_utf8_lossy(&digest.stdout).trim(), image.digest().to_string());
    let out = tempfile::tempdir().unwrap();
    run(command(&crane, &["pull", "--insecure", "--format=oci", &name, out.path().to_str().unwrap()])).await;
    assert_eq!(blobs(out.path()), blobs(folder.path()));
    run(command(&crane, &["validate", "--insecure", "--remote", &name])).await;
    run(command(&crane, &["tag", "--insecure", &name, "v2"])).await;
    let list = run(command(&crane, &["ls", "--insecure", name.strip_suffix(":v1").unwrap()])).await;
    assert_eq!(String::from_utf8_lossy(&list.stdout), "v1\nv2\n");
    let catalog = run(command(&crane, &["catalog", "--insecure", &world.server.address().to_string()])).await;
    assert_eq!(String::from_utf8_lossy(&catalog.stdout), "shop/api\n");
    // What we push, crane accepts.
    push(&world.client(), &repository("ours"), &tag("v1"), b"layer").await;
    let ours =
        run(command(&crane, &["manifest", "--insecure", &format!("{}/ours:v1", world.server.address())]))
            .await;
    let stored = world.client().get_manifest(&repository("ours"), &tag("v1")).await.unwrap().unwrap();
    assert_eq!(ours.stdout, stored.bytes());
}

#[tokio::test]
async fn oras_attaches_and_discovers() {
    let world = World::start().await;
    let oras = built("oras");
    let image = push(&world.client(), &repository("shop/api"), &tag("v1"), b"layer").await;
    let name = format!("{}/shop/api:v1", world.server.address());
    let work = tempfile::tempdir().unwrap();
    std::fs::write(work.path().join("note.txt"), "hello").unwrap();
    let inside = |arguments: &[&str]| {
        let mut command = command(&oras, arguments);
        command.current_dir(work.path());
        command
    };
    let attach = [
        "attach",
        "--plain-http",
        "--artifact-type",
        "application/vnd.test.note",
        &name,
        "note.txt:text/plain",
    ];
    run(inside(&attach)).await;
    let found = world.client().referrers(&repository("shop/api"), &image.digest()).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].artifact_type, Some(MediaType::from_static("application/vnd.test.note")));
    let discovered = run(inside(&["discover", "--plain-http", "--format", "json", &name])).await;
    assert!(String::from_utf8_lossy(&discovered.stdout).contains(&found[0].digest.to_string()));
    let note = format!("{}/shop/api@{}", world.server.address(), found[0].digest);
    let out = tempfile::tempdir().unwrap();
    run(inside(&["pull", "--plain-http", "--output", out.path().to_str().unwrap(), &note])).await;
    assert_eq!(std::fs::read_to_string(out.path().join("note.txt")).unwrap(), "hello");
    // An artifact of several megabytes, in and out.
    std::fs::write(work.path().join("large.bin"), noise(9, 9_000_000)).unwrap();
    let artifact = format!("{}/shop/file:v1", world.server.address());
    run(inside(&["push", "--plain-http", &artifact, "large.bin"])).await;
    run(inside(&["pull", "--plain-http", "--output", out.path().to_str().unwrap(), &artifact])).await;
    assert_eq!(std::fs::read(out.path().join("large.bin")).unwrap(), noise(9, 9_000_000));
    let deep = [
        "cp",
        "--recursive",
        "--from-plain-http",
        "--to-plain-http",
        &name,
        &name.replace("shop/api", "copy"),
    ];
    run(inside(&deep)).await;
    assert_eq!(world.client().referrers(&repository("copy"), &image.digest()).await.unwrap(), found);
}
