//! `bundle up`: all of it in one go.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use builder_build::Store;
use builder_inputs::Update;
use builder_recipe::Recipe;
use bundles_release::{EnvironmentName, ProductName};
use bundles_trust::{
    Channel, ChannelName, Document as _, Owner, SignatureBundle, SystemRandomness, verify_release,
};
use clap::Args;
use daemon_cluster::{
    Cluster, ClusterError, DaemonState, InstallOptions, RegistryScheme, Subscription, SubscriptionSpec,
};
use jiff::Timestamp;
use registry_client::Scheme;
use registry_wire::{Digest, RegistryAddress};
use serde::Serialize;

use crate::{
    cluster::{ClusterChoice, of_cluster},
    command::{Context, build::ImageDocument, runtime},
    composition, detached,
    development::{self, DevelopmentTrust, Origin},
    error::{CommandError, Kind, OfKind as _},
    following::{Following, end_waiting_pods, follow},
    images::{self, PlatformImage},
    inputs::{self, Sources},
    installation::{self, Subscribed, SubscriptionRequest},
    platform::PlatformFolder,
    progress::Progress,
    promotion::{Earlier, Promotion},
    publishing::{self, Change, Target},
    report,
};

/// The channel that development runs on.
const CHANNEL: &str = "dev";

/// Lock if there is no lock, build, push to a registry on this machine, sign with development keys, and promote to
/// channel `dev`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of the platform.
    #[arg(value_name = "PLATFORM")]
    platform: PathBuf,
    /// The environment that channel `dev` runs; the only one, or `test`, unless given.
    #[arg(long, value_name = "NAME")]
    environment: Option<EnvironmentName>,
    /// Where the registry of this machine listens [default: --registry, if that is an address of this machine; else
    /// 127.0.0.1:5000, or any port when that is taken].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// Also run it in a cluster.
#[derive(Debug, Args)]
struct ClusterArguments {
    /// Install the daemon in the cluster of this context, subscribe it to channel `dev`, and follow the rollout.
    #[arg(long, value_name = "NAME", requires = "registry")]
    context: Option<String>,
    /// The kubeconfig; that of the user unless given.
    #[arg(long, value_name = "FILE", requires = "context")]
    kubeconfig: Option<PathBuf>,
    /// The registry of this machine as the cluster's nodes see it.
    #[arg(long, value_name = "HOST:PORT", requires = "context")]
    registry: Option<RegistryAddress>,
    /// Namespace that the platform runs in; the product's name unless given.
    #[arg(long, value_name = "NAME", requires = "context")]
    namespace: Option<String>,
    /// Storage class of restore points; the cluster's default unless given.
    #[arg(long, value_name = "NAME", requires = "context")]
    storage_class: Option<String>,
    /// Seconds from one look at the channel to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    poll: u32,
    /// Seconds that health must hold, in place of what the recipes say.
    #[arg(long, value_name = "SECONDS", requires = "context")]
    soak: Option<u32>,
    /// Give up following after so many seconds; the rollout goes on.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    release: String,
    version: String,
    reference: String,
    channel: String,
    record: u64,
    environment: String,
    registry: SocketAddr,
    images: Vec<ImageDocument>,
    bytes_sent: u64,
    changed: bool,
    seconds: f64,
    stages: Stages,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterDocument>,
}

/// Seconds that the parts of the job took.
#[derive(Serialize)]
struct Stages {
    inputs: f64,
    images: f64,
    publication: f64,
}

