//! skopeo, crane, oras and umoci read our images, and what they write our registry reads.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use registry_wire::Digest;
use serde_json::Value;
use test_interop::{
    program::{self, built, run, system},
    served::{Served, text},
};

use crate::scratch;

/// The blobs of a layout by name, each with the digest of its bytes.
fn blobs(layout: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut blobs = BTreeMap::new();
    for entry in fs::read_dir(layout.join("blobs/sha256"))? {
        let entry = entry?;
        let bytes = fs::read(entry.path())?;
        let name = entry.file_name().into_string().ok().context("a blob is named by its digest")?;
        ensure!(Digest::of(&bytes).hex() == name, "blob {name} has other bytes");
        blobs.insert(name, bytes);
    }
    Ok(blobs)
}

/// The blobs of one image in a layout: manifest, config, layers.
fn image_blobs(all: &BTreeMap<String, Vec<u8>>, image: Digest) -> Result<BTreeMap<String, Vec<u8>>> {
    let hex = image.hex();
    let bytes = all.get(&hex).with_context(|| format!("the layout holds {image}"))?;
    let manifest: Value = serde_json::from_slice(bytes)?;
    let layers = manifest["layers"].as_array().context("an image has layers")?;
    let digests = layers.iter().chain([&manifest["config"]]).map(|blob| {
        let digest = blob["digest"].as_str().context("a descriptor has a digest")?;
        Ok(digest.parse::<Digest>()?.hex())
    });
    let names = digests.chain([Ok(hex.clone())]).collect::<Result<Vec<_>>>()?;
    ensure!(names.len() >= 3, "image {image} has no layer");
    let blob = |name: String| {
        let bytes = all.get(&name).with_context(|| format!("the layout holds {name}"))?.clone();
        Ok((name, bytes))
    };
    names.into_iter().map(blob).collect()
}

/// Our own layout of all images.
fn our_layout(served: &Served, folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let recipes = test_interop::platform::recipes()?;
    served.bundle.json(["build", "--platform", text(&recipes)?, "--output", text(folder)?])?;
    blobs(folder)
}

#[test]
fn skopeo_crane_and_oras_copy_our_images_byte_by_byte_and_push_them_back() -> Result<()> {
    let served = Served::shared(scratch())?;
    let folder = tempfile::tempdir()?;
    let home = folder.path();
    let ours = our_layout(&served, &home.join("ours"))?;
    let mut seen = 0;
    for (name, reference, digest) in served.image_references() {
        let expected = image_blobs(&ours, digest)?;
        for client in ["skopeo", "crane", "oras"] {
            let layout = home.join(format!("{client}-{name}"));
            let copy = format!("{}/copies/{client}/{name}:copy", served.address);
            let (here, there) = (text(&layout)?, format!("docker://{copy}"));
            match client {
                "skopeo" => {
                    let local = format!("oci:{here}:{name}");
                    let mut pull = system("skopeo")?;
                    pull.args(["copy", "--preserve-digests", "--src-tls-verify=false"]);
                    run(pull.arg(format!("docker://{reference}")).arg(&local))?;
                    let mut push = system("skopeo")?;
                    push.args(["copy", "--preserve-digests", "--dest-tls-verify=false"]);
                    run(push.arg(&local).arg(&there))?;
                }
                "crane" => {
                    run(built("crane", home)?.args([
                        "pull",
                        "--insecure",
                        "--format=oci",
                        &reference,
                        here,
                    ]))?;
                    run(built("crane", home)?.args(["push", "--insecure", here, &copy]))?;
                }
                _ => {
                    let local = format!("{here}:{name}");
                    run(built("oras", home)?.args([
                        "copy",
                        "--from-plain-http",
                        "--to-oci-layout",
                        &reference,
                        &local,
                    ]))?;
                    run(built("oras", home)?.args([
                        "copy",
                        "--from-oci-layout",
                        "--to-plain-http",
                        &local,
                        &copy,
                    ]))?;
                }
            }
            let copied = blobs(&layout)?;
            let names = |blobs: &BTreeMap<String, Vec<u8>>| blobs.keys().cloned().collect::<Vec<_>>();
            ensure!(copied == expected, "{client} {name}: {:?}, not {:?}", names(&copied), names(&expected));
            // What it pushed back is the same image: read by another program than the one that wrote it.
            let pushed = run(built("crane", home)?.args(["digest", "--insecure", &copy]))?;
            ensure!(
                String::from_utf8(pushed)?.trim() == digest.to_string(),
                "{client} pushed another {name}"
            );
            run(built("crane", home)?.args(["validate", "--insecure", "--remote", &copy]))?;
            seen += 1;
        }
    }
    ensure!(seen == 3 * 2, "{seen} copies of two images by three clients");
    Ok(())
}

