//! The recorded effects of a platform: `effects/PACKAGE.toml` in its folder, contents beside it in `effects/PACKAGE`.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use builder_recipe::{SandboxPolicy, ScriptPolicy};
use builder_sandbox::Level;
use builder_tree::{Allowed, Content, PayloadError, Payloads, Recording, RecordingError, Recordings};
use bundles_release::lock::PackageName;

use crate::{
    error::{CommandError, Kind, OfKind as _},
    platform::PlatformFolder,
};

const FOLDER: &str = "effects";
/// The texts of a thousand small files have a few megabytes.
const FILE_LIMIT: u64 = 32 << 20;

/// Recorded effects that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordingsError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A content cannot be copied.
    #[error("{} cannot be written", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PayloadError,
    },
    /// It is too large to be one.
    #[error("{} has more than {FILE_LIMIT} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no file of recorded effects.
    #[error("{} cannot be used", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: RecordingError,
    },
    /// It is called like another package.
    #[error("{} holds recordings of package {package}", path.display())]
    OtherPackage {
        /// The file.
        path: PathBuf,
        /// What it says.
        package: PackageName,
    },
    /// A script ran in a weaker sandbox than the platform asks for.
    #[error(
        "the {run} was recorded in a sandbox of level {found}, and the platform asks for {required}: {}",
        path.display()
    )]
    Weaker {
        /// The file.
        path: PathBuf,
        /// Whose script it is.
        package: PackageName,
        /// What ran, for people.
        run: String,
        /// The level that was reached.
        found: String,
        /// The level that is asked for.
        required: Level,
    },
}

/// The level that a platform asks for.
pub(crate) const fn minimum(policy: SandboxPolicy) -> Level {
    match policy {
        SandboxPolicy::Full => Level::Full,
        SandboxPolicy::Isolated => Level::Isolated,
    }
}

impl PlatformFolder {
    /// The recorded effects of the platform, as far as it allows any.
    pub(crate) fn recordings(&self) -> Result<Recordings, CommandError> {
        let allowed = match self.platform.scripts {
            ScriptPolicy::Recorded => Allowed::Recorded,
            ScriptPolicy::DeclaredOnly => Allowed::DeclaredOnly,
        };
        let recordings = self.read_recordings().and_then(|recordings| {
            self.check_levels(&recordings)?;
            Ok(recordings)
        });
        recordings.map(|recordings| recordings.allowing(allowed)).map_err(|error| self.of_recordings(error))
    }

    /// The same without those of one package, which are to be made anew and may be whatever they are; and these.
    pub(crate) fn recordings_beside(
        &self,
        package: &PackageName,
    ) -> Result<(Recordings, Vec<Recording>), CommandError> {
        let all = self.read_recordings().map_err(|error| self.of_recordings(error))?;
        let earlier = all.of(package).to_vec();
        let others = all.without(package);
        self.check_levels(&others).map_err(|error| self.of_recordings(error))?;
        Ok((others, earlier))
    }

