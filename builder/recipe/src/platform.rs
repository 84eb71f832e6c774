//! A platform: its recipes and environments, checked as a whole.

use std::collections::{BTreeMap, BTreeSet};

use bundles_objects::{
    AbsolutePath, ConfigKey, EnvironmentInput, ImageIdentity, PartDocument, RenderError, ResolvedService,
    Service, ServiceName, render,
};
use bundles_release::{
    EnvironmentName, ProductName, ReleaseVersion,
    lock::{PackageRequest, RecipeName, SuiteName},
};
use registry_wire::RepositoryName;

use crate::{
    Document, Image, ImagePlatform, Problem, SandboxPolicy, ScalingOverride, ScriptPolicy, ServiceOverride,
    SourceFile, Suite,
};

/// A platform: what is built and released together.
#[derive(Debug, Clone)]
pub struct Platform {
    /// Name of the product.
    pub product: ProductName,
    /// Version of the product.
    pub version: ReleaseVersion,
    /// Repository that releases go to.
    pub repository: RepositoryName,
    /// The suite of recipes that name none.
    pub default_suite: SuiteName,
    /// Which maintainer scripts may have a part in images.
    pub scripts: ScriptPolicy,
    /// The weakest sandbox in which a script may have been recorded.
    pub sandbox: SandboxPolicy,
    /// Where packages may come from.
    pub suites: BTreeMap<SuiteName, Suite>,
    pub(crate) recipes: BTreeMap<ServiceName, Recipe>,
    pub(crate) environments: BTreeMap<EnvironmentName, Environment>,
}

/// A recipe of a platform.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Its name: of its folder, its image and its service.
    pub name: ServiceName,
    pub(crate) image: Image,
    pub(crate) service: Option<Service>,
    pub(crate) suite: SuiteName,
    pub(crate) updates: Vec<SuiteName>,
    pub(crate) sources: Vec<SourceFile>,
    pub(crate) config_files: BTreeMap<AbsolutePath, String>,
    pub(crate) document: Document,
}

/// An environment of a platform.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Its name: of its file.
    pub name: EnvironmentName,
    /// The values that it gives.
    pub config: BTreeMap<ConfigKey, String>,
    /// Which maintainer scripts may have a part in the images that it runs.
    pub scripts: ScriptPolicy,
    pub(crate) services: BTreeMap<ServiceName, ServiceOverride>,
    pub(crate) document: Document,
}

impl Recipe {
    /// The image part.
    pub const fn image(&self) -> &Image {
        &self.image
    }

    /// The service part, before any environment changes it.
    pub const fn service(&self) -> Option<&Service> {
        self.service.as_ref()
    }

    /// The suite that its packages come from.
    pub const fn suite(&self) -> &SuiteName {
        &self.suite
    }

    /// What the image is built for, each once, sorted.
    pub fn platforms(&self) -> BTreeSet<ImagePlatform> {
        self.image.platforms.iter().copied().collect()
    }

    /// What the lock has to answer: a request for each platform.
    pub fn package_requests(&self) -> Vec<PackageRequest> {
        self.platforms().into_iter().map(|platform| self.package_request(platform)).collect()
    }

    fn package_request(&self, platform: ImagePlatform) -> PackageRequest {
        let (suite, image) = (self.suite.clone(), &self.image);
        PackageRequest {
            updates: self.updates.clone(),
            essential: image.essential,
            recommends: image.recommends.clone(),
            pins: image.pins.clone(),
            holds: image.holds.clone(),
            ..PackageRequest::new(
                recipe_name(&self.name),
                suite,
                platform.architecture(),
                image.packages.clone(),
            )
        }
    }

    /// Files of the recipe's folder that are in the image, by their path in the image, sorted by bytes.
    pub fn source_files(&self) -> &[SourceFile] {
        &self.sources
    }

    /// Files that environments mount, with their text.
    pub const fn config_files(&self) -> &BTreeMap<AbsolutePath, String> {
        &self.config_files
    }

    /// A problem that was found later, at a place in the recipe: `["image", "packages", "2"]`.
    pub fn problem(&self, path: &[&str], message: &str, help: &str) -> Problem {
        Problem::new(self.document.location(path), message).helping(help)
    }
}

impl Platform {
    /// The recipes, by name.
    pub fn recipes(&self) -> impl ExactSizeIterator<Item = &Recipe> {
        self.recipes.values()
    }

    /// One recipe.
    pub fn recipe(&self, name: &ServiceName) -> Option<&Recipe> {
        self.recipes.get(name)
    }

    /// The environments, by name.
    pub fn environments(&self) -> impl ExactSizeIterator<Item = &Environment> {
        self.environments.values()
    }

    /// One environment.
    pub fn environment(&self, name: &EnvironmentName) -> Option<&Environment> {
        self.environments.get(name)
    }

    /// All services as they are in an environment.
    pub fn services(&self, environment: &Environment) -> BTreeMap<ServiceName, ResolvedService> {
        let resolve = |recipe: &Recipe| {
            let mut service = recipe.service.clone()?;
            if let Some(change) = environment.services.get(&recipe.name) {
                apply(change, &mut service);
            }
            let config_files = recipe.config_files.clone();
            Some((recipe.name.clone(), ResolvedService { service, config_files }))
        };
        self.recipes.values().filter_map(resolve).collect()
    }

    /// The objects of all services in an environment.
    pub fn render(
        &self,
        environment: &Environment,
        images: &BTreeMap<ServiceName, ImageIdentity>,
    ) -> Result<Vec<PartDocument>, RenderError> {
        render(&EnvironmentInput {
            product: &self.product,
            environment: &environment.name,
            services: &self.services(environment),
            images,
            values: &environment.config,
        })
    }
}

#[allow(clippy::expect_used, reason = "every service name is a recipe name; a test holds it")]
fn recipe_name(name: &ServiceName) -> RecipeName {
    name.as_str().parse().expect("a service name is a recipe name")
}

fn apply(change: &ServiceOverride, service: &mut Service) {
    if let Some(resources) = change.resources {
        service.resources = resources;
    }
    match change.scaling {
        Some(ScalingOverride::Scaling(scaling)) => {
            service.scaling = Some(scaling);
            // The recipe's number was for other bounds.
            service.replicas = None;
        }
        Some(ScalingOverride::Off(_)) => service.scaling = None,
        None => {}
    }
    if change.replicas.is_some() {
        service.replicas = change.replicas;
    }
}
