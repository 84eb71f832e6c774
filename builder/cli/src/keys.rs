//! Key files: read with a password, written so that only their owner reads them.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use bundles_trust::{KeyError, KeyFileError, PrivateKey, PublicKey, Randomness};

use crate::error::{CommandError, Kind};

/// The variable that holds the password of key files; cosign's own is read too.
pub(crate) const PASSWORD_VARIABLES: [&str; 2] = ["BUNDLE_PASSWORD", "COSIGN_PASSWORD"];

/// A key that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileAccessError {
    /// The file cannot be read.
    #[error("the key {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written; an existing key is never overwritten.
    #[error("the key {} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not an encrypted private key, or the password is wrong.
    #[error("{} is not opened as a private key", path.display())]
    Private {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyFileError,
    },
    /// Not a public key.
    #[error("{} is not a public key", path.display())]
    Public {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// No password came.
    #[error("no password for {}", path.display())]
    NoPassword {
        /// The file.
        path: PathBuf,
    },
    /// The second password is another than the first.
    #[error("the passwords for {} differ; nothing was written", path.display())]
    NotRepeated {
        /// The file.
        path: PathBuf,
    },
    /// A key cannot be made.
    #[error("a key cannot be made")]
    Generate(#[source] KeyError),
    /// A key cannot be encrypted.
    #[error("the key for {} cannot be encrypted", path.display())]
    Encrypt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyFileError,
    },
}

/// Opens the private key in `path`.
pub(crate) fn read_private(path: &Path, password: &[u8]) -> Result<PrivateKey, KeyFileAccessError> {
    decrypt(path, &read(path)?, password)
}

fn decrypt(path: &Path, text: &str, password: &[u8]) -> Result<PrivateKey, KeyFileAccessError> {
    PrivateKey::from_encrypted_pem(text, password)
        .map_err(|source| KeyFileAccessError::Private { path: path.to_owned(), source })
}

/// Opens the private keys that a person named. The password comes from the environment, one for all of them, else from
/// the terminal, for each.
pub(crate) fn open_all(paths: &[PathBuf]) -> Result<Vec<PrivateKey>, CommandError> {
    paths.iter().map(|path| open(path)).collect()
}

/// Opens one private key that a person named; see [`open_all`].
pub(crate) fn open(path: &Path) -> Result<PrivateKey, CommandError> {
    let text = read(path)?;
    let password = password(path, |name| std::env::var(name).ok())?;
    Ok(decrypt(path, &text, &password)?)
}

impl From<KeyFileAccessError> for CommandError {
    fn from(error: KeyFileAccessError) -> Self {
        let (kind, hint) = match &error {
            KeyFileAccessError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                (Kind::Input, "bundle key generate NAME makes NAME.key and NAME.pub")
            }
            KeyFileAccessError::Read { .. } => return Self::new(Kind::Input, error),
            KeyFileAccessError::Private { source: KeyFileError::Password, .. } => {
                (Kind::Trust, "set BUNDLE_PASSWORD to the password of this key, or type it at the terminal")
            }
            KeyFileAccessError::Private { .. } => {
                (Kind::Input, "name NAME.key, the private half that `bundle key generate` made")
            }
            KeyFileAccessError::Public { .. } => {
                (Kind::Input, "name NAME.pub, the public half that `bundle key generate` made")
            }
            KeyFileAccessError::NoPassword { .. } => {
                (Kind::Usage, "set BUNDLE_PASSWORD, or run it at a terminal")
            }
            KeyFileAccessError::Write { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                (Kind::Machine, "choose another name: keys are never overwritten")
            }
            KeyFileAccessError::Write { .. }
            | KeyFileAccessError::NotRepeated { .. }
            | KeyFileAccessError::Generate(_)
            | KeyFileAccessError::Encrypt { .. } => {
                return Self::new(Kind::Machine, error);
            }
        };
        Self::new(kind, error).hint(hint)
    }
}

/// Reads the public key in `path`.
pub(crate) fn read_public(path: &Path) -> Result<PublicKey, KeyFileAccessError> {
    let text = read(path)?;
    PublicKey::from_pem(&text).map_err(|source| KeyFileAccessError::Public { path: path.to_owned(), source })
}

/// Makes a key and writes `NAME.key` (encrypted, for its owner alone) and `NAME.pub`. Existing files are kept.
pub(crate) fn generate(
    name: &Path,
    password: &[u8],
    random: &mut impl Randomness,
) -> Result<PrivateKey, KeyFileAccessError> {
    let key = PrivateKey::generate(random).map_err(KeyFileAccessError::Generate)?;
    let private = with_ending(name, "key");
    let text = key
        .to_encrypted_pem(password, random)
        .map_err(|source| KeyFileAccessError::Encrypt { path: private.clone(), source })?;
    create(&private, text.as_bytes(), 0o600)?;
    create(&with_ending(name, "pub"), key.public().to_pem().as_bytes(), 0o644)?;
    Ok(key)
}

/// `NAME.ENDING`, whatever dots the name has.
pub(crate) fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut text = name.as_os_str().to_owned();
    text.push(".");
    text.push(ending);
    text.into()
}

fn read(path: &Path) -> Result<String, KeyFileAccessError> {
    fs::read_to_string(path).map_err(|source| KeyFileAccessError::Read { path: path.to_owned(), source })
}

fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), KeyFileAccessError> {
    let write = || {
        let mut file = fs::File::options().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|source| KeyFileAccessError::Write { path: path.to_owned(), source })
}

/// The password for `path`: from the environment, else typed at the terminal.
pub(crate) fn password(
    path: &Path,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<u8>, KeyFileAccessError> {
    given(environment).map_or_else(|| typed(path, "Password for"), Ok)
}

/// The password for a key that is to be made: at the terminal it is asked twice, since a slip would lose the key.
pub(crate) fn new_password(
    path: &Path,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<u8>, KeyFileAccessError> {
    if let Some(password) = given(environment) {
        return Ok(password);
    }
    let first = typed(path, "Password for")?;
    let second = typed(path, "The same again for")?;
    if first == second { Ok(first) } else { Err(KeyFileAccessError::NotRepeated { path: path.to_owned() }) }
}

fn given(environment: impl Fn(&str) -> Option<String>) -> Option<Vec<u8>> {
    PASSWORD_VARIABLES.iter().find_map(|name| environment(name)).map(String::into_bytes)
}

fn typed(path: &Path, prompt: &str) -> Result<Vec<u8>, KeyFileAccessError> {
    rpassword::prompt_password(format!("{prompt} {}: ", path.display()))
        .map(String::into_bytes)
        .map_err(|_| KeyFileAccessError::NoPassword { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use bundles_trust::SystemRandomness;

    use super::*;

    #[test]
    fn a_key_is_written_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("release.v1");
        let key = generate(&name, b"secret", &mut SystemRandomness).unwrap();
        let private = folder.path().join("release.v1.key");
        assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_private(&private, b"secret").unwrap().hint(), key.hint());
        assert_eq!(read_public(&folder.path().join("release.v1.pub")).unwrap().hint(), key.hint());
        assert!(matches!(read_private(&private, b"wrong"), Err(KeyFileAccessError::Private { .. })));
        let again = generate(&name, b"secret", &mut SystemRandomness);
        assert!(matches!(again, Err(KeyFileAccessError::Write { .. })));
        assert_eq!(read_private(&private, b"secret").unwrap().hint(), key.hint());
    }
}