/// Where the release runs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterDocument {
    context: String,
    namespace: String,
    seconds: f64,
    /// Commands that show it: how it stands, and each service that others may use.
    next: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let begun = Instant::now();
    let now = Timestamp::now();
    let folder = PlatformFolder::open(Some(&arguments.platform))?;
    let again = format!("bundle up {}", folder.root.display());
    let environment = folder.environment(arguments.environment.as_ref(), &again)?.name.clone();
    let runtime = runtime()?;
    let note = |line: &str| context.report.note(line);

    // Whoever names a wrong cluster learns it before anything is built.
    let choice = arguments.cluster.context.as_ref().map(|name| ClusterChoice {
        context: name.clone(),
        kubeconfig: arguments.cluster.kubeconfig.clone(),
        daemon_namespace: InstallOptions::NAMESPACE.to_owned(),
    });
    let cluster = choice
        .map(|choice| {
            let cluster = runtime.block_on(choice.connect())?;
            runtime.block_on(cluster.version()).map_err(of_cluster)?;
            Ok::<_, CommandError>((cluster, choice))
        })
        .transpose()?;

    let lock = if folder.lock_path().exists() {
        folder.fresh_lock()?
    } else {
        let made = runtime.block_on(inputs::make_lock(
            &folder,
            &arguments.sources,
            Update::Nothing,
            now,
            context,
        ))?;
        folder.write_lock(&made.lock).of_kind(Kind::Machine)?;
        note(&format!("locked {} packages in {}", made.lock.packages.len(), folder.lock_path().display()));
        made.lock
    };
    if !inputs::is_fetched(&lock, &context.home.downloads()) {
        let fetched = runtime.block_on(inputs::fetch_all(&folder, &lock, &arguments.sources, context))?;
        note(&format!("fetched {} packages, {}", fetched.files, report::bytes(fetched.bytes)));
    }
    let inputs_done = Instant::now();
    let store = context.open_store()?;
    let images = images::build(&folder, &lock, &[], &store, context)?;
    let assembled = composition::compose(&folder, &lock, &images)?;
    let images_done = Instant::now();

    let executable = std::env::current_exe().of_kind(Kind::Machine)?;
    let (wanted, insist) = detached::wanted_address(arguments.listen, arguments.cluster.registry.as_ref());
    let (process, start) = detached::start(&executable, &context.home.registry(), wanted, insist)
        .of_kind(Kind::Machine)
        .map_err(|error| error.hint("--listen ADDRESS with another port"))?;
    match start {
        detached::Start::Running => {}
        detached::Start::Started => {
            note(&format!("started a registry on {}; `bundle down` stops it", process.address));
        }
        detached::Start::Moved { from } => {
            note(&format!("the registry listens on {} now, no longer on {from}", process.address));
        }
    }
    if let Some(for_nodes) =
        arguments.cluster.registry.as_ref().filter(|_| process.address.ip().is_loopback())
    {
        note(&format!(
            "the registry listens on {} only; something must lead {for_nodes} there",
            process.address
        ));
    }
    let product = &folder.platform.product;
    let channel: ChannelName = CHANNEL.parse().of_kind(Kind::Machine)?;
    let keys = context.home.keys(product.as_str());
    let (trust, origin) = development::find_or_make(&keys, product, &channel, now, &mut SystemRandomness)
        .of_kind(Kind::Trust)
        .map_err(|error| error.hint(new_keys(&keys)))?;
    if origin == Origin::Made {
        note(&format!("made development keys in {}: for this machine, not for production", keys.display()));
    }

    let repository = &folder.platform.repository;
    if let Some((cluster, choice)) = &cluster {
        let channel = Channel::new(product.clone(), channel.clone()).to_string();
        if let Subscribed::To(spec) = runtime.block_on(installation::subscribed(cluster, product.as_str()))?
            && spec.trust_root.digest != trust.root.signed.digest()
        {
            return Err(of_other_root(&spec, choice, product, &channel, &trust));
        }
    }

    let address: RegistryAddress = process.address.to_string().parse().of_kind(Kind::Machine)?;
    let progress = Arc::new(Progress::new(context.report));
    let registry = publishing::connect(&address, Scheme::Http, &progress)?;
    let target = Target { registry: &registry, repository };
    let release = &assembled.release;
    let closed = |error| CommandError::new(Kind::Trust, error).hint(new_keys(&keys));
    let (moved, changes, record) = runtime.block_on(async {
        let (moved, published) = target.publish(&assembled, &images, &store, &progress).await?;
        let is_signed = |there: &[SignatureBundle]| {
            verify_release(release.digest(), there, &trust.root.trusted, now).is_ok()
        };
        let descriptor = release.manifest().descriptor();
        let signed = target.sign(&descriptor, is_signed, || trust.release_key().map_err(closed)).await?;
        let promotion = Promotion {
            channel: Channel::new(product.clone(), channel),
            release,
            environment: environment.clone(),
            root: &trust.root,
            proposed_by: Owner::development(),
            earlier: Earlier::ComeBack,
            reason: "bundle up".to_owned(),
            now,
        };
        let keys = || Ok(vec![trust.channel_key().map_err(closed)?]);
        let (record, promoted) = target.promote(&promotion, keys).await?;
        Ok::<_, CommandError>((moved, [published, signed, promoted], record))
    })?;

    let mut document = Document {
        release: release.digest().to_string(),
        version: release.version().to_string(),
        reference: format!("{address}/{repository}@{}", release.digest()),
        channel: record.document().channel.to_string(),
        record: record.document().version,
        environment: environment.to_string(),
        registry: process.address,
        images: images.iter().map(ImageDocument::of).collect(),
        bytes_sent: moved.sent,
        changed: changes.contains(&Change::Made),
        seconds: begun.elapsed().as_secs_f64(),
        stages: Stages {
            inputs: (inputs_done - begun).as_secs_f64(),
            images: (images_done - inputs_done).as_secs_f64(),
            publication: images_done.elapsed().as_secs_f64(),
        },
        cluster: None,
    };
    if let Some((cluster, choice)) = &cluster {
        context.report.beginning(|| built_lines(&document)).of_kind(Kind::Machine)?;
        let cluster_begun = Instant::now();
        let daemon_image = installation::build_daemon_image(&executable, &store, context)?;
        runtime.block_on(run_in_cluster(
            &InCluster {
                arguments: &arguments.cluster,
                cluster,
                choice,
                target: &target,
                progress: &progress,
            },
            store,
            &daemon_image,
            &document,
            release.digest(),
            &trust,
            context,
        ))?;
        let namespace = arguments.cluster.namespace.as_deref().unwrap_or(product.as_str()).to_owned();
        document.cluster = Some(ClusterDocument {
            context: choice.context.clone(),
            seconds: cluster_begun.elapsed().as_secs_f64(),
            next: next_commands(&folder, choice, &namespace),
            namespace,
        });
    }
    context.report.result(&document, || last_lines(&document, arguments)).of_kind(Kind::Machine)
}

