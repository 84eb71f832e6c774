//! Things break in the middle: a small proxy between client and server cuts connections and changes bytes.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use registry_client::{BlobSource, ClientError, Pushed};
use registry_server::{Server, ServerOptions};
use registry_wire::{Descriptor, Digest, MediaType};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::world::{World, client, files, http, noise, push, repository, serve, tag};

/// What the proxy does to a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Harm {
    /// The connection ends after so many bytes to the client.
    cut_answer: Option<usize>,
    /// The connection ends after so many bytes to the server.
    cut_request: Option<usize>,
    /// Bytes of answers that become others.
    replace: Option<(Vec<u8>, Vec<u8>)>,
    /// The path of referrers does not exist.
    no_referrers: bool,
}

/// A proxy that harms the first connections.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// All that clients sent.
    seen: Arc<Mutex<Vec<u8>>>,
    connections: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn without_referrers(server: SocketAddr) -> Self {
        Self::start(server, usize::MAX, Harm { no_referrers: true, ..Harm::default() }).await
    }

    async fn start(server: SocketAddr, harmed: usize, harm: Harm) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (log, count) = (Arc::clone(&seen), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let harm = if number < harmed { harm.clone() } else { Harm::default() };
                tokio::spawn(carry(stream, server, harm, Arc::clone(&log)));
            }
        });
        Self { address, seen, connections }
    }

    fn saw(&self, text: &str) -> bool {
        let seen = self.seen.lock().unwrap();
        seen.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()))
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, harm: Harm, log: Arc<Mutex<Vec<u8>>>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut up, mut down) = (0, 0);
    let (mut from_client, mut from_server) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(length @ 1..) = read else { return };
                let bytes = &from_client[..length];
                log.lock().unwrap().extend_from_slice(&bytes[..length.min(2048)]);
                if harm.no_referrers && bytes.starts_with(b"GET") && bytes.windows(11).any(|window| window == b"/referrers/") {
                    let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 18\r\n\r\n404 page not found";
                    if client.write_all(answer).await.is_err() { return }
                    continue;
                }
                let keep = harm.cut_request.map_or(length, |limit| length.min(limit - up));
                if server.write_all(&bytes[..keep]).await.is_err() { return }
                up += keep;
                if harm.cut_request == Some(up) { return }
            }
            read = server.read(&mut from_server) => {
                let Ok(length @ 1..) = read else { return };
                let mut bytes = from_server[..length].to_vec();
                if let Some((old, new)) = &harm.replace
                    && let Some(at) = bytes.windows(old.len()).position(|window| window == old.as_slice())
                {
                    bytes[at..at + old.len()].copy_from_slice(new);
                }
                if harm.no_referrers {
                    // An old registry says nothing of subjects.
                    if let Some(at) = bytes.windows(12).position(|window| window == b"oci-subject:") {
                        bytes[at..at + 12].copy_from_slice(b"x-nothing--:");
                    }
                }
                let keep = harm.cut_answer.map_or(length, |limit| length.min(limit - down));
                if client.write_all(&bytes[..keep]).await.is_err() { return }
                down += keep;
                if harm.cut_answer == Some(down) { return }
            }
        }
    }
}

#[tokio::test]
async fn a_pull_that_is_cut_goes_on_where_it_was_cut() {
    let world = World::start().await;
    let (name, layer) = (repository("a"), noise(3, 5_000_000));
    let image = push(&world.client(), &name, &tag("v1"), &layer).await;
    let descriptor = &image.image().unwrap().layers[0];
    let harm = Harm { cut_answer: Some(1_500_000), ..Harm::default() };
    let proxy = Proxy::start(world.server.address(), 3, harm.clone()).await;
    let pulled = client(&proxy.address.to_string(), 2).get_blob(&name, descriptor, u64::MAX).await.unwrap();
    assert_eq!(Digest::of(&pulled), descriptor.digest);
    assert_eq!(proxy.connections.load(Ordering::SeqCst), 4);
    assert!(proxy.saw("range: bytes=1"), "the rest only was asked for");

    // Without a next attempt the cut is told, and is not taken for absence.
    let proxy = Proxy::start(world.server.address(), 1, harm).await;
    let registry = client(&proxy.address.to_string(), 1);
    let cut = registry.get_blob(&name, descriptor, u64::MAX).await.unwrap_err();
    assert!(matches!(cut, ClientError::Interrupted { .. }), "{cut:?}");
    assert!(cut.to_string().contains(&descriptor.digest.to_string()), "{cut}");
    assert!(cut.hint().is_some());
    assert_eq!(registry.get_blob(&name, descriptor, u64::MAX).await.unwrap(), layer);
}

