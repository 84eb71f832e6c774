//! A platform's folder: recipes, environments and lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use builder_image::{GZIP_ENCODER, TAR_ENCODER};
use builder_inputs::SuitePolicy;
use builder_recipe::{Environment, LoadError, Platform, Recipe};
use bundles_release::{
    EnvironmentName,
    lock::{Architecture, Freshness, Lock, LockError, PackageRequest, Staleness},
};

use registry_wire::Digest;

use crate::error::{CommandError, Kind, OfKind as _};

const LOCK_FILE: &str = "bundle.lock";
/// A lock of a thousand packages has half a megabyte.
const LOCK_LIMIT: u64 = 32 << 20;

/// A platform and where it is.
#[derive(Debug)]
pub(crate) struct PlatformFolder {
    /// The folder.
    pub(crate) root: PathBuf,
    /// What is in it.
    pub(crate) platform: Platform,
}

/// A lock that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockFileError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is too large to be one.
    #[error("{} has more than {LOCK_LIMIT} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not a lock.
    #[error("{} is not a valid lock", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: LockError,
    },
    /// There is none.
    #[error("there is no lock at {}", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It does not answer what the recipes ask.
    #[error("{} is out of date: {}", path.display(), list(reasons))]
    Stale {
        /// The file.
        path: PathBuf,
        /// Why.
        reasons: Vec<Staleness>,
    },
}

/// Nothing can be rendered, released or run.
pub(crate) fn no_environments(root: &Path) -> CommandError {
    let message = format!("{} has no environments", root.display());
    CommandError::new(Kind::Input, message).hint("write environments/test.toml, which may be empty")
}

