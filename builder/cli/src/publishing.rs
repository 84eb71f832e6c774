//! Pushing images and releases, signing them, and moving a channel.
//!
//! Order: blobs before the manifest that names them, images before the release, the release before its tag and its
//! signature, an immutable record tag before the tag that moves. So a push that is cut off leaves nothing that names
//! what is not there, and the next one goes on where it ended.

use bundles_objects::ServiceName;
use bundles_release::{AssembledRelease, EnvironmentName, Release, names::SIGNATURE_PREDICATE};
use bundles_trust::{
    Action, Channel, ChannelRecord, Evidence, Owner, Payload, PrivateKey, Reason, ReleaseMark,
    SignatureBundle, Signed, SignedRecord, SignedRoot, TrustRoot, TrustedRoot, referrer, sign_release,
    verify_release, verify_signature,
};
use jiff::{SignedDuration, Timestamp};
use registry_client::{BlobSource, ClientError, Pushed, Registry};
use registry_wire::{Descriptor, Digest, Reference, RepositoryName, StoredManifest};

use crate::{
    error::{CommandError, Kind, OfKind as _},
    images::PlatformImage,
};

/// How long a record is taken by those who see it for the first time.
const APPLY_WITHIN: SignedDuration = SignedDuration::from_hours(72);
/// How long a record holds.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 90);
/// A clock may be so much behind.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
/// A bundle of one signature has less than a kilobyte.
const BUNDLE_LIMIT: u64 = 64 << 10;

/// Bytes that were sent, and bytes that were there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moved {
    /// Sent.
    pub(crate) sent: u64,
    /// There already.
    pub(crate) present: u64,
}

/// Whether something had to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was done now.
    Made,
    /// It was so already.
    Unchanged,
}

/// A registry and the repository in it that releases go to.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) repository: &'a RepositoryName,
}

