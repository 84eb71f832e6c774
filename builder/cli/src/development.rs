//! Keys and a trust root made for development: marked as such in the root itself, so that no cluster that wants real
//! ones takes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use bundles_release::ProductName;
use bundles_trust::{
    ArtifactError, Channel, ChannelName, Document as _, DocumentError, Owner, Payload, PrivateKey,
    Randomness, Revoked, Role, RoleKeys, RootFault, RootRefusal, Signed, SignedRoot, TrustRoot,
    TrustRootParts, TrustedKey, TrustedRoot,
};
use jiff::{SignedDuration, Timestamp};
use registry_wire::{ManifestError, MediaType, StoredManifest};

use crate::keys::{self, KeyFileAccessError};

/// Keys for development open without a password: whoever can read the folder has them.
const PASSWORD: &[u8] = b"";
const LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 365);
const ROOT_FILE: &str = "trust-root.json";

/// What a developer signs with.
#[derive(Debug)]
pub(crate) struct DevelopmentTrust {
    /// The trust root, signed by its own key.
    pub(crate) root: SignedRoot,
    /// The same, checked.
    pub(crate) trusted: TrustedRoot,
    /// Signs releases.
    pub(crate) release: PrivateKey,
    /// Signs records of the development channel.
    pub(crate) channel: PrivateKey,
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
    /// The stored root is not an artifact.
    #[error("{} is not a manifest", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ManifestError,
    },
    /// The stored root is not a signed root.
    #[error("the development trust root cannot be read")]
    Artifact(#[from] ArtifactError),
    /// The stored root is not signed by its own keys.
    #[error("the development trust root is refused")]
    Refused(#[from] RootRefusal),
}

/// Opens the development keys of `product` in `folder`; makes them on first use.
///
/// The root is written last and by a rename: a run that was cut off is begun anew by the next one.
pub(crate) fn open_or_make(
    folder: &Path,
    product: &ProductName,
    channel: &ChannelName,
    now: Timestamp,
    random: &mut impl Randomness,
) -> Result<(DevelopmentTrust, Origin), DevelopmentTrustError> {
    let root_path = folder.join(ROOT_FILE);
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| DevelopmentTrustError::File { path, source }
    };
    let origin = if root_path.exists() {
        Origin::Found
    } else {
        make(folder, product, channel, now, random)?;
        Origin::Made
    };
    let bytes = fs::read(&root_path).map_err(file(&root_path))?;
    let manifest = StoredManifest::parse(MediaType::IMAGE_MANIFEST, bytes)
        .map_err(|source| DevelopmentTrustError::Manifest { path: root_path, source })?;
    let root = SignedRoot::parse(&manifest)?;
    let trusted = TrustedRoot::pin(&root, root.digest())?;
    let key = |name: &str| keys::read_private(&folder.join(format!("{name}.key")), PASSWORD);
    let (release, channel) = (key("release")?, key("channel")?);
    Ok((DevelopmentTrust { root, trusted, release, channel }, origin))
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
    let manifest = Signed::new(payload, bundles)?.manifest();
    let (path, temporary) = (folder.join(ROOT_FILE), folder.join("trust-root.new"));
    fs::write(&temporary, manifest.bytes()).and_then(|()| fs::rename(&temporary, &path)).map_err(file(&path))
}

/// The product of a root.
pub(crate) fn product(root: &SignedRoot) -> &ProductName {
    root.document().product()
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
        let open = || open_or_make(folder.path(), &product, &channel, now, &mut SystemRandomness).unwrap();
        let (first, made) = open();
        let (second, found) = open();
        assert_eq!((made, found), (Origin::Made, Origin::Found));
        assert!(first.root.document().is_development());
        assert_eq!(first.root.digest(), second.root.digest());
        assert_eq!(first.release.hint(), second.release.hint());
        assert_eq!(super::product(&first.root), &product);
        // Cut off before the root was written.
        fs::remove_file(folder.path().join(ROOT_FILE)).unwrap();
        assert_eq!(open().1, Origin::Made);
    }
}
