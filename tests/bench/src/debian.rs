//! The peer of the builder: mmdebstrap, given the locked files and nothing else.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use builder_tree::{Package, PackageInput};
use bundles_release::lock::{Lock, LockedPackage, RecipeName};
use registry_wire::Digest;
use test_interop::program;

/// How much of a control file enters the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relations {
    /// All of it.
    Kept,
    /// All but what it says of other packages: a recipe's image leaves out what only maintainer scripts need, which apt
    /// would ask for.
    Dropped,
}

/// Fields about other packages.
const RELATIONS: [&str; 8] =
    ["Depends", "Pre-Depends", "Recommends", "Suggests", "Enhances", "Breaks", "Conflicts", "Replaces"];

/// An archive on disk that holds the packages of one recipe.
#[derive(Debug)]
pub(crate) struct Archive {
    root: PathBuf,
    suite: String,
    names: Vec<String>,
}

/// `NAME VERSION` of each package of a recipe, sorted.
pub(crate) fn locked_versions(lock: &Lock, recipe: &RecipeName) -> Vec<String> {
    let line = |package: &LockedPackage| format!("{} {}", package.name, package.version);
    let mut lines: Vec<String> = lock.recipe_packages(recipe).map(line).collect();
    lines.sort();
    lines
}

impl Archive {
    /// Makes an archive of the recipe's files below `downloads`, at `root`.
    pub(crate) fn make(
        root: &Path,
        lock: &Lock,
        recipe: &RecipeName,
        downloads: &Path,
        relations: Relations,
    ) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(root)?;
        }
        let locked = lock.recipes.get(recipe).context("the recipe is locked")?;
        let suite = locked.suite.to_string();
        let folder = root.join("dists").join(&suite);
        let index_path = "main/binary-amd64/Packages";
        fs::create_dir_all(folder.join("main/binary-amd64"))?;
        fs::create_dir_all(root.join("pool"))?;
        let (mut index, mut names) = (String::new(), Vec::new());
        for package in lock.recipe_packages(recipe) {
            let deb = downloads.join("sha256").join(package.sha256.hex());
            let file = format!("pool/{}_{}.deb", package.name, package.architecture);
            symlink(&deb, root.join(&file))?;
            index.push_str(&stanza(package, deb, relations)?);
            let (size, hash) = (package.size, package.sha256.hex());
            write!(index, "Filename: {file}\nSize: {size}\nSHA256: {hash}\n\n")?;
            names.push(package.name.to_string());
        }
        ensure!(!names.is_empty(), "recipe {recipe} has no package");
        fs::write(folder.join(index_path), &index)?;
        let (hash, size) = (Digest::of(index.as_bytes()), index.len());
        let date = lock.suite(&locked.suite).context("the suite is locked")?.date;
        let date = date.strftime("%a, %d %b %Y %H:%M:%S UTC");
        let release = format!(
            "Date: {date}\nSuite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: amd64\nSHA256:\n {} {size} {index_path}\n",
            hash.hex()
        );
        fs::write(folder.join("Release"), release)?;
        Ok(Self { root: root.to_owned(), suite, names })
    }

    /// Number of packages.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// A command that installs the essential set with the real dpkg, without network, into the archive `target`, whose
    /// name says how it is compressed. dpkg is spared its syncs.
    pub(crate) fn essential(&self, target: &Path) -> Result<Command> {
        self.mmdebstrap(&["--variant=essential", "--dpkgopt=force-unsafe-io"], target)
    }

    /// A command that installs all packages with the real dpkg, as [`Self::essential`] does. A data cluster of `PostgreSQL`
    /// is not made: it is no part of an image.
    pub(crate) fn whole(&self, target: &Path) -> Result<Command> {
        let names = format!("--include={}", self.names.join(","));
        let no_cluster = "--essential-hook=mkdir -p \"$1/etc/postgresql-common\" && \
            echo 'create_main_cluster = false' >\"$1/etc/postgresql-common/createcluster.conf\"";
        self.mmdebstrap(&["--variant=essential", "--dpkgopt=force-unsafe-io", no_cluster, &names], target)
    }

    /// A command that unpacks all packages and runs nothing of them, without network, into the archive `target`.
    pub(crate) fn extract(&self, target: &Path) -> Result<Command> {
        self.mmdebstrap(&["--variant=extract", &format!("--include={}", self.names.join(","))], target)
    }

    fn mmdebstrap(&self, options: &[&str], target: &Path) -> Result<Command> {
        let mut command = without_network()?;
        // A tree of its own, on the file system that our store is on.
        let temporary = self.root.join("tmp");
        fs::create_dir_all(&temporary)?;
        command
            .arg(program::installed("mmdebstrap")?)
            .args(options)
            .arg("--quiet")
            .arg(&self.suite)
            .arg(target);
        command.arg(format!("deb [trusted=yes] copy://{} {} main", self.root.display(), self.suite));
        command.env("TMPDIR", temporary);
        Ok(command)
    }
}

/// A command that runs what follows where there is no network. Mounts are its own, so that one that is killed leaves
/// none behind.
pub(crate) fn without_network() -> Result<Command> {
    let mut command = program::system("unshare").context("both sides run without network")?;
    command.args(["--net", "--mount", "--"]);
    Ok(command)
}

fn stanza(package: &LockedPackage, deb: PathBuf, relations: Relations) -> Result<String> {
    let input = PackageInput {
        name: package.name.clone(),
        version: package.version.clone(),
        architecture: package.architecture.clone(),
        source: Some(package.source.clone()),
        sha256: package.sha256,
        deb,
    };
    let unpacked = Package::unpack(&input, &mut std::io::sink())?.package;
    let control = unpacked.control.get("control").context("a package has a control file")?;
    let mut kept = String::new();
    let mut is_kept = true;
    for line in control.text.lines().filter(|line| !line.is_empty()) {
        // A line that begins with a blank goes on with the field before it.
        if !line.starts_with([' ', '\t']) {
            let field = line.split(':').next().unwrap_or_default();
            is_kept = relations == Relations::Kept || !RELATIONS.contains(&field);
        }
        if is_kept {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(kept)
}

/// `NAME VERSION` of each package that the archive at `path` says is installed, sorted.
pub(crate) fn installed_versions(path: &Path) -> Result<Vec<String>> {
    let mut command = program::system("tar")?;
    let status = program::run(command.arg("-xOf").arg(path).arg("./var/lib/dpkg/status"))?;
    let status = String::from_utf8(status)?;
    let mut lines = Vec::new();
    for stanza in status.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let (name, version) = field("Package").zip(field("Version")).context("a package has a version")?;
        lines.push(format!("{name} {version}"));
    }
    lines.sort();
    Ok(lines)
}
