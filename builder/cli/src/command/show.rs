//! `bundle show`: the Kubernetes objects of one environment, as kubectl reads them.

use std::path::PathBuf;

use bundles_objects::{Binding, NamespaceName, Object, RegistryMap, bind};
use bundles_release::EnvironmentName;
use clap::Args;
use registry_wire::RegistryAddress;
use serde::Serialize;
use serde_json::Value;

use crate::{
    command::Context,
    composition,
    error::{CommandError, Kind, OfKind as _},
    images,
    platform::PlatformFolder,
};

/// Print the objects of an environment, as one List for kubectl.
///
/// Without `--registry` they are those of the signed release: images by placeholder and digest, no namespace. With it they
/// are what the daemon of a cluster writes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of the platform; the nearest one upward with bundle.toml unless given.
    #[arg(long, value_name = "FOLDER")]
    platform: Option<PathBuf>,
    /// The environment; the only one, or `test`, unless given.
    #[arg(long, value_name = "NAME")]
    environment: Option<EnvironmentName>,
    /// The registry as the cluster's nodes see it.
    #[arg(long, value_name = "HOST:PORT")]
    registry: Option<RegistryAddress>,
    /// Namespace that the platform runs in; the product's name unless given.
    #[arg(long, value_name = "NAME", requires = "registry")]
    namespace: Option<NamespaceName>,
}

/// A list as kubectl takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<Value>,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let folder = PlatformFolder::open(arguments.platform.as_deref())?;
    let environment = folder.environment(arguments.environment.as_ref(), &folder.command("show"))?;
    let lock = folder.fresh_lock()?;
    let store = context.open_store()?;
    let images = images::build(&folder, &lock, &[], &store, context)?;
    let parts =
        folder.platform.render(environment, &composition::identities(&images)).of_kind(Kind::Input)?;
    let mut objects: Vec<Object> = parts.into_iter().flat_map(|part| part.objects).collect();
    if let Some(registry) = &arguments.registry {
        let product = folder.platform.product.as_str();
        let namespace = match &arguments.namespace {
            Some(namespace) => namespace.clone(),
            None => product.parse().of_kind(Kind::Input)?,
        };
        let binding = Binding {
            registry: RegistryMap { registry: registry.clone(), prefix: folder.platform.repository.clone() },
            namespace,
            subscription: product.parse().of_kind(Kind::Input)?,
        };
        bind(&mut objects, &binding).of_kind(Kind::Input)?;
    }
    let items = objects.into_iter().map(Object::into_value).collect();
    let list = List { api_version: "v1", kind: "List", items };
    let text = serde_json::to_string_pretty(&list).of_kind(Kind::Machine)?;
    context.report.result(&list, || text).of_kind(Kind::Machine)
}
