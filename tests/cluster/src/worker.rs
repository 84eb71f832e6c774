//! A node: containerd, kubelet and kube-proxy.

use std::path::Path;

use serde_json::json;

use crate::authority::Authority;
use crate::control::daemon;
use crate::kubeconfig::{self, Credential};
use crate::machine::Machine;
use crate::network::Subnet;
use crate::protocol::Daemon;
use crate::{Error, Registry, image_archive, programs, slot};

/// What containerd holds the namespaces of a pod with.
const PAUSE: &str = "test.invalid/pause:1";

/// Port and path: healthy once the rules for all Services are there.
pub(crate) const PROXY_HEALTH: (u16, &str) = (10256, "/healthz");

/// Which node of which bed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) slot: u8,
    /// From one.
    pub(crate) number: u8,
}

impl Place {
    pub(crate) fn name(self) -> String {
        format!("node{}", self.number)
    }

    pub(crate) fn group(self) -> String {
        format!("{}{}", slot::group_prefix(self.slot), self.name())
    }

    fn subnet(self) -> Subnet {
        Subnet::new(self.slot)
    }
}

/// Writes the certificates and files of a node.
pub(crate) fn configure(
    machine: &Machine,
    place: Place,
    authority: &Authority,
    volumes: u8,
) -> Result<(), Error> {
    let name = place.name();
    let subnet = place.subnet();
    machine.configure("ca.crt", authority.certificate())?;
    let own = authority.issue(
        &format!("system:node:{name}"),
        &["system:nodes"],
        &[&name],
        &[subnet.node(place.number).into()],
    )?;
    machine.configure("kubelet.crt", &own.certificate)?;
    machine.configure("kubelet.key", &own.key)?;
    let proxy = authority.issue("system:kube-proxy", &[], &[], &[])?;
    for (file, identity) in [("kubelet", own), ("kube-proxy", proxy)] {
        let path = machine.configuration().join(format!("{file}.kubeconfig"));
        let credential = Credential::Certificate(identity);
        kubeconfig::write(&path, &subnet.api_server(), authority.certificate(), &credential)?;
    }
    machine.configure("containerd.toml", containerd(programs::cni_plugins()?))?;
    machine.configure("cni/bridge.conflist", cni(place))?;
    machine.configure("kubelet.json", kubelet(place))?;
    machine.configure("kube-proxy.json", kube_proxy(place))?;
    // Nothing but the cluster's names resolves: pods find this in their search list only when they ask for the node's.
    machine.configure("resolv.conf", format!("nameserver {}\n", subnet.control()))?;
    machine.configure("pause.tar", image_archive(PAUSE, &programs::program("pause")?)?)?;
    std::fs::create_dir_all(machine.configuration().join("registries")).map_err(|source| {
        Error::FileNotWritten { path: machine.configuration().join("registries"), source }
    })?;
    for volume in 1..=volumes {
        let path = machine.configuration().join(format!("volumes/{volume}"));
        std::fs::create_dir_all(&path)
            // Pods run as users of their own, and a local volume takes no owner from them.
            .and_then(|()| {
                std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777))
            })
            .map_err(|source| Error::FileNotWritten { path, source })?;
    }
    Ok(())
}

/// Tells containerd where a registry is; it looks at every pull.
pub(crate) fn add_registry(machine: &Machine, subnet: Subnet, registry: &Registry) -> Result<(), Error> {
    let address = registry.address.replace("HOST", &subnet.host().to_string());
    machine.configure(
        &format!("registries/{}/hosts.toml", registry.name),
        format!("server = \"{address}\"\n\n[host.\"{address}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"),
    )
}

/// Starts containerd and gives it the pause image.
pub(crate) fn start_runtime(machine: &mut Machine) -> Result<(), Error> {
    machine.must_run(&["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])?;
    machine.start(daemon("containerd", "containerd --config=/var/lib/bed/containerd.toml"))?;
    let import = ["ctr", "--namespace=k8s.io", "images", "import", "/var/lib/bed/pause.tar"];
    // containerd has no sign of being ready but to answer.
    for _ in 0..100 {
        if machine.run(&import)?.code == 0 {
            return Ok(());
        }
        machine.check_daemons()?;
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    machine.must_run(&import)
}

/// What needs the API server to be there.
pub(crate) fn followers(place: Place) -> Result<Vec<Daemon>, Error> {
    let kubernetes = programs::program("kubernetes")?;
    let kubernetes = kubernetes.display();
    let name = place.name();
    Ok(vec![
        daemon(
            "kubelet",
            &format!(
                "{kubernetes} kubelet --config=/var/lib/bed/kubelet.json --root-dir=/var/lib/kubelet \
                 --kubeconfig=/var/lib/bed/kubelet.kubeconfig --hostname-override={name} --node-ip={}",
                place.subnet().node(place.number)
            ),
        ),
        daemon("kube-proxy", &format!("{kubernetes} kube-proxy --config=/var/lib/bed/kube-proxy.json")),
    ])
}

fn containerd(plugins: &Path) -> String {
    format!(
        r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{}"
  conf_dir = "/var/lib/bed/cni"
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/var/lib/bed/registries"
# By default below /opt, which is the host's.
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd-programs"
"#,
        plugins.display()
    )
}

fn cni(place: Place) -> String {
    json!({
        "cniVersion": "0.4.0",
        "name": "bed",
        "plugins": [
            {
                "type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true,
                // Pod addresses are routed everywhere in the bed, so receivers see who really asks.
                "ipMasq": false,
                "ipam": {
                    "type": "host-local", "dataDir": "/run/cni",
                    "ranges": [[{"subnet": place.subnet().pods_of(place.number)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
    .to_string()
}

fn kubelet(place: Place) -> String {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true},
            "x509": {"clientCAFile": "/var/lib/bed/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": "/var/lib/bed/kubelet.crt", "tlsPrivateKeyFile": "/var/lib/bed/kubelet.key",
        "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{}", place.group()),
        "failSwapOn": false, "failCgroupV1": false,
        "clusterDomain": "cluster.local", "clusterDNS": [place.subnet().dns_service().to_string()],
        "resolvConf": "/var/lib/bed/resolv.conf",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        // The disk is the developer's: a node must not evict because of what else is on it.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        // By default below /usr, which is the host's.
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "maxPods": 110, "serializeImagePulls": false,
        "nodeStatusUpdateFrequency": "2s", "nodeStatusReportFrequency": "10s", "nodeLeaseDurationSeconds": 8,
        "syncFrequency": "5s",
    })
    .to_string()
}

fn kube_proxy(place: Place) -> String {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "bindAddress": place.subnet().node(place.number).to_string(),
        "clientConnection": {"kubeconfig": "/var/lib/bed/kube-proxy.kubeconfig"},
        "hostnameOverride": place.name(),
        "healthzBindAddress": format!("{}:{}", place.subnet().node(place.number), PROXY_HEALTH.0),
        "mode": "iptables", "iptables": {"minSyncPeriod": "50ms"},
        "clusterCIDR": place.subnet().pods(), "detectLocalMode": "ClusterCIDR",
        // These settings of the kernel are read-only in a network namespace.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    })
    .to_string()
}
