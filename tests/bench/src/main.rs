//! `bench NAME`: figures of ours beside a peer's. Both run in turn in the same minutes on the same machine, so that
//! what the machine does besides meets both; what counts is the ratio.
//!
//! Ends with 0 when everything ran. Goals are reported, never asserted: a time on a busy machine proves nothing.

#[allow(dead_code, reason = "the tests of the solver use more of it")]
#[path = "../../../builder/inputs/tests/inputs/peer.rs"]
mod apt;
mod daemon;
mod debian;
mod essential;
mod figures;
mod large;
mod measure;
mod memory;
mod no_op;
mod sandbox;
mod sets;
mod solve;
mod workshop;

use std::{
    fs,
    io::{self, Write as _},
};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

use crate::{figures::Report, workshop::Workshop};

/// Measure ours beside a peer, in turn.
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 110)]
struct Arguments {
    /// What to measure.
    name: Bench,
    /// How often each side runs.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Write one JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// The essential base of Debian 12 from cached packages, beside mmdebstrap.
    Essential,
    /// Larger images, one that shares packages with another, and one with a package upgraded, beside mmdebstrap.
    Sets,
    /// Most memory and time of an image of 5.6 GB, beside mmdebstrap.
    Large,
    /// A build with nothing to do, beside make and cargo.
    NoOp,
    /// Most memory of a whole build, beside mmdebstrap.
    Memory,
    /// What a request of some hundred packages installs, beside apt's simulation.
    Solve,
    /// The daemon with a kept release on a real cluster, beside kubectl and the cluster's own controllers.
    Daemon,
    /// Starting a command in a sandbox, beside bubblewrap and a bare process.
    Sandbox,
}

impl Bench {
    const fn run(self) -> fn(&Workshop, u32) -> Result<Report> {
        match self {
            Self::Essential => essential::run_bench,
            Self::Sets => sets::run_bench,
            Self::Large => large::run_bench,
            Self::NoOp => no_op::run_bench,
            Self::Memory => memory::run_bench,
            Self::Solve => solve::run_bench,
            Self::Daemon => daemon::run_bench,
            Self::Sandbox => sandbox::run_bench,
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let workshop = Workshop::open()?;
    let before = load()?;
    let report = arguments.name.run()(&workshop, arguments.rounds)?;
    let load = [before, load()?];
    let name = arguments.name.to_possible_value().context("every bench has a name")?;
    let text = if arguments.json {
        format!("{:#}\n", report.json(name.get_name(), load))
    } else {
        report.text(name.get_name(), load)
    };
    io::stdout().lock().write_all(text.as_bytes()).context("the result is written")
}

/// Processes that ran or wanted to, over the last minute.
fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    text.split_whitespace().next().context("the machine's load")?.parse().context("the load is a number")
}
