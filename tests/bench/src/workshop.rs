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

/// What cargo builds for a bench, and what it finds up to date.
pub(crate) const PROGRAMS: [&str; 4] = ["-p", "bundle", "-p", "test-cluster"];

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

/// A platform of one image with the essential set of Debian 12.
const ESSENTIAL: [(&str, &str); 2] = [
    ("bundle.toml", include_str!("../essential/bundle.toml")),
    ("base/recipe.toml", include_str!("../essential/base/recipe.toml")),
];

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

    /// The essential base of Debian 12, locked by the first run and fetched.
    pub(crate) fn essential(&self) -> Result<Stocked> {
        let platform = self.root.join("essential");
        for (file, content) in ESSENTIAL {
            let path = platform.join(file);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, content)?;
        }
        let command = ["lock", "--platform", text(&platform)?];
        if !platform.join("bundle.lock").exists() {
            program::run(&mut self.bundle().command(command)).context("the essential set is locked once")?;
        }
        self.stock(platform)
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