/// The subscription trusts others than the keys of this machine, and nobody said that it should no longer.
fn of_other_root(
    spec: &SubscriptionSpec,
    choice: &ClusterChoice,
    product: &ProductName,
    channel: &str,
    trust: &DevelopmentTrust,
) -> CommandError {
    let message = format!(
        "subscription {product} in {} follows {} under trust root {}, which is not that of the development keys of this \
         machine; it is left as it is",
        choice.context, spec.channel, spec.trust_root.digest
    );
    let SubscriptionSpec { registry, repository, environment, poll_seconds, .. } = spec;
    let turn = |place: &str| {
        let scheme = match registry.scheme {
            RegistryScheme::Http => " --scheme http",
            RegistryScheme::Https => "",
        };
        choice.command(&format!(
            "subscribe {CHANNEL} {}/{repository}{scheme} --environment {environment} {place} --poll {poll_seconds} --trust-root {}",
            registry.address,
            trust.root_path().display()
        ))
    };
    let hint = if spec.channel == channel {
        let turn = turn(&format!("--namespace {}", spec.namespace));
        let forget = installation::forget_floor(choice, product.as_str());
        format!("to have it follow this machine from now on: {turn} && {forget}")
    } else {
        let turn = turn("--name OTHER --namespace OTHER");
        format!("`bundle promote` moves {}; to follow this machine beside it: {turn}", spec.channel)
    };
    CommandError::new(Kind::Trust, message).hint(hint)
}

fn new_keys(folder: &Path) -> String {
    format!("move {} away to get new development keys", folder.display())
}

struct InCluster<'a> {
    arguments: &'a ClusterArguments,
    cluster: &'a Cluster,
    choice: &'a ClusterChoice,
    target: &'a Target<'a>,
    progress: &'a Progress,
}

