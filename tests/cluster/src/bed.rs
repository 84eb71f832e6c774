//! A bed as its supervisor holds it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::authority::Authority;
use crate::kubectl::Kubectl;
use crate::machine::Machine;
use crate::network::Subnet;
use crate::protocol::Output;
use crate::slot::Slot;
use crate::worker::{self, Place};
use crate::{Bed, ClusterOptions, Error, Registry, cgroups, control, objects, record};

/// How long a bed may take to become ready.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long an API server may take to finish its requests.
const DRAIN: Duration = Duration::from_secs(3);
/// How often to look again. Each look is a `kubectl`, which takes a tenth of a second from what it waits for.
const STEP: Duration = Duration::from_millis(200);

/// The machines of a bed. They end with this value; [`Running::stop`] also removes what they leave.
pub(crate) struct Running {
    bed: Bed,
    slot: Slot,
    plant: Plant,
}

/// The part of a bed that stands while it is not yet ready.
struct Plant {
    options: ClusterOptions,
    subnet: Subnet,
    authority: Authority,
    kubectl: Kubectl,
    control: Machine,
    /// `None` while a node is stopped.
    nodes: Vec<Option<Machine>>,
    registries: Vec<Registry>,
}

impl Running {
    /// Starts everything and waits until all nodes are ready.
    pub(crate) fn start(options: ClusterOptions) -> Result<Self, Error> {
        let began = Instant::now();
        if !(1..=3).contains(&options.nodes) {
            return Err(Error::NodesOutOfRange { nodes: options.nodes });
        }
        let (slot, mut bed) = Slot::claim(&options)?;
        let plant = Plant::start(options, &bed);
        // A bed that did not come up is cleared as a dead one is; if even that fails, the next claim tries again.
        let plant = plant.inspect_err(|_| drop(slot.clear()))?;
        bed.ready_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        record::write(&bed)?;
        Ok(Self { bed, slot, plant })
    }

    pub(crate) fn bed(&self) -> &Bed {
        &self.bed
    }

    /// Ends all machines at once and removes everything that was theirs.
    pub(crate) fn stop(self) -> Result<(), Error> {
        let Plant { control, nodes, .. } = self.plant;
        for machine in nodes.into_iter().flatten() {
            machine.halt()?;
        }
        control.halt()?;
        self.slot.clear()
    }

    /// Cuts a node's power.
    pub(crate) fn stop_node(&mut self, number: u8) -> Result<(), Error> {
        let place = self.plant.place(number, &self.bed)?;
        let machine = self.plant.nodes[usize::from(number - 1)].take();
        machine.ok_or(Error::NodeStopped { number })?.halt()?;
        // The link goes with the namespace, but later: the next start must not meet it.
        self.plant.control.run(&["ip", "link", "delete", &place.name()])?;
        cgroups::remove(&place.group())
    }

    /// Starts a stopped node with the disk that it had.
    pub(crate) fn start_node(&mut self, number: u8) -> Result<(), Error> {
        let place = self.plant.place(number, &self.bed)?;
        if self.plant.nodes[usize::from(number - 1)].is_some() {
            return Err(Error::NodeRuns { number });
        }
        let mut machine = self.plant.boot_node(&self.bed, place)?;
        worker::start_runtime(&mut machine)?;
        for daemon in worker::followers(place)? {
            machine.start(daemon)?;
        }
        self.plant.nodes[usize::from(number - 1)] = Some(machine);
        Ok(())
    }

    /// Takes a node's cable out, or puts it back.
    pub(crate) fn set_link(&mut self, number: u8, state: &str) -> Result<(), Error> {
        let place = self.plant.place(number, &self.bed)?;
        self.plant.control.must_run(&["ip", "link", "set", &place.name(), state])
    }

    pub(crate) fn stop_api_server(&mut self) -> Result<(), Error> {
        self.plant.control.end(control::API_SERVER, DRAIN)
    }

    pub(crate) fn start_api_server(&mut self) -> Result<(), Error> {
        self.plant.control.start(control::api_server(self.plant.subnet)?)?;
        self.plant.wait_for_api()
    }

    pub(crate) fn run(&mut self, number: u8, command: &[String]) -> Result<Output, Error> {
        self.plant.place(number, &self.bed)?;
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        self.plant.nodes[usize::from(number - 1)].as_mut().ok_or(Error::NodeStopped { number })?.run(&words)
    }

    pub(crate) fn add_registry(&mut self, registry: Registry) -> Result<(), Error> {
        for machine in self.plant.nodes.iter().flatten() {
            worker::add_registry(machine, self.plant.subnet, &registry)?;
        }
        self.plant.registries.push(registry);
        Ok(())
    }
}

