//! A cluster as a test holds it.

use std::fs::File;
use std::io::BufReader;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::authority::Authority;
use crate::kubeconfig::{self, Credential};
use crate::kubectl::Kubectl;
use crate::network::Subnet;
use crate::protocol::{Reply, Request, receive, send};
use crate::{AuditEvent, Bed, ClusterOptions, Error, Node, Registry, audit, programs, slot};

/// A cluster of one's own. It ends with this value or with the process that holds it, whichever is first;
/// [`Cluster::stop`] also waits until nothing of it is left.
#[must_use = "the cluster ends with this value"]
pub struct Cluster {
    bed: Bed,
    subnet: Subnet,
    kubectl: Kubectl,
    supervisor: Child,
    pipes: Mutex<Pipes>,
}

struct Pipes {
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Pipes {
    fn ask(&mut self, request: &Request) -> Result<Reply, Error> {
        send(&mut self.requests, request)?;
        match receive(&mut self.replies)? {
            Some(Reply::Failed(message)) => Err(Error::Refused { message }),
            Some(reply) => Ok(reply),
            None => Err(Error::SupervisorGone { log: slot::root().join("supervisors.log") }),
        }
    }
}

impl Cluster {
    /// Starts a cluster and waits until all its nodes are ready.
    pub fn start(options: &ClusterOptions) -> Result<Self, Error> {
        let program = programs::supervisor()?;
        let log = slot::root().join("supervisors.log");
        let complaints = std::fs::create_dir_all(slot::root())
            .and_then(|()| File::options().create(true).append(true).open(&log))
            .map_err(|source| Error::FileNotWritten { path: log.clone(), source })?;
        let mut supervisor = Command::new(&program)
            .arg("supervise")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints)
            // Ctrl-C on the terminal must end the test, not the one who clears up after it.
            .process_group(0)
            .spawn()
            .map_err(|source| Error::CommandNotStarted { command: program.display().to_string(), source })?;
        let pipes = supervisor.stdin.take().zip(supervisor.stdout.take());
        let (requests, replies) = pipes.ok_or_else(|| Error::SupervisorGone { log: log.clone() })?;
        let mut pipes = Pipes { requests, replies: BufReader::new(replies) };
        let Reply::Ready(bed) = pipes.ask(&Request::Start(options.clone()))? else {
            return Err(Error::SupervisorGone { log });
        };
        let kubectl = Kubectl::new(&bed)?;
        Ok(Self { subnet: Subnet::new(bed.slot), bed, kubectl, supervisor, pipes: Mutex::new(pipes) })
    }

    /// What is known of the bed: its name, slot, folder and the time until it was ready.
    pub fn bed(&self) -> &Bed {
        &self.bed
    }

    /// How long it took until all nodes were ready.
    pub fn ready_after(&self) -> Duration {
        Duration::from_millis(self.bed.ready_ms)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.bed.kubeconfig
    }

    /// A kubeconfig with a token of a service account, good for an hour.
    pub fn kubeconfig_of_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf, Error> {
        let namespaced = format!("--namespace={namespace}");
        let token = self.kubectl(&["create", "token", name, &namespaced, "--duration=1h"])?;
        let path = self.bed.folder.join(format!("kubeconfigs/{namespace}.{name}"));
        self.write_kubeconfig(path, &Credential::Token(token.trim().to_owned()))
    }

    /// A kubeconfig with a certificate of the user `name`, member of `groups`.
    pub fn kubeconfig_of_user(&self, name: &str, groups: &[&str]) -> Result<PathBuf, Error> {
        let identity = self.authority()?.issue(name, groups, &[], &[])?;
        // Users may have names such as `system:node:node1`, which is a fine file name too, and names with slashes.
        let path = self.bed.folder.join("kubeconfigs").join(name.replace('/', "_"));
        self.write_kubeconfig(path, &Credential::Certificate(identity))
    }

    /// Runs `kubectl` as the administrator; gives what it wrote.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.kubectl.run(arguments)
    }

    /// Runs `kubectl` as somebody else.
    pub fn kubectl_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<String, Error> {
        self.kubectl.with(kubeconfig).run(arguments)
    }

    /// Applies objects, as YAML or JSON, as the administrator.
    pub fn apply(&self, objects: &str) -> Result<String, Error> {
        self.kubectl.run_with_input(&["apply", "--filename=-"], objects)
    }

    /// Everything that the API server was asked so far, in the order of the answers.
    pub fn audit_log(&self) -> Result<Vec<AuditEvent>, Error> {
        audit::read(&self.bed.folder.join("control/log/audit.log"))
    }

    /// The folder of the logs of a machine: `control`, `node1`, `node2` or `node3`.
    pub fn logs(&self, machine: &str) -> PathBuf {
        self.bed.folder.join(machine).join("log")
    }

    /// A node, counted from one.
    pub fn node(&self, number: u8) -> Result<Node<'_>, Error> {
        if (1..=self.bed.nodes).contains(&number) {
            return Ok(Node::new(self, number));
        }
        Err(Error::NoSuchNode { number })
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        (1..=self.bed.nodes).map(|number| Node::new(self, number))
    }

    /// The host's address as pods and nodes see it: where a test lets its own servers listen.
    pub fn host_address(&self) -> Ipv4Addr {
        self.subnet.host()
    }

    /// The address of a node.
    pub(crate) fn node_address(&self, number: u8) -> Ipv4Addr {
        self.subnet.node(number)
    }

    /// Tells all nodes where a registry is, from the next pull on.
    pub fn add_registry(&self, registry: &Registry) -> Result<(), Error> {
        self.ask(&Request::AddRegistry(registry.clone())).map(drop)
    }

    /// Gives all nodes the images of an archive, so that no registry is needed.
    pub fn import_image(&self, archive: &[u8]) -> Result<(), Error> {
        for node in self.nodes() {
            node.import_image(archive)?;
        }
        Ok(())
    }

    /// Ends the API server: asked first, killed after 3 s. Nodes and pods go on.
    pub fn stop_api_server(&self) -> Result<(), Error> {
        self.ask(&Request::StopApiServer).map(drop)
    }

    /// Starts the API server and waits until it is ready.
    pub fn start_api_server(&self) -> Result<(), Error> {
        self.ask(&Request::StartApiServer).map(drop)
    }

    /// Ends the API server, starts it and waits until it is ready.
    pub fn restart_api_server(&self) -> Result<(), Error> {
        self.stop_api_server()?;
        self.start_api_server()
    }

    /// Lets the cluster live on without this process, until `test-cluster down`.
    pub fn detach(self) -> Result<Bed, Error> {
        self.ask(&Request::Detach)?;
        Ok(self.bed)
    }

    /// Ends the cluster and waits until no process, mount, link, control group or file of it is left.
    pub fn stop(mut self) -> Result<(), Error> {
        self.ask(&Request::Stop)?;
        let ended = self.supervisor.wait();
        ended.map(drop).map_err(|source| Error::NotHalted { machine: "supervisor".to_owned(), source })
    }

    pub(crate) fn ask(&self, request: &Request) -> Result<Reply, Error> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner).ask(request)
    }

    fn authority(&self) -> Result<Authority, Error> {
        Authority::open(&self.bed.folder.join("control/lib/bed"))
    }

    fn write_kubeconfig(&self, path: PathBuf, credential: &Credential) -> Result<PathBuf, Error> {
        let server = self.subnet.api_server();
        kubeconfig::write(&path, &server, self.authority()?.certificate(), credential)?;
        Ok(path)
    }
}
