//! Where benches work: the executable, brought up to date, and folders that are kept from run to run.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use bundles_release::lock::Lock;
use test_interop::{
    program,
    served::text,
    tool::{self, Bundle},
};

use crate::measure::{Taken, note, run};

/// What cargo builds for a bench, and what it finds up to date. The tests build the same, so that nothing is built
/// twice.
const PROGRAMS: [&str; 2] = ["--workspace", "--bins"];

/// Folders below the target folder. One bench uses them at a time.
#[derive(Debug)]
pub(crate) struct Workshop {
    root: PathBuf,
    executable: PathBuf,
    _lock: File,
}

/// A platform with its lock and all its packages.
#[derive(Debug)]
pub(crate) struct Stocked {
    pub(crate) bundle: Bundle,
    pub(crate) platform: PathBuf,
    pub(crate) lock: Lock,
}

/// `bundle.toml` of the platforms that benches build.
pub(crate) const PLATFORM: &str = include_str!("../platforms/bundle.toml");

/// A recipe of such a platform: its name and its text.
pub(crate) type Recipe = (&'static str, &'static str);

/// The essential set of Debian 12.
pub(crate) const BASE: Recipe = ("base", include_str!("../platforms/base/recipe.toml"));

impl Workshop {
    /// Opens the folders; waits while another bench uses them. Builds the executable if it is out of date.
    pub(crate) fn open() -> Result<Self> {
        note("bringing the executables up to date");
        program::run(&mut cargo()?)?;
        let executable = tool::executable()?;
        // target/TRIPLE/release/bundle
        let target = executable.ancestors().nth(3).context("the executable lies in target/TRIPLE/release")?;
        let root = target.join("bench");
        fs::create_dir_all(&root)?;
        let lock = File::create(root.join("lock"))?;
        lock.lock().context("no other bench is under way")?;
        Ok(Self { executable, root, _lock: lock })
    }

    /// The executable that is measured.
    pub(crate) fn executable(&self) -> &Path {
        &self.executable
    }

    /// A folder of this workshop, empty.
    pub(crate) fn empty(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The reference platform, fetched.
    pub(crate) fn reference(&self) -> Result<Stocked> {
        self.stock(test_interop::platform::recipes()?)
    }

    /// The platform `name` of `recipes`, locked by the first run and fetched.
    pub(crate) fn platform(&self, name: &str, recipes: &[Recipe]) -> Result<Stocked> {
        let platform = self.write(name, PLATFORM, recipes)?;
        if !platform.join("bundle.lock").exists() {
            self.lock(&platform, &[])?;
        }
        self.stock(platform)
    }

    /// The platform `name`, which is `before` with newer versions of `packages` from a suite that `manifest` adds.
    pub(crate) fn updated(
        &self,
        name: &str,
        manifest: &str,
        recipes: &[Recipe],
        before: &Stocked,
        packages: &[&str],
    ) -> Result<Stocked> {
        let platform = self.write(name, manifest, recipes)?;
        fs::copy(before.platform.join("bundle.lock"), platform.join("bundle.lock"))?;
        self.lock(&platform, &[&["--update"], packages].concat())?;
        self.stock(platform)
    }

    fn write(&self, name: &str, manifest: &str, recipes: &[Recipe]) -> Result<PathBuf> {
        let platform = self.root.join(name);
        fs::create_dir_all(&platform)?;
        fs::write(platform.join("bundle.toml"), manifest)?;
        for (recipe, text) in recipes {
            let folder = platform.join(recipe);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("recipe.toml"), text)?;
        }
        Ok(platform)
    }

    fn lock(&self, platform: &Path, options: &[&str]) -> Result<()> {
        let command = [&["lock", "--platform", text(platform)?], options].concat();
        program::run(&mut self.bundle().command(command))
            .with_context(|| format!("{} is locked", platform.display()))?;
        Ok(())
    }

    fn bundle(&self) -> Bundle {
        Bundle::new(&self.executable, &self.root.join("home"))
    }

    fn stock(&self, platform: PathBuf) -> Result<Stocked> {
        let bundle = self.bundle();
        program::run(&mut bundle.command(["fetch", "--platform", text(&platform)?])).with_context(|| {
            format!(
                "all packages must be here first: bundle --home {} fetch --platform {}",
                bundle.home().display(),
                platform.display()
            )
        })?;
        let lock = Lock::parse(&fs::read_to_string(platform.join("bundle.lock"))?)?;
        Ok(Stocked { bundle, platform, lock })
    }
}

impl Stocked {
    /// Where the packages are.
    pub(crate) fn downloads(&self) -> PathBuf {
        self.bundle.home().join("downloads")
    }

    /// Makes the store empty.
    pub(crate) fn empty_store(&self) -> Result<()> {
        let store = self.bundle.home().join("store");
        if store.exists() {
            fs::remove_dir_all(store)?;
        }
        Ok(())
    }

    /// A command that builds all images.
    pub(crate) fn build(&self) -> Result<Command> {
        Ok(self.bundle.command(["build", "--platform", text(&self.platform)?]))
    }

    /// A command that builds the image of one recipe.
    pub(crate) fn build_one(&self, recipe: &str) -> Result<Command> {
        Ok(self.bundle.command(["build", "--platform", text(&self.platform)?, recipe]))
    }
}

/// The command that builds the executables, which is also a program that has nothing to do.
pub(crate) fn cargo() -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(tool::workspace()?).args(["build", "--release", "--locked", "--offline"]);
    command.args(PROGRAMS);
    Ok(command)
}

/// Runs `command` with its words behind those of `wrapper`.
pub(crate) fn wrapped(mut wrapper: Command, command: &Command) -> Command {
    wrapper.arg(command.get_program()).args(command.get_args());
    wrapper
}

/// Runs once without measuring, so that files are in memory on both sides.
pub(crate) fn warm(what: &str, command: &mut Command) -> Result<Taken> {
    note(&format!("warming: {what}"));
    run(command)
}

/// Bytes of a file.
pub(crate) fn size(path: &Path) -> Result<f64> {
    let length = fs::metadata(path).with_context(|| format!("{} is there", path.display()))?.len();
    #[expect(clippy::cast_precision_loss, reason = "no file of a bench has 2^52 bytes")]
    Ok(length as f64)
}
