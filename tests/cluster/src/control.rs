//! The control plane: etcd, API server, controllers, scheduler and the cluster's name server on a machine of their own,
//! so that every node can be stopped or cut off while the API goes on.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::json;

use crate::authority::{Authority, token_keys};
use crate::kubeconfig::{self, Credential};
use crate::machine::Machine;
use crate::network::Subnet;
use crate::protocol::Daemon;
use crate::{Error, programs};

pub(crate) const API_SERVER: &str = "kube-apiserver";
/// Port and path.
pub(crate) const NAME_SERVER_HEALTH: (u16, &str) = (8181, "/ready");
const DOMAIN: &str = "cluster.local";

/// Writes the certificates and files of the control plane.
pub(crate) fn configure(machine: &Machine, subnet: Subnet, authority: &Authority) -> Result<(), Error> {
    let (private, public) = token_keys()?;
    machine.configure("ca.crt", authority.certificate())?;
    machine.configure("ca.key", authority.key())?;
    machine.configure("tokens.key", private)?;
    machine.configure("tokens.pub", public)?;

    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let addresses: [IpAddr; 2] = [subnet.control().into(), subnet.api_service().into()];
    let own = authority.issue("kube-apiserver", &["system:masters"], &names, &addresses)?;
    machine.configure("api-server.crt", own.certificate)?;
    machine.configure("api-server.key", own.key)?;
    let front = authority.issue("front-proxy", &[], &[], &[])?;
    machine.configure("front-proxy.crt", front.certificate)?;
    machine.configure("front-proxy.key", front.key)?;

    for (file, user, groups) in [
        ("admin", "admin", &["system:masters"][..]),
        ("kube-controller-manager", "system:kube-controller-manager", &[]),
        ("kube-scheduler", "system:kube-scheduler", &[]),
        ("coredns", "system:coredns", &["system:masters"]),
    ] {
        let credential = Credential::Certificate(authority.issue(user, groups, &[], &[])?);
        let path = machine.configuration().join(format!("{file}.kubeconfig"));
        kubeconfig::write(&path, &subnet.api_server(), authority.certificate(), &credential)?;
    }

    machine.configure(
        "audit-policy.json",
        json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Request", "verbs": ["delete"]}, {"level": "Metadata"}],
        })
        .to_string(),
    )?;
    machine.configure(
        "scheduler.json",
        json!({
            "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
            "leaderElection": {"leaderElect": false},
            "clientConnection": {"kubeconfig": "/var/lib/bed/kube-scheduler.kubeconfig"},
        })
        .to_string(),
    )?;
    machine.configure(
        "Corefile",
        format!(
            "{DOMAIN} in-addr.arpa {{\n  bind {}\n  errors\n  ready {}:{}\n  kubernetes {DOMAIN} in-addr.arpa {{\n    \
             kubeconfig /var/lib/bed/coredns.kubeconfig\n    pods insecure\n    ttl 2\n  }}\n}}\n",
            subnet.control(),
            subnet.control(),
            NAME_SERVER_HEALTH.0
        ),
    )
}

/// etcd. Its data need no power-cut safety, and one member need not wait to elect itself.
pub(crate) fn etcd() -> Daemon {
    daemon(
        "etcd",
        "etcd --data-dir=/var/lib/etcd --listen-client-urls=http://127.0.0.1:2379 \
         --advertise-client-urls=http://127.0.0.1:2379 --listen-peer-urls=http://127.0.0.1:2380 \
         --initial-advertise-peer-urls=http://127.0.0.1:2380 --initial-cluster=default=http://127.0.0.1:2380 \
         --unsafe-no-fsync --heartbeat-interval=10 --election-timeout=100 --log-level=warn",
    )
}

pub(crate) fn api_server(subnet: Subnet) -> Result<Daemon, Error> {
    Ok(daemon(
        API_SERVER,
        &format!(
            "{program} {API_SERVER} --etcd-servers=http://127.0.0.1:2379 --advertise-address={control} \
             --secure-port=6443 --service-cluster-ip-range={services} --allow-privileged=true \
             --client-ca-file=/var/lib/bed/ca.crt \
             --tls-cert-file=/var/lib/bed/api-server.crt --tls-private-key-file=/var/lib/bed/api-server.key \
             --kubelet-client-certificate=/var/lib/bed/api-server.crt \
             --kubelet-client-key=/var/lib/bed/api-server.key \
             --kubelet-certificate-authority=/var/lib/bed/ca.crt --kubelet-preferred-address-types=InternalIP \
             --service-account-issuer=https://kubernetes.default.svc.{DOMAIN} \
             --service-account-key-file=/var/lib/bed/tokens.pub \
             --service-account-signing-key-file=/var/lib/bed/tokens.key \
             --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
             --requestheader-client-ca-file=/var/lib/bed/ca.crt --requestheader-allowed-names=front-proxy \
             --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
             --requestheader-extra-headers-prefix=X-Remote-Extra- \
             --proxy-client-cert-file=/var/lib/bed/front-proxy.crt \
             --proxy-client-key-file=/var/lib/bed/front-proxy.key \
             --audit-policy-file=/var/lib/bed/audit-policy.json --audit-log-path=/var/log/audit.log \
             --audit-log-maxsize=100000 --audit-log-mode=blocking-strict",
            program = programs::program("kubernetes")?.display(),
            control = subnet.control(),
            services = subnet.services(),
        ),
    ))
}

/// What needs the API server to be there: controllers, scheduler, name server. Node loss is noticed after 8 s.
pub(crate) fn followers() -> Result<Vec<Daemon>, Error> {
    let kubernetes = programs::program("kubernetes")?;
    let kubernetes = kubernetes.display();
    Ok(vec![
        daemon(
            "kube-controller-manager",
            &format!(
                "{kubernetes} kube-controller-manager --kubeconfig=/var/lib/bed/kube-controller-manager.kubeconfig \
                 --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials=true \
                 --service-account-private-key-file=/var/lib/bed/tokens.key --root-ca-file=/var/lib/bed/ca.crt \
                 --cluster-signing-cert-file=/var/lib/bed/ca.crt --cluster-signing-key-file=/var/lib/bed/ca.key \
                 --node-monitor-period=1s --node-monitor-grace-period=8s --pvclaimbinder-sync-period=1s \
                 --flex-volume-plugin-dir=/var/lib/volume-plugins --kube-api-qps=1000 --kube-api-burst=1000"
            ),
        ),
        daemon(
            "kube-scheduler",
            &format!(
                "{kubernetes} kube-scheduler --config=/var/lib/bed/scheduler.json --bind-address=127.0.0.1"
            ),
        ),
        daemon(
            "coredns",
            &format!("{} -conf=/var/lib/bed/Corefile", programs::program("coredns")?.display()),
        ),
    ])
}

/// A daemon from its command line. No argument of a bed holds a blank.
pub(crate) fn daemon(name: &str, command: &str) -> Daemon {
    Daemon {
        name: name.to_owned(),
        command: command.split_whitespace().map(str::to_owned).collect(),
        environment: BTreeMap::new(),
    }
}
