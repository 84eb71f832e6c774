//! `bundle release`: one artifact of all images and objects, pushed by digest.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use registry_client::Scheme;
use registry_wire::RegistryAddress;
use serde::Serialize;

use crate::{
    command::{Context, runtime},
    composition,
    error::{CommandError, Kind, OfKind as _},
    images,
    platform::PlatformFolder,
    progress::Progress,
    publishing::{self, Target},
};

/// Build all images, put them and the objects of every environment into one release, and push it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of the platform; the nearest one upward with bundle.toml unless given.
    #[arg(long, value_name = "FOLDER")]
    platform: Option<PathBuf>,
    /// The registry to push to. Without it only the digest is printed.
    #[arg(long, value_name = "HOST:PORT")]
    registry: Option<RegistryAddress>,
    /// http or https.
    #[arg(long, default_value = "https")]
    scheme: Scheme,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    digest: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    /// The index of the release and its images, for tools that copy all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier: Option<String>,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let folder = PlatformFolder::open(arguments.platform.as_deref())?;
    let lock = folder.fresh_lock()?;
    let store = context.open_store()?;
    let images = images::build(&folder, &lock, &[], &store, context)?;
    let assembled = composition::compose(&folder, &lock, &images)?;
    let release = &assembled.release;
    let (mut reference, mut carrier) = (None, None);
    if let Some(address) = &arguments.registry {
        let progress = Arc::new(Progress::new(context.report));
        let registry = publishing::connect(address, arguments.scheme, &progress)?;
        let repository = &folder.platform.repository;
        let target = Target { registry: &registry, repository };
        runtime()?.block_on(target.publish(&assembled, &images, &store, &progress))?;
        reference = Some(format!("{address}/{repository}@{}", release.digest()));
        carrier = Some(format!("{address}/{repository}:{}", release.carrier_tag()));
    }
    let document = Document {
        digest: release.digest().to_string(),
        version: release.version().to_string(),
        reference,
        carrier,
    };
    let lines = || document.reference.as_ref().unwrap_or(&document.digest).clone();
    context.report.result(&document, lines).of_kind(Kind::Machine)
}
