//! Services of one environment become Kubernetes objects.
//!
//! Objects are built from the typed API, written as canonical JSON, and stand in the order of apply. Nothing in them
//! depends on the version of the product, so that a service that did not change is not touched by a release.

mod config;
mod network;
mod pod;
mod workload;

use std::collections::BTreeMap;

use bundles_release::{EnvironmentName, ProductName, names::SERVICE_LABEL};
use k8s_openapi::{
    api::core::v1::ServiceAccount,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use registry_wire::Digest;
use serde::Serialize;

use crate::{
    AbsolutePath, BackupPolicy, ConfigKey, Kind, Object, ObjectError, PartDocument, PartError, Service,
    ServiceName, ServicePolicy, Stage, UserId, need_levels,
};

/// The least version of Kubernetes that knows every field used here (`lifecycle.preStop.sleep`), major and minor.
pub const KUBERNETES_REQUIRED: (u32, u32) = (1, 30);

/// Everything that the objects of one environment are made of.
#[derive(Debug, Clone, Copy)]
pub struct EnvironmentInput<'a> {
    /// The product.
    pub product: &'a ProductName,
    /// The environment.
    pub environment: &'a EnvironmentName,
    /// All services, with the changes that the environment makes.
    pub services: &'a BTreeMap<ServiceName, ResolvedService>,
    /// The image of each service.
    pub images: &'a BTreeMap<ServiceName, ImageIdentity>,
    /// Values that the environment gives.
    pub values: &'a BTreeMap<ConfigKey, String>,
}

/// A service in one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedService {
    /// The service.
    pub service: Service,
    /// The text of each file in its `config-files`.
    pub config_files: BTreeMap<AbsolutePath, String>,
}

/// What objects have to know of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageIdentity {
    /// Digest of its manifest or index.
    pub digest: Digest,
    /// The user that its process runs as.
    pub user: UserId,
}

/// Something that the objects need is not there.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// No image.
    #[error("service {service} has no image")]
    MissingImage {
        /// The service.
        service: ServiceName,
    },
    /// A value that the environment does not give.
    #[error("service {service} needs config value `{key}`, which environment {environment} does not give")]
    MissingValue {
        /// The service.
        service: ServiceName,
        /// The environment.
        environment: EnvironmentName,
        /// The key.
        key: ConfigKey,
    },
    /// A file of the service was not read.
    #[error("service {service} mounts {path}, whose text is not given")]
    MissingFile {
        /// The service.
        service: ServiceName,
        /// The path in the container.
        path: AbsolutePath,
    },
    /// A service that breaks the rules of [`Service::problems`].
    #[error("service {service} breaks a rule at {}: {message}", path.join("."))]
    Broken {
        /// The service.
        service: ServiceName,
        /// Where.
        path: Vec<String>,
        /// What is wrong.
        message: String,
    },
    /// Services that need each other.
    #[error("services cannot be brought into an order")]
    Needs {
        /// Which.
        source: Box<PartError>,
    },
    /// An object without a rule.
    #[error("an object of service {service} is refused")]
    Object {
        /// The service.
        service: ServiceName,
        /// Why.
        source: ObjectError,
    },
}

/// One service on its way to objects.
struct Part<'a> {
    name: &'a ServiceName,
    service: &'a Service,
    config_files: &'a BTreeMap<AbsolutePath, String>,
    image: ImageIdentity,
    input: &'a EnvironmentInput<'a>,
}

impl Part<'_> {
    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.insert("app.kubernetes.io/managed-by".to_owned(), "bundle".to_owned());
        labels.insert(SERVICE_LABEL.to_owned(), self.name.to_string());
        labels
    }

    /// What selectors ask for. Selectors of workloads cannot change, so these never do.
    fn selector(&self) -> BTreeMap<String, String> {
        selector(self.input.product, self.name)
    }

    fn metadata(&self, name: &str) -> ObjectMeta {
        ObjectMeta { name: Some(name.to_owned()), labels: Some(self.labels()), ..ObjectMeta::default() }
    }

    fn object(&self, typed: &impl Serialize) -> Result<Object, RenderError> {
        let refuse = |source| RenderError::Object { service: self.name.clone(), source };
        Object::new(json_value(typed)).map_err(refuse)
    }
}