#[tokio::test]
async fn a_push_that_is_cut_leaves_nothing_and_succeeds_next_time() {
    let world = World::start().await;
    let (name, layer) = (repository("a"), noise(4, 5_000_000));
    let (digest, source) = (Digest::of(&layer), BlobSource::from(layer.clone()));
    let harm = Harm { cut_request: Some(2_000_000), ..Harm::default() };
    let proxy = Proxy::start(world.server.address(), 1, harm.clone()).await;
    let registry = client(&proxy.address.to_string(), 1);
    let cut = registry.put_blob(&name, digest, 5_000_000, &source).await.unwrap_err();
    assert!(matches!(cut, ClientError::Interrupted { .. }), "{cut:?}");
    assert!(cut.to_string().contains(&digest.to_string()), "{cut}");
    assert_eq!(world.files("blobs").len(), 0);
    assert!(!registry.has_blob(&name, &digest).await.unwrap());
    assert_eq!(registry.put_blob(&name, digest, 5_000_000, &source).await.unwrap(), Pushed::Uploaded);

    // With attempts left it succeeds by itself.
    let layer = noise(5, 5_000_000);
    let (digest, source) = (Digest::of(&layer), BlobSource::from(layer));
    let proxy = Proxy::start(world.server.address(), 1, harm).await;
    let registry = client(&proxy.address.to_string(), 3);
    assert_eq!(registry.put_blob(&name, digest, 5_000_000, &source).await.unwrap(), Pushed::Uploaded);
    assert!(world.client().has_blob(&name, &digest).await.unwrap());
}

#[tokio::test]
async fn changed_bytes_are_refused() {
    let world = World::start().await;
    let name = repository("a");
    let image = push(&world.client(), &name, &tag("v1"), b"the right bytes").await;
    let descriptor = &image.image().unwrap().layers[0];
    let change =
        |old: &[u8], new: &[u8]| Harm { replace: Some((old.to_vec(), new.to_vec())), ..Harm::default() };
    let proxy = Proxy::start(world.server.address(), 99, change(b"the right", b"the wrong")).await;
    let blob = client(&proxy.address.to_string(), 4).get_blob(&name, descriptor, 100).await.unwrap_err();
    assert!(
        matches!(blob, ClientError::Tampered { expected, .. } if expected == descriptor.digest),
        "{blob:?}"
    );
    assert!(blob.hint().is_some());

    let proxy = Proxy::start(world.server.address(), 99, change(b"\"layers\"", b"\"Layers\"")).await;
    let registry = client(&proxy.address.to_string(), 4);
    for reference in [tag("v1"), image.digest().into()] {
        let refused = registry.get_manifest(&name, &reference).await.unwrap_err();
        assert!(
            matches!(refused, ClientError::Tampered { expected, .. } if expected == image.digest()),
            "{refused:?}"
        );
    }

    // A 404 that is not of a registry is not an absence.
    let proxy = Proxy::start(world.server.address(), 99, change(b"\"errors\"", b"\"horror\"")).await;
    let strange = client(&proxy.address.to_string(), 4).get_manifest(&name, &tag("v2")).await.unwrap_err();
    assert!(matches!(strange, ClientError::Strange { .. }), "{strange:?}");
}

