//! Layers: the same bytes always, and what other programs read from them.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, process::Command};

use builder_image::{
    EncodedImage, EncodedIndex, Fragment, FragmentIndex, ImageConfig, Layer, LayerWriter, NamedImage,
    Process, export_layout, plan,
};
use builder_tree::{Capabilities, Content, Entry, Kind, Owner, Payloads, Tree, TreePath};
use proptest::prelude::*;
use registry_wire::{Digest, Platform};

fn entry(kind: Kind, owner: Owner) -> Entry {
    let mode = if matches!(kind, Kind::Directory) { 0o755 } else { 0o644 };
    Entry { kind, mode, uid: 0, gid: 0, mtime: 1_700_000_000, owner }
}

fn path(text: &str) -> TreePath {
    text.parse().unwrap()
}

/// A payload file with the content of a file that has two names.
struct Sample {
    _folder: tempfile::TempDir,
    payloads: Payloads,
    tree: Tree,
}

fn sample() -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let file_path = folder.path().join("payload");
    fs::write(&file_path, b"the same file").unwrap();
    let deb = Digest::of(b"a package");
    let mut payloads = Payloads::new();
    payloads.add(deb, file_path);
    let mut tree = Tree::new(0);
    let package = |name: &str| Owner::Package(name.into());
    let file = |text: &str| Kind::File { content: Content::bytes(text.as_bytes()), linked: false };
    let linked =
        || Kind::File { content: Content::Payload { package: deb, offset: 0, length: 13 }, linked: true };
    let long = format!("usr/share/{}/{}/ä", "p".repeat(120), "q".repeat(90));
    tree.insert(path("usr/bin/two"), entry(linked(), package("two")));
    tree.insert(path("usr/bin/one"), entry(file("one"), package("one")));
    tree.insert(path("usr/bin/zwei"), entry(linked(), package("two")));
    tree.insert(path(&long), entry(file("long"), package("one")));
    tree.insert(path("bin"), entry(Kind::Symlink("usr/bin".into()), package("one")));
    tree.insert(
        path("etc/passwd"),
        entry(file("root:x:0:0::/:/none\n"), Owner::Generated("accounts".into())),
    );
    tree.insert(path("usr/lib/large"), entry(file(&"x".repeat(3 << 20)), package("one")));
    Sample { _folder: folder, payloads, tree }
}

fn encode(tree: &Tree, payloads: &Payloads) -> (Layer, Vec<u8>) {
    let mut writer = LayerWriter::new(Vec::new());
    for fragment in plan(tree) {
        let (index, bytes) = compress(&fragment, payloads);
        writer.fragment(&index, &mut &bytes[..]).unwrap();
    }
    let (bytes, layer) = writer.finish().unwrap();
    assert_eq!((layer.digest, layer.size), (Digest::of(&bytes), bytes.len() as u64));
    (layer, bytes)
}

fn compress(fragment: &Fragment, payloads: &Payloads) -> (FragmentIndex, Vec<u8>) {
    let mut bytes = Vec::new();
    let index = fragment.compress(payloads, &mut bytes).unwrap();
    (index, bytes)
}

/// A change of one of these is a new id of an encoder.
#[test]
fn golden_bytes() {
    let Sample { tree, payloads, .. } = &sample();
    let (layer, _) = encode(tree, payloads);
    let digests = [layer.diff_id.to_string(), layer.digest.to_string()];
    let golden = [
        "sha256:de0e475b3d85dc2d2b951d87b894506526fb199a7cba9d464b71671dd4877bfb",
        "sha256:421d8bb8a0aa4714fabd5e783fedd81f73eda3966d5a37cd2203303a86f342bc",
    ];
    assert_eq!(digests, golden);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let Sample { tree, payloads, .. } = &sample();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| encode(tree, payloads))
    };
    assert_eq!(with(1), with(7));
}

