//! The daemon in a cluster: its image, its objects, and a subscription.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use builder_build::{BuildRequest, Builder, ImageRequest, Keep, SourceInput, Store};
use builder_image::{ImageConfig, Process};
use builder_recipe::ImagePlatform;
use bundles_objects::ServiceName;
use bundles_release::lock::Accounts;
use daemon_cluster::{
    Cluster, ClusterError, InstallOptions, Present, SubscriptionSpec, crds, floor_name, install_objects,
    target_objects,
};
use daemon_plan::ObjectKey;
use registry_client::Scheme;
use registry_wire::{Digest, RegistryAddress, RepositoryName};
use serde_json::{Value, json};

use crate::{
    cluster::{ClusterChoice, apply_ours, of_cluster},
    command::Context,
    error::{CommandError, Kind, OfKind as _},
    images::PlatformImage,
    progress::Progress,
};

/// Name of the daemon's image and of its repository below that of the releases.
pub(crate) const DAEMON: &str = "bundle-daemon";
const USER: &str = "65532:65532";
/// Program header that names a dynamic loader (ELF, `PT_INTERP`).
const INTERPRETER: u32 = 3;

/// Builds the image that holds this executable and nothing else. It is for nodes of the executable's own architecture.
pub(crate) fn build_daemon_image(
    executable: &Path,
    store: &Store,
    context: &Context,
) -> Result<PlatformImage, CommandError> {
    let ElfHead { platform, is_static } = ElfHead::read(executable).of_kind(Kind::Machine)?;
    if !is_static {
        let message = format!(
            "{} needs shared libraries, which the daemon's image does not have",
            executable.display()
        );
        return Err(CommandError::new(Kind::Machine, message).hint(
            "build it in its own workspace, which links it statically: cargo build --release -p bundle",
        ));
    }
    let source = SourceInput::hash_file(executable, "/bundle", 0o755).of_kind(Kind::Machine)?;
    let config = ImageConfig {
        platform: platform.platform(),
        process: Process {
            user: USER.to_owned(),
            ports: std::collections::BTreeSet::default(),
            environment: std::collections::BTreeMap::default(),
            entrypoint: vec!["/bundle".to_owned()],
            arguments: Vec::new(),
            working_directory: Some("/".to_owned()),
        },
    };
    let request = ImageRequest {
        name: DAEMON.to_owned(),
        packages: Vec::new(),
        accounts: Accounts::default(),
        epoch: 0,
        sources: vec![source],
        recordings: std::sync::Arc::default(),
        config: config.clone(),
        checks: Vec::new(),
    };
    let name: ServiceName = DAEMON.parse().of_kind(Kind::Machine)?;
    let user = USER.parse().of_kind(Kind::Machine)?;
    let progress = Progress::new(context.report);
    let request = BuildRequest { images: vec![request], keep: Some(Keep::Only(executable.to_owned())) };
    let built = Builder::new(store, &progress).build(&request).of_kind(Kind::Machine);
    progress.finish();
    let built = built?.pop().ok_or_else(|| CommandError::new(Kind::Machine, "no image was built"))?;
    Ok(PlatformImage::new(name, user, vec![(config, built)]))
}

/// What an executable says of where it runs.
struct ElfHead {
    platform: ImagePlatform,
    /// Whether it runs without a dynamic loader.
    is_static: bool,
}