#[test]
fn oras_copies_a_release_with_its_signature() -> Result<()> {
    let served = Served::shared(scratch())?;
    let folder = tempfile::tempdir()?;
    let layout = folder.path().join("layout");
    let target = format!("{}:release", text(&layout)?);
    let mut copy = built("oras", folder.path())?;
    copy.args(["copy", "--recursive", "--from-plain-http", "--to-oci-layout"]);
    run(copy.arg(served.release_reference()).arg(target))?;
    let copied = blobs(&layout)?;
    let release: Value = serde_json::from_slice(&copied[&served.release.hex()])?;
    let blobs = release["layers"].as_array().context("a release has layers")?.len() + 2;
    let signatures = copied.values().filter(|bytes| {
        serde_json::from_slice::<Value>(bytes)
            .is_ok_and(|manifest| manifest["subject"]["digest"] == served.release.to_string())
    });
    ensure!(signatures.count() == 1, "the signature came with the release");
    ensure!(copied.len() > blobs, "{} blobs of a release with {blobs}", copied.len());
    Ok(())
}

/// Names, kinds, modes, owners, targets and contents; times of everything but folders, which tar changes as it fills
/// them.
fn listing(root: &Path) -> Result<Vec<String>> {
    let mut find = system("find")?;
    find.arg(root).args(["-mindepth", "1", "-type", "d", "-printf", "%P %y %m %U:%G\\n", "-o"]);
    find.args(["-printf", "%P %y %m %U:%G %T@ %l\\n"]);
    let mut lines: Vec<_> = String::from_utf8(run(&mut find)?)?.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    Ok(lines)
}

#[test]
fn umoci_unpacks_our_layout_as_tar_does() -> Result<()> {
    let served = Served::shared(scratch())?;
    let folder = tempfile::tempdir()?;
    let layout = folder.path().join("layout");
    let all = our_layout(&served, &layout)?;
    let mut files = 0;
    for (name, image) in &served.images {
        let unpacked = folder.path().join(format!("umoci-{name}"));
        let mut umoci = system("umoci")?;
        run(umoci.args(["unpack", "--image", &format!("{}:{name}", text(&layout)?)]).arg(&unpacked))?;
        let plain = folder.path().join(format!("tar-{name}"));
        fs::create_dir(&plain)?;
        let manifest: Value = serde_json::from_slice(&all[&image.digest.hex()])?;
        for layer in manifest["layers"].as_array().context("an image has layers")? {
            let digest: Digest = layer["digest"].as_str().context("a layer has a digest")?.parse()?;
            let mut tar = system("tar")?;
            tar.args([
                "--extract",
                "--gzip",
                "--numeric-owner",
                "--same-permissions",
                "--same-owner",
                "--directory",
            ]);
            run(tar.arg(&plain).arg("--file").arg(layout.join("blobs/sha256").join(digest.hex())))?;
        }
        let (theirs, tars) = (listing(&unpacked.join("rootfs"))?, listing(&plain)?);
        let differing: Vec<_> = theirs.iter().filter(|line| !tars.contains(line)).take(5).collect();
        ensure!(theirs == tars, "umoci unpacks {name} otherwise: {differing:?}");
        let mut diff = system("diff")?;
        program::run(
            diff.args(["--recursive", "--no-dereference"]).arg(&plain).arg(unpacked.join("rootfs")),
        )?;
        files += theirs.len();
    }
    ensure!(files > 1000, "only {files} paths were seen");
    Ok(())
}
