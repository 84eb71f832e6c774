//! Rules that hold between the parts of a service.

use std::collections::{BTreeMap, BTreeSet};

use crate::{AbsolutePath, Kind, PortName, Probe, ProbeAction, Service, ServiceName};

/// A rule that a service breaks: where, what, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceProblem {
    /// Keys from the service down to the place.
    pub path: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

struct Problems(Vec<ServiceProblem>);

impl Problems {
    fn add(&mut self, path: &[&str], message: impl Into<String>, help: impl Into<String>) {
        let path = path.iter().map(|key| (*key).to_owned()).collect();
        self.0.push(ServiceProblem { path, message: message.into(), help: help.into() });
    }
}

impl Service {
    /// The rules that service `name` breaks on a platform with the services `known`.
    pub fn problems(&self, name: &ServiceName, known: &BTreeSet<ServiceName>) -> Vec<ServiceProblem> {
        let mut problems = Problems(Vec::new());
        self.check_scale(&mut problems);
        self.check_needs(name, known, &mut problems);
        self.check_health(&mut problems);
        self.check_paths(&mut problems);
        self.check_backup(&mut problems);
        if self.rollout.surge == 0 && self.rollout.unavailable == 0 {
            problems.add(
                &["rollout"],
                "with neither a replica more nor a replica less a rollout cannot move",
                "set `surge = 1`",
            );
        }
        problems.0
    }

    fn check_scale(&self, problems: &mut Problems) {
        if let Some(scaling) = self.scaling {
            if scaling.min > scaling.max {
                problems.add(
                    &["scaling", "max"],
                    format!(
                        "the largest number of replicas, {}, is below the least, {}",
                        scaling.max, scaling.min
                    ),
                    format!("set `max` to {} or more", scaling.min),
                );
            } else if let Some(replicas) =
                self.replicas.filter(|it| !(scaling.min..=scaling.max).contains(it))
            {
                problems.add(
                    &["replicas"],
                    format!("{replicas} replicas are outside of scaling, {} to {}", scaling.min, scaling.max),
                    "leave `replicas` out: the autoscaler decides",
                );
            }
            if self.kind == Kind::Statefulset {
                problems.add(
                    &["scaling"],
                    "a statefulset is not scaled automatically: its volumes would come and go",
                    "set `replicas`",
                );
            }
        }
        if let Some(limit) = self.resources.limit {
            if let Some(cpu) = limit.cpu.filter(|cpu| *cpu < self.resources.cpu) {
                problems.add(
                    &["resources", "limit", "cpu"],
                    format!("the limit of {cpu} is below the {} that are kept", self.resources.cpu),
                    format!("set it to {} or more, or leave it out", self.resources.cpu),
                );
            }
            if let Some(memory) = limit.memory.filter(|memory| *memory < self.resources.memory) {
                problems.add(
                    &["resources", "limit", "memory"],
                    format!("the limit of {memory} is below the {} that are kept", self.resources.memory),
                    format!("set it to {} or more, or leave it out", self.resources.memory),
                );
            }
        }
    }

    fn check_needs(&self, name: &ServiceName, known: &BTreeSet<ServiceName>, problems: &mut Problems) {
        for (index, need) in self.needs.iter().enumerate() {
            let index = index.to_string();
            if need == name {
                problems.add(&["needs", &index], "a service cannot need itself", "remove it");
            } else if !known.contains(need) {
                let nearest = known.iter().filter(|other| *other != name).map(|other| format!("`{other}`"));
                let help = match nearest.collect::<Vec<_>>().join(", ") {
                    names if names.is_empty() => "there is no other service".to_owned(),
                    names => format!("other services are {names}"),
                };
                problems.add(&["needs", &index], format!("there is no service `{need}`"), help);
            }
        }
    }

    fn check_health(&self, problems: &mut Problems) {
        let probes = [
            ("ready", Some(&self.health.ready)),
            ("alive", self.health.alive.as_ref()),
            ("startup", self.health.startup.as_ref()),
        ];
        for (name, probe) in probes {
            let Some(probe) = probe else { continue };
            self.check_probe(name, probe, problems);
        }
        if self.health.deadline.get() == 0 {
            problems.add(&["health", "deadline"], "nothing is well after no time at all", "set it to 2m");
        }
    }

