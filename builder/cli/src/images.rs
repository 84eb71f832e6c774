//! From a locked platform to images in the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use builder_build::{
    BuildError, BuildRequest, Builder, BuiltImage, ImageRequest, Keep, SourceInput, Store, StoreError,
};
use builder_image::{ImageConfig, Process};
use builder_inputs::PackageCache;
use builder_recipe::{ImageUser, Recipe};
use builder_tree::{PackageError, Recordings};
use bundles_objects::{ImageIdentity, ServiceName, UserId};
use bundles_release::{ReleaseImage, lock::Lock};
use registry_client::BlobSource;
use registry_wire::{Descriptor, Digest};

use crate::{
    command::{Context, effects},
    error::{CommandError, Kind, OfKind as _},
    inputs,
    platform::PlatformFolder,
    progress::Progress,
};

/// An image of the platform, built.
#[derive(Debug, Clone)]
pub(crate) struct PlatformImage {
    /// The recipe that it is made of.
    pub(crate) name: ServiceName,
    /// What is in the store.
    pub(crate) built: BuiltImage,
    /// The user that its process runs as.
    pub(crate) user: UserId,
}

impl PlatformImage {
    /// What objects have to know.
    pub(crate) fn identity(&self) -> ImageIdentity {
        ImageIdentity { digest: self.built.image.manifest.digest(), user: self.user }
    }

    /// What a release says.
    pub(crate) fn of_release(&self, recipe: &Recipe) -> Result<ReleaseImage, CommandError> {
        let manifest = &self.built.image.manifest;
        Ok(ReleaseImage {
            name: self.name.as_str().parse().of_kind(Kind::Input)?,
            media_type: manifest.media_type().clone(),
            digest: manifest.digest(),
            size: manifest.bytes().len() as u64,
            platforms: vec![(recipe.image().platform().platform(), manifest.digest())],
        })
    }

    /// What its manifest names, and where each lies.
    pub(crate) fn blobs(&self, store: &Store) -> Vec<(Descriptor, BlobSource)> {
        let layers = self.built.layers.iter();
        let layers =
            layers.map(|layer| (layer.descriptor(), BlobSource::File(store.blob_path(&layer.digest))));
        let (config, bytes) = &self.built.image.config;
        layers.chain([(config.clone(), bytes.clone().into())]).collect()
    }

    /// Bytes of all its layers, compressed.
    pub(crate) fn size(&self) -> u64 {
        self.built.layers.iter().map(|layer| layer.size).sum()
    }
}

/// Reads a blob of the store again before it leaves the machine under its digest.
pub(crate) fn verify(source: &BlobSource, digest: &Digest, store: &Store) -> Result<(), CommandError> {
    match source {
        BlobSource::File(_) => store.verify_blob(digest).map_err(of_damage),
        BlobSource::Bytes(_) => Ok(()),
    }
}

