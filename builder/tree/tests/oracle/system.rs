//! Systems that the real dpkg makes: the essential set once for a suite, and packages on top of a copy that costs nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use crate::{
    debian::{Archive, Installed, STATUS},
    listing::Listing,
};

/// What mmdebstrap removes in the end.
const LEFT_BEHIND: [&str; 8] = [
    "var/cache/ldconfig/aux-cache",
    "var/lib/dbus/machine-id",
    "var/log/alternatives.log",
    "var/log/apt/eipp.log.xz",
    "var/log/apt/history.log",
    "var/log/apt/term.log",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
];

fn ignore_absence(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// apt works alone in a folder of packages.
static TURN: Mutex<()> = Mutex::new(());

/// The essential set of a suite, and where its packages are kept.
pub(crate) struct System {
    pub(crate) archive: Archive,
    pub(crate) debs: PathBuf,
    /// Its packages, unpacked by us.
    pub(crate) essential: Installed,
    root: PathBuf,
    epoch: i64,
}

/// What is mounted for a copy of a system; taken back in the end, whatever happened.
struct Mounts(Vec<PathBuf>);

impl System {
    /// Makes it, unless an earlier run made it of the same state of the archive. `kept` holds packages and systems from
    /// one run to the next.
    pub(crate) fn new(suite: &'static str, kept: &Path, epoch: i64) -> Self {
        let archive = Archive::new(suite);
        let debs = kept.join("debs").join(suite);
        fs::create_dir_all(debs.join("partial")).unwrap();
        let root = kept.join("essential").join(format!("{suite}-{}", archive.state().hex()));
        if !root.exists() {
            fs::create_dir_all(root.parent().unwrap()).unwrap();
            let folder = tempfile::tempdir_in(kept).unwrap();
            let made = folder.path().join("root");
            archive.essential(&made, epoch);
            // Another run may have been faster.
            fs::rename(&made, &root)
                .or_else(|error| if root.exists() { Ok(()) } else { Err(error) })
                .unwrap();
        }
        let status = fs::read_to_string(root.join(STATUS)).unwrap();
        let essential = Installed::unpack(&archive.inputs(&status, &debs), &[]);
        Self { archive, debs, essential, root, epoch }
    }

    /// Installs packages with the real dpkg; why not if apt refuses.
    pub(crate) fn install(&self, packages: &[&str]) -> Result<Listing, String> {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let mut mounts = Mounts(Vec::new());
        let path = |name: &str| folder.path().join(name);
        // In memory: dpkg waits for the disk after each package.
        mounts.add(folder.path(), &["-t", "tmpfs", "tmpfs"]);
        for name in ["upper", "work", "root"] {
            fs::create_dir(path(name)).unwrap();
        }
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            self.root.display(),
            path("upper").display(),
            path("work").display()
        );
        let root = path("root");
        mounts.add(&root, &["-t", "overlay", "overlay", "-o", &layers]);
        let archives = root.join("var/cache/apt/archives");
        fs::create_dir_all(&archives).unwrap();
        mounts.add(&archives, &["--bind", self.debs.to_str().unwrap()]);
        mounts.add(&root.join("proc"), &["-t", "proc", "proc"]);
        mounts.add(&root.join("sys"), &["-t", "sysfs", "-o", "ro", "sysfs"]);
        mounts.add(&root.join("dev"), &["--bind", "--make-private", "/dev"]);
        // As mmdebstrap does: no service starts.
        let policy = root.join("usr/sbin/policy-rc.d");
        fs::write(&policy, "#!/bin/sh\nexit 101\n").unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&policy, executable).unwrap();
        let install = |option: &str| {
            self.archive
                .apt_in(&root)
                .env_clear()
                .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
                .env("HOME", "/root")
                .env("DEBIAN_FRONTEND", "noninteractive")
                .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
                .env("LC_ALL", "C.UTF-8")
                .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
                .args(["install", "--yes", option])
                .args(packages)
                .output()
                .unwrap()
        };
        let mut output = install("--download-only");
        if output.status.success() {
            // A machine's apt may be configured to remove packages once they are installed; these are kept.
            run("mount", &["-o", "remount,bind,ro", archives.to_str().unwrap()]);
            output = install("-oDebug::NoLocking=true");
        }
        fs::remove_file(&policy).unwrap();
        mounts.remove_until(2);
        // As mmdebstrap does too: logs, and what a machine makes for itself.
        for name in LEFT_BEHIND {
            fs::remove_file(root.join(name)).or_else(ignore_absence).unwrap();
        }
        if output.status.success() {
            Ok(Listing::of_folder(&root))
        } else {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            Err(text.lines().filter(|line| line.starts_with("E:") || line.contains("error")).collect())
        }
    }
}

/// What only root may do.
fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "root needs to {program} {arguments:?}");
}

impl Mounts {
    fn add(&mut self, at: &Path, arguments: &[&str]) {
        run("mount", &[arguments, &[at.to_str().unwrap()]].concat());
        self.0.push(at.to_owned());
    }

    /// Takes back all but the first `count`.
    fn remove_until(&mut self, count: usize) {
        while self.0.len() > count {
            if let Some(at) = self.0.pop() {
                run("umount", &["--lazy", at.to_str().unwrap()]);
            }
        }
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        self.remove_until(0);
    }
}