impl Plant {
    fn start(options: ClusterOptions, bed: &Bed) -> Result<Self, Error> {
        let subnet = Subnet::new(bed.slot);
        let authority = Authority::create()?;
        let mut control = Machine::boot(&bed.folder, "control")?;
        control::configure(&control, subnet, &authority)?;
        run_ip_on_host(&subnet.host_plan(control.pid(), options.nodes))?;
        control.run_ip(&subnet.control_plan(options.nodes))?;
        control.start(control::etcd())?;
        control.start(control::api_server(subnet)?)?;

        let registries = options.registries.clone();
        let kubectl = Kubectl::new(bed)?;
        let mut plant = Self { options, subnet, authority, kubectl, control, nodes: Vec::new(), registries };
        for number in 1..=plant.options.nodes {
            let machine = plant.boot_node(bed, Place { slot: bed.slot, number })?;
            plant.nodes.push(Some(machine));
        }
        plant.start_runtimes_and_wait_for_api()?;
        plant.start_followers(bed.slot)?;
        plant.kubectl.run_with_input(
            &["create", "--validate=false", "--filename=-"],
            &objects::first_objects(subnet, plant.options.nodes, plant.options.volumes_per_node),
        )?;
        plant.wait_for_nodes()?;
        Ok(plant)
    }

    fn place(&self, number: u8, bed: &Bed) -> Result<Place, Error> {
        if (1..=self.options.nodes).contains(&number) {
            return Ok(Place { slot: bed.slot, number });
        }
        Err(Error::NoSuchNode { number })
    }

    /// A node's machine with its network, nothing running in it.
    fn boot_node(&mut self, bed: &Bed, place: Place) -> Result<Machine, Error> {
        let mut machine = Machine::boot(&bed.folder, &place.name())?;
        cgroups::create(&place.group())?;
        worker::configure(&machine, place, &self.authority, self.options.volumes_per_node)?;
        for registry in &self.registries {
            worker::add_registry(&machine, self.subnet, registry)?;
        }
        run_ip_on_host(&Subnet::link_plan(place.number, self.control.pid(), machine.pid()))?;
        self.control.run_ip(&Subnet::plug_plan(place.number))?;
        machine.run_ip(&self.subnet.node_plan(place.number, self.options.nodes))?;
        Ok(machine)
    }

    /// Both take a second or so and need different machines.
    fn start_runtimes_and_wait_for_api(&mut self) -> Result<(), Error> {
        let mut machines = std::mem::take(&mut self.nodes);
        let started = std::thread::scope(|scope| {
            let threads: Vec<_> = machines
                .iter_mut()
                .flatten()
                .map(|machine| scope.spawn(|| worker::start_runtime(machine)))
                .collect();
            let api = self.wait_for_api();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or(Err(Error::ThreadPanicked)))
                .fold(api, Result::and)
        });
        self.nodes = machines;
        started
    }

    fn start_followers(&mut self, slot: u8) -> Result<(), Error> {
        for daemon in control::followers()? {
            self.control.start(daemon)?;
        }
        for (number, machine) in (1..).zip(self.nodes.iter_mut()) {
            if let Some(machine) = machine {
                for daemon in worker::followers(Place { slot, number })? {
                    machine.start(daemon)?;
                }
            }
        }
        Ok(())
    }

    fn wait_for_api(&mut self) -> Result<(), Error> {
        let address = SocketAddr::from((self.subnet.control(), 6443));
        self.wait("the API server", |plant| {
            TcpStream::connect_timeout(&address, STEP).is_ok()
                && plant.kubectl.run(&["get", "--raw=/readyz", "--request-timeout=5s"]).is_ok()
        })
    }

    /// Ready means ready for a test: nodes, Services, names, and the account that every pod in `default` needs.
    fn wait_for_nodes(&mut self) -> Result<(), Error> {
        let numbers = 1..=self.options.nodes;
        let names: Vec<String> = numbers.clone().map(|number| format!("node/node{number}")).collect();
        let mut ready = vec!["wait", "--for=condition=Ready", "--timeout=2s"];
        ready.extend(names.iter().map(String::as_str));
        self.wait("the nodes", |plant| plant.kubectl.run(&ready).is_ok())?;
        let account = ["wait", "--for=create", "--timeout=2s", "serviceaccount/default"];
        self.wait("the default service account", |plant| plant.kubectl.run(&account).is_ok())?;
        let subnet = self.subnet;
        self.wait("the name server", |_| is_healthy(subnet.control(), control::NAME_SERVER_HEALTH))?;
        self.wait("kube-proxy", |_| {
            numbers.clone().all(|number| is_healthy(subnet.node(number), worker::PROXY_HEALTH))
        })
    }

    fn wait(&mut self, what: &'static str, reached: impl Fn(&Self) -> bool) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        while !reached(self) {
            self.control.check_daemons()?;
            for machine in self.nodes.iter_mut().flatten() {
                machine.check_daemons()?;
            }
            if Instant::now() > deadline {
                return Err(Error::NotReady { what, waited: PATIENCE });
            }
            std::thread::sleep(STEP);
        }
        Ok(())
    }
}

/// Does a health page on plain HTTP say that all is well?
fn is_healthy(address: Ipv4Addr, (port, path): (u16, &str)) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, port)), STEP)?;
        stream.set_read_timeout(Some(STEP * 5))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut line = String::new();
        BufReader::new(stream).take(1024).read_line(&mut line)?;
        Ok(line)
    };
    ask().is_ok_and(|line| line.split(' ').nth(1) == Some("200"))
}

fn run_ip_on_host(plan: &str) -> Result<(), Error> {
    let failed = |source| Error::CommandNotStarted { command: "ip -batch -".to_owned(), source };
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(plan.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::HostNotLinked { message: String::from_utf8_lossy(&output.stderr).into_owned() })
}
