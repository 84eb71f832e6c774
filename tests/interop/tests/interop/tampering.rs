//! What somebody changed in the registry's data is refused by every client, ours included.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use registry_client::{ClientError, Registry, Scheme};
use registry_wire::{Descriptor, Digest, Reference, RepositoryName, StoredManifest};
use test_interop::{
    platform,
    program::{built, refused, run, system},
    served::{Served, text},
    tool::Bundle,
};

use crate::scratch;

/// `bundle registry serve` with data of its own.
struct Serving {
    process: Child,
    address: String,
}

impl Serving {
    fn start(bundle: &Bundle, data: &Path) -> Result<Self> {
        let mut command = bundle.command(["registry", "serve", "--address", "127.0.0.1:0", "--root"]);
        let mut process = command.arg(data).stderr(Stdio::piped()).spawn().context("the registry starts")?;
        let mut lines = BufReader::new(process.stderr.take().context("it has a standard error")?).lines();
        let line = lines.next().context("it says where it listens")??;
        let rest = line.split_once("listening on ").with_context(|| format!("`{line}` names an address"))?.1;
        let address = rest.split(',').next().unwrap_or(rest).to_owned();
        Ok(Self { process, address })
    }

    /// Ends it in order, so that everything is in its files.
    fn stop(mut self) -> Result<()> {
        run(Command::new("kill").arg(self.process.id().to_string()))?;
        let status = self.process.wait()?;
        ensure!(status.success(), "the registry ends with {status}");
        Ok(())
    }

    fn registry(&self) -> Result<Registry> {
        Ok(Registry::new(self.address.parse()?, Scheme::Http)?)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // After `stop` there is nobody to end.
        drop(self.process.kill().and_then(|()| self.process.wait()));
    }
}

fn blob_path(data: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    data.join("blobs/sha256").join(&hex[..2]).join(hex)
}

/// Other programs that read an image into a folder.
fn readers(reference: &str, folder: &Path) -> Result<Vec<Command>> {
    let mut skopeo = system("skopeo")?;
    skopeo.args(["copy", "--src-tls-verify=false", &format!("docker://{reference}")]);
    skopeo.arg(format!("oci:{}:image", text(&folder.join("skopeo"))?));
    let mut crane = built("crane", folder)?;
    crane.args(["pull", "--insecure", "--format=oci", reference]).arg(folder.join("crane"));
    let mut oras = built("oras", folder)?;
    oras.args(["copy", "--from-plain-http", "--to-oci-layout", reference]);
    oras.arg(format!("{}:image", text(&folder.join("oras"))?));
    Ok(vec![skopeo, crane, oras])
}

struct Image {
    repository: RepositoryName,
    manifest: StoredManifest,
    layer: Descriptor,
}

async fn read_layer(serving: &Serving, image: &Image) -> Result<Vec<u8>, ClientError> {
    let registry = serving.registry().expect("the address of a registry");
    registry.get_blob(&image.repository, &image.layer, image.layer.size).await
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_and_cut_blobs_and_manifests_in_the_registrys_data_are_refused() -> Result<()> {
    let served = Served::shared(scratch())?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let serving = Serving::start(&served.bundle, &data)?;
    let recipes = platform::recipes()?;
    let arguments =
        ["release", "--platform", text(&recipes)?, "--scheme", "http", "--registry", &serving.address];
    let released = served.bundle.json(arguments)?;
    ensure!(
        released["digest"] == served.release.to_string(),
        "the release is the one of `bundle up`: {released}"
    );

    let digest = served.images["cache"].digest;
    let repository: RepositoryName = format!("{}/cache", served.repository).parse()?;
    let manifest = serving.registry()?.get_manifest(&repository, &Reference::Digest(digest)).await?;
    let manifest = manifest.context("the image is there")?;
    let document: serde_json::Value = serde_json::from_slice(manifest.bytes())?;
    let layer: Descriptor = serde_json::from_value(document["layers"][0].clone())?;
    let image = Image { repository, manifest, layer };
    let reference = |serving: &Serving| format!("{}/{}@{digest}", serving.address, image.repository);
    ensure!(Digest::of(&read_layer(&serving, &image).await?) == image.layer.digest, "the true layer is read");

    // One bit of a layer.
    let path = blob_path(&data, &image.layer.digest);
    let original = fs::read(&path)?;
    let mut changed = original.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    replace(&path, &changed)?;
    let Err(error) = read_layer(&serving, &image).await else { bail!("changed bytes were taken") };
    ensure!(
        matches!(&error, ClientError::Tampered { expected, found, .. }
            if *expected == image.layer.digest && *found == Digest::of(&changed)),
        "refused as tampered: {error:?}"
    );
    let said = error.to_string();
    ensure!(
        said.contains(&image.layer.digest.to_string()) && said.contains(&serving.address),
        "`{said}` is clear"
    );
    println!("{said}");
    for mut reader in readers(&reference(&serving), folder.path())? {
        let said = refused(&mut reader)?;
        ensure!(
            said.contains(&image.layer.digest.hex()) || said.contains("digest"),
            "refused otherwise: {said}"
        );
    }

    // A layer that was cut.
    replace(&path, &original[..middle])?;
    let Err(error) = read_layer(&serving, &image).await else { bail!("a cut layer was taken") };
    let said = error.to_string();
    ensure!(
        said.contains(&image.layer.digest.to_string()) && said.contains(&serving.address),
        "`{said}` is clear"
    );
    println!("{said}");
    replace(&path, &original)?;
    ensure!(read_layer(&serving, &image).await? == original, "the true layer is read again");

    // One byte of a manifest, in the database, of the same length.
    serving.stop()?;
    let mut changed = image.manifest.bytes().to_vec();
    let end =
        changed.windows(6).rposition(|bytes| bytes == b"sha256").context("a manifest names blobs")? + 10;
    changed[end] = if changed[end] == b'0' { b'1' } else { b'0' };
    ensure!(
        exchange(&data.join("meta.sqlite"), image.manifest.bytes(), &changed)? > 0,
        "the database holds it"
    );
    let serving = Serving::start(&served.bundle, &data)?;
    let answer = serving.registry()?.get_manifest(&image.repository, &Reference::Digest(digest)).await;
    let Err(error) = answer else { bail!("a changed manifest was taken") };
    let said = error.to_string();
    ensure!(said.contains(&digest.to_string()), "`{said}` is clear");
    println!("{said}");
    for mut reader in readers(&reference(&serving), &folder.path().join("manifest"))? {
        refused(&mut reader)?;
    }
    serving.stop()
}

/// Writes a file anew, as somebody would who may write there.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::remove_file(path)?;
    fs::write(path, bytes).with_context(|| format!("{} is written", path.display()))
}

/// Replaces bytes of a file by as many others; says how often.
fn exchange(path: &Path, old: &[u8], new: &[u8]) -> Result<usize> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    let places: Vec<_> = bytes
        .windows(old.len())
        .enumerate()
        .filter(|(_, window)| *window == old)
        .map(|(place, _)| place)
        .collect();
    for place in &places {
        bytes[*place..*place + new.len()].copy_from_slice(new);
    }
    fs::write(path, bytes)?;
    Ok(places.len())
}