impl Target<'_> {
    /// The repository of an image: below that of the releases.
    pub(crate) fn image_repository(&self, name: &ServiceName) -> Result<RepositoryName, CommandError> {
        format!("{}/{name}", self.repository).parse().of_kind(Kind::Input)
    }

    async fn put(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        source: BlobSource,
        moved: &mut Moved,
    ) -> Result<(), CommandError> {
        let pushed = self.registry.put_blob(repository, descriptor.digest, descriptor.size, &source).await;
        match pushed.map_err(of_registry)? {
            Pushed::Present => moved.present += descriptor.size,
            Pushed::Uploaded => moved.sent += descriptor.size,
        }
        Ok(())
    }

    /// Pushes an image to its own repository.
    pub(crate) async fn push_image(
        &self,
        image: &PlatformImage,
        store: &builder_build::Store,
    ) -> Result<Moved, CommandError> {
        let repository = self.image_repository(&image.name)?;
        let mut moved = Moved::default();
        let manifest = &image.built.image.manifest;
        let reference = Reference::Digest(manifest.digest());
        if self.registry.resolve(&repository, &reference).await.map_err(of_registry)?.is_some() {
            moved.present += image.size();
            return Ok(moved);
        }
        for layer in &image.built.layers {
            let source = BlobSource::File(store.blob_path(&layer.digest));
            self.put(&repository, &layer.descriptor(), source, &mut moved).await?;
        }
        let (descriptor, bytes) = &image.built.image.config;
        self.put(&repository, descriptor, bytes.clone().into(), &mut moved).await?;
        self.registry.put_manifest(&repository, &reference, manifest).await.map_err(of_registry)?;
        Ok(moved)
    }

    /// Pushes a release; its images are there. The tag moves last.
    pub(crate) async fn push_release(&self, assembled: &AssembledRelease) -> Result<Change, CommandError> {
        let release = &assembled.release;
        let tag = Reference::Tag(release.tag());
        if self.registry.resolve(self.repository, &tag).await.map_err(of_registry)? == Some(release.digest())
        {
            return Ok(Change::Unchanged);
        }
        let mut moved = Moved::default();
        for (descriptor, bytes) in &assembled.blobs {
            self.put(self.repository, descriptor, bytes.clone().into(), &mut moved).await?;
        }
        self.registry.put_manifest(self.repository, &tag, release.manifest()).await.map_err(of_registry)?;
        Ok(Change::Made)
    }

    /// The signatures that refer to `subject`, whoever made them; what is no bundle is passed over.
    pub(crate) async fn signatures(&self, subject: &Digest) -> Result<Vec<SignatureBundle>, CommandError> {
        let mut bundles = Vec::new();
        for found in self.registry.referrers(self.repository, subject).await.map_err(of_registry)? {
            let Some(manifest) = self
                .registry
                .get_manifest(self.repository, &Reference::Digest(found.digest))
                .await
                .map_err(of_registry)?
            else {
                continue;
            };
            let Some(layer) = manifest.image().and_then(|image| image.layers.first()) else { continue };
            if layer.media_type != bundles_release::names::SIGSTORE_BUNDLE || layer.size > BUNDLE_LIMIT {
                continue;
            }
            let bytes =
                self.registry.get_blob(self.repository, layer, BUNDLE_LIMIT).await.map_err(of_registry)?;
            bundles.extend(SignatureBundle::parse(bytes));
        }
        Ok(bundles)
    }

    /// Signs `subject` unless a valid signature of this key is there.
    pub(crate) async fn sign(&self, subject: &Descriptor, key: &PrivateKey) -> Result<Change, CommandError> {
        let there = self.signatures(&subject.digest).await?;
        if there.iter().any(|bundle| verify_signature(bundle, key.public(), subject.digest).is_ok()) {
            return Ok(Change::Unchanged);
        }
        let bundle = sign_release(key, subject.digest);
        let (manifest, blobs) = referrer(subject, &bundle, SIGNATURE_PREDICATE);
        self.attach(&manifest, blobs).await?;
        Ok(Change::Made)
    }

    async fn attach(
        &self,
        manifest: &StoredManifest,
        blobs: Vec<(Descriptor, Vec<u8>)>,
    ) -> Result<(), CommandError> {
        let mut moved = Moved::default();
        for (descriptor, bytes) in blobs {
            self.put(self.repository, &descriptor, bytes.into(), &mut moved).await?;
        }
        self.registry.attach_referrer(self.repository, manifest).await.map_err(of_registry)
    }

    /// Puts a trust root at its tag, which never moves.
    pub(crate) async fn push_root(&self, root: &SignedRoot) -> Result<Change, CommandError> {
        let manifest = root.manifest();
        let product = crate::development::product(root);
        let tag = Reference::Tag(TrustRoot::tag(product, root.document().version()));
        match self.registry.resolve(self.repository, &tag).await.map_err(of_registry)? {
            Some(digest) if digest == manifest.digest() => return Ok(Change::Unchanged),
            Some(digest) => {
                let message = format!("{tag} is {digest} in the registry, ours is {}", manifest.digest());
                return Err(CommandError::new(Kind::Trust, message)
                    .hint("use the keys that made it, or another repository or registry"));
            }
            None => {}
        }
        let mut moved = Moved::default();
        for (descriptor, bytes) in root.blobs() {
            self.put(self.repository, &descriptor, bytes.into(), &mut moved).await?;
        }
        self.registry.put_manifest(self.repository, &tag, &manifest).await.map_err(of_registry)?;
        Ok(Change::Made)
    }

    /// The record that a channel's tag names.
    pub(crate) async fn current_record(
        &self,
        channel: &Channel,
    ) -> Result<Option<SignedRecord>, CommandError> {
        let tag = Reference::Tag(channel.tag());
        let manifest = self.registry.get_manifest(self.repository, &tag).await.map_err(of_registry)?;
        manifest.map(|manifest| SignedRecord::parse(&manifest).of_kind(Kind::Trust)).transpose()
    }

    /// Moves a channel to a release, unless it is there.
    pub(crate) async fn promote(
        &self,
        promotion: &Promotion<'_>,
    ) -> Result<(SignedRecord, Change), CommandError> {
        let current = self.current_record(&promotion.channel).await?;
        if let Some(record) = &current {
            let document = record.document();
            let is_same = document.release.digest == promotion.release.digest()
                && document.environment == promotion.environment
                && document.action == Action::Promote;
            let standing = bundles_trust::standing(record, promotion.root, promotion.now);
            if is_same && standing.is_ok() {
                return Ok((record.clone(), Change::Unchanged));
            }
        }
        let signatures = self.signatures(&promotion.release.digest()).await?;
        let tally = verify_release(promotion.release.digest(), &signatures, promotion.root, promotion.now)
            .map_err(of_refusal)?;
        // Listed by digest, so that a cluster needs no list of referrers.
        let evidence =
            signatures.iter().filter(|bundle| tally.counted.contains(&bundle.hint())).map(|bundle| {
                Evidence {
                    predicate_type: SIGNATURE_PREDICATE.to_owned(),
                    bundle: bundle.digest(),
                    size: bundle.bytes().len() as u64,
                }
            });
        let record = promotion.record(current.as_ref(), evidence.collect())?;
        let payload = Payload::new(&record).of_kind(Kind::Input)?;
        let bundles = promotion.keys.iter().map(|key| payload.sign(key)).collect();
        let signed = Signed::new(payload, bundles).of_kind(Kind::Trust)?;
        bundles_trust::standing(&signed, promotion.root, promotion.now).map_err(of_refusal)?;
        let manifest = signed.manifest();
        let mut moved = Moved::default();
        for (descriptor, bytes) in signed.blobs() {
            self.put(self.repository, &descriptor, bytes.into(), &mut moved).await?;
        }
        let version_tag = Reference::Tag(promotion.channel.version_tag(signed.document().version));
        if let Some(there) =
            self.registry.resolve(self.repository, &version_tag).await.map_err(of_registry)?
        {
            let message = format!("{version_tag} is {there} already: someone else promoted at the same time");
            return Err(CommandError::new(Kind::Trust, message).hint("bundle promote … once more"));
        }
        for tag in [version_tag, Reference::Tag(promotion.channel.tag())] {
            self.registry.put_manifest(self.repository, &tag, &manifest).await.map_err(of_registry)?;
        }
        Ok((signed, Change::Made))
    }
}

