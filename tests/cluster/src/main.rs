//! `test-cluster`: real clusters from the command line, and the two processes that hold them.

#![allow(clippy::print_stdout, reason = "a command speaks on standard output")]
#![allow(clippy::print_stderr, reason = "and complains on standard error")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use test_cluster::{Cluster, ClusterOptions, Error, Registry};

/// A real Kubernetes of one to three nodes for tests
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start a cluster and hold it until Ctrl-C
    Up {
        /// How many nodes, one to three
        #[arg(long, default_value_t = 1)]
        nodes: u8,
        /// A registry that the nodes reach over plain HTTP; `HOST` in the address stands for the host's address
        #[arg(long = "registry", value_name = "NAME=http://ADDRESS", value_parser = registry)]
        registries: Vec<Registry>,
        /// What to call it
        #[arg(long, default_value = "default")]
        name: String,
        /// Leave it running in the background, until `down`
        #[arg(long)]
        detach: bool,
    },
    /// End a cluster, and clear what killed ones left
    Down {
        /// What it is called
        #[arg(long, default_value = "default")]
        name: String,
    },
    /// Print the path of the administrator's kubeconfig
    Kubeconfig {
        /// What it is called
        #[arg(long, default_value = "default")]
        name: String,
    },
    /// Print the name, host address and folder of every cluster
    List,
    #[command(hide = true)]
    Supervise,
    #[command(hide = true)]
    Machine { library: PathBuf, log: PathBuf },
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("test-cluster: {}", error.full());
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<(), Error> {
    match verb {
        Verb::Up { nodes, registries, name, detach } => {
            up(&ClusterOptions { nodes, registries, name: Some(name), ..ClusterOptions::default() }, detach)
        }
        Verb::Down { name } => {
            let found = test_cluster::find_bed(&name);
            test_cluster::clear_dead_beds()?;
            test_cluster::kill_bed(&found?)
        }
        Verb::Kubeconfig { name } => {
            println!("{}", test_cluster::find_bed(&name)?.kubeconfig.display());
            Ok(())
        }
        Verb::List => {
            for bed in test_cluster::beds()? {
                println!("{} 10.77.{}.254 {}", bed.name, bed.slot, bed.folder.display());
            }
            Ok(())
        }
        Verb::Supervise => test_cluster::supervise(),
        Verb::Machine { library, log } => test_cluster::hold_machine(library, log),
    }
}

fn up(options: &ClusterOptions, detach: bool) -> Result<(), Error> {
    let cluster = Cluster::start(options)?;
    // In one piece: a reader may close the pipe after the first line.
    println!(
        "ready after {:.1} s; host address {}\nexport KUBECONFIG={}",
        cluster.ready_after().as_secs_f64(),
        cluster.host_address(),
        cluster.kubeconfig().display()
    );
    if detach {
        return cluster.detach().map(drop);
    }
    // Ctrl-C ends this process, and its end is what the supervisor waits for; the end of the input counts the same.
    while std::io::stdin().lines().next().is_some() {}
    cluster.stop()
}

fn registry(text: &str) -> Result<Registry, String> {
    let (name, address) = text.split_once('=').ok_or("write NAME=http://ADDRESS")?;
    Ok(Registry { name: name.to_owned(), address: address.to_owned() })
}
