//! Layers: the same bytes always, and what other programs read from them.

use std::{collections::BTreeMap, fs, io, process::Command};

use builder_image::{
    EncodedLayer, FragmentCache, Image, ImageConfig, NamedImage, NoCache, Process, encode_layer,
    export_layout, plan_layers,
};
use builder_tree::{Content, Entry, Kind, Owner, Payloads, Tree, TreePath};
use proptest::prelude::*;
use registry_wire::{Digest, Platform};

fn entry(kind: Kind, owner: Owner) -> Entry {
    let mode = if matches!(kind, Kind::Directory) { 0o755 } else { 0o644 };
    Entry { kind, mode, uid: 0, gid: 0, mtime: 1_700_000_000, owner }
}

fn path(text: &str) -> TreePath {
    text.parse().unwrap()
}

fn sample() -> Tree {
    let mut tree = Tree::new(0);
    let package = |name: &str| Owner::Package(name.into());
    let file = |text: &str| Kind::File { content: Content::bytes(text.as_bytes()), linked: false };
    let linked = |text: &str| Kind::File { content: Content::bytes(text.as_bytes()), linked: true };
    let long = format!("usr/share/{}/{}/ä", "p".repeat(120), "q".repeat(90));
    tree.insert(path("usr/bin/two"), entry(linked("the same file"), package("two")));
    tree.insert(path("usr/bin/one"), entry(file("one"), package("one")));
    tree.insert(path("usr/bin/zwei"), entry(linked("the same file"), package("two")));
    tree.insert(path(&long), entry(file("long"), package("one")));
    tree.insert(path("bin"), entry(Kind::Symlink("usr/bin".into()), package("one")));
    tree.insert(
        path("etc/passwd"),
        entry(file("root:x:0:0::/:/none\n"), Owner::Generated("accounts".into())),
    );
    tree.insert(path("app/server.js"), entry(file(&"x".repeat(3 << 20)), Owner::Source));
    tree.insert(path("usr/share/app/data"), entry(file(""), Owner::Source));
    tree
}

fn encode(tree: &Tree) -> Vec<(EncodedLayer, Vec<u8>)> {
    let plans = plan_layers(tree);
    let layers = plans.iter().map(|plan| {
        let mut bytes = Vec::new();
        let layer = encode_layer(plan, &Payloads::new(), &NoCache, &mut bytes).unwrap();
        assert_eq!(layer.digest, Digest::of(&bytes));
        assert_eq!(layer.size, bytes.len() as u64);
        (layer, bytes)
    });
    layers.collect()
}

/// Changing one of these is a new id of an encoder.
#[test]
fn golden_bytes() {
    let layers = encode(&sample());
    let found: Vec<_> =
        layers.iter().map(|(layer, _)| (layer.diff_id.short(), layer.digest.short())).collect();
    let found =
        found.iter().map(|(archive, compressed)| format!("{archive} {compressed}")).collect::<Vec<_>>();
    insta::assert_debug_snapshot!(found);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let tree = sample();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| encode(&tree))
    };
    assert_eq!(with(1), with(7));
}

#[derive(Default)]
struct Kept(std::sync::Mutex<BTreeMap<Digest, Vec<u8>>>);

impl FragmentCache for Kept {
    fn get(&self, key: &Digest) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    fn put(&self, key: &Digest, members: &[u8]) -> io::Result<()> {
        assert!(self.0.lock().unwrap().insert(*key, members.to_vec()).is_none());
        Ok(())
    }
}

#[test]
fn kept_segments_give_the_same_layer() {
    let tree = sample();
    let kept = Kept::default();
    let plans = plan_layers(&tree);
    let once = || {
        let mut bytes = Vec::new();
        (encode_layer(&plans[0], &Payloads::new(), &kept, &mut bytes).unwrap(), bytes)
    };
    assert_eq!(once(), once());
    assert_eq!(once(), encode(&tree)[0]);
    assert_eq!(kept.0.lock().unwrap().len(), plans[0].segments.len());
}

#[test]
fn tar_and_gzip_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    for (index, (_, bytes)) in encode(&sample()).into_iter().enumerate() {
        let archive = folder.path().join(format!("{index}.tar.gz"));
        fs::write(&archive, bytes).unwrap();
        assert!(Command::new("gzip").arg("-t").arg(&archive).status().unwrap().success());
        let output = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for (path, entry) in sample().iter().filter(|(path, _)| !path.is_root()) {
        let found = root.join(path.as_str());
        match &entry.kind {
            Kind::Directory => assert!(found.is_dir(), "{path}"),
            Kind::Symlink(target) => {
                assert_eq!(fs::read_link(found).unwrap().to_str(), Some(target.as_str()))
            }
            Kind::File { content: Content::Bytes(bytes), .. } => {
                assert_eq!(fs::read(found).unwrap(), **bytes, "{path}")
            }
            Kind::File { .. } => panic!("{path}"),
        }
    }
    use std::os::unix::fs::MetadataExt as _;
    let inode = |name: &str| fs::metadata(root.join(name)).unwrap().ino();
    assert_eq!(inode("usr/bin/two"), inode("usr/bin/zwei"));
}