/// What a channel is to run.
#[derive(Debug)]
pub(crate) struct Promotion<'a> {
    pub(crate) channel: Channel,
    pub(crate) release: &'a Release,
    pub(crate) environment: EnvironmentName,
    pub(crate) root: &'a TrustedRoot,
    pub(crate) keys: Vec<&'a PrivateKey>,
    pub(crate) proposed_by: Owner,
    pub(crate) action: Action,
    pub(crate) reason: String,
    pub(crate) now: Timestamp,
}

impl Promotion<'_> {
    fn record(
        &self,
        current: Option<&SignedRecord>,
        evidence: Vec<Evidence>,
    ) -> Result<ChannelRecord, CommandError> {
        if self.release.environment(&self.environment).is_none() {
            let known: Vec<_> =
                self.release.environments().iter().map(|known| known.name().to_string()).collect();
            let message =
                format!("the release has no environment {}; it has {}", self.environment, known.join(", "));
            return Err(CommandError::new(Kind::Input, message).hint("bundle promote --environment NAME"));
        }
        let manifest = self.release.manifest();
        Ok(ChannelRecord {
            channel: self.channel.clone(),
            version: current.map_or(1, |record| record.document().version + 1),
            previous: current.map(Signed::digest),
            action: self.action,
            release: ReleaseMark {
                version: self.release.version().clone(),
                digest: manifest.digest(),
                size: manifest.bytes().len() as u64,
            },
            environment: self.environment.clone(),
            root: self.root.mark(),
            evidence,
            proposed_by: self.proposed_by.clone(),
            proposed_at: self.now,
            not_before: self.now - CLOCK_TOLERANCE,
            apply_by: self.now + APPLY_WITHIN,
            expires: self.now + LIFETIME,
            reason: self.reason.clone(),
        })
    }
}

/// A registry's error, with its hint.
pub(crate) fn of_registry(error: ClientError) -> CommandError {
    let hint = error.hint();
    let error = CommandError::new(Kind::Remote, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// A refusal of the trust root, with its hint.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn of_refusal(reason: Reason) -> CommandError {
    let hint = reason.hint();
    CommandError::new(Kind::Trust, reason.to_string()).hint(hint)
}
