//! What our static executable does inside other images and beside data services: `bundle guest …`.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use registry_wire::{Digest, Hasher};
use serde::{Deserialize, Serialize};

/// The name of the executable in the shared folder.
const INSTALLED_NAME: &str = "bundle";
const BLOCK: usize = 256 * 1024;

/// What went wrong in a guest.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The executable cannot be read.
    #[error("cannot read the running executable {path}")]
    ReadExecutable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The executable cannot be written.
    #[error("cannot write the executable {path}")]
    WriteExecutable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is no longer needed cannot be removed.
    #[error("cannot remove {path}, which is no longer needed")]
    Discard {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The restore point cannot be read.
    #[error("cannot read restore point {path}")]
    ReadPoint {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The restore point is empty.
    #[error("restore point {path} is empty")]
    EmptyPoint {
        /// Its path.
        path: PathBuf,
    },
    /// The restore point cannot be brought to the disk.
    #[error("cannot bring restore point {path} to the disk")]
    Sync {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The restore point cannot get its name.
    #[error("cannot name restore point {path}")]
    Rename {
        /// The name.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The result cannot be reported.
    #[error("cannot write the report {path}")]
    Report {
        /// Where to.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A restore point that is whole and on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmed {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Copies the executable at `executable` (`/proc/self/exe`) into `folder`, so that other images can run it.
pub fn install(executable: &Path, folder: &Path) -> Result<(), GuestError> {
    let read = |source| GuestError::ReadExecutable { path: executable.to_owned(), source };
    let target = folder.join(INSTALLED_NAME);
    let partial = folder.join(format!("{INSTALLED_NAME}.partial"));
    let write = |source| GuestError::WriteExecutable { path: target.clone(), source };
    let mut input = File::open(executable).map_err(read)?;
    let mut output = File::create(&partial).map_err(write)?;
    io::copy(&mut input, &mut output).map_err(write)?;
    output.set_permissions(fs::Permissions::from_mode(0o755)).map_err(write)?;
    drop(output);
    fs::rename(&partial, &target).map_err(write)
}

/// Removes files; one that is not there is no error.
pub fn discard<P: AsRef<Path>>(paths: &[P]) -> Result<(), GuestError> {
    for path in paths.iter().map(AsRef::as_ref) {
        match fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(GuestError::Discard { path: path.to_owned(), source }),
        }
    }
    Ok(())
}

/// Confirms a checked restore point: hashes it, brings it to the disk and gives it its name.
///
/// # Atomicity
///
/// The name exists only with the whole content. A restore point that has the name already is the result of an earlier
/// run of the same work, and stays.
pub fn confirm(partial: &Path, named: &Path) -> Result<Confirmed, GuestError> {
    if named.exists() {
        let confirmed = measure(named)?;
        discard(&[partial])?;
        return Ok(confirmed);
    }
    let confirmed = measure(partial)?;
    if confirmed.size == 0 {
        return Err(GuestError::EmptyPoint { path: partial.to_owned() });
    }
    let sync = |path: &Path| {
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(|source| GuestError::Sync { path: path.to_owned(), source })
    };
    sync(partial)?;
    fs::rename(partial, named).map_err(|source| GuestError::Rename { path: named.to_owned(), source })?;
    if let Some(folder) = named.parent() {
        sync(folder)?;
    }
    Ok(confirmed)
}

/// Reports a confirmed restore point as the last word of the container.
pub fn report(confirmed: &Confirmed, path: &Path) -> Result<(), GuestError> {
    let error = |source| GuestError::Report { path: path.to_owned(), source };
    let text = serde_json::to_vec(confirmed).map_err(|source| error(source.into()))?;
    let mut file =
        fs::OpenOptions::new().create(true).write(true).truncate(true).open(path).map_err(error)?;
    file.write_all(&text).map_err(error)
}

fn measure(path: &Path) -> Result<Confirmed, GuestError> {
    let read = |source| GuestError::ReadPoint { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    let mut hasher = Hasher::new();
    io::copy(&mut io::BufReader::with_capacity(BLOCK, file), &mut hasher).map_err(read)?;
    let size = hasher.length();
    Ok(Confirmed { digest: hasher.finish(), size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_gets_its_name_once() {
        let folder = tempfile::tempdir().unwrap();
        let (partial, named) = (folder.path().join("a.rdb.tmp"), folder.path().join("a.rdb"));
        fs::write(&partial, b"REDIS0009").unwrap();
        let first = confirm(&partial, &named).unwrap();
        assert_eq!((first.size, first.digest), (9, Digest::of(b"REDIS0009")));
        assert!(!partial.exists());
        // A second run of the same work finds the point and leaves it as it is.
        fs::write(&partial, b"later data").unwrap();
        assert_eq!(confirm(&partial, &named).unwrap(), first);
        assert_eq!(fs::read(&named).unwrap(), b"REDIS0009");
        assert!(!partial.exists());
    }

    #[test]
    fn an_empty_or_missing_point_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (partial, named) = (folder.path().join("a.rdb.tmp"), folder.path().join("a.rdb"));
        assert!(matches!(confirm(&partial, &named), Err(GuestError::ReadPoint { .. })));
        fs::write(&partial, b"").unwrap();
        assert!(matches!(confirm(&partial, &named), Err(GuestError::EmptyPoint { .. })));
        assert!(!named.exists());
        fs::write(&named, b"REDIS0009").unwrap();
        for _ in 0..2 {
            discard(&[&partial, &named]).unwrap();
            assert!(!partial.exists() && !named.exists());
        }
    }

    #[test]
    fn the_installed_executable_runs() {
        let folder = tempfile::tempdir().unwrap();
        install(Path::new("/bin/true"), folder.path()).unwrap();
        let status = std::process::Command::new(folder.path().join("bundle")).status().unwrap();
        assert!(status.success());
    }

    #[test]
    fn the_report_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("termination-log");
        fs::write(
            &path,
            "something longer that was there before the report, to be replaced as a whole ".repeat(3),
        )
        .unwrap();
        let confirmed = Confirmed { digest: Digest::of(b"x"), size: 1 };
        report(&confirmed, &path).unwrap();
        assert_eq!(serde_json::from_slice::<Confirmed>(&fs::read(&path).unwrap()).unwrap(), confirmed);
    }
}
