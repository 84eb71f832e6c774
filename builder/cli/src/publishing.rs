//! Pushing images and releases, and signing them.
//!
//! Order: blobs before the manifest that names them, images before the release, the release before its tag, its
//! signature and the carrier index that lists it with its images. Images and carriers also get a tag that never moves,
//! since registries may collect what has none while nodes pull it by digest. So a push that is cut off leaves nothing that names
//! what is not there, and the next one goes on where it ended. The same holds for channels: see `promotion`.

use std::sync::Arc;

use builder_build::Store;
use bundles_objects::ServiceName;
use bundles_release::{AssembledRelease, Release, keeping_tag, names::SIGNATURE_PREDICATE};
use bundles_trust::{
    Document as _, PrivateKey, Reason, SignatureBundle, SignedRoot, TrustRoot, referrer, sign_release,
};
use registry_client::{BlobSource, ClientError, Mounted, Options, Pushed, Registry, Scheme};
use registry_wire::{Descriptor, Digest, Reference, RegistryAddress, RepositoryName, StoredManifest};

use crate::{
    error::{CommandError, Kind, OfKind as _},
    images::{self, PlatformImage},
    progress::Progress,
};

/// Bytes that were sent, and bytes that were there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moved {
    /// Sent.
    pub(crate) sent: u64,
    /// There already.
    pub(crate) present: u64,
}

impl Moved {
    fn add(&mut self, more: Self) {
        self.sent += more.sent;
        self.present += more.present;
    }
}

/// Whether something had to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was done now.
    Made,
    /// It was so already.
    Unchanged,
}