#[test]
fn a_damaged_fragment_is_not_taken() {
    let Sample { tree, payloads, .. } = &sample();
    let (index, mut bytes) = compress(&plan(tree)[1], payloads);
    *bytes.last_mut().unwrap() ^= 1;
    let mut writer = LayerWriter::new(Vec::new());
    assert!(writer.fragment(&index, &mut &bytes[..]).is_err());
}

#[test]
fn tar_and_gzip_read_it() {
    let Sample { tree, payloads, .. } = &sample();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    let archive = folder.path().join("layer.tar.gz");
    fs::write(&archive, encode(tree, payloads).1).unwrap();
    assert!(Command::new("gzip").arg("-t").arg(&archive).status().unwrap().success());
    let output = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&root).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for (path, entry) in tree.iter().filter(|(path, _)| !path.is_root()) {
        let found = root.join(path.as_str());
        match &entry.kind {
            Kind::Directory => assert!(found.is_dir(), "{path}"),
            Kind::Symlink(target) => {
                assert_eq!(fs::read_link(found).unwrap().to_str(), Some(target.as_str()));
            }
            Kind::File { content, .. } => {
                let expected = payloads.read(content, u64::MAX).unwrap().unwrap();
                assert_eq!(fs::read(found).unwrap(), expected, "{path}");
            }
        }
    }
    let inode = |name: &str| fs::metadata(root.join(name)).unwrap().ino();
    assert_eq!(inode("usr/bin/two"), inode("usr/bin/zwei"));
}

/// Runs as root, like all that sets capabilities.
#[test]
fn tar_sets_the_capabilities_of_a_file() {
    let Sample { mut tree, payloads, _folder } = sample();
    let (before, _) = encode(&tree, &payloads);
    // A file with two names: the archive says it once.
    tree.set_capabilities(&path("usr/bin/zwei"), "cap_net_raw,cap_bpf+ep".parse().unwrap());
    tree.set_capabilities(&path("usr/bin/one"), "cap_net_bind_service=i".parse().unwrap());
    tree.set_capabilities(&path("usr/bin"), "cap_net_raw+ep".parse().unwrap());
    let (layer, bytes) = encode(&tree, &payloads);
    assert_ne!(layer.diff_id, before.diff_id);
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("layer.tar.gz");
    fs::write(&archive, bytes).unwrap();
    let output = Command::new("tar")
        .args(["--xattrs", "--xattrs-include=security.capability", "-xzf"])
        .arg(&archive)
        .arg("-C")
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let found = |name: &str| {
        let mut value = [0; 64];
        let length = rustix::fs::getxattr(folder.path().join(name), "security.capability", &mut value);
        length.map(|length| value[..length].to_vec()).ok()
    };
    let expected = |text: &str| text.parse::<Capabilities>().unwrap().attribute().to_vec();
    assert_eq!(found("usr/bin/two"), Some(expected("cap_net_raw,cap_bpf+ep")));
    assert_eq!(found("usr/bin/zwei"), found("usr/bin/two"));
    assert_eq!(found("usr/bin/one"), Some(expected("cap_net_bind_service=i")));
    assert_eq!((found("usr/bin"), found("usr/lib/large")), (None, None));
    // A file that takes its place has none.
    tree.insert(path("usr/bin/one"), entry(Kind::Symlink("two".into()), Owner::Source));
    assert_eq!(tree.capabilities(&path("usr/bin/one")), None);
}

#[test]
fn a_file_that_changed_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.js");
    fs::write(&file, "first").unwrap();
    let content = Content::Host { path: file.clone(), digest: Digest::of(b"first"), length: 5 };
    let entries = vec![(path("app/server.js"), entry(Kind::File { content, linked: false }, Owner::Source))];
    let fragment = Fragment::new(entries);
    fragment.compress(&Payloads::new(), &mut Vec::new()).unwrap();
    // Neither length nor time has to change.
    fs::write(&file, "other").unwrap();
    let error = fragment.compress(&Payloads::new(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "cannot encode /app/server.js");
}

