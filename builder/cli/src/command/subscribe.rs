//! `bundle subscribe`: a namespace of a cluster follows a channel.

use std::{path::PathBuf, sync::Arc};

use bundles_release::EnvironmentName;
use bundles_trust::{Channel, ChannelName, Document as _, Reason, Role};
use clap::Args;
use daemon_cluster::Cluster;
use registry_client::Scheme;
use registry_wire::ImageName;
use serde::Serialize;

use crate::{
    cluster::{ClusterChoice, of_cluster},
    command::{Context, runtime},
    error::{CommandError, Kind, OfKind as _},
    installation::{self, SubscriptionRequest},
    progress::Progress,
    publishing::{self, Target, of_refusal},
    root_file,
};

/// Have a namespace of a cluster follow a channel: the daemon installs there what the channel names, if the owners of the
/// trust root have signed it.
///
/// Where there is no daemon yet, it is pushed beside the releases and installed; one that is there stays as it is, and
/// gets the rights that it needs in the namespace. A subscription that is there is changed to what is said here.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The channel.
    #[arg(value_name = "CHANNEL")]
    channel: ChannelName,
    /// Where its releases are, as the daemon and the nodes reach it: HOST:PORT/REPOSITORY.
    #[arg(value_name = "REPOSITORY")]
    repository: ImageName,
    /// http or https.
    #[arg(long, default_value = "https")]
    scheme: Scheme,
    /// The trust root, as `bundle trust init` writes it: whom the cluster trusts from now on.
    #[arg(long, value_name = "FILE")]
    trust_root: PathBuf,
    /// The environment of the releases that runs here.
    #[arg(long, value_name = "NAME")]
    environment: EnvironmentName,
    /// Name of the subscription [default: the product's name].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Namespace that the platform runs in, made if it is not there [default: the product's name].
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Storage class of restore points; the cluster's default unless given.
    #[arg(long, value_name = "NAME")]
    storage_class: Option<String>,
    /// Seconds from one look at the channel to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    poll: u32,
    /// Seconds that health must hold, in place of what the releases say.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
    soak: Option<u32>,
    #[command(flatten)]
    cluster: ClusterChoice,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    subscription: String,
    context: String,
    channel: String,
    repository: String,
    environment: String,
    namespace: String,
    trust_root: String,
    /// The root that was trusted before, if another one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    trusted_before: Option<String>,
    daemon_image: String,
    /// Whether it was installed now.
    daemon_installed: bool,
    /// The command that shows how it stands.
    next: String,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    if arguments.repository.reference().is_some() {
        let message = format!("`{}` names a release; a channel says itself which one", arguments.repository);
        let ImageName { registry, repository, .. } = &arguments.repository;
        return Err(CommandError::new(Kind::Usage, message).hint(format!("{registry}/{repository}")));
    }
    let root = root_file::read(&arguments.trust_root)?;
    let trusted = root.trusted.root();
    let product = trusted.product();
    let channel = Channel::new(product.clone(), arguments.channel.clone());
    let role = Role::Channel(channel.clone());
    if trusted.role(&role).is_none() {
        return Err(of_refusal(Reason::NoRole { role }));
    }
    let name = arguments.name.as_deref().unwrap_or(product.as_str());
    let namespace = arguments.namespace.as_deref().unwrap_or(product.as_str());
    let manifest = root.signed.manifest();
    let channel = channel.to_string();
    let request = SubscriptionRequest {
        name,
        registry: &arguments.repository.registry,
        scheme: arguments.scheme,
        repository: &arguments.repository.repository,
        channel: &channel,
        environment: arguments.environment.as_str(),
        namespace,
        root: root.signed.digest(),
        signed_root: std::str::from_utf8(manifest.bytes()).of_kind(Kind::Input)?,
        poll: arguments.poll,
        soak: arguments.soak,
        storage_class: arguments.storage_class.as_deref(),
    };
    let runtime = runtime()?;
    let cluster = runtime.block_on(arguments.cluster.connect())?;
    let before = runtime.block_on(installation::subscribed(&cluster, name))?;
    if let Some(before) = before.as_ref().filter(|before| before.channel != channel) {
        let message = format!("subscription {name} follows {}, and stays with its channel", before.channel);
        let hint = format!("--name OTHER --namespace OTHER for {channel}, beside it");
        return Err(CommandError::new(Kind::Usage, message).hint(hint));
    }
    let present = runtime.block_on(cluster.daemon_image()).map_err(of_cluster)?;
    let daemon_installed = present.is_none();
    let daemon_image = if let Some(image) = present {
        runtime.block_on(installation::give_rights(&cluster, namespace))?;
        image
    } else {
        install(arguments, &cluster, namespace, &runtime, context)?
    };
    runtime.block_on(installation::subscribe(&cluster, &request))?;
    let before = before.map(|before| before.trust_root.digest).filter(|before| *before != request.root);
    let document = Document {
        subscription: name.to_owned(),
        context: arguments.cluster.context.clone(),
        channel: channel.clone(),
        repository: arguments.repository.to_string(),
        environment: arguments.environment.to_string(),
        namespace: namespace.to_owned(),
        trust_root: request.root.to_string(),
        trusted_before: before.map(|before| before.to_string()),
        daemon_image,
        daemon_installed,
        next: arguments.cluster.command(&format!("status {name}")),
    };
    context.report.result(&document, || lines(&document)).of_kind(Kind::Machine)
}

/// Pushes the daemon beside the releases and installs it.
fn install(
    arguments: &Arguments,
    cluster: &Cluster,
    namespace: &str,
    runtime: &tokio::runtime::Runtime,
    context: &Context,
) -> Result<String, CommandError> {
    let ImageName { registry: address, repository, .. } = &arguments.repository;
    let executable = std::env::current_exe().of_kind(Kind::Machine)?;
    let store = context.open_store()?;
    let daemon = installation::build_daemon_image(&executable, &store, context)?;
    let progress = Arc::new(Progress::new(context.report));
    let registry = publishing::connect(address, arguments.scheme, &progress)?;
    let target = Target { registry: &registry, repository };
    runtime.block_on(async {
        let pushed = target.push_image(&daemon, &store, &progress).await;
        progress.finish();
        pushed?;
        let image = installation::daemon_image_name(address, repository, &daemon);
        context.report.note(&format!("installing the daemon in {}", arguments.cluster.context));
        installation::install(cluster, &image, namespace, Vec::new()).await?;
        Ok(image)
    })
}

fn lines(document: &Document) -> String {
    let Document { subscription, context, channel, repository, environment, namespace, trust_root, .. } =
        document;
    let before = document.trusted_before.as_ref();
    let before = before.map_or_else(String::new, |before| format!(", no longer {before}"));
    format!(
        "{subscription} follows {channel} of {repository}\ncontext {context}, namespace {namespace}, environment \
         {environment}\ntrusts root {trust_root}{before}\nnext: {}\n",
        document.next
    )
}
