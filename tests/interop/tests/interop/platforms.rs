//! An image for two platforms, assembled on a machine of one: packages of both from the archive, an index that crane
//! reads, and of the foreign image the tree that dpkg unpacks, with what is declared of its scripts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use bundles_release::lock::{Architecture, Lock, LockedPackage};
use registry_wire::Digest;
use serde_json::{Value, json};
use test_interop::{
    platform,
    program::{self, built, run, system},
    served::{self, Served, text},
};

use crate::scratch;

/// What differs from the packages' own files in the image of the recipe `cache`: what is declared of scripts, and what
/// stands for dpkg. Records of packages come to it.
const EFFECTS: &str = "\
    etc/dpkg/origins/default etc/group etc/ld.so.cache etc/motd etc/opt etc/passwd etc/profile etc/redis \
    etc/redis/redis.conf media mnt opt root/.bashrc root/.profile run/lock srv usr/local usr/local/bin usr/local/etc \
    usr/local/games usr/local/include usr/local/lib usr/local/man usr/local/sbin usr/local/share usr/local/share/man \
    usr/local/src usr/share/info/dir var/lib/redis var/lock var/log/btmp var/log/lastlog var/log/redis var/log/wtmp \
    var/mail var/opt var/run var/spool/mail";
const RECORDS: &str = "var/lib/dpkg/status.d";
const LOADER_CACHE: &str = "etc/ld.so.cache";

/// The reference platform's cache for both platforms, as a platform of its own.
fn write_platform(folder: &Path) -> Result<()> {
    let recipes = platform::recipes()?;
    platform::copy(&recipes.join("cache"), &folder.join("cache"))?;
    let manifest = fs::read_to_string(recipes.join("bundle.toml"))?;
    let manifest = manifest.replace("\"generator\"", "\"platforms\"");
    ensure!(manifest.matches("\"platforms\"").count() == 2, "the platform has another name");
    fs::write(folder.join("bundle.toml"), manifest)?;
    fs::create_dir(folder.join("environments"))?;
    fs::write(folder.join("environments/test.toml"), "")?;
    for_platforms(folder, r#"["linux/arm64", "linux/amd64"]"#)
}

fn for_platforms(folder: &Path, platforms: &str) -> Result<()> {
    let path = folder.join("cache/recipe.toml");
    let recipe = fs::read_to_string(&path)?;
    let lines = recipe.lines().filter(|line| !line.starts_with("platforms = "));
    let with = |line: &str| match line {
        "[image]" => format!("[image]\nplatforms = {platforms}\n"),
        line => format!("{line}\n"),
    };
    Ok(fs::write(path, lines.map(with).collect::<String>())?)
}

fn lock_of(folder: &Path) -> Result<Lock> {
    Ok(Lock::parse(&fs::read_to_string(folder.join("bundle.lock"))?)?)
}

/// A path of a tree: all but its time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    mode: u32,
    owner: (u32, u32),
    content: Option<Vec<u8>>,
}

type Nodes = BTreeMap<String, Node>;

fn nodes(root: &Path) -> Result<Nodes> {
    let mut nodes = Nodes::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let data = fs::symlink_metadata(&path)?;
            let content = if data.is_symlink() {
                Some(fs::read_link(&path)?.into_os_string().into_encoded_bytes())
            } else if data.is_dir() {
                folders.push(path.clone());
                None
            } else {
                Some(fs::read(&path)?)
            };
            let node = Node { mode: data.mode(), owner: (data.uid(), data.gid()), content };
            nodes.insert(text(path.strip_prefix(root)?)?.to_owned(), node);
        }
    }
    Ok(nodes)
}

fn unpack(archive: Stdio, folder: &Path) -> Result<()> {
    let mut tar = system("tar")?;
    tar.args([
        "--extract",
        "--numeric-owner",
        "--same-owner",
        "--same-permissions",
        "--keep-directory-symlink",
    ]);
    run(tar.arg("--directory").arg(folder).stdin(archive)).map(|_| ())
}

/// What dpkg-deb unpacks of packages, one after the other, where /usr is merged as Debian has it.
fn unpacked_by_dpkg<'p>(
    packages: impl Iterator<Item = &'p LockedPackage>,
    downloads: &Path,
    folder: &Path,
) -> Result<Nodes> {
    fs::create_dir_all(folder)?;
    for name in ["bin", "lib", "sbin"] {
        fs::create_dir_all(folder.join("usr").join(name))?;
        symlink(format!("usr/{name}"), folder.join(name))?;
    }
    for package in packages {
        let file = downloads.join("sha256").join(package.sha256.hex());
        let mut dpkg = Command::new(program::installed("dpkg-deb")?);
        let mut dpkg = dpkg.arg("--fsys-tarfile").arg(&file).stdout(Stdio::piped()).spawn()?;
        let archive = dpkg.stdout.take().context("dpkg-deb writes an archive")?;
        unpack(archive.into(), folder)?;
        ensure!(dpkg.wait()?.success(), "dpkg-deb cannot read {}", file.display());
    }
    nodes(folder)
}

