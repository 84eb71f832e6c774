//! The order of the steps.

use std::{collections::BTreeMap, error::Error, fs::File, io, sync::Arc};

use builder_image::{EncodedImage, Fragment, FragmentIndex, ImageConfig, Layer, LayerWriter, plan};
use builder_tree::{
    Content, InstallOptions, Package, PackageInput, PayloadError, Payloads, Recordings, SourceFile, install,
    place_sources,
};
use bundles_release::{
    lock::{Accounts, PackageName},
    sbom::ScriptLevel,
};
use rayon::prelude::*;
use registry_wire::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    BuildError, Keep, Progress, SourceInput, Stage, Store, StoreError,
    program::ensure_starts,
    step,
    store::{PartialBlob, Reach},
};

/// One image to build.
#[derive(Debug, Clone)]
pub struct ImageRequest {
    /// Its name, for people.
    pub name: String,
    /// Its packages, in the order of the lock.
    pub packages: Vec<PackageInput>,
    /// Ids of the accounts that packages make.
    pub accounts: Accounts,
    /// Whole seconds since 1970: no file of the image is newer.
    pub epoch: i64,
    /// The recipe's own files.
    pub sources: Vec<SourceInput>,
    /// How its process starts.
    pub config: ImageConfig,
    /// Programs that checks of its health start in it.
    pub checks: Vec<String>,
    /// What unknown scripts of its packages did.
    pub recordings: Arc<Recordings>,
}

/// Images to build.
#[derive(Debug, Clone, Default)]
pub struct BuildRequest {
    /// The images.
    pub images: Vec<ImageRequest>,
    /// For which path they are kept when the store is cleared; for none unless given.
    pub keep: Option<Keep>,
}

/// Whether an image had to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was built now.
    Built,
    /// The store had it.
    Kept,
}

/// An image whose blobs are all in the store.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// Its name.
    pub name: String,
    /// Configuration and manifest.
    pub image: EncodedImage,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// How it is known what the scripts of each package did.
    pub scripts: BTreeMap<PackageName, ScriptLevel>,
    /// Whether it had to be built.
    pub origin: Origin,
}

/// Builds images in one store.
#[derive(Clone, Copy)]
pub struct Builder<'a> {
    store: &'a Store,
    progress: &'a dyn Progress,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UnpackResult {
    package: Package,
    payload: Digest,
    length: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ImageResult {
    layers: Vec<Layer>,
    scripts: BTreeMap<PackageName, ScriptLevel>,
}

/// An image whose layers are in the store.
struct Encoded {
    layers: Vec<Layer>,
    /// The keys of the steps that they were made of.
    steps: Vec<Digest>,
    scripts: BTreeMap<PackageName, ScriptLevel>,
}

impl<'a> Builder<'a> {
    /// Works in `store`.
    pub const fn new(store: &'a Store, progress: &'a dyn Progress) -> Self {
        Self { store, progress }
    }

    /// Builds all images, in their order. The first failure ends the build; what was complete stays in the store.
    pub fn build(&self, request: &BuildRequest) -> Result<Vec<BuiltImage>, BuildError> {
        let mut built = Vec::with_capacity(request.images.len());
        let mut keys = BTreeMap::new();
        for image in &request.images {
            let key = step::image_key(image);
            built.push(self.build_image(image, &key)?);
            keys.insert(image.name.clone(), key);
        }
        if let Some(keep) = &request.keep {
            self.store.keep(keep, keys).map_err(|source| BuildError::Keep { source })?;
        }
        Ok(built)
    }

    fn build_image(&self, request: &ImageRequest, key: &Digest) -> Result<BuiltImage, BuildError> {
        let in_store = |source| BuildError::Store { image: request.name.clone(), source };
        let name = request.name.clone();
        let kept = self.store.result::<ImageResult>(key).map_err(in_store)?;
        if let Some(ImageResult { layers, scripts }) = kept.filter(|result| self.has_layers(&result.layers)) {
            let image = EncodedImage::new(&request.config, &layers);
            return Ok(BuiltImage { name, image, layers, scripts, origin: Origin::Kept });
        }
        let Encoded { layers, steps, scripts } =
            self.encode(request).map_err(|error| match self.without_damage(&error) {
                Some(source) => BuildError::Store { image: request.name.clone(), source },
                None => error,
            })?;
        let image = EncodedImage::new(&request.config, &layers);
        let mut blobs: Vec<Digest> = layers.iter().map(|layer| layer.digest).collect();
        for bytes in [&image.config.1[..], image.manifest.bytes()] {
            blobs.push(self.store.put_blob(bytes).map_err(in_store)?);
        }
        let result = ImageResult { layers: layers.clone(), scripts: scripts.clone() };
        self.store.keep_result(key, &result, Reach { blobs, steps }).map_err(in_store)?;
        Ok(BuiltImage { name, image, layers, scripts, origin: Origin::Built })
    }

