//! The platform as `bundle up` leaves it: built, signed and served by the registry of this machine.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use anyhow::{Context as _, Result};
use registry_wire::Digest;

use crate::{
    platform::{self, BuiltImage},
    program,
    tool::{self, Bundle},
};

/// What the tests of one run share.
#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    /// Copies, so that a build that goes on beside the tests changes nothing under them.
    executable: PathBuf,
    _lock: File,
}

/// The folder of this run, with all locked packages downloaded and nothing else.
fn shared(scratch: &Path) -> Result<&'static Shared> {
    static SHARED: OnceLock<Result<Shared, String>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| prepare(scratch).map_err(|error| format!("{error:#}")));
    shared.as_ref().map_err(|error| anyhow::anyhow!(error.clone()))
}

fn prepare(scratch: &Path) -> Result<Shared> {
    let folder = scratch.join("interop");
    fs::create_dir_all(&folder)?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock().context("no other run of these tests is under way")?;
    let executable = folder.join("bundle");
    fs::copy(tool::executable()?, &executable)?;
    let shared = Shared { folder, executable, _lock: lock };
    let bundle = shared.bundle();
    // What a run left that was killed.
    program::run(&mut bundle.command(["down"]))?;
    for name in ["store", "registry", "keys"] {
        // Downloads stay: they are verified by hash each time.
        let kept = bundle.home().join(name);
        if kept.exists() {
            fs::remove_dir_all(kept)?;
        }
    }
    bundle.json(["fetch", "--platform", text(&platform::recipes()?)?])?;
    Ok(shared)
}

impl Shared {
    fn bundle(&self) -> Bundle {
        Bundle::new(&self.executable, &self.folder.join("home"))
    }
}

/// The executable, with a home that holds only the locked packages. `scratch` is the test's folder below `target`.
pub fn executable(scratch: &Path) -> Result<PathBuf> {
    Ok(shared(scratch)?.executable.clone())
}

/// The locked packages by hash.
pub fn downloads(scratch: &Path) -> Result<PathBuf> {
    Ok(shared(scratch)?.folder.join("home/downloads"))
}

/// The executable with `home`, which has the locked packages and nothing else.
pub fn bundle(scratch: &Path, home: &Path) -> Result<Bundle> {
    fs::create_dir_all(home)?;
    symlink(downloads(scratch)?, home.join("downloads"))?;
    Ok(Bundle::new(&executable(scratch)?, home))
}

/// A published platform. The registry stops with the last test that uses it.
#[derive(Debug)]
pub struct Served {
    /// The executable with the home that everything is kept in.
    pub bundle: Bundle,
    /// `HOST:PORT` of the registry.
    pub address: String,
    /// The repository of the product.
    pub repository: String,
    /// The release.
    pub release: Digest,
    /// Images by recipe.
    pub images: BTreeMap<String, BuiltImage>,
}

impl Served {
    /// The platform, published by the first test that asks.
    pub fn shared(scratch: &Path) -> Result<Arc<Self>> {
        static SERVED: Mutex<Weak<Served>> = Mutex::new(Weak::new());
        let mut served = SERVED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(served) = served.upgrade() {
            return Ok(served);
        }
        let made = Arc::new(Self::up(shared(scratch)?.bundle())?);
        *served = Arc::downgrade(&made);
        Ok(made)
    }

    /// Runs `bundle up` on the recipes.
    pub fn up(bundle: Bundle) -> Result<Self> {
        let address = free_address()?;
        let document = bundle.json(["up", text(&platform::recipes()?)?, "--listen", &address])?;
        let reference = document["reference"].as_str().context("a release has a reference")?;
        let (repository, digest) = reference
            .strip_prefix(&format!("{address}/"))
            .and_then(|rest| rest.split_once('@'))
            .with_context(|| format!("{reference} lies in the registry that was asked for"))?;
        Ok(Self {
            images: platform::images(&document)?,
            release: digest.parse()?,
            repository: repository.to_owned(),
            address,
            bundle,
        })
    }

    /// `HOST:PORT/REPOSITORY@DIGEST` of the release.
    pub fn release_reference(&self) -> String {
        self.reference(&self.repository, self.release)
    }

    /// `HOST:PORT/REPOSITORY/NAME@DIGEST` of each image.
    pub fn image_references(&self) -> impl Iterator<Item = (&str, String, Digest)> {
        self.images.iter().map(|(name, image)| {
            (
                name.as_str(),
                self.reference(&format!("{}/{name}", self.repository), image.digest),
                image.digest,
            )
        })
    }

    fn reference(&self, repository: &str, digest: Digest) -> String {
        format!("{}/{repository}@{digest}", self.address)
    }

    /// The public key that vouches for releases.
    pub fn release_key(&self) -> PathBuf {
        self.bundle.home().join("keys").join(&self.repository).join("release.pub")
    }

    /// Where the registry keeps a blob.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.bundle.home().join("registry/data/blobs/sha256").join(&hex[..2]).join(hex)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Err(error) = program::run(&mut self.bundle.command(["down"])) {
            // The test's result stands; a registry that is left is found by the next run, which says so.
            drop(error);
        }
    }
}

/// An address of this machine that nobody listens on.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0").context("a port is free")?.local_addr()?.to_string())
}

/// A path as an argument.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is UTF-8", path.display()))
}
