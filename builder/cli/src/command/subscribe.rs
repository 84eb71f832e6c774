//! `bundle subscribe`: a namespace of a cluster follows a channel.

use std::{path::PathBuf, sync::Arc};

use bundles_objects::{NamespaceName, SubscriptionName};
use bundles_release::EnvironmentName;
use bundles_trust::{Channel, ChannelName, Document as _, Reason, Role};
use clap::Args;
use daemon_cluster::{Cluster, DaemonState, SubscriptionSpec};
use jiff::Timestamp;
use registry_client::Scheme;
use registry_wire::ImageName;
use serde::Serialize;

use crate::{
    cluster::{ClusterChoice, of_cluster},
    command::{Context, runtime},
    error::{CommandError, Kind, OfKind as _},
    following::end_waiting_pods,
    installation::{self, Subscribed, SubscriptionRequest},
    progress::Progress,
    publishing::{self, Target, of_refusal},
    root_file,
};

/// Have a namespace of a cluster follow a channel: the daemon installs there what the channel names, if the owners of the
/// trust root have signed it.
///
/// Where no daemon runs yet, this executable's is pushed beside the releases and installed. One that runs stays as it is,
/// and gets its rights in the namespace. A subscription that is there is changed to what is said here; its pin, its hold and
/// what it denies stay.
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
    name: Option<SubscriptionName>,
    /// Namespace that the platform runs in, made if it is not there [default: the product's name].
    #[arg(long, value_name = "NAME")]
    namespace: Option<NamespaceName>,
    /// Storage class of restore points; the cluster's default unless given.
    #[arg(long, value_name = "NAME")]
    storage_class: Option<String>,
    /// Seconds from one look at the channel to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    poll: u32,
    /// Seconds that health must hold, in place of what the releases say.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
    soak: Option<u32>,
    /// Install this executable's daemon in place of the one that runs.
    #[arg(long)]
    upgrade_daemon: bool,
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
    /// The image of the daemon.
    daemon: String,
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
    if trusted.expires() < Timestamp::now() {
        let message = format!("{} expired at {}", arguments.trust_root.display(), trusted.expires());
        return Err(CommandError::new(Kind::Trust, message)
            .hint("bundle trust next FILE --previous FILE --key FILE makes the version that follows"));
    }
    let name = arguments.name.as_ref().map_or(product.as_str(), SubscriptionName::as_str);
    let namespace = arguments.namespace.as_ref().map_or(product.as_str(), NamespaceName::as_str);
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
    if let Subscribed::To(before) = &before {
        stays(before, &request)?;
    }
    let state = runtime.block_on(cluster.daemon_state()).map_err(of_cluster)?;
    let (daemon, daemon_installed) = match (state, &before) {
        (DaemonState::Ready(image), Subscribed::Nothing | Subscribed::To(_)) if !arguments.upgrade_daemon => {
            runtime.block_on(installation::give_rights(&cluster, namespace))?;
            (image, false)
        }
        _ => (install(arguments, &cluster, namespace, &runtime, context)?, true),
    };
    runtime.block_on(installation::subscribe(&cluster, &request))?;
    let trusted_before = match before {
        Subscribed::To(before) => Some(before.trust_root.digest).filter(|before| *before != request.root),
        Subscribed::Unknown | Subscribed::Nothing => None,
    };
    let document = Document {
        subscription: name.to_owned(),
        context: arguments.cluster.context.clone(),
        channel: channel.clone(),
        repository: arguments.repository.to_string(),
        environment: arguments.environment.to_string(),
        namespace: namespace.to_owned(),
        trust_root: request.root.to_string(),
        trusted_before: trusted_before.map(|before| before.to_string()),
        daemon,
        daemon_installed,
        next: arguments.cluster.command(&format!("status {name}")),
    };
    context
        .report
        .result(&document, || lines(&document, &installation::forget_floor(&arguments.cluster, name)))
        .of_kind(Kind::Machine)
}

/// Refuses what a subscription cannot become: its channel and its namespace stay.
fn stays(before: &SubscriptionSpec, request: &SubscriptionRequest<'_>) -> Result<(), CommandError> {
    let SubscriptionRequest { name, channel, namespace, .. } = request;
    let usage = |message: String| CommandError::new(Kind::Usage, message);
    if before.channel != *channel {
        let message = format!("subscription {name} follows {}, and stays with its channel", before.channel);
        return Err(usage(message).hint(format!("--name OTHER --namespace OTHER for {channel}, beside it")));
    }
    if before.namespace != *namespace {
        let message =
            format!("subscription {name} stays in namespace {}, where its data is", before.namespace);
        return Err(usage(message).hint(format!(
            "--namespace {}; or --name OTHER for one in {namespace}, beside it",
            before.namespace
        )));
    }
    Ok(())
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
        end_waiting_pods(cluster, &image).await?;
        Ok(image)
    })
}

/// `forget_floor` is the command that lets the daemon begin anew with its trust.
fn lines(document: &Document, forget_floor: &str) -> String {
    let Document { subscription, context, channel, repository, environment, namespace, trust_root, .. } =
        document;
    let before = document.trusted_before.as_ref().map_or_else(String::new, |before| {
        format!(
            "trusted root {before} before: if the new one does not follow from it, the daemon says so in its status and stays \
             with what it accepted until: {forget_floor}\n"
        )
    });
    let daemon = if document.daemon_installed { "installed" } else { "left as it is" };
    format!(
        "{subscription} follows {channel} of {repository}\ncontext {context}, namespace {namespace}, environment \
         {environment}\ndaemon {}, {daemon}\ntrust root {trust_root}\n{before}next: {}\n",
        document.daemon, document.next
    )
}