/// An error of content that is read again.
pub(crate) fn of_damage(error: StoreError) -> CommandError {
    let hint = error.hint();
    let error = CommandError::new(Kind::Machine, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Builds the images of `services`, or all when none is named.
pub(crate) fn build(
    folder: &PlatformFolder,
    lock: &Lock,
    services: &[String],
    store: &Store,
    context: &Context,
) -> Result<Vec<PlatformImage>, CommandError> {
    let known: BTreeMap<&str, &Recipe> =
        folder.platform.recipes().map(|recipe| (recipe.name.as_str(), recipe)).collect();
    let wanted: BTreeSet<&str> = services.iter().map(String::as_str).collect();
    if let Some(unknown) = wanted.iter().find(|name| !known.contains_key(**name)) {
        let nearest = known.keys().max_by(|left, right| {
            strsim::jaro_winkler(left, unknown).total_cmp(&strsim::jaro_winkler(right, unknown))
        });
        let error = CommandError::new(Kind::Usage, format!("there is no recipe `{unknown}`"));
        return Err(match nearest {
            Some(nearest) => error.hint(folder.command(&format!("build {nearest}"))),
            None => error,
        });
    }
    let cache = PackageCache::new(context.home.downloads());
    // A path that a later command finds from any folder.
    let path = std::path::absolute(&folder.root).of_kind(Kind::Machine)?;
    let keep = if wanted.is_empty() { Keep::Only(path) } else { Keep::Also(path) };
    let recordings = Arc::new(folder.recordings()?);
    let mut request = BuildRequest { images: Vec::new(), keep: Some(keep) };
    let mut users = Vec::new();
    for (_, recipe) in known.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(**name)) {
        let user = user_of(recipe, lock)?;
        users.push((recipe.name.clone(), user));
        request.images.push(image_request(recipe, user, folder, lock, &cache, &recordings)?);
    }
    let progress = Progress::new(context.report);
    let built = Builder::new(store, &progress).build(&request).map_err(|error| of_build(error, folder));
    progress.finish();
    let images =
        built?.into_iter().zip(users).map(|(built, (name, user))| PlatformImage { name, built, user });
    Ok(images.collect())
}

/// What the builder has to know of one recipe's image.
pub(crate) fn request(
    folder: &PlatformFolder,
    lock: &Lock,
    recipe: &ServiceName,
    recordings: Recordings,
    context: &Context,
) -> Result<ImageRequest, CommandError> {
    let missing = || CommandError::new(Kind::Usage, format!("there is no recipe `{recipe}`"));
    let recipe = folder.platform.recipe(recipe).ok_or_else(missing)?;
    let cache = PackageCache::new(context.home.downloads());
    // Who its process runs as may be an account that a script has yet to make.
    let user = user_of(recipe, lock).or_else(|_| "65532:65532".parse().of_kind(Kind::Machine))?;
    image_request(recipe, user, folder, lock, &cache, &Arc::new(recordings))
}

/// A build that failed, with what helps.
pub(crate) fn of_build(error: BuildError, folder: &PlatformFolder) -> CommandError {
    let hint = match &error {
        BuildError::Package { source, .. }
            if matches!(**source, PackageError::Corrupted { .. } | PackageError::Open { .. }) =>
        {
            Some(folder.command("fetch"))
        }
        error => error.hint().map(|hint| effects::record::of_platform(&hint, folder)),
    };
    let kind = match error {
        // What a layer is put together from was verified when it came into the store.
        BuildError::Store { .. } | BuildError::Keep { .. } | BuildError::Layer { .. } => Kind::Machine,
        BuildError::Package { .. }
        | BuildError::Install { .. }
        | BuildError::Target { .. }
        | BuildError::Fragment { .. } => Kind::Input,
    };
    let error = CommandError::new(kind, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn user_of(recipe: &Recipe, lock: &Lock) -> Result<UserId, CommandError> {
    match &recipe.image().user {
        ImageUser::Numeric(user) => Ok(*user),
        ImageUser::Account(name) => {
            let account = lock.accounts.user(name.as_str());
            let numbers = account.and_then(|user| format!("{}:{}", user.id, user.group).parse().ok());
            numbers.ok_or_else(|| {
                let problem = recipe.problem(
                    &["image", "user"],
                    &format!("no package of the recipe makes an account `{name}`"),
                    "name an account that a package makes, or numbers such as \"65532:65532\"",
                );
                CommandError::new(Kind::Input, problem.to_string())
            })
        }
    }
}

fn image_request(
    recipe: &Recipe,
    user: UserId,
    folder: &PlatformFolder,
    lock: &Lock,
    cache: &PackageCache,
    recordings: &Arc<Recordings>,
) -> Result<ImageRequest, CommandError> {
    let name = recipe.name.as_str();
    let locked = name.parse().of_kind(Kind::Input)?;
    let image = recipe.image();
    let root = folder.root.join(name);
    let sources = recipe
        .source_files()
        .iter()
        .map(|file| SourceInput::hash(&root, file))
        .collect::<Result<Vec<_>, _>>()
        .of_kind(Kind::Input)?;
    let missing = || {
        CommandError::new(Kind::Input, format!("bundle.lock does not hold recipe `{name}`"))
            .hint(folder.command("lock"))
    };
    let platform = image.platform().platform();
    Ok(ImageRequest {
        name: name.to_owned(),
        packages: lock
            .recipe_packages(&locked)
            .map(|package| inputs::package_input(package, cache))
            .collect(),
        accounts: lock.accounts.clone(),
        epoch: lock.recipe_epoch(&locked).ok_or_else(missing)?,
        sources,
        recordings: Arc::clone(recordings),
        config: ImageConfig {
            platform,
            process: Process {
                user: user.to_string(),
                ports: image.ports.iter().map(|port| format!("{}/tcp", port.number())).collect(),
                environment: image
                    .environment
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.clone()))
                    .chain([(
                        "PATH".to_owned(),
                        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin".to_owned(),
                    )])
                    .collect(),
                entrypoint: image.entrypoint.clone(),
                arguments: image.arguments.clone(),
                working_directory: image.working_directory.as_ref().map(ToString::to_string),
            },
        },
    })
}
