//! The tree that a script finds, laid into a folder, and what dpkg tells it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use builder_sandbox::{Identity, Mount, Root, Specification, users_are_delegated};
use builder_tree::{Content, Kind, Payloads, Tree, TreePath, UnknownRun};
use rustix::fs::XattrFlags;

use crate::{RecordError, place};

/// What keeps services from being started (`invoke-rc.d(8)`), as mmdebstrap puts it there.
const POLICY: (&str, &str) = ("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n");
/// Where dpkg keeps scripts.
const SCRIPTS: &str = "var/lib/dpkg/info";
/// How much `/tmp` holds.
const TEMPORARY_BYTES: u64 = 1 << 30;
/// How long a script may run.
const TIME: Duration = Duration::from_mins(10);
/// How much it may change.
const CHANGES: u64 = 4 << 30;
/// How much a script may say.
const OUTPUT: u64 = 16 << 20;

/// Whose the files of this machine are that stand for those of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owners {
    /// Root gives each its owner.
    Exact,
    /// All are the caller's, who is root inside: a run that has to do with files of others would be told something else than
    /// in an image.
    Flat,
}

impl Owners {
    /// What this process can give.
    fn of_caller() -> Result<Self, RecordError> {
        let failed = |source| RecordError::Place { path: "/proc/self".into(), source };
        Ok(if users_are_delegated().map_err(failed)? { Self::Exact } else { Self::Flat })
    }
}

/// A tree in a folder.
#[derive(Debug)]
pub(crate) struct Scene {
    folder: place::Folder,
    /// Where the script is inside.
    script: PathBuf,
    /// What is there beside the tree.
    pub(crate) props: Vec<TreePath>,
    pub(crate) owners: Owners,
}

impl Scene {
    /// Lays down the tree before a script, and the script.
    pub(crate) fn lay(unknown: &UnknownRun<'_>, payloads: &Payloads) -> Result<Self, RecordError> {
        let base = std::env::temp_dir();
        let folder =
            place::Folder::make(&base).map_err(|source| RecordError::Place { path: base, source })?;
        let owners = Owners::of_caller()?;
        let mut scene = Self { folder, script: PathBuf::new(), props: Vec::new(), owners };
        let tree = scene.tree();
        for (path, entry) in unknown.before.iter() {
            scene.lay_one(&tree, unknown.before, payloads, path).map_err(|error| match error {
                Laid::System(source) => RecordError::Lay { path: path.clone(), source },
                Laid::Content(source) => RecordError::Content { path: path.clone(), source },
            })?;
            if scene.owners == Owners::Exact && (entry.uid, entry.gid) != (0, 0) {
                let at = tree.join(path.as_str());
                std::os::unix::fs::lchown(&at, Some(entry.uid), Some(entry.gid))
                    .and_then(|()| permit(&at, &entry.kind, entry.mode))
                    .map_err(|source| RecordError::Lay { path: path.clone(), source })?;
            }
        }
        let package = unknown.package;
        let name = unknown.run.name;
        let own = [format!("{}:{}", package.name, package.architecture), package.name.to_string()];
        let places = own.map(|stem| format!("{SCRIPTS}/{stem}.{name}"));
        let is_there =
            |place: &&String| place.parse().is_ok_and(|path: TreePath| unknown.before.get(&path).is_some());
        let found = places.iter().find(is_there).cloned();
        let [_, plain] = places;
        let place = if let Some(place) = found {
            place
        } else {
            scene.add_prop(unknown.before, &plain, unknown.text)?;
            plain
        };
        scene.script = Path::new("/").join(place);
        scene.add_prop(unknown.before, POLICY.0, POLICY.1)?;
        // Files made beside give their folders another time.
        scene.date(unknown.before)?;
        Ok(scene)
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// Where the changes of a run are.
    pub(crate) fn changes(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("changes-{number}"))
    }

    /// Makes removable what a run left.
    pub(crate) fn open_up(&self, number: usize) -> Result<(), RecordError> {
        let path = self.changes(number);
        place::open_up(&path).map_err(|source| RecordError::Place { path, source })
    }

