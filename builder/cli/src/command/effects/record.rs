//! `bundle effects record`: runs the unknown scripts of a package once, in a sandbox, and writes down what they do.

mod all;

use std::{collections::BTreeMap, path::PathBuf};

use builder_build::{Builder, ImageRequest};
use builder_recipe::ImagePlatform;
use builder_record::{Machine, RecordError, ScriptRecorder};
use builder_sandbox::Own;
use builder_tree::{
    HostNames, InstallError, InstallOptions, RecordScriptsError, Recording, Recordings, record_scripts,
};
use bundles_objects::ServiceName;
use bundles_release::lock::{Lock, PackageName};
use clap::Args;
use serde::Serialize;

use crate::{
    command::{Context, sandbox},
    error::{CommandError, Kind, OfKind as _},
    images,
    platform::PlatformFolder,
    progress::Progress,
    recordings,
};

/// What this machine is.
#[cfg(target_arch = "x86_64")]
pub(super) const HERE: ImagePlatform = ImagePlatform::Amd64;
#[cfg(target_arch = "aarch64")]
pub(super) const HERE: ImagePlatform = ImagePlatform::Arm64;

/// Said of a run that may have written what it takes for the machine's name.
const ASKED: &str = "  asked for the name of a host and was told none: look whether it wrote one\n";

#[derive(Debug, Args)]
pub(super) struct Record {
    /// A package of the lock; all whose scripts are not known unless given.
    #[arg(value_name = "PACKAGE")]
    package: Option<PackageName>,
    /// Folder of the platform; the nearest one upward with bundle.toml unless given.
    #[arg(long, value_name = "FOLDER")]
    platform: Option<PathBuf>,
}

/// What was recorded of a package, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    package: PackageName,
    /// Its file, if there was something to record now or before.
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    became: Option<Became>,
    runs: Vec<RunDocument>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Became {
    Written,
    /// It has only what other machines recorded.
    KeptOfOthers,
    Removed,
}

impl Became {
    const fn words(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::KeptOfOthers => "written, with what other machines recorded",
            Self::Removed => "removed",
        }
    }
}

impl Document {
    /// The same for people.
    fn lines(&self) -> String {
        let nothing = self
            .runs
            .is_empty()
            .then(|| format!("every script of {} is declared; there is nothing to record\n", self.package));
        let became = self.file.iter().zip(self.became);
        let file = became.map(|(file, became)| format!("{}: {}\n", file.display(), became.words()));
        let runs = self.runs.iter().flat_map(|run| {
            let accounts = run.accounts.iter().map(|line| format!("  {line}\n"));
            let asked = (run.host_names == HostNames::Unanswered).then(|| ASKED.to_owned());
            std::iter::once(run.line()).chain(accounts).chain(asked)
        });
        nothing.into_iter().chain(file).chain(runs).collect()
    }
}

/// What came of a package.
struct Made {
    document: Document,
    /// Why there may be more to record.
    missing: Option<CommandError>,
}

/// One run, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunDocument {
    script: String,
    arguments: Vec<String>,
    sandbox: String,
    /// Paths that it looked at.
    reads: usize,
    /// Paths that it changed.
    changes: usize,
    /// Accounts and memberships that it made.
    accounts: Vec<String>,
    /// Whether it asked for the name of a host, which nobody told.
    host_names: HostNames,
}

impl RunDocument {
    fn of(recording: &Recording) -> Self {
        Self {
            script: recording.run.name.to_string(),
            arguments: recording.run.arguments.clone(),
            sandbox: recording.sandbox.clone(),
            reads: recording.reads.len(),
            changes: recording.changes.len(),
            accounts: recording.accounts.lines().collect(),
            host_names: recording.host_names,
        }
    }

    fn line(&self) -> String {
        let Self { script, sandbox, reads, changes, .. } = self;
        let quoted = |text: &String| if text.is_empty() { "\"\"".to_owned() } else { text.clone() };
        let arguments = self.arguments.iter().map(quoted).collect::<Vec<_>>().join(" ");
        format!("{script} {arguments}: looked at {reads} paths, changed {changes}; sandbox {sandbox}\n")
    }
}