    fn check_probe(&self, name: &str, probe: &Probe, problems: &mut Problems) {
        let at = ["health", name];
        let Some(action) = probe.action(&self.ports) else {
            let (message, help) = if probe.path.is_some() && probe.tcp.is_none() && probe.command.is_empty() {
                (
                    "`path` needs a port, and the service does not have just one",
                    "add `port` with the name of a port",
                )
            } else {
                ("a check is exactly one of `path` (with `port`), `tcp` and `command`", "keep one of them")
            };
            return problems.add(&at, message, help);
        };
        let (key, port) = match action {
            ProbeAction::Http { port, .. } => ("port", Some(port)),
            ProbeAction::Tcp { port } => ("tcp", Some(port)),
            ProbeAction::Command(_) => ("command", None),
        };
        if let Some(port) = port.filter(|port| !self.ports.contains_key(*port)) {
            problems.add(&["health", name, key], format!("there is no port `{port}`"), self.known_ports());
        }
        if probe.period.get() == 0 || probe.timeout.get() == 0 {
            let key = if probe.period.get() == 0 { "period" } else { "timeout" };
            problems.add(&["health", name, key], "at least a second is expected", "set it to 1s or more");
        }
    }

    fn known_ports(&self) -> String {
        let names: Vec<_> = self.ports.keys().map(|port| format!("`{port}`")).collect();
        if names.is_empty() {
            "add it to `ports`".to_owned()
        } else {
            format!("ports are {}", names.join(", "))
        }
    }

    fn check_paths(&self, problems: &mut Problems) {
        if self.kind == Kind::Deployment
            && let Some(storage) = self.storage.keys().next()
        {
            problems.add(
                &["storage", storage.as_str()],
                "replicas of a deployment would share one volume",
                "set `kind = \"statefulset\"`, or use `scratch` for what need not outlive the pod",
            );
        }
        let mut mounts: BTreeMap<&AbsolutePath, &str> = BTreeMap::new();
        let storage = self.storage.iter().map(|(name, storage)| (&storage.mount, ["storage", name.as_str()]));
        let scratch = self.scratch.keys().map(|path| (path, ["scratch", path.as_str()]));
        for (path, at) in storage.chain(scratch) {
            if let Some(other) = mounts.insert(path, at[1]) {
                problems.add(&at, format!("{path} is already taken by `{other}`"), "choose another path");
            }
        }
        let mut names = BTreeSet::new();
        for path in self.config_files.keys() {
            let at = ["config-files", path.as_str()];
            let name = path.file_name();
            let is_key = name.len() <= 253
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            match path.parent() {
                None => problems.add(
                    &at,
                    "a file directly under / cannot be mounted",
                    "put it in a folder of its own",
                ),
                Some(parent) if mounts.contains_key(&parent) => {
                    problems.add(
                        &at,
                        format!("{parent} is already taken by a volume"),
                        "choose another folder",
                    );
                }
                Some(_) if !is_key => {
                    problems.add(
                        &at,
                        "the file's name has characters other than letters, digits, -, _ and .",
                        "rename it",
                    );
                }
                Some(_) if !names.insert(name) => {
                    problems.add(&at, format!("two files are called `{name}`"), "rename one of them");
                }
                Some(_) => {}
            }
        }
    }

    fn check_backup(&self, problems: &mut Problems) {
        let Some(backup) = &self.backup else { return };
        if let Some(port) = &backup.port {
            if !self.ports.contains_key(port) {
                problems.add(&["backup", "port"], format!("there is no port `{port}`"), self.known_ports());
            }
        } else if self.ports.len() != 1 {
            problems.add(
                &["backup"],
                "the service does not have just one port",
                "add `port` with the name of a port",
            );
        }
    }

    /// The port that a backup saves from.
    pub(crate) fn backup_port(&self) -> Option<&PortName> {
        let backup = self.backup.as_ref()?;
        backup.port.as_ref().or_else(|| self.ports.keys().next())
    }
}
