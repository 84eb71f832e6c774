//! `bundle`: from recipes to a cluster that keeps itself right. One executable, one file per verb.
//!
//! Here is only what every verb needs: arguments, where things are kept, how results and errors are written. Output to
//! the terminal and the exit code are made in this crate and nowhere else.

mod cluster;
mod command;
mod composition;
mod detached;
mod development;
mod error;
mod following;
mod home;
mod images;
mod inputs;
mod installation;
mod keys;
mod platform;
mod progress;
mod promotion;
mod publishing;
mod recordings;
mod remote;
mod report;
mod root_file;
mod unsolved;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    command::{Command, Context, InsideCommand},
    error::{CommandError, Kind, OfKind as _},
    home::Home,
    report::{Format, Report},
};

/// Recipes to signed releases to clusters, by digest.
#[derive(Debug, Parser)]
#[command(name = "bundle", version, max_term_width = 110, after_help = error::exit_codes())]
struct Arguments {
    /// Write one JSON document instead of lines.
    #[arg(long, global = true)]
    json: bool,
    /// Folder of downloads, store, registry and development keys [default: `BUNDLE_HOME`, else `bundle`
    /// in `XDG_DATA_HOME`, else ~/.local/share/bundle].
    // Not as clap's `env`: what comes from there would stand in the usage of every error.
    #[arg(long, global = true, value_name = "FOLDER")]
    home: Option<PathBuf>,
    #[command(subcommand)]
    command: AnyCommand,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of it, for as long as the program runs")]
enum AnyCommand {
    #[command(flatten)]
    Verb(Command),
    #[command(flatten)]
    Inside(InsideCommand),
}

fn main() -> ExitCode {
    if command::sandbox::is_asked(std::env::args_os()) {
        command::sandbox::run();
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody reads a closed standard error; the exit code still tells.
            writeln!(io::stderr().lock(), "{error}").unwrap_or_default();
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: Arguments) -> Result<(), CommandError> {
    let command = match arguments.command {
        AnyCommand::Verb(command) => command,
        AnyCommand::Inside(command) => return command.run(),
    };
    let root =
        arguments.home.or_else(|| home::default_root(|name| std::env::var_os(name))).ok_or_else(|| {
            CommandError::new(Kind::Usage, "there is no home folder in the environment")
                .hint("bundle --home FOLDER …")
        })?;
    // Processes that go on in other folders are told of it too.
    let root = std::path::absolute(root).of_kind(Kind::Machine)?;
    let format = if arguments.json { Format::Json } else { Format::Text };
    let context = Context { home: Home::new(root), report: Report::new(format) };
    command.run(&context)
}