/// Runs the verb.
pub(super) fn run(arguments: &Record, context: &Context) -> Result<(), CommandError> {
    let folder = PlatformFolder::open(arguments.platform.as_deref())?;
    let Some(package) = &arguments.package else { return all::record(&folder, context) };
    let Made { document, missing } = record(&folder, package, context)?;
    context.report.result(&document, || document.lines()).of_kind(Kind::Machine)?;
    missing.map_or(Ok(()), Err)
}

/// Records the unknown scripts of one package in every image that holds it, and writes its file.
fn record(folder: &PlatformFolder, package: &PackageName, context: &Context) -> Result<Made, CommandError> {
    let mut lock = folder.fresh_lock()?;
    let recipes = recipes_with(folder, &lock, package)?;
    let (others, earlier) = folder.recordings_beside(package)?;
    // Those of other machines stay as they are.
    let here = HERE.architecture();
    let (replaced, kept): (Vec<_>, Vec<_>) =
        earlier.into_iter().partition(|recording| recording.run.architecture == here);
    let store = context.open_store()?;
    let mut recordings: Vec<Recording> = Vec::new();
    // Contents lie in temporary folders until they are written.
    let mut built = Vec::new();
    for recipe in &recipes {
        let requests = images::requests(folder, &lock, recipe, others.clone(), context)?;
        // Programs of other processors do not run here.
        for request in requests.into_iter().filter(is_for_here) {
            let progress = Progress::new(context.report);
            let unpacked = Builder::new(&store, &progress).unpacked(&request);
            progress.finish();
            let unpacked = unpacked.map_err(|error| images::of_build(error, folder))?;
            built.push((request, unpacked));
        }
    }
    if built.is_empty() {
        let error = format!(
            "no image with package {package} is for {}, which this machine is: its scripts would not run",
            HERE.as_str()
        );
        let hint = "record on a machine of the image's platform, or read the script and add it to the table of effects";
        return Err(CommandError::new(Kind::Input, error).hint(hint));
    }
    let mut machines = Vec::new();
    for (request, _) in &built {
        machines.push(Machine {
            sandbox: Own::new(sandbox::helper()?),
            minimum: recordings::minimum(folder.platform.sandbox),
            epoch: request.epoch,
        });
    }
    let mut recorders = Vec::new();
    let mut missing = None;
    let progress = Progress::new(context.report);
    let builder = Builder::new(&store, &progress);
    for ((request, (packages, payloads)), machine) in built.iter().zip(&machines) {
        context.report.note(&format!("recording the scripts of {package} in image {}", request.name));
        let mut recorder = ScriptRecorder::new(machine, payloads);
        let options = InstallOptions {
            accounts: &lock.accounts,
            epoch: request.epoch,
            recordings: &request.recordings,
        };
        let made = record_scripts(packages, payloads, &options, package, &mut recorder);
        let made = made.map_err(|error| {
            let damage = builder.without_damage(&error);
            damage.map_or_else(|| of_record(error, folder), images::of_damage)
        })?;
        missing = missing.or(made.missing);
        for recording in made.recordings {
            add(&mut recordings, recording, folder)?;
        }
        recorders.push(recorder);
    }
    if recordings.is_empty() && missing.is_none() {
        let file = if replaced.is_empty() { None } else { Some(folder.write_recordings(package, &kept)?) };
        let became = if kept.is_empty() { Became::Removed } else { Became::KeptOfOthers };
        let became = file.is_some().then_some(became);
        let document = Document { package: package.clone(), file, became, runs: Vec::new() };
        return Ok(Made { document, missing: None });
    }
    let all: Vec<Recording> = recordings.iter().chain(&kept).cloned().collect();
    let file = folder.write_recordings(package, &all)?;
    allocate(folder, &mut lock, &recordings)?;
    let runs = recordings.iter().map(RunDocument::of).collect();
    let document =
        Document { package: package.clone(), file: Some(file), became: Some(Became::Written), runs };
    Ok(Made { document, missing: missing.map(|error| of_missing(*error, package, folder)) })
}

