//! `bundle build`: images from locked inputs, without network.

use std::{collections::BTreeMap, path::PathBuf};

use builder_build::Origin;
use builder_image::{NamedImage, export_layout};
use clap::Args;
use serde::Serialize;

use crate::{
    command::Context,
    error::{CommandError, Kind, OfKind as _},
    images::{self, PlatformImage},
    platform::PlatformFolder,
    report,
};

/// Build images from locked inputs. Nothing is fetched and no package's code is run.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Recipes to build; all unless given.
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Folder of the platform; the nearest one upward with bundle.toml unless given.
    #[arg(long, value_name = "FOLDER")]
    platform: Option<PathBuf>,
    /// Also write an OCI layout with the images, each under its recipe's name.
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    images: Vec<ImageDocument>,
}

/// One image, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageDocument {
    name: String,
    digest: String,
    size: u64,
    built: bool,
}

impl ImageDocument {
    /// What is said of an image.
    pub(crate) fn of(image: &PlatformImage) -> Self {
        Self {
            name: image.name.to_string(),
            digest: image.built.image.manifest.digest().to_string(),
            size: image.size(),
            built: image.built.origin == Origin::Built,
        }
    }

    /// The same for people.
    pub(crate) fn line(&self) -> String {
        let state = if self.built { "built" } else { "unchanged" };
        format!("{:<12} {}  {:>9}  {state}\n", self.name, self.digest, report::bytes(self.size))
    }
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let folder = PlatformFolder::open(arguments.platform.as_deref())?;
    let lock = folder.fresh_lock()?;
    let store = context.open_store()?;
    let images = images::build(&folder, &lock, &arguments.services, &store, context)?;
    if let Some(output) = &arguments.output {
        let mut blobs = BTreeMap::new();
        let mut named = Vec::new();
        for image in &images {
            for layer in &image.built.layers {
                blobs.insert(layer.digest, store.blob_path(&layer.digest));
            }
            let config = image.built.image.config.0.digest;
            blobs.insert(config, store.blob_path(&config));
            named.push(NamedImage {
                name: image.name.to_string(),
                manifest: image.built.image.manifest.clone(),
            });
        }
        for digest in blobs.keys() {
            store.verify_blob(digest).map_err(images::of_damage)?;
        }
        export_layout(output, &named, &blobs).of_kind(Kind::Machine)?;
    }
    let document = Document { images: images.iter().map(ImageDocument::of).collect() };
    context
        .report
        .result(&document, || document.images.iter().map(ImageDocument::line).collect())
        .of_kind(Kind::Machine)
}