    fn read_recordings(&self) -> Result<Recordings, RecordingsError> {
        let folder = self.root.join(FOLDER);
        let mut recordings = Recordings::none();
        let failed = |source| RecordingsError::Read { path: folder.clone(), source };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(recordings),
            Err(source) => return Err(failed(source)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        for path in paths {
            read_file(&path, &mut recordings)?;
        }
        Ok(recordings)
    }

    /// All ran in a sandbox as the platform asks for.
    fn check_levels(&self, recordings: &Recordings) -> Result<(), RecordingsError> {
        let required = minimum(self.platform.sandbox);
        for recording in recordings.iter() {
            let level = Level::ALL.into_iter().find(|level| level.name() == recording.sandbox);
            if level.is_none_or(|level| level < required) {
                return Err(RecordingsError::Weaker {
                    path: self.file_of(&recording.run.package),
                    package: recording.run.package.clone(),
                    run: recording.run.to_string(),
                    found: recording.sandbox.clone(),
                    required,
                });
            }
        }
        Ok(())
    }

    /// The file of a package's recordings.
    fn file_of(&self, package: &PackageName) -> PathBuf {
        self.root.join(FOLDER).join(format!("{package}.toml"))
    }

    fn of_recordings(&self, error: RecordingsError) -> CommandError {
        match &error {
            RecordingsError::Weaker { package, .. } => {
                let hint = format!(
                    "bundle doctor, on a machine that reaches it; then {}",
                    self.command(&format!("effects record {package}"))
                );
                CommandError::new(Kind::Input, error).hint(hint)
            }
            RecordingsError::Invalid { path, .. }
            | RecordingsError::TooLarge { path }
            | RecordingsError::OtherPackage { path, .. } => {
                let package = path.file_stem().unwrap_or_default().display();
                let hint = format!(
                    "git checkout {0} if that brings a whole one back; else rm {0}, then {1}",
                    path.display(),
                    self.command(&format!("effects record {package}"))
                );
                CommandError::new(Kind::Input, error).hint(hint)
            }
            RecordingsError::Read { .. } | RecordingsError::Write { .. } | RecordingsError::Copy { .. } => {
                CommandError::new(Kind::Machine, error)
            }
        }
    }

    /// Writes the recordings of a package in place of earlier ones; returns the file. With none there is no file any more.
    pub(crate) fn write_recordings(
        &self,
        package: &PackageName,
        recordings: &[Recording],
    ) -> Result<PathBuf, CommandError> {
        let folder = self.root.join(FOLDER);
        let path = self.file_of(package);
        write(&folder, &path, package, recordings).of_kind(Kind::Machine)?;
        Ok(path)
    }
}

fn read_file(path: &Path, recordings: &mut Recordings) -> Result<(), RecordingsError> {
    let failed = |source| RecordingsError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > FILE_LIMIT {
        return Err(RecordingsError::TooLarge { path: path.to_owned() });
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let mut of_file = Recordings::none();
    of_file
        .add_file(&text, &path.with_extension(""))
        .map_err(|source| RecordingsError::Invalid { path: path.to_owned(), source })?;
    for recording in of_file.iter() {
        let package = &recording.run.package;
        if path.file_stem().is_none_or(|stem| stem != package.as_str()) {
            return Err(RecordingsError::OtherPackage { path: path.to_owned(), package: package.clone() });
        }
        recordings.add(recording.clone());
    }
    Ok(())
}

fn write(
    folder: &Path,
    path: &Path,
    package: &PackageName,
    recordings: &[Recording],
) -> Result<(), RecordingsError> {
    let beside = path.with_extension("");
    let stored = Recordings::store(package, recordings);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RecordingsError::Write { path, source }
    };
    if recordings.is_empty() {
        fs::remove_file(path).map_err(failed(path))?;
        return remove_others(&beside, &BTreeSet::new());
    }
    fs::create_dir_all(folder).map_err(failed(folder))?;
    // New contents come before the file that names them, old ones go after it.
    if !stored.contents.is_empty() {
        fs::create_dir_all(&beside).map_err(failed(&beside))?;
    }
    for (name, content) in &stored.contents {
        let at = beside.join(name);
        write_file(&beside, &at, |file| copy(content, file, &at))?;
    }
    write_file(folder, path, |file| {
        io::Write::write_all(file, stored.text.as_bytes()).map_err(failed(path))
    })?;
    remove_others(&beside, &stored.contents.keys().map(String::as_str).collect())
}

/// Removes contents that no recording names, and their folder if none is left.
fn remove_others(beside: &Path, named: &BTreeSet<&str>) -> Result<(), RecordingsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RecordingsError::Write { path, source }
    };
    let entries = match fs::read_dir(beside) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(beside)(source)),
    };
    for entry in entries {
        let entry = entry.map_err(failed(beside))?;
        if entry.file_name().to_str().is_none_or(|name| !named.contains(name)) {
            fs::remove_file(entry.path()).map_err(failed(&entry.path()))?;
        }
    }
    if named.is_empty() {
        fs::remove_dir(beside).map_err(failed(beside))?;
    }
    Ok(())
}

fn copy(content: &Content, file: &mut fs::File, path: &Path) -> Result<(), RecordingsError> {
    let copied = Payloads::new().copy(content, file);
    copied.map_err(|source| RecordingsError::Copy { path: path.to_owned(), source })
}

/// Writes a file whole or not at all.
fn write_file(
    folder: &Path,
    path: &Path,
    write: impl FnOnce(&mut fs::File) -> Result<(), RecordingsError>,
) -> Result<(), RecordingsError> {
    let failed = |source| RecordingsError::Write { path: path.to_owned(), source };
    let mut written = tempfile::Builder::new()
        .prefix(".effects-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(failed)?;
    write(written.as_file_mut())?;
    written.as_file().sync_all().map_err(failed)?;
    written.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
