//! Keys and a trust root made for development: marked as such in the root itself, so that no cluster that wants real
//! ones takes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use bundles_release::ProductName;
use bundles_trust::{
    ArtifactError, Channel, ChannelName, DocumentError, Owner, Payload, PrivateKey, Randomness, Revoked,
    Role, RoleKeys, RootFault, Signed, TrustRoot, TrustRootParts, TrustedKey,
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    keys::{self, KeyFileAccessError},
    root_file::{self, RootFile, RootFileError},
};

/// Keys for development open without a password: whoever can read the folder has them.
const PASSWORD: &[u8] = b"";
const LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 365);
const ROOT_FILE: &str = "trust-root.json";

/// What a developer signs with. The keys stay closed until one is asked for: opening takes time.
#[derive(Debug)]
pub(crate) struct DevelopmentTrust {
    /// The trust root, signed by its own key.
    pub(crate) root: RootFile,
    folder: PathBuf,
}

impl DevelopmentTrust {
    /// The file of the trust root.
    pub(crate) fn root_path(&self) -> PathBuf {
        self.folder.join(ROOT_FILE)
    }

    /// Opens the key that signs releases.
    pub(crate) fn release_key(&self) -> Result<PrivateKey, DevelopmentTrustError> {
        self.key("release")
    }

    /// Opens the key that signs records of the development channel.
    pub(crate) fn channel_key(&self) -> Result<PrivateKey, DevelopmentTrustError> {
        self.key("channel")
    }

    fn key(&self, name: &str) -> Result<PrivateKey, DevelopmentTrustError> {
        Ok(keys::read_private(&self.folder.join(format!("{name}.key")), PASSWORD)?)
    }
}

/// Whether keys had to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// They were there.
    Found,
    /// They were made now.
    Made,
}

/// Development keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevelopmentTrustError {
    /// The folder cannot be made, read or written.
    #[error("{} is not usable", path.display())]
    File {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key.
    #[error("a development key is not usable")]
    Key(#[from] KeyFileAccessError),
    /// The root breaks a rule.
    #[error("the development trust root cannot be made")]
    Root(#[from] RootFault),
    /// The root cannot be written.
    #[error("the development trust root cannot be written")]
    Document(#[from] DocumentError),
    /// The root cannot be put together with its signature.
    #[error("the development trust root cannot be signed")]
    Artifact(#[source] Box<ArtifactError>),
    /// The stored root.
    #[error("the development trust root is not usable")]
    Stored(#[from] RootFileError),
}

/// Finds the development keys of `product` in `folder`; makes them on first use.
///
/// The root is written last and by a rename: a run that was cut off is begun anew by the next one.
pub(crate) fn find_or_make(
    folder: &Path,
    product: &ProductName,
    channel: &ChannelName,
    now: Timestamp,
    random: &mut impl Randomness,
) -> Result<(DevelopmentTrust, Origin), DevelopmentTrustError> {
    let root_path = folder.join(ROOT_FILE);
    let origin = if root_path.exists() {
        Origin::Found
    } else {
        make(folder, product, channel, now, random)?;
        Origin::Made
    };
    Ok((DevelopmentTrust { root: root_file::read(&root_path)?, folder: folder.to_owned() }, origin))
}

fn make(
    folder: &Path,
    product: &ProductName,
    channel: &ChannelName,
    now: Timestamp,
    random: &mut impl Randomness,
) -> Result<(), DevelopmentTrustError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| DevelopmentTrustError::File { path, source }
    };
    fs::create_dir_all(folder).map_err(file(folder))?;
    let channel = Role::Channel(Channel::new(product.clone(), channel.clone()));
    let mut trusted = Vec::new();
    let mut roles = BTreeMap::new();
    let mut root_key = None;
    for (name, role) in [("root", Role::Root), ("release", Role::Release), ("channel", channel)] {
        let path = folder.join(name);
        // Left behind by a run that was cut off before it wrote the root: nobody trusts them yet.
        for leftover in [keys::with_ending(&path, "key"), keys::with_ending(&path, "pub")] {
            if leftover.exists() {
                fs::remove_file(&leftover).map_err(file(&leftover))?;
            }
        }
        let key = keys::generate(&path, PASSWORD, random)?;
        roles.insert(role, RoleKeys { keys: BTreeSet::from([key.hint()]), threshold: 1 });
        trusted.push(TrustedKey { owner: Owner::development(), key: key.public().clone(), not_after: None });
        root_key.get_or_insert(key);
    }
    let root = TrustRoot::new(TrustRootParts {
        product: product.clone(),
        version: 1,
        expires: now + LIFETIME,
        development: true,
        keys: trusted,
        roles,
        revoked: Revoked::default(),
    })?;
    let payload = Payload::new(&root)?;
    let bundles = root_key.iter().map(|key| payload.sign(key)).collect();
    let signed =
        Signed::new(payload, bundles).map_err(|source| DevelopmentTrustError::Artifact(Box::new(source)))?;
    Ok(root_file::write(&folder.join(ROOT_FILE), &signed)?)
}

#[cfg(test)]
mod tests {
    use bundles_trust::SystemRandomness;

    use super::*;

    #[test]
    fn keys_are_made_once_and_marked() {
        let folder = tempfile::tempdir().unwrap();
        let (product, channel) = ("shop".parse().unwrap(), "dev".parse().unwrap());
        let now = "2026-11-01T00:00:00Z".parse().unwrap();
        let open = || find_or_make(folder.path(), &product, &channel, now, &mut SystemRandomness).unwrap();
        let (first, made) = open();
        let (second, found) = open();
        assert_eq!((made, found), (Origin::Made, Origin::Found));
        assert!(first.root.signed.document().is_development());
        assert_eq!(first.root.signed.digest(), second.root.signed.digest());
        for role in [Role::Release, Role::Channel(Channel::new(product.clone(), channel.clone()))] {
            let key = match role {
                Role::Release => second.release_key(),
                _ => second.channel_key(),
            };
            let members = first.root.trusted.root().role(&role).unwrap();
            assert_eq!(members.keys, BTreeSet::from([key.unwrap().hint()]));
        }
        // Cut off before the root was written.
        fs::remove_file(folder.path().join(ROOT_FILE)).unwrap();
        assert_eq!(open().1, Origin::Made);
    }
}
