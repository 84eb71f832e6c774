//! apt itself: an empty system that sees the indices of a lock and nothing else. The bench of the solver uses it too.

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use builder_inputs::{DEBIAN_KEYRING, Lock, PackageCache};

/// An empty system with one suite of a lock.
pub(crate) struct Apt {
    _root: tempfile::TempDir,
    configuration: PathBuf,
}

impl Apt {
    /// Puts the indices that `lock` was made of where apt takes them, and has apt read them.
    pub(crate) fn of(cache: &PackageCache, lock: &Lock, suite: &str) -> Result<Self> {
        let root = tempfile::tempdir()?;
        let archive = root.path().join("archive");
        let locked = lock.suite(&suite.parse()?).context("a suite")?;
        let release = std::fs::read(cache.path(&locked.release))?;
        let dists = archive.join("dists").join(suite);
        std::fs::create_dir_all(&dists)?;
        std::fs::write(dists.join("InRelease"), &release)?;
        for index in &locked.indices {
            let path = dists.join(index.path.as_str());
            std::fs::create_dir_all(path.parent().context("a folder")?)?;
            std::fs::copy(cache.path(&index.sha256), &path)?;
        }
        for folder in ["etc/apt.conf.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"]
        {
            std::fs::create_dir_all(root.path().join(folder))?;
        }
        std::fs::write(root.path().join("status"), b"")?;
        let source =
            format!("deb [arch=amd64 signed-by={DEBIAN_KEYRING}] file:{} {suite} main\n", archive.display());
        std::fs::write(root.path().join("etc/sources.list"), source)?;
        let mut configuration = String::new();
        for (key, path) in [
            ("Dir::Etc", "etc"),
            ("Dir::State", "state"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
            ("Dir::Log", "cache"),
        ] {
            writeln!(configuration, "{key} \"{}\";", root.path().join(path).display())?;
        }
        configuration += "APT::Architecture \"amd64\";\nAPT::Architectures { \"amd64\"; };\n\
                          APT::Install-Recommends \"false\";\npkgCacheGen::ForceEssential \",\";\n\
                          APT::Sandbox::User \"root\";\n\
                          Dir::Log::Planner \"/dev/null\";\n\
                          Acquire::Languages \"none\";\nAcquire::Check-Date \"false\";\n";
        let file = root.path().join("apt.conf");
        std::fs::write(&file, configuration)?;
        let apt = Self { _root: root, configuration: file };
        told(apt.command().args(["update", "--quiet"]))?
            .map_err(anyhow::Error::msg)
            .context("apt-get update")?;
        Ok(apt)
    }

    /// Names and versions that apt would install for the essential set and these packages; what it says if it
    /// refuses. Its `--simulate` prints them one by one, with what is broken after each, which takes minutes for a
    /// thousand packages; `--print-uris` prints what the same solver chose.
    pub(crate) fn chooses(&self, asked: &[&str]) -> Result<Result<BTreeSet<String>, String>> {
        let told = match told(&mut self.choice(asked))? {
            Ok(told) => told,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut installed = BTreeSet::new();
        for line in told.lines().filter(|line| line.starts_with('\'')) {
            let file = line.split(' ').nth(1).unwrap_or_default();
            let mut parts = file.split('_');
            let (name, version) =
                parts.next().zip(parts.next()).with_context(|| format!("a file in: {line}"))?;
            let version = version.replace("%3a", ":").replace("%7e", "~");
            ensure!(installed.insert(format!("{name} {version}")), "apt installs {name} twice");
        }
        Ok(Ok(installed))
    }

    /// The same as its `--simulate` tells it.
    pub(crate) fn simulates(&self, asked: &[&str]) -> Result<Result<BTreeSet<String>, String>> {
        let told = match told(&mut self.simulation(asked))? {
            Ok(told) => told,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut installed = BTreeSet::new();
        for line in told.lines().filter_map(|line| line.strip_prefix("Inst ")) {
            let (name, rest) = line.split_once(" (").with_context(|| format!("a version in: {line}"))?;
            let version = rest.split(' ').next().unwrap_or_default();
            ensure!(installed.insert(format!("{name} {version}")), "apt installs {name} twice");
        }
        Ok(Ok(installed))
    }

    /// The command that chooses.
    pub(crate) fn choice(&self, asked: &[&str]) -> Command {
        let mut command = self.command();
        command.args(["install", "--yes", "--print-uris", "?essential"]).args(asked);
        command
    }

    /// The command that simulates it.
    pub(crate) fn simulation(&self, asked: &[&str]) -> Command {
        let mut command = self.command();
        command.args(["install", "--simulate", "?essential"]).args(asked);
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", &self.configuration).env("LC_ALL", "C");
        command
    }
}

/// What it writes; what it says if it fails.
fn told(command: &mut Command) -> Result<Result<String, String>> {
    let output = command.output().context("apt-get install apt")?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(if output.status.success() {
        Ok(text(output.stdout))
    } else {
        // What cannot be met stands on one, the summary on the other.
        Err(text(output.stdout) + &text(output.stderr))
    })
}
