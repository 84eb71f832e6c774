//! Addresses of a bed, and the links between its machines.
//!
//! The control machine holds the bridge that joins all; the host has one link to it. So node traffic never passes the
//! host's packet filter, and when the control machine's network namespace goes, every link goes with it.

use std::net::Ipv4Addr;

/// The addresses of the bed in one slot. Beds share no address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subnet {
    slot: u8,
}

/// How many beds fit: pod ranges take 10.128 to 10.159 and service ranges 10.160 to 10.191.
pub(crate) const SLOTS: u8 = 32;

impl Subnet {
    pub(crate) fn new(slot: u8) -> Self {
        assert!(slot < SLOTS, "a slot is below {SLOTS}");
        Self { slot }
    }

    pub(crate) fn host(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.slot, 254)
    }

    pub(crate) fn control(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.slot, 253)
    }

    /// Nodes are counted from one.
    pub(crate) fn node(self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.slot, number)
    }

    pub(crate) fn pods(self) -> String {
        format!("10.{}.0.0/16", 128 + self.slot)
    }

    pub(crate) fn pods_of(self, number: u8) -> String {
        format!("10.{}.{number}.0/24", 128 + self.slot)
    }

    pub(crate) fn services(self) -> String {
        format!("10.{}.0.0/16", 160 + self.slot)
    }

    pub(crate) fn api_service(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 160 + self.slot, 0, 1)
    }

    pub(crate) fn dns_service(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 160 + self.slot, 0, 10)
    }

    pub(crate) fn api_server(self) -> String {
        format!("https://{}:6443", self.control())
    }

    /// The host's end of its link to the control machine.
    pub(crate) fn host_link(self) -> String {
        format!("bundle-test-{}", self.slot)
    }

    /// For `ip -batch` on the host: its link to the control machine, and routes to pods and services.
    pub(crate) fn host_plan(self, control_pid: u32, nodes: u8) -> String {
        let link = self.host_link();
        let mut plan = format!(
            "link add {link} type veth peer name host netns {control_pid}\n\
             address add {}/24 dev {link}\n\
             link set {link} up\n",
            self.host()
        );
        plan += &self.routes(nodes);
        plan
    }

    /// For `ip -batch` in the control machine, once the host's link is there.
    pub(crate) fn control_plan(self, nodes: u8) -> String {
        let mut plan = format!(
            "link set lo up\n\
             link add bridge type bridge\n\
             link set host master bridge\n\
             link set host up\n\
             address add {}/24 dev bridge\n\
             link set bridge up\n",
            self.control()
        );
        plan += &self.routes(nodes);
        plan
    }

    /// For `ip -batch` on the host: the link between the bridge and a node.
    pub(crate) fn link_plan(number: u8, control_pid: u32, node_pid: u32) -> String {
        format!("link add node{number} netns {control_pid} type veth peer name eth0 netns {node_pid}\n")
    }

    /// For `ip -batch` in the control machine: plugs a node in.
    pub(crate) fn plug_plan(number: u8) -> String {
        format!("link set node{number} master bridge\nlink set node{number} up\n")
    }

    /// For `ip -batch` in a node. There is no default route: a test that leaves the bed by accident fails at once.
    pub(crate) fn node_plan(self, number: u8, nodes: u8) -> String {
        let mut plan = format!(
            "link set lo up\n\
             address add {}/24 dev eth0\n\
             link set eth0 up\n\
             route add {} dev eth0\n",
            self.node(number),
            self.services()
        );
        let others = (1..=nodes).filter(|other| *other != number);
        plan.extend(others.map(|other| self.route(other)));
        plan
    }

    /// Node 1 answers for the services: its kube-proxy masks the asker, so the answer comes back the same way.
    fn routes(self, nodes: u8) -> String {
        let services = format!("route add {} via {}\n", self.services(), self.node(1));
        std::iter::once(services).chain((1..=nodes).map(|number| self.route(number))).collect()
    }

    fn route(self, number: u8) -> String {
        format!("route add {} via {}\n", self.pods_of(number), self.node(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beds_share_no_address() {
        let ranges = |slot| {
            let subnet = Subnet::new(slot);
            [subnet.host().to_string(), subnet.pods(), subnet.services(), subnet.host_link()]
        };
        for slot in 1..SLOTS {
            for other in 0..slot {
                assert!(ranges(slot).iter().all(|range| !ranges(other).contains(range)));
            }
        }
    }

    #[test]
    fn a_link_name_fits_the_kernel() {
        assert!(Subnet::new(SLOTS - 1).host_link().len() < 16);
    }
}
