//! A node as a test holds it.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::{Output, Reply, Request};
use crate::{Cluster, Error, kubeconfig};

/// One node of a cluster.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    cluster: &'a Cluster,
    number: u8,
}

impl<'a> Node<'a> {
    pub(crate) fn new(cluster: &'a Cluster, number: u8) -> Self {
        Self { cluster, number }
    }

    /// Its name in the cluster: `node1` and so on.
    pub fn name(&self) -> String {
        format!("node{}", self.number)
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.cluster.node_address(self.number)
    }

    /// The host's folder of a `local` volume of this node, counted from one; its object is called `node1-1` and so on.
    pub fn volume(&self, number: u8) -> PathBuf {
        self.cluster.bed().folder.join(format!("{}/lib/bed/volumes/{number}", self.name()))
    }

    /// Cuts its power: every process of it ends at once.
    pub fn stop(&self) -> Result<(), Error> {
        self.cluster.ask(&Request::StopNode(self.number)).map(drop)
    }

    /// Starts it after a [`Node::stop`], with the disk that it had. Does not wait until it is ready.
    pub fn start(&self) -> Result<(), Error> {
        self.cluster.ask(&Request::StartNode(self.number)).map(drop)
    }

    /// Takes its network cable out. Its pods go on, alone.
    pub fn cut_link(&self) -> Result<(), Error> {
        self.cluster.ask(&Request::CutLink(self.number)).map(drop)
    }

    /// Puts its network cable back.
    pub fn heal_link(&self) -> Result<(), Error> {
        self.cluster.ask(&Request::HealLink(self.number)).map(drop)
    }

    /// Waits until the cluster says that it is ready, or fails when `patience` is over.
    pub fn wait_ready(&self, patience: Duration) -> Result<(), Error> {
        self.wait("condition=Ready", patience)
    }

    /// Waits until the cluster has noticed that it hears nothing of the node, or fails when `patience` is over.
    pub fn wait_lost(&self, patience: Duration) -> Result<(), Error> {
        self.wait("condition=Ready=Unknown", patience)
    }

    /// Runs a command on the node (its processes, its network, its mounts, the host's programs), to its end.
    pub fn run(&self, command: &[&str]) -> Result<Output, Error> {
        let command = command.iter().map(ToString::to_string).collect();
        match self.cluster.ask(&Request::Run { node: self.number, command })? {
            Reply::Ran(output) => Ok(output),
            other => Err(Error::Refused { message: format!("{other:?}") }),
        }
    }

    /// Gives the node the images of an OCI or Docker archive.
    pub fn import_image(&self, archive: &[u8]) -> Result<(), Error> {
        let path = self.cluster.bed().folder.join(format!("{}/lib/bed/import.tar", self.name()));
        kubeconfig::write_file(&path, archive)?;
        let output =
            self.run(&["ctr", "--namespace=k8s.io", "images", "import", "/var/lib/bed/import.tar"])?;
        if output.code == 0 {
            return Ok(());
        }
        Err(Error::ImageNotImported { node: self.name(), message: output.stderr })
    }

    fn wait(&self, condition: &str, patience: Duration) -> Result<(), Error> {
        let condition = format!("--for={condition}");
        let timeout = format!("--timeout={}ms", patience.as_millis());
        self.cluster.kubectl(&["wait", "node", &self.name(), &condition, &timeout]).map(drop)
    }
}