    fn has_layers(&self, layers: &[Layer]) -> bool {
        layers.iter().all(|layer| self.store.has_blob(&layer.digest, layer.size))
    }

    fn encode(&self, request: &ImageRequest) -> Result<Encoded, BuildError> {
        let image = &request.name;
        let (packages, payloads) = self.unpacked(request)?;
        let options = InstallOptions {
            accounts: &request.accounts,
            epoch: request.epoch,
            recordings: &request.recordings,
        };
        let in_install = |source| BuildError::Install { image: image.clone(), source: Box::new(source) };
        let mut installed = install(&packages, &payloads, &options).map_err(in_install)?;
        let sources = sources(request)?;
        // The recipe's own files are a layer of their own, on top: it is small, and it is what changes.
        let mut layers = vec![plan(&installed.tree)];
        if !sources.is_empty() {
            let entries = place_sources(&installed.tree, &sources, request.epoch).map_err(in_install)?;
            for (path, entry) in &entries {
                installed.tree.insert(path.clone(), entry.clone());
            }
            layers.push(vec![Fragment::new(entries)]);
        }
        let process = &request.config.process;
        // An image without a command is left to those who give one.
        if let Some(program) = process.entrypoint.iter().chain(&process.arguments).next() {
            ensure_starts(&installed.tree, &payloads, process, program)
                .map_err(|source| BuildError::Program { image: image.clone(), source })?;
        }
        for program in &request.checks {
            let of_check = |source| BuildError::Check {
                image: image.clone(),
                program: program.clone(),
                source: Box::new(source),
            };
            ensure_starts(&installed.tree, &payloads, process, program).map_err(of_check)?;
        }
        self.progress.begin(image, Stage::Encode, layers.iter().map(Vec::len).sum());
        let steps = request
            .packages
            .iter()
            .map(|package| step::unpack_key(&package.sha256))
            .chain(layers.iter().flatten().map(|fragment| step::fragment_key(&fragment.key())))
            .collect();
        let encode = |fragments: &Vec<Fragment>| self.encode_layer(request, fragments, &payloads);
        let layers = layers.iter().map(encode).collect::<Result<_, _>>()?;
        let level = |package: &Package| (package.name.clone(), installed.script_level(package));
        let scripts = packages.iter().map(level).collect();
        Ok(Encoded { layers, steps, scripts })
    }

    fn encode_layer(
        &self,
        request: &ImageRequest,
        fragments: &[Fragment],
        payloads: &Payloads,
    ) -> Result<Layer, BuildError> {
        let image = &request.name;
        let in_store = |source| BuildError::Store { image: image.clone(), source };
        let in_layer = |source| BuildError::Layer { image: image.clone(), source: Box::new(source) };
        let indices: Vec<FragmentIndex> = fragments
            .par_iter()
            .map(|fragment| self.fragment(request, fragment, payloads))
            .collect::<Result<_, _>>()?;
        let (layer, _) = self.fill_blob(image, |blob| {
            let mut writer = LayerWriter::new(blob);
            for index in &indices {
                let path = self.store.blob_path(&index.digest);
                let file = File::open(&path).map_err(|source| in_store(StoreError::Read { path, source }))?;
                let mut file = io::BufReader::with_capacity(1 << 20, file);
                if let Err(error) = writer.fragment(index, &mut file) {
                    // What is damaged is found here first; removed, it is made anew next time.
                    self.store.verify_blob(&index.digest).map_err(in_store)?;
                    return Err(in_layer(error));
                }
            }
            Ok(writer.finish().map_err(in_layer)?.1)
        })?;
        Ok(layer)
    }

