//! Generic tools copy a release with all its images by its carrier index, byte for byte.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use registry_wire::Digest;
use serde_json::Value;
use test_interop::{
    program::{built, run, system},
    served::{Served, text},
};

use crate::scratch;

/// The digests of all manifests that the carrier lists, its own first.
fn carried(served: &Served, home: &Path) -> Result<(String, Vec<Digest>)> {
    let document = served.bundle.json([
        "release",
        "--platform",
        text(&test_interop::platform::recipes()?)?,
        "--scheme",
        "http",
        "--registry",
        &served.address,
    ])?;
    let carrier = document["carrier"].as_str().context("a release has a carrier")?.to_owned();
    let bytes = run(built("oras", home)?.args(["manifest", "fetch", "--plain-http", &carrier]))?;
    let index: Value = serde_json::from_slice(&bytes)?;
    let mut digests = vec![Digest::of(&bytes)];
    for manifest in index["manifests"].as_array().context("an index has manifests")? {
        digests.push(manifest["digest"].as_str().context("a descriptor has a digest")?.parse()?);
    }
    let expected: BTreeSet<Digest> =
        served.images.values().map(|image| image.digest).chain([served.release]).collect();
    ensure!(
        digests[1..].iter().copied().collect::<BTreeSet<_>>() == expected,
        "the carrier lists {digests:?}"
    );
    Ok((carrier, digests))
}

/// Every manifest of the carrier and all that it names is in the layout, unchanged.
fn check_layout(layout: &Path, digests: &[Digest]) -> Result<()> {
    let blob = |digest: &Digest| -> Result<Vec<u8>> {
        let path = layout.join("blobs/sha256").join(digest.hex());
        let bytes = fs::read(&path).with_context(|| format!("{digest} was copied"))?;
        ensure!(Digest::of(&bytes) == *digest, "{digest} has other bytes");
        Ok(bytes)
    };
    let mut seen = 0;
    for digest in digests {
        let manifest: Value = serde_json::from_slice(&blob(digest)?)?;
        let layers = manifest["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
        for named in layers.iter().chain(manifest.get("config")) {
            blob(&named["digest"].as_str().context("a descriptor has a digest")?.parse()?)?;
            seen += 1;
        }
    }
    ensure!(seen >= 10, "only {seen} blobs were seen");
    Ok(())
}

#[test]
fn skopeo_copies_a_release_and_its_images_into_a_layout_and_to_another_repository() -> Result<()> {
    let served = Served::shared(scratch())?;
    let folder = tempfile::tempdir()?;
    let home = folder.path();
    let (carrier, digests) = carried(&served, home)?;
    let layout = home.join("layout");
    let local = format!("oci:{}:release", text(&layout)?);
    let mut pull = system("skopeo")?;
    pull.args(["copy", "--all", "--preserve-digests", "--src-tls-verify=false"]);
    run(pull.arg(format!("docker://{carrier}")).arg(&local))?;
    check_layout(&layout, &digests)?;
    let copy = format!("{}/copies/skopeo/release:all", served.address);
    let mut push = system("skopeo")?;
    push.args(["copy", "--all", "--preserve-digests", "--dest-tls-verify=false"]);
    run(push.arg(&local).arg(format!("docker://{copy}")))?;
    check_registry(home, &copy, &digests)
}

#[test]
fn crane_copies_a_release_and_its_images_to_another_repository() -> Result<()> {
    let served = Served::shared(scratch())?;
    let folder = tempfile::tempdir()?;
    let home = folder.path();
    let (carrier, digests) = carried(&served, home)?;
    let copy = format!("{}/copies/crane/release:all", served.address);
    run(built("crane", home)?.args(["copy", "--insecure", &carrier, &copy]))?;
    check_registry(home, &copy, &digests)
}

/// Every manifest of the carrier is in the repository of `copy`, and its tag is the carrier.
fn check_registry(home: &Path, copy: &str, digests: &[Digest]) -> Result<()> {
    let repository = copy.rsplit_once(':').context("a tag")?.0;
    let references = digests.iter().map(|digest| (format!("{repository}@{digest}"), digest));
    for (reference, digest) in references.chain([(copy.to_owned(), &digests[0])]) {
        let bytes = run(built("oras", home)?.args(["manifest", "fetch", "--plain-http", &reference]))?;
        ensure!(Digest::of(&bytes) == *digest, "{reference} has other bytes");
    }
    Ok(())
}