/// A registry whose moved bytes `progress` shows.
pub(crate) fn connect(
    address: &RegistryAddress,
    scheme: Scheme,
    progress: &Arc<Progress>,
) -> Result<Registry, CommandError> {
    let shown = Arc::clone(progress);
    let options =
        Options { progress: Some(Arc::new(move |bytes| shown.advance(bytes))), ..Options::default() };
    Registry::with_options(address.clone(), scheme, options).map_err(of_registry)
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

    /// How a release is named to other verbs, as it is typed.
    pub(crate) fn typed_reference(&self, release: &Digest) -> String {
        let scheme = match self.registry.scheme() {
            Scheme::Http => " --scheme http",
            Scheme::Https => "",
        };
        format!("{}/{}@{release}{scheme}", self.registry.address(), self.repository)
    }

    /// Puts a blob into a repository, unless it is there.
    pub(crate) async fn put(
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

    /// The same for a blob of an image. One that lies in the store is read again first: no damage leaves the machine
    /// under a digest.
    async fn put_stored(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        source: BlobSource,
        store: &Store,
        moved: &mut Moved,
    ) -> Result<(), CommandError> {
        images::verify(&source, &descriptor.digest, store)?;
        self.put(repository, descriptor, source, moved).await
    }

    /// Puts a manifest under a tag or its digest; what it names is there.
    pub(crate) async fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        manifest: &StoredManifest,
    ) -> Result<(), CommandError> {
        self.registry.put_manifest(repository, reference, manifest).await.map_err(of_registry)
    }

    /// The digest that a tag or digest of the repository of releases stands for.
    pub(crate) async fn resolve(&self, reference: &Reference) -> Result<Option<Digest>, CommandError> {
        self.registry.resolve(self.repository, reference).await.map_err(of_registry)
    }

    /// Pushes an image to its own repository. The tag that keeps it there comes last.
    pub(crate) async fn push_image(
        &self,
        image: &PlatformImage,
        store: &Store,
        progress: &Progress,
    ) -> Result<Moved, CommandError> {
        let repository = self.image_repository(&image.name)?;
        let mut moved = Moved::default();
        let keeping = Reference::Tag(keeping_tag(&image.manifest.digest()));
        if self.registry.resolve(&repository, &keeping).await.map_err(of_registry)?.is_some() {
            moved.present += image.size();
            return Ok(moved);
        }
        progress.begin_bytes(&format!("{}: pushing", image.name), image.size());
        for (descriptor, source) in image.blobs(store) {
            let before = moved.present;
            self.put_stored(&repository, &descriptor, source, store, &mut moved).await?;
            progress.advance(moved.present - before);
        }
        progress.finish();
        self.put_manifests(&repository, image).await?;
        self.put_manifest(&repository, &keeping, &image.manifest).await?;
        Ok(moved)
    }

    /// Puts the manifests of an image under their digests, an index last; what they name is there.
    async fn put_manifests(
        &self,
        repository: &RepositoryName,
        image: &PlatformImage,
    ) -> Result<(), CommandError> {
        for manifest in image.manifests() {
            self.put_manifest(repository, &Reference::Digest(manifest.digest()), manifest).await?;
        }
        Ok(())
    }

    /// Pushes a release with its images and its carrier index. What is there is not sent again.
    pub(crate) async fn publish(
        &self,
        assembled: &AssembledRelease,
        images: &[PlatformImage],
        store: &Store,
        progress: &Progress,
    ) -> Result<(Moved, Change), CommandError> {
        let mut moved = Moved::default();
        for image in images {
            moved.add(self.push_image(image, store, progress).await?);
        }
        let release = self.push_release(assembled, progress, &mut moved).await?;
        let carrier = self.push_carrier(&assembled.release, images, store, &mut moved).await?;
        let is_new = [release, carrier].contains(&Change::Made);
        Ok((moved, if is_new { Change::Made } else { Change::Unchanged }))
    }

    /// Pushes a release; its images are there. The tag moves last, and not without a word.
    async fn push_release(
        &self,
        assembled: &AssembledRelease,
        progress: &Progress,
        moved: &mut Moved,
    ) -> Result<Change, CommandError> {
        let release = &assembled.release;
        let tag = Reference::Tag(release.tag());
        match self.resolve(&tag).await? {
            Some(there) if there == release.digest() => return Ok(Change::Unchanged),
            Some(there) => progress.note(&format!(
                "{}:{} was {there} and moves; whoever wants that one names its digest",
                self.repository,
                release.tag()
            )),
            None => {}
        }
        for (descriptor, bytes) in &assembled.blobs {
            self.put(self.repository, descriptor, bytes.clone().into(), moved).await?;
        }
        self.put_manifest(self.repository, &tag, release.manifest()).await?;
        Ok(Change::Made)
    }

    /// Puts the carrier index at its tag; the release and its images are there. A registry takes only an index of
    /// manifests that lie in the same repository, so the images come into it as well: mounted, not sent, where the
    /// registry can.
    async fn push_carrier(
        &self,
        release: &Release,
        images: &[PlatformImage],
        store: &Store,
        moved: &mut Moved,
    ) -> Result<Change, CommandError> {
        let carrier = release.carrier();
        let tag = Reference::Tag(release.carrier_tag());
        // A version's tags move when it is built anew; a cluster may run what they leave.
        let keeping = Reference::Tag(keeping_tag(&carrier.digest()));
        if self.resolve(&tag).await? == Some(carrier.digest()) && self.resolve(&keeping).await?.is_some() {
            return Ok(Change::Unchanged);
        }
        for image in images {
            let from = self.image_repository(&image.name)?;
            for (descriptor, source) in image.blobs(store) {
                self.bring(&descriptor, source, &from, store, moved).await?;
            }
            self.put_manifests(self.repository, image).await?;
        }
        for tag in [keeping, tag] {
            self.put_manifest(self.repository, &tag, &carrier).await?;
        }
        Ok(Change::Made)
    }

    /// Brings a blob that lies in the repository `from` into that of the releases.
    async fn bring(
        &self,
        descriptor: &Descriptor,
        source: BlobSource,
        from: &RepositoryName,
        store: &Store,
        moved: &mut Moved,
    ) -> Result<(), CommandError> {
        let digest = &descriptor.digest;
        if !self.registry.has_blob(self.repository, digest).await.map_err(of_registry)?
            && self.registry.mount_blob(self.repository, digest, from).await.map_err(of_registry)?
                == Mounted::Refused
        {
            return self.put_stored(self.repository, descriptor, source, store, moved).await;
        }
        moved.present += descriptor.size;
        Ok(())
    }

    /// The signatures that refer to `subject`, whoever made them.
    pub(crate) async fn signatures(&self, subject: &Digest) -> Result<Vec<SignatureBundle>, CommandError> {
        bundles_remote::fetch_signatures(self.registry, self.repository, subject).await.map_err(of_registry)
    }

    /// Signs `subject`, unless the signatures that are there will do. The key is opened only when it is needed.
    pub(crate) async fn sign(
        &self,
        subject: &Descriptor,
        will_do: impl FnOnce(&[SignatureBundle]) -> bool,
        open_key: impl FnOnce() -> Result<PrivateKey, CommandError>,
    ) -> Result<Change, CommandError> {
        if will_do(&self.signatures(&subject.digest).await?) {
            return Ok(Change::Unchanged);
        }
        let bundle = sign_release(&open_key()?, subject.digest);
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

    /// Whether a trust root has to be put at its tag, which never moves. Another root there is an error.
    pub(crate) async fn look_for_root(&self, root: &SignedRoot) -> Result<Change, CommandError> {
        let manifest = root.manifest();
        let tag = root_tag(root);
        match self.resolve(&tag).await? {
            Some(digest) if digest == manifest.digest() => Ok(Change::Unchanged),
            Some(digest) => {
                let message = format!("{tag} is {digest} in the registry, ours is {}", manifest.digest());
                Err(CommandError::new(Kind::Trust, message)
                    .hint("use the trust root that is there, or another repository or registry"))
            }
            None => Ok(Change::Made),
        }
    }

    /// Puts a trust root at its tag.
    pub(crate) async fn push_root(&self, root: &SignedRoot) -> Result<(), CommandError> {
        let mut moved = Moved::default();
        for (descriptor, bytes) in root.blobs() {
            self.put(self.repository, &descriptor, bytes.into(), &mut moved).await?;
        }
        self.put_manifest(self.repository, &root_tag(root), &root.manifest()).await
    }
}

fn root_tag(root: &SignedRoot) -> Reference {
    Reference::Tag(TrustRoot::tag(root.document().product(), root.document().version()))
}

/// A registry's error, with its hint.
pub(crate) fn of_registry(error: ClientError) -> CommandError {
    let hint = error.hint();
    CommandError::new(Kind::Remote, error).hint_if(hint)
}

/// A refusal of the trust root, with its hint.
pub(crate) fn of_refusal(reason: Reason) -> CommandError {
    let hint = reason.hint();
    CommandError::new(Kind::Trust, reason).hint(hint)
}