#[allow(clippy::expect_used, reason = "objects of the Kubernetes API are plain JSON with text keys")]
fn json_value(typed: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(typed).expect("an object of the Kubernetes API is plain JSON")
}

fn selector(product: &ProductName, service: &ServiceName) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), service.to_string()),
        ("app.kubernetes.io/part-of".to_owned(), product.to_string()),
    ])
}

fn match_labels(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

/// The objects of every service of an environment: services that others need first, then by name.
pub fn render(input: &EnvironmentInput<'_>) -> Result<Vec<PartDocument>, RenderError> {
    let known = input.services.keys().cloned().collect();
    let render_service = |(name, resolved): (&ServiceName, &ResolvedService)| {
        if let Some(problem) = resolved.service.problems(name, &known).into_iter().next() {
            let (path, message) = (problem.path, problem.message);
            return Err(RenderError::Broken { service: name.clone(), path, message });
        }
        let image =
            *input.images.get(name).ok_or_else(|| RenderError::MissingImage { service: name.clone() })?;
        let part =
            Part { name, service: &resolved.service, config_files: &resolved.config_files, image, input };
        Ok(PartDocument {
            environment: input.environment.clone(),
            part: name.clone(),
            policy: part.policy(),
            objects: part.objects()?,
        })
    };
    let mut parts = input.services.iter().map(render_service).collect::<Result<Vec<_>, _>>()?;
    let needs =
        input.services.iter().map(|(name, resolved)| (name, resolved.service.needs.as_slice())).collect();
    let levels = need_levels(&needs).map_err(|source| RenderError::Needs { source: Box::new(source) })?;
    parts.sort_by_key(|part| levels[&part.part]);
    Ok(parts)
}

impl Part<'_> {
    fn policy(&self) -> ServicePolicy {
        let service = self.service;
        let port = service.backup_port().and_then(|port| service.ports.get(port));
        let backup = service.backup.as_ref().zip(port);
        let mut needs = service.needs.clone();
        needs.sort();
        needs.dedup();
        ServicePolicy {
            kind: service.kind,
            stage: match service.kind {
                Kind::Deployment => Stage::Stateless,
                Kind::Statefulset => Stage::Stateful,
            },
            needs,
            deadline: service.health.deadline,
            soak: service.health.soak,
            least_replicas: service.least_replicas(),
            zero_downtime: match service.kind {
                Kind::Deployment => service.rollout.unavailable < service.least_replicas(),
                Kind::Statefulset => service.least_replicas() > 1,
            },
            backup: backup.map(|(backup, port)| BackupPolicy { kind: backup.kind, port: port.number() }),
        }
    }

    fn objects(&self) -> Result<Vec<Object>, RenderError> {
        let configuration = self.configuration()?;
        let mut objects = vec![self.object(&self.service_account())?];
        for map in configuration.maps() {
            objects.push(self.object(map)?);
        }
        objects.push(self.object(&self.network_policy())?);
        if let Some(service) = self.kubernetes_service() {
            objects.push(self.object(&service)?);
        }
        if let Some(budget) = self.disruption_budget() {
            objects.push(self.object(&budget)?);
        }
        let template = self.pod_template(&configuration);
        objects.push(match self.service.kind {
            Kind::Deployment => self.object(&self.deployment(template))?,
            Kind::Statefulset => self.object(&self.stateful_set(template))?,
        });
        if let Some(autoscaler) = self.autoscaler() {
            objects.push(self.object(&autoscaler)?);
        }
        debug_assert!(objects.is_sorted_by_key(Object::stage), "objects stand in the order of apply");
        Ok(objects)
    }

    fn service_account(&self) -> ServiceAccount {
        ServiceAccount {
            automount_service_account_token: Some(false),
            metadata: self.metadata(self.name.as_str()),
            ..ServiceAccount::default()
        }
    }
}