    /// What runs, as dpkg starts it.
    pub(crate) fn specification(
        &self,
        unknown: &UnknownRun<'_>,
        number: usize,
        epoch: u64,
        dpkg_version: &str,
    ) -> Result<Specification, RecordError> {
        let changes = self.changes(number);
        fs::create_dir(&changes).map_err(|source| RecordError::Place { path: changes.clone(), source })?;
        let mut specification = Specification::new(&self.script);
        specification.arguments.clone_from(&unknown.run.arguments);
        specification.environment = environment(unknown, dpkg_version);
        specification.source_date_epoch = epoch;
        specification.root = Root::Overlay { lower: self.tree(), changes };
        specification.mounts = vec![Mount::Temporary { target: "/tmp".into(), bytes: TEMPORARY_BYTES }];
        specification.identity = Identity::Root;
        specification.limits.time = TIME;
        specification.limits.output = OUTPUT;
        specification.limits.changes = CHANGES;
        Ok(specification)
    }

    fn lay_one(&self, tree: &Path, before: &Tree, payloads: &Payloads, path: &TreePath) -> Result<(), Laid> {
        let at = tree.join(path.as_str());
        let Some(entry) = before.get(path) else { return Ok(()) };
        match &entry.kind {
            Kind::Directory => fs::create_dir(&at)?,
            Kind::Symlink(target) => std::os::unix::fs::symlink(target, &at)?,
            Kind::File { content, .. } => {
                let mut file = File::create_new(&at)?;
                match content {
                    Content::Bytes(bytes) => file.write_all(bytes)?,
                    content => payloads.copy(content, &mut file).map_err(Laid::Content)?,
                }
                file.set_modified(time(entry.mtime))?;
            }
        }
        permit(&at, &entry.kind, entry.mode)?;
        if let Some(capabilities) = before.capabilities(path).filter(|_| self.owners == Owners::Exact) {
            let name = "security.capability";
            rustix::fs::setxattr(&at, name, &capabilities.attribute(), XattrFlags::empty())
                .map_err(io::Error::from)?;
        }
        Ok(())
    }

    /// A file that only the run needs.
    fn add_prop(&mut self, before: &Tree, place: &str, text: &str) -> Result<(), RecordError> {
        let Ok(path) = place.parse::<TreePath>() else { return Ok(()) };
        if before.get(&path).is_some() {
            return Ok(());
        }
        let at = self.tree().join(place);
        let failed = |source| RecordError::Place { path: at.clone(), source };
        let mut parent = path.parent();
        while let Some(folder) = parent.filter(|folder| before.get(folder).is_none()) {
            parent = folder.parent();
            self.props.push(folder);
        }
        if let Some(folder) = at.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        fs::write(&at, text).map_err(failed)?;
        fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        self.props.push(path);
        Ok(())
    }

    /// Gives directories their times, once everything is in them.
    fn date(&self, before: &Tree) -> Result<(), RecordError> {
        for (path, entry) in before.iter().filter(|(_, entry)| entry.kind == Kind::Directory) {
            let at = self.tree().join(path.as_str());
            File::open(&at)
                .and_then(|folder| folder.set_modified(time(entry.mtime)))
                .map_err(|source| RecordError::Lay { path: path.clone(), source })?;
        }
        Ok(())
    }
}

/// Why one path was not laid down.
enum Laid {
    System(io::Error),
    Content(builder_tree::PayloadError),
}

impl From<io::Error> for Laid {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

fn permit(at: &Path, kind: &Kind, mode: u32) -> io::Result<()> {
    match kind {
        Kind::Symlink(_) => Ok(()),
        Kind::Directory | Kind::File { .. } => fs::set_permissions(at, fs::Permissions::from_mode(mode)),
    }
}

fn time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or_default())
}

/// What dpkg tells its scripts (`dpkg(1)`), and debconf.
fn environment(unknown: &UnknownRun<'_>, dpkg_version: &str) -> BTreeMap<String, String> {
    let UnknownRun { run, package, .. } = unknown;
    let pairs = [
        ("DEBCONF_NONINTERACTIVE_SEEN", "true".to_owned()),
        ("DEBIAN_FRONTEND", "noninteractive".to_owned()),
        ("DPKG_ADMINDIR", "/var/lib/dpkg".to_owned()),
        ("DPKG_COLORS", "never".to_owned()),
        ("DPKG_MAINTSCRIPT_ARCH", package.architecture.to_string()),
        ("DPKG_MAINTSCRIPT_DEBUG", "0".to_owned()),
        ("DPKG_MAINTSCRIPT_NAME", run.name.to_string()),
        ("DPKG_MAINTSCRIPT_PACKAGE", package.name.to_string()),
        ("DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT", "1".to_owned()),
        ("DPKG_ROOT", String::new()),
        ("DPKG_RUNNING_VERSION", dpkg_version.to_owned()),
        ("HOME", "/root".to_owned()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}
