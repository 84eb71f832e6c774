//! The verbs.

mod build;
mod daemon;
mod doctor;
mod down;
pub(crate) mod effects;
mod fetch;
mod gc;
mod guest;
mod hold;
mod key;
mod lock;
mod pin;
mod promote;
mod registry;
mod release;
pub(crate) mod sandbox;
mod schema;
mod show;
mod sign;
mod status;
mod subscribe;
mod trust;
mod up;
mod verify;

use builder_build::Store;
use clap::Subcommand;
use tokio::runtime::Runtime;

use crate::{
    error::{CommandError, Kind, OfKind as _},
    home::Home,
    report::Report,
};

/// What every verb is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where things are kept.
    pub(crate) home: Home,
    /// How results are written.
    pub(crate) report: Report,
}

/// A verb and its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(up::Arguments),
    Down(down::Arguments),
    Lock(lock::Arguments),
    Fetch(fetch::Arguments),
    Build(build::Arguments),
    Effects(effects::Arguments),
    Gc(gc::Arguments),
    Release(release::Arguments),
    Sign(sign::Arguments),
    Verify(verify::Arguments),
    Promote(promote::Arguments),
    Trust(trust::Arguments),
    Key(key::Arguments),
    Registry(registry::Arguments),
    Schema(schema::Arguments),
    Show(show::Arguments),
    Subscribe(subscribe::Arguments),
    Status(status::Arguments),
    History(status::HistoryArguments),
    Pin(pin::Arguments),
    Unpin(pin::UnpinArguments),
    Hold(hold::Arguments),
    Unhold(hold::UnholdArguments),
    Clear(pin::ClearArguments),
    Doctor(doctor::Arguments),
    Daemon(daemon::Arguments),
}

/// What the executable does inside images, where there is no environment and no home.
#[derive(Debug, Subcommand)]
pub(crate) enum InsideCommand {
    Guest(guest::Arguments),
}

impl InsideCommand {
    /// Does it.
    pub(crate) fn run(&self) -> Result<(), CommandError> {
        match self {
            Self::Guest(arguments) => guest::run(arguments),
        }
    }
}

impl Context {
    /// Opens the store, once for a whole command. Waits while another build holds it.
    pub(crate) fn open_store(&self) -> Result<Store, CommandError> {
        let folder = self.home.store();
        let waits = || self.report.note(&format!("waiting for another build that uses {}", folder.display()));
        Store::open_saying(&folder, waits).of_kind(Kind::Machine)
    }
}

impl Command {
    /// Runs the verb.
    pub(crate) fn run(self, context: &Context) -> Result<(), CommandError> {
        match self {
            Self::Up(arguments) => up::run(&arguments, context),
            Self::Down(arguments) => down::run(&arguments, context),
            Self::Lock(arguments) => lock::run(&arguments, context),
            Self::Fetch(arguments) => fetch::run(&arguments, context),
            Self::Build(arguments) => build::run(&arguments, context),
            Self::Effects(arguments) => effects::run(&arguments, context),
            Self::Gc(arguments) => gc::run(&arguments, context),
            Self::Release(arguments) => release::run(&arguments, context),
            Self::Sign(arguments) => sign::run(&arguments, context),
            Self::Verify(arguments) => verify::run(&arguments, context),
            Self::Promote(arguments) => promote::run(&arguments, context),
            Self::Trust(arguments) => trust::run(&arguments, context),
            Self::Key(arguments) => key::run(&arguments, context),
            Self::Registry(arguments) => registry::run(arguments, context),
            Self::Schema(arguments) => schema::run(&arguments),
            Self::Show(arguments) => show::run(&arguments, context),
            Self::Subscribe(arguments) => subscribe::run(&arguments, context),
            Self::Status(arguments) => status::run(&arguments, context),
            Self::History(arguments) => status::run_history(&arguments, context),
            Self::Pin(arguments) => pin::run(&arguments, context),
            Self::Unpin(arguments) => pin::run_unpin(&arguments, context),
            Self::Hold(arguments) => hold::run(&arguments, context),
            Self::Unhold(arguments) => hold::run_unhold(&arguments, context),
            Self::Clear(arguments) => pin::run_clear(&arguments, context),
            Self::Doctor(arguments) => doctor::run(&arguments, context),
            Self::Daemon(arguments) => daemon::run(&arguments),
        }
    }
}

/// The runtime of verbs that use the network.
pub(crate) fn runtime() -> Result<Runtime, CommandError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().of_kind(Kind::Machine)
}
