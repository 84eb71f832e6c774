//! From a locked platform to images in the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use builder_build::{
    BuildError, BuildRequest, Builder, BuiltImage, ImageRequest, Keep, Origin, SourceInput, Store, StoreError,
};
use builder_image::{EncodedImage, EncodedIndex, ImageConfig, Layer, Process};
use builder_inputs::PackageCache;
use builder_recipe::{ImagePlatform, ImageUser, Recipe, ScriptPolicy};
use builder_tree::{EffectError, InstallError, PackageError, Recordings, undeclared_hint};
use bundles_objects::{ImageIdentity, ServiceName, UserId};
use bundles_release::{
    ReleaseImage,
    lock::{Lock, PackageName},
    sbom::ScriptLevel,
};
use registry_client::BlobSource;
use registry_wire::{Descriptor, Digest, Platform, StoredManifest};

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
    /// What it is named by: the manifest of its only variant, or an index of several.
    pub(crate) manifest: StoredManifest,
    /// The image for each platform, sorted by platform.
    pub(crate) variants: Vec<Variant>,
    /// The user that its process runs as.
    pub(crate) user: UserId,
}

/// An image for one platform.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    /// What it is for.
    pub(crate) platform: Platform,
    /// Its documents.
    pub(crate) image: EncodedImage,
    /// Its layers, lowest first; they are in the store.
    pub(crate) layers: Vec<Layer>,
    /// How it is known what the scripts of each package did.
    pub(crate) scripts: BTreeMap<PackageName, ScriptLevel>,
    /// Whether it had to be built.
    pub(crate) origin: Origin,
}

impl Variant {
    /// What its manifest names, and where each lies.
    fn blobs(&self, store: &Store) -> impl Iterator<Item = (Descriptor, BlobSource)> {
        let layers = self.layers.iter();
        let layers =
            layers.map(|layer| (layer.descriptor(), BlobSource::File(store.blob_path(&layer.digest))));
        let (config, bytes) = &self.image.config;
        layers.chain([(config.clone(), bytes.clone().into())])
    }

    /// Bytes of all its layers, compressed.
    pub(crate) fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

impl PlatformImage {
    /// Puts an image together of what was built for each of its platforms.
    pub(crate) fn new(name: ServiceName, user: UserId, built: Vec<(ImageConfig, BuiltImage)>) -> Self {
        let variant = |config: ImageConfig, image: EncodedImage, built: BuiltImage| Variant {
            platform: config.platform,
            image,
            layers: built.layers,
            scripts: built.scripts,
            origin: built.origin,
        };
        if let [(_, only)] = &built[..] {
            let manifest = only.image.manifest.clone();
            let variants =
                built.into_iter().map(|(config, built)| variant(config, built.image.clone(), built));
            return Self { name, manifest, variants: variants.collect(), user };
        }
        let listed: Vec<_> = built.iter().map(|(config, built)| (config, &built.layers[..])).collect();
        let EncodedIndex { manifest, images } = EncodedIndex::new(&listed);
        let variants =
            built.into_iter().zip(images).map(|((config, built), image)| variant(config, image, built));
        Self { name, manifest, variants: variants.collect(), user }
    }

    /// How it is known what the scripts of each package did: on the platform where that is known least well.
    pub(crate) fn scripts(&self) -> BTreeMap<PackageName, ScriptLevel> {
        let mut levels = BTreeMap::new();
        for (package, level) in self.variants.iter().flat_map(|variant| &variant.scripts) {
            let known = levels.entry(package.clone()).or_insert(*level);
            *known = (*known).max(*level);
        }
        levels
    }

    /// What objects have to know.
    pub(crate) fn identity(&self) -> ImageIdentity {
        ImageIdentity { digest: self.manifest.digest(), user: self.user }
    }

    /// What a release says.
    pub(crate) fn of_release(&self) -> Result<ReleaseImage, CommandError> {
        let platforms = self.variants.iter();
        let platforms = platforms.map(|variant| (variant.platform.clone(), variant.image.manifest.digest()));
        Ok(ReleaseImage {
            name: self.name.as_str().parse().of_kind(Kind::Input)?,
            media_type: self.manifest.media_type().clone(),
            digest: self.manifest.digest(),
            size: self.manifest.bytes().len() as u64,
            platforms: platforms.collect(),
        })
    }