#[tokio::test]
async fn damage_and_truncation_on_the_registrys_disk_are_seen() {
    let world = World::start().await;
    let (registry, name, layer) = (world.client(), repository("a"), noise(6, 100_000));
    let image = push(&registry, &name, &tag("v1"), &layer).await;
    let descriptor = &image.image().unwrap().layers[0];
    let hex = descriptor.digest.hex();
    let path = world.files("blobs").into_iter().find(|path| path.ends_with(&hex)).unwrap();
    let mut damaged = layer.clone();
    damaged[50_000] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let refused = registry.get_blob(&name, descriptor, u64::MAX).await;
    assert!(matches!(refused, Err(ClientError::Tampered { .. })), "{refused:?}");
    std::fs::write(&path, &layer[..99_999]).unwrap();
    let refused = registry.get_blob(&name, descriptor, u64::MAX).await;
    assert!(matches!(refused, Err(ClientError::Size { found: 99_999, .. })), "{refused:?}");
    std::fs::write(&path, noise(6, 100_001)).unwrap();
    let refused = registry.get_blob(&name, descriptor, u64::MAX).await;
    assert!(matches!(refused, Err(ClientError::Size { found: 100_001, .. })), "{refused:?}");
    std::fs::remove_file(&path).unwrap();
    let refused = registry.get_blob(&name, descriptor, u64::MAX).await;
    assert!(matches!(refused, Err(ClientError::Absent { .. })), "{refused:?}");
    // Pushing again repairs it.
    registry
        .put_blob(&name, descriptor.digest, descriptor.size, &BlobSource::from(layer.clone()))
        .await
        .unwrap();
    assert_eq!(registry.get_blob(&name, descriptor, u64::MAX).await.unwrap(), layer);
}

#[tokio::test]
async fn a_registry_that_is_down_is_unknown_not_absent() {
    let world = World::start().await;
    let (address, name) = (world.server.address().to_string(), repository("a"));
    let image = push(&world.client(), &name, &tag("v1"), b"layer").await;
    let World { root, server } = world;
    server.stop().await.unwrap();
    let registry = client(&address, 2);
    let errors = [
        registry.get_manifest(&name, &tag("v1")).await.unwrap_err(),
        registry.has_blob(&name, &image.digest()).await.unwrap_err(),
        registry.referrers(&name, &image.digest()).await.unwrap_err(),
        registry.tags(&name).await.unwrap_err(),
        registry.put_manifest(&name, &tag("v1"), &image).await.unwrap_err(),
        registry.get_blob(&name, &Descriptor::of(MediaType::EMPTY, b"x"), 9).await.unwrap_err(),
        registry.put_blob(&name, Digest::of(b"x"), 1, &BlobSource::from(b"x".to_vec())).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(&address), "{error}");
        assert!(error.hint().unwrap().contains("bundle registry serve"));
    }
    // The next one serves what the last one committed.
    let server = serve(root.path()).await;
    let registry = client(&server.address().to_string(), 1);
    assert_eq!(registry.get_manifest(&name, &tag("v1")).await.unwrap(), Some(image));
    assert!(files(&root.path().join("uploads")).is_empty());
}

#[tokio::test]
async fn who_falls_silent_in_the_middle_of_an_upload_gives_it_free() {
    let root = tempfile::tempdir().unwrap();
    let mut options = ServerOptions::new(([127, 0, 0, 1], 0).into(), root.path().to_owned());
    options.upload_silence = Duration::from_millis(200);
    let server = Server::start(options).await.unwrap();
    let url = |path: &str| format!("http://{}{path}", server.address());
    let started = http().post(url("/v2/a/blobs/uploads/")).send().await.unwrap();
    let place = started.headers()["location"].to_str().unwrap().to_owned();
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    let head = format!("PATCH {place} HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc");
    silent.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let length = timeout(Duration::from_mins(1), silent.read(&mut answer)).await.expect("it is cut").unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let asked = http().get(url(&place)).send().await.unwrap();
    assert_eq!((asked.status().as_u16(), asked.headers()["range"].to_str().unwrap()), (204, "0-2"));
    server.stop().await.unwrap();
}

/// A file system of its own, unmounted on drop.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(options: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(root.path()).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "this test mounts a small tmpfs: run it as root"
        );
        Self(root)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a failed test may still hold files open.
        assert!(Command::new("umount").arg("-l").arg(self.0.path()).status().unwrap().success());
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_nothing() {
    let small = Small::mount("size=4m");
    let server = serve(small.0.path()).await;
    let (registry, name, large) =
        (client(&server.address().to_string(), 3), repository("a"), noise(7, 6_000_000));
    let (digest, source) = (Digest::of(&large), BlobSource::from(large));
    let full = registry.put_blob(&name, digest, 6_000_000, &source).await.unwrap_err();
    assert!(matches!(full, ClientError::Refused { status: 507, .. }), "{full:?}");
    assert!(full.to_string().contains("disk is full"), "{full}");
    assert!(files(&small.0.path().join("uploads")).is_empty());
    assert!(files(&small.0.path().join("blobs")).is_empty());
    push(&registry, &name, &tag("v1"), &noise(8, 500_000)).await;
    server.stop().await.unwrap();
}