fn list(reasons: &[Staleness]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl PlatformFolder {
    /// Opens the platform at `folder`; without one, at the nearest folder upward from here that holds `bundle.toml`.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self, CommandError> {
        let root = match folder {
            Some(folder) => folder.to_owned(),
            None => Self::find()?,
        };
        let platform = Platform::load(&root).map_err(|error: LoadError| {
            let hint = error.hint();
            CommandError::new(Kind::Input, error).hint_if(hint)
        })?;
        if platform.recipes().len() == 0 {
            let message = format!("{} holds no recipe", root.display());
            return Err(
                CommandError::new(Kind::Input, message).hint("write NAME/recipe.toml beside bundle.toml")
            );
        }
        Ok(Self { root, platform })
    }

    fn find() -> Result<PathBuf, CommandError> {
        let here = std::env::current_dir().of_kind(Kind::Machine)?;
        here.ancestors().find(|folder| folder.join("bundle.toml").is_file()).map(Path::to_owned).ok_or_else(
            || {
                let message = format!("neither {} nor a folder above it holds bundle.toml", here.display());
                CommandError::new(Kind::Usage, message).hint("bundle --help, and --platform FOLDER")
            },
        )
    }

    /// The environment asked for; else the only one; else `test`. `command` is what to type again.
    pub(crate) fn environment(
        &self,
        asked: Option<&EnvironmentName>,
        command: &str,
    ) -> Result<&Environment, CommandError> {
        let known: Vec<_> = self.platform.environments().collect();
        let found = match (asked, &known[..]) {
            (Some(asked), _) => known.iter().find(|one| one.name == *asked),
            (None, [only]) => Some(only),
            (None, _) => known.iter().find(|one| one.name.as_str() == "test"),
        };
        if known.is_empty() {
            return Err(no_environments(&self.root));
        }
        found.copied().ok_or_else(|| {
            let names = known.iter().map(|one| one.name.to_string()).collect::<Vec<_>>().join(", ");
            let message = match asked {
                Some(asked) => format!("there is no environment {asked}; there are {names}"),
                None => format!("which environment? There are {names}"),
            };
            CommandError::new(Kind::Usage, message).hint(format!("{command} --environment NAME"))
        })
    }

    /// Where the lock is.
    pub(crate) fn lock_path(&self) -> PathBuf {
        self.root.join(LOCK_FILE)
    }

    /// What the recipes ask of Debian, for each platform of an image.
    pub(crate) fn requests(&self) -> Vec<PackageRequest> {
        self.platform.recipes().flat_map(Recipe::package_requests).collect()
    }

    /// For which architectures there are images with a package, by the hash of its file.
    pub(crate) fn architectures(&self, lock: &Lock) -> BTreeMap<Digest, BTreeSet<Architecture>> {
        let mut found: BTreeMap<Digest, BTreeSet<Architecture>> = BTreeMap::new();
        for PackageRequest { recipe, architecture, .. } in self.requests() {
            for package in lock.selected_packages(&recipe, &architecture) {
                found.entry(package.sha256).or_default().insert(architecture.clone());
            }
        }
        found
    }

    /// What the platform accepts as its suites.
    pub(crate) fn policies(&self) -> Vec<SuitePolicy> {
        let policy =
            |(name, suite): (&bundles_release::lock::SuiteName, &builder_recipe::Suite)| SuitePolicy {
                name: name.clone(),
                origin: suite.origin.clone(),
                label: suite.label.clone(),
                codename: Some(suite.codename.clone()),
                components: suite.components.clone(),
                fingerprints: suite.keys.clone(),
            };
        self.platform.suites.iter().map(policy).collect()
    }

    /// The lock, if there is one.
    pub(crate) fn read_lock(&self) -> Result<Option<Lock>, LockFileError> {
        let path = self.lock_path();
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LockFileError::Read { path, source }),
            Ok(file) if file.len() > LOCK_LIMIT => return Err(LockFileError::TooLarge { path }),
            Ok(_) => {}
        }
        let text =
            fs::read_to_string(&path).map_err(|source| LockFileError::Read { path: path.clone(), source })?;
        Lock::parse(&text).map(Some).map_err(|source| LockFileError::Invalid { path, source })
    }

    /// Whether a lock answers what the recipes ask, of suites as they are defined now.
    pub(crate) fn freshness(&self, lock: &Lock) -> Freshness {
        let suites = lock.suites.iter();
        let mut stale: Vec<Staleness> =
            suites.filter_map(|locked| self.platform.suites.get(&locked.name)?.staleness(locked)).collect();
        if let Freshness::Stale(reasons) = lock.check(&self.requests()) {
            stale.extend(reasons);
        }
        let locked = [lock.encoders.tar.as_str(), lock.encoders.gzip.as_str()];
        let own = [TAR_ENCODER, GZIP_ENCODER];
        if locked != own {
            stale.push(Staleness::Encoders { locked: locked.join(" and "), own: own.join(" and ") });
        }
        if stale.is_empty() { Freshness::Fresh } else { Freshness::Stale(stale) }
    }

    /// The lock, which must be there and answer what the recipes ask.
    pub(crate) fn fresh_lock(&self) -> Result<Lock, CommandError> {
        let checked = || {
            let path = self.lock_path();
            let lock = self.read_lock()?.ok_or_else(|| LockFileError::Missing { path: path.clone() })?;
            match self.freshness(&lock) {
                Freshness::Fresh => Ok(lock),
                Freshness::Stale(reasons) => Err(LockFileError::Stale { path, reasons }),
            }
        };
        checked().map_err(|error| self.of_lock(error))
    }

    /// An error of the lock file, with what helps.
    pub(crate) fn of_lock(&self, error: LockFileError) -> CommandError {
        let hint = match &error {
            LockFileError::Missing { .. } | LockFileError::Stale { .. } => self.command("lock"),
            LockFileError::Invalid { source: LockError::Format { .. }, .. } => {
                "use the version of bundle that wrote it, or a later one".to_owned()
            }
            LockFileError::Invalid { path, .. } | LockFileError::TooLarge { path } => {
                let path = path.display();
                format!(
                    "git checkout {path} if that brings a whole one back; else rm {path}, then {}, which may give accounts \
                     other numbers than files on volumes have",
                    self.command("lock")
                )
            }
            LockFileError::Read { .. } | LockFileError::Write { .. } => {
                return CommandError::new(Kind::Machine, error);
            }
        };
        CommandError::new(Kind::Input, error).hint(hint)
    }

    /// Writes the lock: whole or not at all.
    pub(crate) fn write_lock(&self, lock: &Lock) -> Result<(), LockFileError> {
        let path = self.lock_path();
        let failed = |source| LockFileError::Write { path: path.clone(), source };
        let mut file = tempfile::Builder::new()
            .prefix(".bundle.lock-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(&self.root)
            .map_err(failed)?;
        io::Write::write_all(&mut file, lock.to_toml().as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// A command about this platform, for hints.
    pub(crate) fn command(&self, verb: &str) -> String {
        format!("bundle {verb} --platform {}", self.root.display())
    }
}
