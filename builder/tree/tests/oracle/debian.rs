//! The real thing: mmdebstrap and the packages that it installed.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use builder_inputs::{APT_FOLDER, DEBIAN_KEYRING, Locations};
use builder_tree::{InstallOptions, Package, PackageInput, Payloads, Tree, accounts_needed, install};
use bundles_release::lock::{Accounts, LockedGroup, LockedUser};
use registry_wire::Digest;
use tempfile::TempDir;

use crate::listing::Listing;

/// A suite, located through the machine's own apt configuration.
pub(crate) struct Archive {
    suite: &'static str,
    source: String,
    folder: TempDir,
}

/// Packages that were installed, unpacked.
pub(crate) struct Installed {
    pub(crate) packages: Vec<Package>,
    pub(crate) payloads: Payloads,
    _folder: TempDir,
}

impl Archive {
    pub(crate) fn new(suite: &'static str) -> Self {
        let locations = Locations::of_apt(Path::new(APT_FOLDER)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for part in ["lists/partial", "cache/archives/partial", "debs"] {
            fs::create_dir_all(folder.path().join(part)).unwrap();
        }
        File::create(folder.path().join("status")).unwrap();
        let mut archive = Self { suite, source: String::new(), folder };
        for base in locations.of_suite(&suite.parse().unwrap()) {
            archive.source = format!("deb [signed-by={DEBIAN_KEYRING}] {base} {suite} main");
            fs::write(archive.path("sources.list"), &archive.source).unwrap();
            let output = archive.apt().args(["update", "--error-on=any"]).output();
            if output.expect("apt-get is installed (Debian package apt)").status.success() {
                return archive;
            }
        }
        panic!("no source of apt's configuration has suite {suite}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn apt(&self) -> Command {
        let mut command = Command::new("apt-get");
        let set = |key: &str, name: &str| format!("{key}={}", self.path(name).display());
        let options = [
            set("Dir::State", ""),
            set("Dir::State::status", "status"),
            set("Dir::State::lists", "lists"),
            set("Dir::Cache", "cache"),
            set("Dir::Etc::sourcelist", "sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ];
        for option in options {
            command.arg("-o").arg(option);
        }
        command
    }

    /// Installs the essential set and `include` with the real dpkg.
    pub(crate) fn mmdebstrap(&self, include: &[&str], epoch: i64) -> Listing {
        let target = self.path("oracle.tar");
        let output = Command::new("mmdebstrap")
            .env("SOURCE_DATE_EPOCH", epoch.to_string())
            .args(["--variant=essential", "--format=tar", &format!("--keyring={DEBIAN_KEYRING}")])
            .arg(format!("--include={}", include.join(",")))
            .arg(self.suite)
            .arg(&target)
            .arg(&self.source)
            .output()
            .expect("mmdebstrap is installed (Debian package mmdebstrap)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Listing::of_archive(File::open(target).unwrap())
    }

    /// The same versions of the same packages, unpacked by us.
    pub(crate) fn download(&self, oracle: &Listing) -> Installed {
        let status = oracle.text("var/lib/dpkg/status");
        let field = |stanza: &str, name: &str| {
            let line = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("no {name} in {stanza}")).to_owned()
        };
        let wanted: Vec<(String, String, String)> = status
            .split("\n\n")
            .filter(|stanza| !stanza.trim().is_empty())
            .map(|stanza| (field(stanza, "Package"), field(stanza, "Version"), field(stanza, "Architecture")))
            .collect();
        let names = wanted.iter().map(|(name, version, _)| format!("{name}={version}"));
        let debs = self.path("debs");
        let output = self.apt().current_dir(&debs).arg("download").args(names).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let folder = tempfile::tempdir().unwrap();
        let (mut packages, mut payloads) = (Vec::new(), Payloads::new());
        for (name, version, architecture) in wanted {
            let deb = debs.join(format!("{name}_{}_{architecture}.deb", version.replace(':', "%3a")));
            let input = PackageInput {
                name: name.parse().unwrap(),
                version: version.parse().unwrap(),
                architecture: architecture.parse().unwrap(),
                sha256: Digest::of(&fs::read(&deb).unwrap()),
                deb,
            };
            let path = folder.path().join(&name);
            let mut payload = io_writer(&path);
            packages.push(Package::unpack(&input, &mut payload).unwrap().package);
            payload.flush().unwrap();
            payloads.add(input.sha256, path);
        }
        Installed { packages, payloads, _folder: folder }
    }
}

fn io_writer(path: &Path) -> impl Write + use<> {
    std::io::BufWriter::new(File::create(path).unwrap())
}

impl Installed {
    /// Our tree of these packages, with the ids that the oracle's scripts allocated.
    pub(crate) fn tree(&self, oracle: &Listing, epoch: i64) -> Tree {
        let field = |path: &str, name: &str, at: usize| -> u32 {
            let text = oracle.text(path);
            let line = text.lines().find(|line| line.split(':').next() == Some(name));
            line.and_then(|line| line.split(':').nth(at)).and_then(|id| id.parse().ok()).unwrap()
        };
        let mut accounts = Accounts::default();
        for needed in accounts_needed(&self.packages).unwrap() {
            let name = needed.name.as_str();
            let (id, group) = (field("etc/passwd", name, 2), field("etc/passwd", name, 3));
            accounts.users.push(LockedUser { name: needed.name.clone(), id, group });
            accounts.groups.push(LockedGroup { id: field("etc/group", name, 2), name: needed.name });
        }
        install(&self.packages, &self.payloads, &InstallOptions { accounts: &accounts, epoch }).unwrap()
    }
}
