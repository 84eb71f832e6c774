//! `bundle build`: images from locked inputs, without network.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use builder_build::{Origin, Store};
use builder_image::{NamedImage, export_layout};
use clap::Args;
use registry_client::BlobSource;
use serde::Serialize;

use crate::{
    command::Context,
    error::{CommandError, Kind, OfKind as _},
    images::{self, PlatformImage, Variant},
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
    /// Also write an OCI layout with the images, each under its recipe's name; an image for several platforms is an index.
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
    /// What an index lists; empty for an image of one platform.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<VariantDocument>,
}

/// An image for one of several platforms.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VariantDocument {
    platform: String,
    digest: String,
    size: u64,
    built: bool,
}

impl VariantDocument {
    fn of(variant: &Variant) -> Self {
        Self {
            platform: format!("{}/{}", variant.platform.os, variant.platform.architecture),
            digest: variant.image.manifest.digest().to_string(),
            size: variant.size(),
            built: variant.origin == Origin::Built,
        }
    }
}

impl ImageDocument {
    /// What is said of an image.
    pub(crate) fn of(image: &PlatformImage) -> Self {
        let platforms = match &image.variants[..] {
            [_] => Vec::new(),
            several => several.iter().map(VariantDocument::of).collect(),
        };
        Self {
            name: image.name.to_string(),
            digest: image.manifest.digest().to_string(),
            size: image.size(),
            built: image.origin() == Origin::Built,
            platforms,
        }
    }

    /// The same for people.
    pub(crate) fn line(&self) -> String {
        let line = |name: &str, digest: &str, size, built| {
            let state = if built { "built" } else { "unchanged" };
            format!("{name:<12} {digest}  {:>9}  {state}\n", report::bytes(size))
        };
        let first = line(&self.name, &self.digest, self.size, self.built);
        self.platforms.iter().fold(first, |lines, one| {
            lines + &line(&format!("  {}", one.platform), &one.digest, one.size, one.built)
        })
    }
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let folder = PlatformFolder::open(arguments.platform.as_deref())?;
    let lock = folder.fresh_lock()?;
    let store = context.open_store()?;
    let images = images::build(&folder, &lock, &arguments.services, &store, context)?;
    if let Some(output) = &arguments.output {
        export(output, &images, &store)?;
    }
    let document = Document { images: images.iter().map(ImageDocument::of).collect() };
    context
        .report
        .result(&document, || document.images.iter().map(ImageDocument::line).collect())
        .of_kind(Kind::Machine)
}

/// Writes an OCI layout of what was built.
fn export(output: &Path, images: &[PlatformImage], store: &Store) -> Result<(), CommandError> {
    let mut files = BTreeMap::new();
    let mut named = Vec::new();
    for image in images {
        let listed =
            image.manifests().into_iter().map(|manifest| (manifest.digest(), manifest.bytes().to_vec()));
        let mut documents: BTreeMap<_, _> = listed.collect();
        for (descriptor, source) in image.blobs(store) {
            match source {
                BlobSource::File(path) => drop(files.insert(descriptor.digest, path)),
                BlobSource::Bytes(bytes) => drop(documents.insert(descriptor.digest, bytes.to_vec())),
            }
        }
        named.push(NamedImage { name: image.name.to_string(), manifest: image.manifest.clone(), documents });
    }
    for digest in files.keys() {
        store.verify_blob(digest).map_err(images::of_damage)?;
    }
    export_layout(output, &named, &files).of_kind(Kind::Machine)
}