async fn run_in_cluster(
    place: &InCluster<'_>,
    store: Store,
    daemon_image: &PlatformImage,
    document: &Document,
    release: Digest,
    trust: &DevelopmentTrust,
    context: &Context,
) -> Result<(), CommandError> {
    let InCluster { arguments, cluster, choice, target, progress } = place;
    let registry = arguments.registry.as_ref().unwrap_or_else(|| target.registry.address());
    let repository = target.repository;
    let root = &trust.root.signed;
    let product = root.document().product().as_str();
    let namespace = arguments.namespace.as_deref().unwrap_or(product);
    let others = others_of(cluster, root.digest()).await?;
    let image = match cluster.daemon_state().await.map_err(of_cluster)? {
        // It is not a developer's to replace what others rely on.
        DaemonState::Ready(image) if !others.is_empty() => {
            let others = others.join(", ");
            context.report.note(&format!(
                "the daemon in {} stays as it is: it serves {others}, under another trust root",
                choice.context
            ));
            installation::give_rights(cluster, namespace).await?;
            image
        }
        _ => {
            target.push_image(daemon_image, &store, progress).await?;
            let image = installation::daemon_image_name(registry, repository, daemon_image);
            context.report.note(&format!("installing the daemon in {}", choice.context));
            installation::install(cluster, &image, namespace, Vec::new()).await?;
            end_waiting_pods(cluster, &image).await?;
            image
        }
    };
    // All is pushed: following may take long, and other builds need not wait for it.
    drop(store);
    let manifest = root.manifest();
    let request = SubscriptionRequest {
        name: product,
        registry,
        scheme: Scheme::Http,
        repository,
        channel: &document.channel,
        environment: &document.environment,
        namespace,
        root: root.digest(),
        signed_root: std::str::from_utf8(manifest.bytes()).of_kind(Kind::Machine)?,
        poll: arguments.poll,
        soak: arguments.soak,
        storage_class: arguments.storage_class.as_deref(),
    };
    installation::subscribe(cluster, &request).await?;
    let following = Following {
        choice,
        subscription: product,
        daemon_image: &image,
        release,
        limit: Duration::from_secs(arguments.wait),
        patience: Duration::from_secs(2 * u64::from(arguments.poll) + 5),
    };
    follow(cluster, &following, context).await
}

/// The subscriptions of the cluster that trust another root.
async fn others_of(cluster: &Cluster, root: Digest) -> Result<Vec<String>, CommandError> {
    let all = match cluster.subscriptions().await {
        Ok(all) => all,
        Err(ClusterError::NotServed { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(of_cluster(error)),
    };
    let is_other = |one: &Subscription| one.spec.trust_root.digest != root;
    Ok(all.into_iter().flatten().filter(is_other).filter_map(|one| one.metadata.name).collect())
}

/// How a person sees what runs, and comes to the services that others than this platform may use.
fn next_commands(folder: &PlatformFolder, choice: &ClusterChoice, namespace: &str) -> Vec<String> {
    let of = |recipe: &Recipe| {
        let service = recipe.service()?;
        let port = service.ports.values().next().filter(|_| !service.network.exposed_to.is_empty())?.number();
        Some(choice.kubectl(namespace, &format!("port-forward service/{} {port}", recipe.name)))
    };
    let status = choice.command(&format!("status {}", folder.platform.product));
    std::iter::once(status).chain(folder.platform.recipes().filter_map(of)).collect()
}

/// What was built and published.
fn built_lines(document: &Document) -> String {
    let mut lines: Vec<String> = document.images.iter().map(ImageDocument::line).collect();
    lines.push(format!("{:<12} {}  {}\n", "release", document.release, document.version));
    let Document { channel, record, environment, registry, seconds, stages, .. } = document;
    lines.push(format!("{:<12} {channel} version {record}, environment {environment}\n", "channel"));
    let sent = report::bytes(document.bytes_sent);
    lines.push(if document.changed {
        let Stages { inputs, images, publication } = stages;
        format!(
            "done in {seconds:.1} s (inputs {inputs:.1} s, images {images:.1} s, publication {publication:.1} s), {sent} \
             sent to {registry}\n"
        )
    } else {
        format!("nothing to do, {seconds:.2} s\n")
    });
    lines.concat()
}

/// The lines that are not written yet.
fn last_lines(document: &Document, arguments: &Arguments) -> String {
    match &document.cluster {
        Some(ClusterDocument { context, namespace, seconds, next }) => {
            let next: Vec<_> = next.iter().map(|command| format!("  {command}\n")).collect();
            let next = next.concat();
            format!("runs in {context}, namespace {namespace}, after {seconds:.1} s; next:\n{next}")
        }
        None => format!(
            "{}next: bundle up {} --context NAME --registry HOST:PORT   (a cluster of your kubeconfig, and this registry as \
             its nodes see it)\n",
            built_lines(document),
            arguments.platform.display()
        ),
    }
}
