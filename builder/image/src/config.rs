//! The configuration of an image (OCI image specification, config.md).

use std::collections::{BTreeMap, BTreeSet};

use registry_wire::{Digest, Platform};
use serde::{Serialize, Serializer};

/// The configuration of an image. There is no creation time in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// What it is built for.
    pub platform: Platform,
    /// How its process starts.
    pub process: Process,
}

/// How the process of an image starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// `uid:gid`, in numbers, so that Kubernetes can see that it is not root.
    pub user: String,
    /// Ports that it listens on, such as `3000/tcp`.
    pub ports: BTreeSet<String>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// The folder that it starts in.
    pub working_directory: Option<String>,
}

/// Keys stand in alphabetical order, so the fields do.
#[derive(Serialize)]
struct Document<'a> {
    architecture: &'a str,
    config: Config<'a>,
    os: &'a str,
    rootfs: RootFs<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    cmd: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty", serialize_with = "as_keys")]
    exposed_ports: &'a BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
}

/// The specification wants a set to be written as an object of empty objects.
fn as_keys<S: Serializer>(ports: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Empty {}
    serializer.collect_map(ports.iter().map(|port| (port, Empty {})))
}

#[derive(Serialize)]
struct RootFs<'a> {
    diff_ids: &'a [Digest],
    #[serde(rename = "type")]
    kind: &'static str,
}

impl ImageConfig {
    /// Its canonical bytes: sorted keys, no white space, no end of line.
    pub fn encode(&self, diff_ids: &[Digest]) -> Vec<u8> {
        self.encode_labelled(diff_ids, BTreeMap::new())
    }

    /// The same with labels.
    #[allow(clippy::expect_used, reason = "the document has string keys only")]
    pub(crate) fn encode_labelled(
        &self,
        diff_ids: &[Digest],
        labels: BTreeMap<&'static str, String>,
    ) -> Vec<u8> {
        let Self { platform, process } = self;
        let document = Document {
            architecture: &platform.architecture,
            config: Config {
                cmd: &process.arguments,
                entrypoint: &process.entrypoint,
                env: process.environment.iter().map(|(key, value)| format!("{key}={value}")).collect(),
                exposed_ports: &process.ports,
                labels,
                user: &process.user,
                working_dir: process.working_directory.as_deref(),
            },
            os: &platform.os,
            rootfs: RootFs { diff_ids, kind: "layers" },
            variant: platform.variant.as_deref(),
        };
        serde_json::to_vec(&document).expect("a configuration is plain JSON")
    }
}