/// Names of libraries by path, as the real ldconfig reads the cache.
fn libraries(tree: &Nodes, home: &Path) -> Result<BTreeMap<String, String>> {
    let cache = tree[LOADER_CACHE].content.as_ref().context("the cache is a file")?;
    let file = home.join("ld.so.cache");
    fs::write(&file, cache)?;
    let listed = String::from_utf8(run(system("ldconfig")?.arg("-p").arg("-C").arg(&file))?)?;
    let line = |line: &str| {
        let (name, path) =
            line.trim().split_once(" => ").with_context(|| format!("`{line}` names a path"))?;
        Ok((path.to_owned(), name.to_owned()))
    };
    listed.lines().filter(|line| line.starts_with('\t')).map(line).collect()
}

#[test]
fn the_foreign_image_of_an_index_is_what_dpkg_unpacks_and_what_is_declared() -> Result<()> {
    let served = Served::shared(scratch())?;
    let folder = tempfile::tempdir()?;
    let (home, recipes) = (folder.path(), folder.path().join("platform"));
    fs::create_dir(&recipes)?;
    write_platform(&recipes)?;
    let recipes_text = text(&recipes)?;

    served.bundle.json(["lock", "--platform", recipes_text])?;
    let lock = lock_of(&recipes)?;
    ensure!(lock.divergences().is_empty(), "the stable archive has one version: {:?}", lock.divergences());
    let build = || platform::images(&served.bundle.json(["build", "--platform", recipes_text])?);
    let first = build()?["cache"];
    ensure!(first.built, "the image is built");
    ensure!(!build()?["cache"].built, "a second build has nothing to do");
    // A store of its own, from the same lock.
    let other = served::bundle(scratch(), &home.join("home"))?;
    fs::remove_file(other.home().join("downloads"))?;
    symlink(served.bundle.home().join("downloads"), other.home().join("downloads"))?;
    let again = platform::images(&other.json(["build", "--platform", recipes_text])?)?["cache"];
    ensure!(again.built && again.digest == first.digest, "the same index comes out: {again:?}, {first:?}");

    let release = served.bundle.json([
        "release",
        "--platform",
        recipes_text,
        "--scheme",
        "http",
        "--registry",
        &served.address,
    ])?;
    let repository = format!("{}/platforms", served.address);
    let image = format!("{repository}/cache@{}", first.digest);
    run(built("crane", home)?.args(["validate", "--insecure", "--remote", &image]))?;
    let index: Value =
        serde_json::from_slice(&run(built("crane", home)?.args(["manifest", "--insecure", &image]))?)?;
    let platforms: Vec<&Value> = index["manifests"]
        .as_array()
        .context("an index lists manifests")?
        .iter()
        .map(|one| &one["platform"])
        .collect();
    ensure!(
        json!(platforms)
            == json!([
                { "architecture": "amd64", "os": "linux" },
                { "architecture": "arm64", "os": "linux", "variant": "v8" },
            ]),
        "{index:#}"
    );
    // Tools that copy the whole release take the images of all platforms along.
    let carrier = release["carrier"].as_str().context("a release has a carrier")?;
    let copy = format!("{}/copies/platforms", served.address);
    run(built("crane", home)?.args(["copy", "--insecure", carrier, &format!("{copy}:copy")]))?;
    let layout = format!("oci:{}:all", text(&home.join("layout"))?);
    let skopeo = |reference: &str| {
        let mut skopeo = system("skopeo")?;
        skopeo.args(["copy", "--all", "--preserve-digests", "--src-tls-verify=false"]);
        skopeo.args([&format!("docker://{reference}"), &layout]);
        anyhow::Ok(skopeo)
    };
    run(&mut skopeo(&image)?)?;
    // skopeo takes no index within an index; it copies releases of single platforms only.
    let told = program::refused(&mut skopeo(carrier)?)?;
    ensure!(told.contains("manifest list instead of a manifest"), "{told}");

    let mut trees = BTreeMap::new();
    for (at, architecture) in ["amd64", "arm64"].into_iter().enumerate() {
        let named = format!("--platform=linux/{architecture}");
        let digest = run(built("crane", home)?.args(["digest", "--insecure", &named, &image]))?;
        let digest: Digest = String::from_utf8(digest)?.trim().parse()?;
        ensure!(index["manifests"][at]["digest"] == digest.to_string(), "crane finds {architecture}");
        run(built("crane", home)?.args(["validate", "--insecure", "--remote", &format!("{copy}@{digest}")]))?;
        let config = run(built("crane", home)?.args(["config", "--insecure", &named, &image]))?;
        let config: Value = serde_json::from_slice(&config)?;
        ensure!(config["architecture"] == architecture, "{config:#}");

        let archive = home.join(format!("{architecture}.tar"));
        run(built("crane", home)?.args(["export", "--insecure", &named, &image]).arg(&archive))?;
        let ours = home.join(architecture);
        fs::create_dir(&ours)?;
        unpack(fs::File::open(&archive)?.into(), &ours)?;
        trees.insert(architecture, nodes(&ours)?);
    }

    let architecture: Architecture = "arm64".parse()?;
    let packages: Vec<_> = lock.selected_packages(&"cache".parse()?, &architecture).collect();
    let ours = &trees["arm64"];
    let theirs = unpacked_by_dpkg(
        packages.iter().copied(),
        &served.bundle.home().join("downloads"),
        &home.join("dpkg"),
    )?;
    ensure!(theirs.len() > 500, "dpkg unpacked {} paths", theirs.len());
    let differing: BTreeSet<&str> = ours
        .keys()
        .chain(theirs.keys())
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .map(String::as_str)
        .filter(|path| !path.starts_with(RECORDS))
        .collect();
    let declared: BTreeSet<&str> = EFFECTS.split_whitespace().collect();
    let more: Vec<_> = differing.difference(&declared).collect();
    let less: Vec<_> = declared.difference(&differing).collect();
    ensure!(more.is_empty() && less.is_empty(), "differing and not declared: {more:?}; declared: {less:?}");

    // One record for each package, each of its architecture.
    for package in &packages {
        let path = format!("{RECORDS}/{}", package.name);
        let record = ours.get(&path).and_then(|node| node.content.clone()).context(path.clone())?;
        let line = format!("\nArchitecture: {}\n", package.architecture);
        ensure!(String::from_utf8(record)?.contains(&line), "{path} has `{line}`");
    }
    let records = ours.keys().filter(|path| path.starts_with(&format!("{RECORDS}/")));
    ensure!(records.count() == 2 * packages.len(), "a record and sums for each package");

    // What does not depend on the architecture is the same on both.
    let native = &trees["amd64"];
    let shared = packages.iter().filter(|package| package.architecture.is_all());
    let shared: Vec<String> = shared.map(|package| format!("{RECORDS}/{}", package.name)).collect();
    for path in declared.iter().copied().chain(shared.iter().map(String::as_str)) {
        let same = ours.get(path) == native.get(path);
        ensure!(same || path == LOADER_CACHE, "{path}: {:?}, {:?}", ours.get(path), native.get(path));
    }
    let usr = |path: &str| ours.get(path) == native.get(path) && ours.contains_key(path);
    ensure!(usr("usr/lib/os-release") && usr("etc/debian_version"), "both are of one release");

    let (foreign, known) = (libraries(ours, home)?, libraries(native, home)?);
    ensure!(foreign.len() > 10, "{foreign:?}");
    for (path, name) in &foreign {
        let is_foreign = path.contains("/aarch64-linux-gnu/") || path == "/lib/ld-linux-aarch64.so.1";
        ensure!(name.ends_with("(libc6,AArch64)") && is_foreign, "{path} {name}");
        let real = path.trim_start_matches('/').replacen("lib/", "usr/lib/", 1).replace("usr/usr", "usr");
        ensure!(ours.contains_key(&real), "{path} is in the image");
    }
    let names = |of: &BTreeMap<String, String>| -> BTreeSet<String> {
        of.values().filter_map(|name| name.split(' ').next()).map(str::to_owned).collect()
    };
    let (foreign, known) = (names(&foreign), names(&known));
    let only_known: Vec<_> = known.difference(&foreign).map(String::as_str).collect();
    let only_foreign: Vec<_> = foreign.difference(&known).map(String::as_str).collect();
    ensure!(
        only_foreign == ["ld-linux-aarch64.so.1"] && only_known == ["ld-linux-x86-64.so.2", "libmvec.so.1"],
        "{only_foreign:?}, {only_known:?}"
    );
    Ok(())
}

#[test]
fn a_recipe_for_one_platform_is_what_it_was() -> Result<()> {
    let served = Served::shared(scratch())?;
    let folder = tempfile::tempdir()?;
    let recipes = folder.path().join("platform");
    platform::copy(&platform::recipes()?, &recipes)?;
    for_platforms(&recipes, r#"["linux/amd64"]"#)?;
    let images = platform::images(&served.bundle.json(["build", "--platform", text(&recipes)?])?)?;
    ensure!(images == served.images || images.values().all(|image| !image.built), "{images:?}");
    for (name, image) in images {
        ensure!(image.digest == served.images[&name].digest, "{name} is the same");
    }
    Ok(())
}