    /// What to say instead of an error that came of a damaged payload, once that is removed: who needs it next unpacks it
    /// again.
    pub fn without_damage(&self, error: &(dyn Error + 'static)) -> Option<StoreError> {
        let mut cause = Some(error);
        while let Some(link) = cause {
            if let Some(PayloadError::Damaged { digest, .. }) = link.downcast_ref() {
                return self.store.verify_blob(digest).err();
            }
            cause = link.source();
        }
        None
    }

    /// Puts what `write` writes into the store. When that fails because of the store, its error is the one that tells.
    fn fill_blob<T>(
        &self,
        image: &str,
        write: impl FnOnce(&mut PartialBlob<'_>) -> Result<T, BuildError>,
    ) -> Result<(T, Digest), BuildError> {
        let in_store = |source| BuildError::Store { image: image.to_owned(), source };
        let mut blob = self.store.begin_blob().map_err(in_store)?;
        match write(&mut blob) {
            Ok(written) => Ok((written, blob.publish().map_err(in_store)?)),
            Err(error) => Err(blob.give_up().map_or(error, in_store)),
        }
    }

    fn fragment(
        &self,
        request: &ImageRequest,
        fragment: &Fragment,
        payloads: &Payloads,
    ) -> Result<FragmentIndex, BuildError> {
        let image = &request.name;
        let in_store = |source| BuildError::Store { image: image.clone(), source };
        let key = step::fragment_key(&fragment.key());
        let kept = self.store.result::<FragmentIndex>(&key).map_err(in_store)?;
        let kept = kept.filter(|index| self.store.has_blob(&index.digest, index.size));
        let index = if let Some(index) = kept {
            index
        } else {
            let in_fragment =
                |source| BuildError::Fragment { image: image.clone(), source: Box::new(source) };
            let (index, _) =
                self.fill_blob(image, |blob| fragment.compress(payloads, blob).map_err(in_fragment))?;
            let reach = Reach { blobs: vec![index.digest], steps: Vec::new() };
            self.store.keep_result(&key, &index, reach).map_err(in_store)?;
            index
        };
        self.progress.advance(image, Stage::Encode);
        Ok(index)
    }

    /// The packages of an image, unpacked.
    pub fn unpacked(&self, request: &ImageRequest) -> Result<(Vec<Package>, Payloads), BuildError> {
        self.progress.begin(&request.name, Stage::Unpack, request.packages.len());
        let unpacked: Vec<(UnpackResult, Origin)> =
            request.packages.par_iter().map(|input| self.unpack(request, input)).collect::<Result<_, _>>()?;
        let mut payloads = Payloads::new();
        let mut packages = Vec::with_capacity(unpacked.len());
        for (result, origin) in unpacked {
            let (package, path) = (result.package.sha256, self.store.blob_path(&result.payload));
            match origin {
                Origin::Built => payloads.add(package, path),
                Origin::Kept => payloads.add_kept(package, path, result.payload),
            }
            packages.push(result.package);
        }
        Ok((packages, payloads))
    }

    fn unpack(
        &self,
        request: &ImageRequest,
        input: &PackageInput,
    ) -> Result<(UnpackResult, Origin), BuildError> {
        let in_store = |source| BuildError::Store { image: request.name.clone(), source };
        let key = step::unpack_key(&input.sha256);
        let kept = self.store.result::<UnpackResult>(&key).map_err(in_store)?;
        let kept = kept.filter(|result| self.store.has_blob(&result.payload, result.length));
        let in_package =
            |source| BuildError::Package { image: request.name.clone(), source: Box::new(source) };
        let unpacked = if let Some(result) = kept {
            // It was unpacked for what a lock said then.
            result.package.check_identity(input).map_err(in_package)?;
            (result, Origin::Kept)
        } else {
            let (unpacked, payload) =
                self.fill_blob(&request.name, |blob| Package::unpack(input, blob).map_err(in_package))?;
            let result = UnpackResult { package: unpacked.package, payload, length: unpacked.length };
            let reach = Reach { blobs: vec![payload], steps: Vec::new() };
            self.store.keep_result(&key, &result, reach).map_err(in_store)?;
            (result, Origin::Built)
        };
        self.progress.advance(&request.name, Stage::Unpack);
        Ok(unpacked)
    }
}

/// The recipe's files for the tree.
fn sources(request: &ImageRequest) -> Result<Vec<SourceFile>, BuildError> {
    let file = |source: &SourceInput| {
        let path = source.target.parse();
        let path = path.map_err(|source| BuildError::Target { image: request.name.clone(), source })?;
        let content =
            Content::Host { path: source.path.clone(), digest: source.digest, length: source.length };
        Ok(SourceFile { path, content, mode: source.mode })
    };
    request.sources.iter().map(file).collect()
}