    /// What its manifests name, each once, and where each lies.
    pub(crate) fn blobs(&self, store: &Store) -> Vec<(Descriptor, BlobSource)> {
        let mut seen = BTreeSet::new();
        let blobs = self.variants.iter().flat_map(|variant| variant.blobs(store));
        blobs.filter(|(descriptor, _)| seen.insert(descriptor.digest)).collect()
    }

    /// Its manifests, what an index lists before the index.
    pub(crate) fn manifests(&self) -> Vec<&StoredManifest> {
        let listed = self.variants.iter().map(|variant| &variant.image.manifest);
        let listed = listed.filter(|manifest| manifest.digest() != self.manifest.digest());
        listed.chain([&self.manifest]).collect()
    }

    /// Bytes of all its layers, compressed. Platforms may share some.
    pub(crate) fn size(&self) -> u64 {
        let layers = self.variants.iter().flat_map(|variant| &variant.layers);
        let sizes: BTreeMap<Digest, u64> = layers.map(|layer| (layer.digest, layer.size)).collect();
        sizes.values().sum()
    }

    /// Whether any of it had to be built.
    pub(crate) fn origin(&self) -> Origin {
        let any = self.variants.iter().find(|variant| variant.origin == Origin::Built);
        any.map_or(Origin::Kept, |variant| variant.origin)
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
    CommandError::new(Kind::Machine, error).hint_if(hint)
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
    let mut wanted_images = Vec::new();
    let mut recipes = BTreeMap::new();
    for (name, recipe) in known.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(**name)) {
        let user = user_of(recipe, lock)?;
        let requests = image_requests(name, recipe, user, folder, lock, &cache, &recordings)?;
        let configs: Vec<ImageConfig> = requests.iter().map(|request| request.config.clone()).collect();
        wanted_images.push((recipe.name.clone(), user, configs));
        recipes.extend(requests.iter().map(|request| (request.name.clone(), *recipe)));
        request.images.extend(requests);
    }
    let progress = Progress::new(context.report);
    let built = Builder::new(store, &progress).build(&request);
    let built =
        built.map_err(|error| of_program(&error, &recipes).unwrap_or_else(|| of_build(error, folder)));
    progress.finish();
    let mut built = built?.into_iter();
    // Built in the order in which they were asked for.
    let images = wanted_images.into_iter().map(|(name, user, configs)| {
        let variants = configs.into_iter().zip(built.by_ref()).collect();
        PlatformImage::new(name, user, variants)
    });
    Ok(images.collect())
}

/// What the builder has to know of one recipe's image, for each of its platforms.
pub(crate) fn requests(
    folder: &PlatformFolder,
    lock: &Lock,
    recipe: &ServiceName,
    recordings: Recordings,
    context: &Context,
) -> Result<Vec<ImageRequest>, CommandError> {
    let missing = || CommandError::new(Kind::Usage, format!("there is no recipe `{recipe}`"));
    let recipe = folder.platform.recipe(recipe).ok_or_else(missing)?;
    let cache = PackageCache::new(context.home.downloads());
    // Who its process runs as may be an account that a script has yet to make.
    let user = user_of(recipe, lock).or_else(|_| "65532:65532".parse().of_kind(Kind::Machine))?;
    image_requests(recipe.name.as_str(), recipe, user, folder, lock, &cache, &Arc::new(recordings))
}

/// A build that failed for what a recipe says of its process, at the line that says it.
fn of_program(error: &BuildError, recipes: &BTreeMap<String, &Recipe>) -> Option<CommandError> {
    let (image, source) = match error {
        BuildError::Program { image, source } => (image, source),
        BuildError::Check { image, source, .. } => (image, &**source),
        _ => return None,
    };
    let recipe = recipes.get(image)?;
    let cause = std::error::Error::source(source).map(|cause| format!(": {cause}")).unwrap_or_default();
    let problem = if let BuildError::Check { program, .. } = error {
        let (key, _) = checks(recipe).find(|(_, of_check)| of_check == program)?;
        let message = format!("a check of image {image} would not start: {source}{cause}");
        recipe.problem(&["service", "health", key, "command"], &message, &source.hint())
    } else {
        let key = if recipe.image().entrypoint.is_empty() { "arguments" } else { "entrypoint" };
        let message = format!("image {image} would not start: {source}{cause}");
        recipe.problem(&["image", key], &message, &source.hint())
    };
    Some(CommandError::new(Kind::Input, problem.to_string()))
}

/// A build that failed, with what helps.
pub(crate) fn of_build(error: BuildError, folder: &PlatformFolder) -> CommandError {
    let hint = match &error {
        BuildError::Package { source, .. }
            if matches!(**source, PackageError::Corrupted { .. } | PackageError::Open { .. }) =>
        {
            Some(folder.command("fetch"))
        }
        BuildError::Install { source, .. } if folder.platform.scripts == ScriptPolicy::DeclaredOnly => {
            match &**source {
                InstallError::UnknownScript { package, .. }
                | InstallError::Effect { package, source: EffectError::Runs { .. }, .. } => {
                    Some(undeclared_hint(package))
                }
                source => source.hint().map(|hint| effects::record::of_platform(&hint, folder)),
            }
        }
        error => error.hint().map(|hint| effects::record::of_platform(&hint, folder)),
    };
    let kind = match error {
        // What a layer is put together from was verified when it came into the store.
        BuildError::Store { .. } | BuildError::Keep { .. } | BuildError::Layer { .. } => Kind::Machine,
        BuildError::Package { .. }
        | BuildError::Install { .. }
        | BuildError::Target { .. }
        | BuildError::Program { .. }
        | BuildError::Check { .. }
        | BuildError::Fragment { .. } => Kind::Input,
    };
    CommandError::new(kind, error).hint_if(hint)
}

fn user_of(recipe: &Recipe, lock: &Lock) -> Result<UserId, CommandError> {
    match &recipe.image().user {
        ImageUser::Numeric(user) => Ok(*user),
        ImageUser::Account(name) => {
            let locked = lock.accounts.user(name.as_str()).map(|user| (user.id, user.group));
            let numbers = locked.or_else(|| builder_tree::fixed_user(name.as_str()));
            let parsed = numbers.and_then(|(user, group)| format!("{user}:{group}").parse().ok());
            parsed.ok_or_else(|| {
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

/// What is to be built of a recipe: an image for each of its platforms.
fn image_requests(
    name: &str,
    recipe: &Recipe,
    user: UserId,
    folder: &PlatformFolder,
    lock: &Lock,
    cache: &PackageCache,
    recordings: &Arc<Recordings>,
) -> Result<Vec<ImageRequest>, CommandError> {
    let locked = name.parse().of_kind(Kind::Input)?;
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
    let epoch = lock.recipe_epoch(&locked).ok_or_else(missing)?;
    let platforms = recipe.platforms();
    let is_alone = platforms.len() == 1;
    let request = |platform: ImagePlatform| ImageRequest {
        name: if is_alone { name.to_owned() } else { format!("{name} for {}", platform.as_str()) },
        packages: lock
            .selected_packages(&locked, &platform.architecture())
            .map(|package| inputs::package_input(package, cache))
            .collect(),
        accounts: lock.accounts.clone(),
        epoch,
        sources: sources.clone(),
        recordings: Arc::clone(recordings),
        config: ImageConfig {
            platform: if is_alone { platform.platform() } else { platform.listed() },
            process: process(recipe, user),
        },
        checks: checks(recipe).map(|(_, program)| program.to_owned()).collect(),
    };
    Ok(platforms.into_iter().map(request).collect())
}

/// The checks of a service that start a program in its image: key and program.
fn checks(recipe: &Recipe) -> impl Iterator<Item = (&'static str, &str)> {
    let health = recipe.service().map(|service| &service.health);
    let probes = health.into_iter().flat_map(|health| {
        let named = |key, probe| Some((key, probe?));
        [
            named("ready", Some(&health.ready)),
            named("alive", health.alive.as_ref()),
            named("startup", health.startup.as_ref()),
        ]
    });
    probes.flatten().filter_map(|(key, probe)| Some((key, probe.command.first()?.as_str())))
}

/// How the process of a recipe's image starts.
fn process(recipe: &Recipe, user: UserId) -> Process {
    let image = recipe.image();
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";
    Process {
        user: user.to_string(),
        ports: image.ports.iter().map(|port| format!("{}/tcp", port.number())).collect(),
        environment: image
            .environment
            .iter()
            .map(|(name, value)| (name.to_string(), value.clone()))
            .chain([("PATH".to_owned(), path.to_owned())])
            .collect(),
        entrypoint: image.entrypoint.clone(),
        arguments: image.arguments.clone(),
        working_directory: image.working_directory.as_ref().map(ToString::to_string),
    }
}
