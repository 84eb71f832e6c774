//! The pod of a service: one container, no rights, a read-only root.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapKeySelector, ConfigMapVolumeSource, Container, ContainerPort,
        EmptyDirVolumeSource, EnvVar, EnvVarSource, ExecAction, HTTPGetAction, KeyToPath, Lifecycle,
        LifecycleHandler, PodSecurityContext, PodSpec, PodTemplateSpec, Probe as KubernetesProbe,
        ResourceRequirements, SeccompProfile, SecretKeySelector, SecurityContext, SleepAction,
        TCPSocketAction, TopologySpreadConstraint, Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{Part, config::Configuration, match_labels};
use crate::{AbsolutePath, EnvironmentValue, Memory, PlacedImage, Probe, ProbeAction, Seconds, VariableName};

const READ_ONLY_FILE: i32 = 0o444;

fn seconds(span: Seconds) -> i32 {
    i32::try_from(span.get()).unwrap_or(i32::MAX)
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

impl Part<'_> {
    pub(super) fn pod_template(&self, configuration: &Configuration) -> PodTemplateSpec {
        let stop = i64::from(self.service.stop_delay().get()) + i64::from(self.service.stop.grace.get());
        let volumes = self.volumes(configuration);
        PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: Some(self.labels()), ..ObjectMeta::default() }),
            spec: Some(PodSpec {
                automount_service_account_token: Some(false),
                containers: vec![self.container(configuration)],
                // Variables for every Service of the namespace would make a pod depend on what else is there.
                enable_service_links: Some(false),
                security_context: Some(self.pod_security()),
                service_account_name: Some(self.name.to_string()),
                // The sleep before SIGTERM counts against this.
                termination_grace_period_seconds: Some(stop),
                topology_spread_constraints: self.spread(),
                volumes: (!volumes.is_empty()).then_some(volumes),
                ..PodSpec::default()
            }),
        }
    }

    fn pod_security(&self) -> PodSecurityContext {
        let group = i64::from(self.image.user.group());
        let has_storage = !self.service.storage.is_empty();
        PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(i64::from(self.image.user.user())),
            run_as_group: Some(group),
            fs_group: has_storage.then_some(group),
            fs_group_change_policy: has_storage.then(|| "OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }
    }

    /// Over nodes where there are several, without refusing to run where there are not.
    fn spread(&self) -> Option<Vec<TopologySpreadConstraint>> {
        let constraint = || TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(match_labels(self.selector())),
            ..TopologySpreadConstraint::default()
        };
        (self.service.least_replicas() > 1).then(|| vec![constraint()])
    }

    fn container(&self, configuration: &Configuration) -> Container {
        let service = self.service;
        let image = PlacedImage { name: self.name.clone(), digest: self.image.digest };
        let port = |(name, port): (&crate::PortName, &crate::Port)| ContainerPort {
            name: Some(name.to_string()),
            container_port: i32::from(port.number()),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        };
        let ports: Vec<_> = service.ports.iter().map(port).collect();
        let mounts = self.mounts();
        let variables: Vec<_> =
            service.env.iter().map(|(name, value)| variable(name, value, configuration)).collect();
        let sleep = i64::from(service.stop_delay().get());
        Container {
            name: self.name.to_string(),
            image: Some(image.placeholder()),
            image_pull_policy: Some("IfNotPresent".to_owned()),
            env: (!variables.is_empty()).then_some(variables),
            ports: (!ports.is_empty()).then_some(ports),
            resources: Some(self.resources()),
            readiness_probe: self.probe(&service.health.ready),
            liveness_probe: service.health.alive.as_ref().and_then(|probe| self.probe(probe)),
            startup_probe: service.health.startup.as_ref().and_then(|probe| self.probe(probe)),
            lifecycle: (sleep > 0).then(|| Lifecycle {
                pre_stop: Some(LifecycleHandler {
                    sleep: Some(SleepAction { seconds: sleep }),
                    ..LifecycleHandler::default()
                }),
                ..Lifecycle::default()
            }),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                capabilities: Some(Capabilities {
                    drop: Some(vec!["ALL".to_owned()]),
                    ..Capabilities::default()
                }),
                read_only_root_filesystem: Some(true),
                ..SecurityContext::default()
            }),
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            volume_mounts: (!mounts.is_empty()).then_some(mounts),
            ..Container::default()
        }
    }

    fn resources(&self) -> ResourceRequirements {
        let resources = &self.service.resources;
        let quantity = |name: &str, text: String| (name.to_owned(), Quantity(text));
        let mut limits = BTreeMap::from([quantity("memory", resources.memory_limit().to_string())]);
        limits.extend(resources.cpu_limit().map(|cpu| quantity("cpu", cpu.to_string())));
        ResourceRequirements {
            requests: Some(BTreeMap::from([
                quantity("cpu", resources.cpu.to_string()),
                quantity("memory", resources.memory.to_string()),
            ])),
            limits: Some(limits),
            ..ResourceRequirements::default()
        }
    }

    fn probe(&self, probe: &Probe) -> Option<KubernetesProbe> {
        let port = |name: &crate::PortName| IntOrString::String(name.to_string());
        let mut rendered = KubernetesProbe {
            initial_delay_seconds: (probe.after.get() > 0).then(|| seconds(probe.after)),
            period_seconds: Some(seconds(probe.period)),
            timeout_seconds: Some(seconds(probe.timeout)),
            failure_threshold: Some(count(probe.failures)),
            ..KubernetesProbe::default()
        };
        match probe.action(&self.service.ports)? {
            ProbeAction::Http { path, port: name } => {
                rendered.http_get = Some(HTTPGetAction {
                    path: Some(path.to_string()),
                    port: port(name),
                    ..HTTPGetAction::default()
                });
            }
            ProbeAction::Tcp { port: name } => {
                rendered.tcp_socket =
                    Some(TCPSocketAction { port: port(name), ..TCPSocketAction::default() });
            }
            ProbeAction::Command(command) => {
                rendered.exec = Some(ExecAction { command: Some(command.to_vec()) });
            }
        }
        Some(rendered)
    }

    /// Folders that hold configuration files, each mounted as a whole.
    fn file_folders(&self) -> BTreeSet<AbsolutePath> {
        self.service.config_files.keys().filter_map(AbsolutePath::parent).collect()
    }

    fn scratch(&self) -> impl Iterator<Item = (String, &AbsolutePath, &Memory)> {
        let scratch = self.service.scratch.iter().enumerate();
        scratch.map(|(index, (path, size))| (format!("scratch-{index}"), path, size))
    }

    fn volumes(&self, configuration: &Configuration) -> Vec<Volume> {
        let folder = |(index, folder): (usize, AbsolutePath)| {
            let in_folder =
                self.service.config_files.keys().filter(|path| path.parent().as_ref() == Some(&folder));
            let item = |path: &AbsolutePath| KeyToPath {
                key: path.file_name().to_owned(),
                path: path.file_name().to_owned(),
                ..KeyToPath::default()
            };
            Volume {
                name: format!("files-{index}"),
                config_map: Some(ConfigMapVolumeSource {
                    name: configuration.files_name().unwrap_or_default().to_owned(),
                    default_mode: Some(READ_ONLY_FILE),
                    items: Some(in_folder.map(item).collect()),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            }
        };
        let scratch = |(name, _, size): (String, &AbsolutePath, &Memory)| Volume {
            name,
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity(size.to_string())),
                ..EmptyDirVolumeSource::default()
            }),
            ..Volume::default()
        };
        self.file_folders().into_iter().enumerate().map(folder).chain(self.scratch().map(scratch)).collect()
    }

    fn mounts(&self) -> Vec<VolumeMount> {
        let mount = |name: String, path: &AbsolutePath, read_only: bool| VolumeMount {
            name,
            mount_path: path.to_string(),
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        };
        let folders = self.file_folders().into_iter().enumerate();
        let folders = folders.map(|(index, path)| mount(format!("files-{index}"), &path, true));
        let scratch = self.scratch().map(|(name, path, _)| mount(name, path, false));
        let storage = &self.service.storage;
        let storage = storage.iter().map(|(name, storage)| mount(name.to_string(), &storage.mount, false));
        folders.chain(scratch).chain(storage).collect()
    }
}

fn variable(name: &VariableName, value: &EnvironmentValue, configuration: &Configuration) -> EnvVar {
    let mut variable = EnvVar { name: name.to_string(), ..EnvVar::default() };
    match value {
        // `$(NAME)` would be replaced by Kubernetes; a recipe means what it says.
        EnvironmentValue::Literal(text) => variable.value = Some(text.replace("$(", "$$(")),
        EnvironmentValue::Config(reference) => {
            variable.value_from = Some(EnvVarSource {
                config_map_key_ref: Some(ConfigMapKeySelector {
                    name: configuration.values_name().unwrap_or_default().to_owned(),
                    key: reference.config.to_string(),
                    ..ConfigMapKeySelector::default()
                }),
                ..EnvVarSource::default()
            });
        }
        EnvironmentValue::Secret(reference) => {
            variable.value_from = Some(EnvVarSource {
                secret_key_ref: Some(SecretKeySelector {
                    name: reference.secret.name().to_owned(),
                    key: reference.secret.key().to_owned(),
                    ..SecretKeySelector::default()
                }),
                ..EnvVarSource::default()
            });
        }
    }
    variable
}
