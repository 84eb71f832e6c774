//! The network face of a service: its Service and its borders.

use std::collections::BTreeMap;

use bundles_release::names::BACKUP_LABEL;
use k8s_openapi::{
    api::{
        core::v1::{Service as KubernetesService, ServicePort, ServiceSpec},
        networking::v1::{
            NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
            NetworkPolicyPort, NetworkPolicySpec,
        },
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{Part, match_labels, selector};
use crate::{Kind, Peer, Port, PortName, ServiceName};

const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";
const DNS_PORT: i32 = 53;

impl Part<'_> {
    /// None for a deployment without ports. A statefulset always has one: it gives its replicas their names.
    pub(super) fn kubernetes_service(&self) -> Option<KubernetesService> {
        let is_headless = self.service.kind == Kind::Statefulset;
        if self.service.ports.is_empty() && !is_headless {
            return None;
        }
        let port = |(name, port): (&PortName, &Port)| ServicePort {
            name: Some(name.to_string()),
            port: i32::from(port.number()),
            target_port: Some(IntOrString::String(name.to_string())),
            protocol: Some("TCP".to_owned()),
            ..ServicePort::default()
        };
        let ports: Vec<_> = self.service.ports.iter().map(port).collect();
        Some(KubernetesService {
            metadata: self.metadata(self.name.as_str()),
            spec: Some(ServiceSpec {
                type_: Some("ClusterIP".to_owned()),
                cluster_ip: is_headless.then(|| "None".to_owned()),
                selector: Some(self.selector()),
                ports: (!ports.is_empty()).then_some(ports),
                ..ServiceSpec::default()
            }),
            ..KubernetesService::default()
        })
    }

    /// Only what `needs`, `network` and `backup` say gets through, and the resolution of names.
    pub(super) fn network_policy(&self) -> NetworkPolicy {
        NetworkPolicy {
            metadata: self.metadata(self.name.as_str()),
            spec: Some(NetworkPolicySpec {
                pod_selector: Some(match_labels(self.selector())),
                policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
                ingress: self.ingress(),
                egress: Some(self.egress()),
            }),
        }
    }

    fn ingress(&self) -> Option<Vec<NetworkPolicyIngressRule>> {
        if self.service.ports.is_empty() {
            return None;
        }
        let ports = Some(ports(&self.service.ports));
        let exposed = &self.service.network.exposed_to;
        if exposed.contains(&Peer::Anywhere) {
            return Some(vec![NetworkPolicyIngressRule { from: None, ports }]);
        }
        let needing = self.input.services.iter().filter(|(_, other)| other.service.needs.contains(self.name));
        let mut from: Vec<_> = needing.map(|(name, _)| self.pods_of(name)).collect();
        from.extend(exposed.iter().filter_map(peer));
        if self.service.backup.is_some() {
            let labels = BTreeMap::from([(BACKUP_LABEL.to_owned(), self.name.to_string())]);
            from.push(pods(match_labels(labels)));
        }
        // A rule whose list of peers is empty lets everyone in, so no peer means no rule.
        if from.is_empty() { None } else { Some(vec![NetworkPolicyIngressRule { from: Some(from), ports }]) }
    }

    fn egress(&self) -> Vec<NetworkPolicyEgressRule> {
        let reached = &self.service.network.reaches;
        if reached.contains(&Peer::Anywhere) {
            return vec![NetworkPolicyEgressRule::default()];
        }
        let dns = ["UDP", "TCP"].map(|protocol| port_rule(protocol, DNS_PORT));
        let mut rules = vec![NetworkPolicyEgressRule {
            to: Some(vec![namespace("kube-system")]),
            ports: Some(dns.into()),
        }];
        for need in &self.service.needs {
            let Some(other) = self.input.services.get(need).filter(|other| !other.service.ports.is_empty())
            else {
                continue;
            };
            rules.push(NetworkPolicyEgressRule {
                to: Some(vec![self.pods_of(need)]),
                ports: Some(ports(&other.service.ports)),
            });
        }
        if !reached.is_empty() {
            rules.push(NetworkPolicyEgressRule {
                to: Some(reached.iter().filter_map(peer).collect()),
                ports: None,
            });
        }
        rules
    }

    fn pods_of(&self, service: &ServiceName) -> NetworkPolicyPeer {
        pods(match_labels(selector(self.input.product, service)))
    }
}

fn ports(ports: &BTreeMap<PortName, Port>) -> Vec<NetworkPolicyPort> {
    ports.values().map(|port| port_rule("TCP", i32::from(port.number()))).collect()
}

fn port_rule(protocol: &str, port: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(port)),
        ..NetworkPolicyPort::default()
    }
}

fn pods(selector: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(selector), ..NetworkPolicyPeer::default() }
}

fn namespaces(selector: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer { namespace_selector: Some(selector), ..NetworkPolicyPeer::default() }
}

fn namespace(name: &str) -> NetworkPolicyPeer {
    namespaces(match_labels(BTreeMap::from([(NAMESPACE_NAME_LABEL.to_owned(), name.to_owned())])))
}

/// None for "anywhere", which is a rule without peers.
fn peer(peer: &Peer) -> Option<NetworkPolicyPeer> {
    match peer {
        Peer::Namespace => Some(pods(LabelSelector::default())),
        Peer::OtherNamespace(name) => Some(namespace(name.as_str())),
        Peer::Cluster => Some(namespaces(LabelSelector::default())),
        Peer::Anywhere => None,
    }
}