impl ElfHead {
    fn read(executable: &Path) -> io::Result<Self> {
        let mut head = Vec::new();
        File::open(executable)?.take(4096).read_to_end(&mut head)?;
        Self::parse(&head).ok_or_else(|| {
            let message = format!("{} is no executable of linux/amd64 or linux/arm64", executable.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    }

    fn parse(head: &[u8]) -> Option<Self> {
        let number = |at: usize, length: usize| -> Option<u64> {
            let bytes = head.get(at..at + length)?;
            Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
        };
        let place = |number: u64| usize::try_from(number).ok();
        // The machine (`e_machine`).
        let platform = match number(18, 2)? {
            62 => ImagePlatform::Amd64,
            183 => ImagePlatform::Arm64,
            _ => return None,
        };
        let table = place(number(32, 8)?)?;
        let (size, count) = (place(number(54, 2)?)?, place(number(56, 2)?)?);
        let mut is_static = true;
        for index in 0..count {
            is_static &= number(table + index * size, 4)? != u64::from(INTERPRETER);
        }
        Some(Self { platform, is_static })
    }
}

/// Puts definitions, account, roles and Deployment of the daemon into the cluster.
pub(crate) async fn install(
    cluster: &Cluster,
    image: &str,
    target: &str,
    arguments: Vec<String>,
) -> Result<(), CommandError> {
    let options =
        InstallOptions { namespace: cluster.home().to_owned(), targets: vec![target.to_owned()], arguments };
    for object in crds().iter().chain(&install_objects(image, &options)) {
        apply_ours(cluster, object).await?;
    }
    Ok(())
}

/// Lets the daemon that is installed in the cluster work in one more namespace, with the rights that this executable's
/// daemon needs. The namespace is made if it is not there, and left as it is otherwise.
pub(crate) async fn give_rights(cluster: &Cluster, target: &str) -> Result<(), CommandError> {
    for object in target_objects(cluster.home(), target) {
        let is_namespace = object["kind"] == "Namespace";
        let key = ObjectKey::of(&object).of_kind(Kind::Usage)?;
        if is_namespace && cluster.get(&key).await.map_err(of_cluster)? != Present::Absent {
            continue;
        }
        apply_ours(cluster, &object).await?;
    }
    Ok(())
}

/// How nodes pull the daemon's image.
pub(crate) fn daemon_image_name(
    registry: &RegistryAddress,
    repository: &RepositoryName,
    image: &PlatformImage,
) -> String {
    format!("{registry}/{repository}/{DAEMON}@{}", image.identity().digest)
}

/// What a subscription says.
#[derive(Debug)]
pub(crate) struct SubscriptionRequest<'a> {
    pub(crate) name: &'a str,
    pub(crate) registry: &'a RegistryAddress,
    pub(crate) scheme: Scheme,
    pub(crate) repository: &'a RepositoryName,
    pub(crate) channel: &'a str,
    pub(crate) environment: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) root: Digest,
    pub(crate) signed_root: &'a str,
    pub(crate) poll: u32,
    pub(crate) soak: Option<u32>,
    pub(crate) storage_class: Option<&'a str>,
}

impl SubscriptionRequest<'_> {
    fn object(&self, home: &str) -> Value {
        let mut object = json!({
            "apiVersion": "bundle.build/v1alpha1",
            "kind": "Subscription",
            "metadata": { "name": self.name, "namespace": home },
            "spec": {
                "registry": { "address": self.registry.to_string(), "scheme": self.scheme.to_string() },
                "repository": self.repository.as_str(),
                "channel": self.channel,
                "environment": self.environment,
                "namespace": self.namespace,
                "trustRoot": { "digest": self.root, "inline": self.signed_root },
                "pollSeconds": self.poll,
            },
        });
        if let Some(soak) = self.soak {
            object["spec"]["soakSeconds"] = json!(soak);
        }
        if let Some(class) = self.storage_class {
            object["spec"]["backup"] = json!({ "storageClass": class });
        }
        object
    }
}

/// What the cluster says of a subscription.
#[derive(Debug)]
pub(crate) enum Subscribed {
    /// It does not know the kind: no daemon was ever installed, or not whole.
    Unknown,
    /// There is none of this name.
    Nothing,
    /// This.
    To(Box<SubscriptionSpec>),
}

/// What the subscription of a name says, if there is one.
pub(crate) async fn subscribed(cluster: &Cluster, name: &str) -> Result<Subscribed, CommandError> {
    match cluster.subscription(name).await {
        Ok(Some(found)) => Ok(Subscribed::To(Box::new(found.spec))),
        Ok(None) => Ok(Subscribed::Nothing),
        Err(ClusterError::NotServed { .. }) => Ok(Subscribed::Unknown),
        Err(error) => Err(of_cluster(error)),
    }
}

/// Begins anew with the trust of a subscription.
pub(crate) fn forget_floor(choice: &ClusterChoice, subscription: &str) -> String {
    choice.kubectl(&choice.daemon_namespace, &format!("delete configmap {}", floor_name(subscription)))
}

/// Subscribes the cluster.
pub(crate) async fn subscribe(
    cluster: &Cluster,
    request: &SubscriptionRequest<'_>,
) -> Result<(), CommandError> {
    apply_ours(cluster, &request.object(cluster.home())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_programs_are_told_from_others() {
        let head = |path: &Path| ElfHead::read(path);
        let own = head(&std::env::current_exe().unwrap()).unwrap();
        assert!(own.is_static);
        let shell = head(Path::new("/bin/sh")).unwrap();
        assert!(!shell.is_static);
        assert_eq!(own.platform, shell.platform);
        assert!(head(Path::new("/etc/passwd")).is_err());
    }
}