#[test]
fn a_file_that_changed_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.js");
    fs::write(&file, "first").unwrap();
    let content = Content::Host { path: file.clone(), digest: Digest::of(b"first"), length: 5 };
    let mut tree = Tree::new(0);
    tree.insert(path("app/server.js"), entry(Kind::File { content, linked: false }, Owner::Source));
    let encode = || encode_layer(&plan_layers(&tree)[0], &Payloads::new(), &NoCache, &mut Vec::new());
    encode().unwrap();
    // Neither length nor time has to change.
    fs::write(&file, "other").unwrap();
    assert_eq!(encode().unwrap_err().to_string(), "the content of /app/server.js cannot be read");
}

#[test]
fn umoci_reads_the_layout() {
    let folder = tempfile::tempdir().unwrap();
    let layers = encode(&sample());
    let config = ImageConfig {
        platform: Platform { architecture: "amd64".into(), os: "linux".into(), variant: None },
        process: Process {
            user: "65532:65532".into(),
            ports: vec!["3000/tcp".into()],
            environment: BTreeMap::from([("NODE_ENV".into(), "production".into())]),
            entrypoint: vec!["/usr/bin/one".into()],
            arguments: vec![],
            working_directory: None,
        },
    };
    let encoded: Vec<_> = layers.iter().map(|(layer, _)| *layer).collect();
    let image = Image::assemble(&config, &encoded);
    let mut blobs: BTreeMap<_, _> =
        layers.into_iter().map(|(layer, bytes)| (layer.digest, builder_image::Blob::Bytes(bytes))).collect();
    blobs.insert(image.config.0.digest, builder_image::Blob::Bytes(image.config.1.clone()));
    let layout = folder.path().join("layout");
    let named = [NamedImage { name: "sample".into(), manifest: image.manifest }];
    for _ in 0..2 {
        export_layout(&layout, &named, &blobs).unwrap();
    }
    let output = Command::new("umoci")
        .args(["unpack", "--rootless", "--image"])
        .arg(format!("{}:sample", layout.display()))
        .arg(folder.path().join("bundle"))
        .output()
        .expect("umoci is installed (Debian package umoci)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read(folder.path().join("bundle/rootfs/usr/bin/one")).unwrap(), b"one");
    let error = export_layout(folder.path(), &named, &blobs).unwrap_err();
    assert!(error.to_string().contains("not an OCI layout"), "{error}");
}

proptest! {
    /// Cutting into layers loses nothing and adds nothing.
    #[test]
    fn every_path_stands_in_a_layer_once(
        places in prop::collection::btree_map("[a-c](/[a-c]){0,3}", 0_u8..4, 1..40)
    ) {
        let mut tree = Tree::new(0);
        for (text, owner) in &places {
            let owner = match owner {
                0 => Owner::Source,
                1 => Owner::Generated("g".into()),
                other => Owner::Package(format!("p{other}").into()),
            };
            let at = path(text);
            let is_parent = places.keys().any(|other| path(other).is_below(&at));
            let kind = if is_parent { Kind::Directory } else { Kind::File { content: Content::bytes(text.as_bytes()), linked: false } };
            tree.insert(at, entry(kind, owner));
        }
        let mut merged = BTreeMap::new();
        for (_, bytes) in encode(&tree) {
            let archive = gunzip(&bytes);
            let names = names(&archive);
            let unique: std::collections::BTreeSet<_> = names.iter().collect();
            prop_assert_eq!(unique.len(), names.len());
            for name in names {
                merged.insert(name.trim_end_matches('/').to_owned(), ());
            }
        }
        let expected: Vec<_> =
            tree.iter().filter(|(path, _)| !path.is_root()).map(|(path, _)| path.as_str().to_owned()).collect();
        let mut found: Vec<_> = merged.into_keys().collect();
        found.sort_by_key(|name| path(name));
        prop_assert_eq!(found, expected);
    }
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .arg("-dc")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || io::Write::write_all(&mut input, &bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

fn names(archive: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while archive[at] != 0 {
        let block = &archive[at..at + 512];
        let text = |field: &[u8]| {
            String::from_utf8(field.split(|byte| *byte == 0).next().unwrap().to_vec()).unwrap()
        };
        names.push(text(&block[..100]));
        let size = usize::from_str_radix(&text(&block[124..136]), 8).unwrap();
        at += 512 + size.div_ceil(512) * 512;
    }
    names
}
