//! The real thing: mmdebstrap and the packages that it installed.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use builder_inputs::{APT_FOLDER, DEBIAN_KEYRING, Locations};
use builder_tree::{
    Content, InstallError, InstallOptions, MemberKind, Package, PackageInput, Payloads, Recordings, Tree,
    TreePath, accounts_needed, install,
};
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
    folder: TempDir,
}

/// Where dpkg notes what is installed.
pub(crate) const STATUS: &str = "var/lib/dpkg/status";

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

    /// Installs the essential set with the real dpkg into a folder.
    pub(crate) fn essential(&self, target: &Path, epoch: i64) {
        let output = Command::new("mmdebstrap")
            .env("SOURCE_DATE_EPOCH", epoch.to_string())
            .args(["--variant=essential", "--format=directory", &format!("--keyring={DEBIAN_KEYRING}")])
            .arg(self.suite)
            .arg(target)
            .arg(&self.source)
            .output()
            .expect("mmdebstrap is installed (Debian package mmdebstrap)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// SHA-256 of what the archive signed.
    pub(crate) fn state(&self) -> Digest {
        let files = fs::read_dir(self.path("lists")).unwrap().map(|entry| entry.unwrap().path());
        let mut signed = files.filter(|path| path.to_string_lossy().ends_with("InRelease"));
        Digest::of(&fs::read(signed.next().unwrap()).unwrap())
    }

    /// apt, which works in the system at `root` with what this machine knows of the suite.
    pub(crate) fn apt_in(&self, root: &Path) -> Command {
        let mut command = self.apt();
        for (key, value) in [
            ("Dir", root.to_owned()),
            ("Dir::Bin::methods", "/usr/lib/apt/methods".into()),
            ("Dir::Bin::solvers", "/usr/lib/apt/solvers".into()),
            ("Dir::Bin::planners", "/usr/lib/apt/planners".into()),
            ("Dir::Cache", root.join("var/cache/apt")),
            ("Dir::State::status", root.join("var/lib/dpkg/status")),
            ("DPkg::Chroot-Directory", root.to_owned()),
        ] {
            command.arg("-o").arg(format!("{key}={}", value.display()));
        }
        command.args(["-o", "DPkg::Use-Pty=false", "-o", "APT::Install-Recommends=false"]);
        command.args(["-o", "Dpkg::Options::=--force-unsafe-io"]);
        command
    }

    /// Downloads the packages that a status file names, if they are not in `debs`, and says what they are.
    pub(crate) fn inputs(&self, status: &str, debs: &Path) -> Vec<PackageInput> {
        let field = |stanza: &str, name: &str| {
            let line = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("no {name} in {stanza}")).to_owned()
        };
        let wanted: Vec<(String, String, String)> = status
            .split("\n\n")
            .filter(|stanza| !stanza.trim().is_empty())
            .map(|stanza| (field(stanza, "Package"), field(stanza, "Version"), field(stanza, "Architecture")))
            .collect();
        let file = |(name, version, architecture): &(String, String, String)| {
            debs.join(format!("{name}_{}_{architecture}.deb", version.replace(':', "%3a")))
        };
        let missing: Vec<String> = wanted
            .iter()
            .filter(|package| !file(package).exists())
            .map(|(name, version, _)| format!("{name}={version}"))
            .collect();
        if !missing.is_empty() {
            let output = self.apt().current_dir(debs).arg("download").args(missing).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let input = |package: &(String, String, String)| {
            let deb = file(package);
            let (name, version, architecture) = package;
            PackageInput {
                name: name.parse().unwrap(),
                version: version.parse().unwrap(),
                architecture: architecture.parse().unwrap(),
                source: None,
                sha256: Digest::of(
                    &fs::read(&deb).unwrap_or_else(|error| panic!("{}: {error}", deb.display())),
                ),
                deb,
            }
        };
        wanted.iter().map(input).collect()
    }

    /// The same versions of the same packages, unpacked by us.
    pub(crate) fn download(&self, oracle: &Listing) -> Installed {
        Installed::unpack(&self.inputs(&oracle.text(STATUS), &self.path("debs")), &[])
    }
}

fn io_writer(path: &Path) -> impl Write + use<> {
    std::io::BufWriter::new(File::create(path).unwrap())
}

impl Installed {
    /// Unpacks packages, but for those that others hold already.
    pub(crate) fn unpack(inputs: &[PackageInput], others: &[&Self]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut packages, mut payloads) = (Vec::new(), Payloads::new());
        for input in inputs {
            let known = others.iter().find_map(|other| {
                let package = other.packages.iter().find(|package| package.sha256 == input.sha256)?;
                Some((package.clone(), other.folder.path().join(input.name.as_str())))
            });
            let (package, path) = known.unwrap_or_else(|| {
                let path = folder.path().join(input.name.as_str());
                let mut payload = io_writer(&path);
                let package = Package::unpack(input, &mut payload).unwrap().package;
                payload.flush().unwrap();
                (package, path)
            });
            packages.push(package);
            payloads.add(input.sha256, path);
        }
        Self { packages, payloads, folder }
    }

    /// Our tree of these packages, with the ids that the oracle's scripts allocated.
    pub(crate) fn tree(&self, oracle: &Listing, epoch: i64) -> Tree {
        self.try_tree(oracle, epoch).unwrap()
    }

    /// The same, or why there is none.
    pub(crate) fn try_tree(&self, oracle: &Listing, epoch: i64) -> Result<Tree, InstallError> {
        self.recorded_tree(oracle, epoch, &Recordings::none())
    }

    /// The same, with what unknown scripts did.
    pub(crate) fn recorded_tree(
        &self,
        oracle: &Listing,
        epoch: i64,
        recordings: &Recordings,
    ) -> Result<Tree, InstallError> {
        let accounts = self.accounts(oracle, recordings)?;
        let options = InstallOptions { accounts: &accounts, epoch, recordings };
        install(&self.packages, &self.payloads, &options).map(|installed| installed.tree)
    }

    /// The ids that the oracle's scripts allocated.
    pub(crate) fn accounts(
        &self,
        oracle: &Listing,
        recordings: &Recordings,
    ) -> Result<Accounts, InstallError> {
        let field = |path: &str, name: &str, at: usize| -> Option<u32> {
            let text = oracle.text(path);
            let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
            line.split(':').nth(at)?.parse().ok()
        };
        let mut accounts = Accounts::default();
        let read = |package: &Package, path: &TreePath| {
            let member = package.members.iter().find(|member| member.path == *path);
            Ok(member.and_then(|member| match member.kind {
                MemberKind::File { offset, length } => {
                    let content = Content::Payload { package: package.sha256, offset, length };
                    self.payloads.read(&content, length).unwrap()
                }
                _ => None,
            }))
        };
        for needed in accounts_needed(&self.packages, recordings, read)? {
            let name = needed.name.as_str();
            if let (Some(id), Some(group)) = (field("etc/passwd", name, 2), field("etc/passwd", name, 3)) {
                accounts.users.push(LockedUser { name: needed.name.clone(), id, group });
            }
            if let Some(id) = field("etc/group", name, 2) {
                accounts.groups.push(LockedGroup { id, name: needed.name });
            }
        }
        Ok(accounts)
    }
}