#[test]
fn umoci_reads_the_layout() {
    let Sample { tree, payloads, .. } = &sample();
    let folder = tempfile::tempdir().unwrap();
    let (layer, bytes) = encode(tree, payloads);
    let config = ImageConfig {
        platform: Platform { architecture: "amd64".into(), os: "linux".into(), variant: None },
        process: Process {
            user: "65532:65532".into(),
            ports: ["3000/tcp".into()].into(),
            environment: BTreeMap::from([("NODE_ENV".into(), "production".into())]),
            entrypoint: vec!["/usr/bin/one".into()],
            arguments: vec![],
            working_directory: None,
        },
    };
    let image = EncodedImage::new(&config, std::slice::from_ref(&layer));
    let file = folder.path().join("layer");
    fs::write(&file, &bytes).unwrap();
    let blobs = BTreeMap::from([(layer.digest, file)]);
    let layout = folder.path().join("layout");
    let documents = BTreeMap::from([(image.config.0.digest, image.config.1)]);
    let named = [NamedImage { name: "sample".into(), manifest: image.manifest, documents }];
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

#[test]
fn an_index_of_images() {
    let process = Process {
        user: "65532:65532".into(),
        ports: [].into(),
        environment: BTreeMap::new(),
        entrypoint: vec!["/one".into()],
        arguments: vec![],
        working_directory: None,
    };
    let config = |architecture: &str, variant: Option<&str>| ImageConfig {
        platform: Platform {
            architecture: architecture.into(),
            os: "linux".into(),
            variant: variant.map(str::to_owned),
        },
        process: process.clone(),
    };
    let layer = |name: &str| Layer {
        digest: Digest::of(name.as_bytes()),
        size: 1,
        diff_id: Digest::of(format!("{name} unpacked").as_bytes()),
        tar_size: 2,
    };
    let (amd, arm) = (config("amd64", None), config("arm64", Some("v8")));
    let [one, two, other] = ["one", "two", "other"].map(|name| vec![layer(name)]);
    let index = EncodedIndex::new(&[(&amd, &one), (&arm, &two)]);
    let turned = EncodedIndex::new(&[(&arm, &two), (&amd, &one)]);
    assert_eq!(index.manifest, turned.manifest, "order has no meaning");
    assert_eq!(index.images[0], turned.images[1]);
    let listed = &index.manifest.index().unwrap().manifests;
    assert_eq!(listed[0].digest, index.images[0].manifest.digest());
    assert_eq!(listed[1].platform, Some(arm.platform.clone()));
    // The bytes are pinned, as those of layers are.
    assert_eq!(
        index.manifest.digest().to_string(),
        "sha256:677495783835e69ef656068395af172ab46fb4066db025645de98d2423910ba9"
    );

    // Where one image changes, no configuration is the one of before, nor that of the image alone.
    let changed = EncodedIndex::new(&[(&amd, &one), (&arm, &other)]);
    let alone = EncodedImage::new(&amd, &one);
    let configs = [&index.images[0], &changed.images[0], &alone].map(|image| image.config.0.digest);
    assert!(configs[0] != configs[1] && configs[1] != configs[2] && configs[0] != configs[2]);
    assert!(!String::from_utf8(alone.config.1).unwrap().contains("Labels"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Cutting into fragments loses nothing and adds nothing.
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
            let file = Kind::File { content: Content::bytes(text.as_bytes()), linked: false };
            tree.insert(at, entry(if is_parent { Kind::Directory } else { file }, owner));
        }
        let mut found: Vec<TreePath> =
            plan(&tree).iter().flat_map(|fragment| fragment.entries().iter().map(|(path, _)| path.clone())).collect();
        found.sort();
        let expected: Vec<TreePath> = tree.iter().map(|(path, _)| path.clone()).collect();
        prop_assert_eq!(found, expected);
    }
}