/// What was recorded is written, and there may be more to record.
fn of_missing(source: InstallError, package: &PackageName, folder: &PlatformFolder) -> CommandError {
    let again = folder.command(&format!("effects record {package}"));
    let hint = match source.hint() {
        Some(hint) => format!("{}; then again {again}", of_platform(&hint, folder)),
        None => again,
    };
    CommandError::new(Kind::Input, Missing { package: package.clone(), source }).hint(hint)
}

/// A package of which not all runs could be recorded.
#[derive(Debug, thiserror::Error)]
#[error("not all that scripts of {package} do is recorded: what comes before the rest of it is not known")]
struct Missing {
    package: PackageName,
    source: InstallError,
}

/// Adds what was recorded in one image to what was in others. It may be the same, and must not be something else where a
/// build could not tell which.
fn add(
    recordings: &mut Vec<Recording>,
    recording: Recording,
    folder: &PlatformFolder,
) -> Result<(), CommandError> {
    let package = &recording.run.package;
    let text = |recording: &Recording| Recordings::store(package, std::slice::from_ref(recording)).text;
    let found = recordings.iter().find(|known| known.run == recording.run && known.reads == recording.reads);
    match found {
        None => recordings.push(recording),
        Some(known) if text(known) == text(&recording) => {}
        Some(_) => {
            let error = format!(
                "the {} did different things in two images, though all that it looked at is the same in both",
                recording.run
            );
            let hint = format!(
                "leave {package} out of one of the recipes, or read its {} and add it to the table of effects; {} \
                 shows what is not known",
                recording.run.name,
                folder.command(&format!("effects show {package}"))
            );
            return Err(CommandError::new(Kind::Input, error).hint(hint));
        }
    }
    Ok(())
}

fn is_for_here(request: &ImageRequest) -> bool {
    request.config.platform.architecture == HERE.platform().architecture
}

/// The recipes whose images hold a package.
fn recipes_with(
    folder: &PlatformFolder,
    lock: &Lock,
    package: &PackageName,
) -> Result<Vec<ServiceName>, CommandError> {
    let mut found = Vec::new();
    for recipe in folder.platform.recipes() {
        let locked = recipe.name.as_str().parse().of_kind(Kind::Input)?;
        if lock.recipe_packages(&locked).any(|one| one.name == *package) {
            found.push(recipe.name.clone());
        }
    }
    if found.is_empty() {
        let error = format!("bundle.lock holds no package {package}");
        return Err(CommandError::new(Kind::Usage, error).hint(folder.command("effects audit")));
    }
    Ok(found)
}

/// Gives ids to the accounts that recorded scripts make.
fn allocate(folder: &PlatformFolder, lock: &mut Lock, recordings: &[Recording]) -> Result<(), CommandError> {
    let needed: Vec<_> = recordings.iter().flat_map(|recording| recording.accounts.requests()).collect();
    let accounts = builder_inputs::allocate_accounts(&lock.accounts, &needed).of_kind(Kind::Input)?;
    if accounts == lock.accounts {
        return Ok(());
    }
    lock.accounts = accounts;
    folder.write_lock(lock).of_kind(Kind::Machine)
}

fn of_record(error: RecordScriptsError<RecordError>, folder: &PlatformFolder) -> CommandError {
    let (kind, hint) = match &error {
        RecordScriptsError::Install { source, .. } => (Kind::Input, source.hint()),
        RecordScriptsError::Recorder(error) => {
            let kind = match error {
                RecordError::Sandbox { .. } | RecordError::Place { .. } | RecordError::Lay { .. } => {
                    Kind::Machine
                }
                _ => Kind::Input,
            };
            (kind, error.hint())
        }
    };
    CommandError::new(kind, error).hint_if(hint.map(|hint| of_platform(&hint, folder)))
}

/// A hint that names a command, about this platform.
pub(crate) fn of_platform(hint: &str, folder: &PlatformFolder) -> String {
    let Some(rest) = hint.strip_prefix("bundle effects record ") else { return hint.to_owned() };
    let (package, rest) = rest.split_at(rest.find([';', ' ']).unwrap_or(rest.len()));
    format!("{}{rest}", folder.command(&format!("effects record {package}")))
}

/// The levels that are counted, by name.
pub(super) fn counts() -> BTreeMap<&'static str, usize> {
    ["none", "snippets", "declared", "recorded", "unknown"].map(|word| (word, 0)).into()
}
