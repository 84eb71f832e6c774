//! In a pod: which level is reached, and attempts that need nothing but the pod, each in the pod itself and inside.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    process::{Command, Stdio},
};

use builder_sandbox::{End, Executor as _, Level, Mount, Own, Reached, Specification};
use serde::Serialize;

/// What the kubelet gives every pod.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Shared memory of the pod.
const SHARED: &str = "/dev/shm/secret";

#[derive(Debug, Serialize)]
struct Said {
    reached: Reached,
    attempts: BTreeMap<String, (bool, String)>,
}

pub(crate) fn report() -> io::Result<()> {
    let own = Own::new(crate::helper()?);
    let reached = own.measure().map_err(io::Error::other)?;
    let server = |name: &str| std::env::var(name).unwrap_or_default();
    let server = format!("{}:{}", server("KUBERNETES_SERVICE_HOST"), server("KUBERNETES_SERVICE_PORT"));
    let attempts: [&[&str]; 23] = [
        &["connect", &server],
        &["read-file", TOKEN],
        &["list-folder", "/", "var"],
        &["read-file", SHARED],
        &["variable", "KUBERNETES_SERVICE_HOST"],
        &["interfaces"],
        &["raw-socket"],
        &["packet-socket"],
        &["vsock-socket"],
        &["read-file", "/proc/cpuinfo"],
        &["read-file", "/proc/sys/kernel/random/boot_id"],
        &["signal", "1"],
        &["trace", "1"],
        &["new-key"],
        &["bpf"],
        &["io-uring"],
        &["performance-counter"],
        &["user-namespace"],
        &["clone-user-namespace"],
        &["mount-new"],
        &["host-name"],
        &["old-table"],
        &["fork-bomb", "200"],
    ];
    fs::write(SHARED, "secret")?;
    let program = std::env::current_exe()?;
    let mut said = Said { reached, attempts: BTreeMap::new() };
    for words in attempts {
        let mut outside = Command::new(&program);
        outside.arg("attempt").args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let is_through = outside.status()?.success();
        let mut specification = Specification::new(&program);
        specification.arguments = ["attempt"].iter().chain(words).map(ToString::to_string).collect();
        specification.mounts = vec![Mount::ReadOnly { source: program.clone(), target: program.clone() }];
        specification.limits.processes = 64;
        let outcome = own.run(&specification, Level::None).map_err(io::Error::other)?;
        let inside = match outcome.end {
            End::Exited(0) => "through".to_owned(),
            end => format!("held ({end:?}): {}", String::from_utf8_lossy(&outcome.errors).trim()),
        };
        said.attempts.insert(words.join(" "), (is_through, inside));
    }
    serde_json::to_writer(io::stdout(), &said)?;
    io::stdout().flush()
}
