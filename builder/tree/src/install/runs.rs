//! The scripts that dpkg would run, one after the other, and what becomes of the unknown ones.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use builder_inputs::allocate_accounts;
use bundles_release::lock::{Architecture, PackageName};
use registry_wire::Digest;

use super::{InstallOptions, unpack};
use crate::{
    Allowed, EffectError, InstallError, Package, Payloads, Recording, Recordings, ScriptName, ScriptRun,
    Tree, TreePath, UnknownPart,
    effect::{Image, Known, Names, Program, know, scripts_of},
    record,
};

/// What is known of a script that would run.
enum What {
    Known(Known),
    Unknown { digest: Digest, cause: Cause },
}

/// Why it is not known what a script does.
#[derive(Debug, Clone)]
enum Cause {
    /// Parts of it are declared nowhere.
    Parts(Vec<UnknownPart>),
    /// All is declared, but for what this program of the image makes.
    Program(Program),
}

/// A script that would run.
struct Planned<'a> {
    /// Place of its package in the order of configuration.
    place: usize,
    package: &'a Package,
    name: ScriptName,
    what: What,
}

/// A script whose effects nobody declared, and all that it would find.
#[derive(Debug)]
pub struct UnknownRun<'a> {
    /// What would run.
    pub run: &'a ScriptRun,
    /// Its package.
    pub package: &'a Package,
    /// Its text.
    pub text: &'a str,
    /// The files just before: all packages unpacked, and what ran earlier done.
    pub before: &'a Tree,
    /// The version of dpkg in the image; empty if it holds none.
    pub dpkg_version: String,
}

/// Who runs unknown scripts.
pub trait Recorder {
    /// Why that fails.
    type Error;

    /// Runs one and says what it did.
    fn record(&mut self, run: &UnknownRun<'_>) -> Result<Recording, Self::Error>;
}

/// Why a script was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordScriptsError<E: std::error::Error + 'static> {
    /// What comes before it does not make a tree.
    #[error("there is no tree in which the scripts of {package} could run")]
    Install {
        /// The package that was to be recorded.
        package: PackageName,
        /// Why.
        source: Box<InstallError>,
    },
    /// It did not run well.
    #[error(transparent)]
    Recorder(E),
}

/// What was recorded of a package.
#[derive(Debug)]
pub struct Recorded {
    /// Its runs, in their order.
    pub recordings: Vec<Recording>,
    /// Why there may be more of them: a script of another package comes before, and it is not recorded. That one may wait
    /// for these.
    pub missing: Option<Box<InstallError>>,
}

/// Runs the unknown scripts of one package, each in the tree that it would find, and says what they did. Other unknown
/// scripts that come before must have been recorded.
pub fn record_scripts<R: Recorder>(
    packages: &[Package],
    payloads: &Payloads,
    options: &InstallOptions<'_>,
    wanted: &PackageName,
    recorder: &mut R,
) -> Result<Recorded, RecordScriptsError<R::Error>>
where
    R::Error: std::error::Error + 'static,
{
    let failed = |source| RecordScriptsError::Install { package: wanted.clone(), source: Box::new(source) };
    let mut installation = Installation::begin(packages, payloads, options).map_err(failed)?;
    let mut recordings = Vec::new();
    let is_wanted = |run: &ScriptRun| run.package == *wanted;
    while let Some(step) = installation.next().map_err(failed)? {
        match step {
            Step::Known(at) => installation.apply(at).map_err(failed)?,
            Step::Unknown(pending) if is_wanted(&pending.run) => {
                let before = installation.before(&pending).map_err(failed)?;
                let run = UnknownRun {
                    run: &pending.run,
                    package: pending.package,
                    text: pending.text,
                    before: &before,
                    dpkg_version: installation.dpkg_version(),
                };
                let recording = recorder.record(&run).map_err(RecordScriptsError::Recorder)?;
                installation.allow(&recording).map_err(failed)?;
                installation.replay(&pending, &recording).map_err(failed)?;
                recordings.push(recording);
            }
            // What comes after the last of the wanted ones is not needed.
            Step::Unknown(pending) => {
                if !installation.comes_later(is_wanted) {
                    break;
                }
                match installation.replay_recorded(&pending) {
                    Ok(()) => {}
                    Err(error) if recordings.is_empty() => return Err(failed(error)),
                    Err(error) => return Ok(Recorded { recordings, missing: Some(Box::new(error)) }),
                }
            }
        }
    }
    Ok(Recorded { recordings, missing: None })
}

/// What dpkg starts a postinst with for triggers, before their names.
const TRIGGERED: &str = "triggered";
/// How often triggers start one script; more of them would never end.
const TRIGGERED_LIMIT: usize = 8;

/// An image while scripts are gone through.
pub(super) struct Installation<'a> {
    image: Image<'a>,
    planned: Vec<Planned<'a>>,
    /// What the image is for; none if each of its packages is for every architecture.
    architecture: Option<&'a Architecture>,
    /// The next of them.
    next: usize,
    /// What triggers are activated, and by the package at which place.
    activated: BTreeSet<(String, usize)>,
    /// Triggers that an unknown postinst was started for, by the place of its package; as often as it was.
    seen_to: BTreeSet<(usize, String)>,
    triggered: BTreeMap<usize, usize>,
}

/// What comes next.
pub(super) enum Step<'a> {
    /// A script that is known, by its number.
    Known(usize),
    /// One that is not.
    Unknown(Pending<'a>),
}

/// An unknown script that is to run.
pub(super) struct Pending<'a> {
    run: ScriptRun,
    place: usize,
    package: &'a Package,
    text: &'a str,
    cause: Cause,
}

impl Pending<'_> {
    fn unknown(&self) -> InstallError {
        let parts = match &self.cause {
            Cause::Parts(parts) => parts.clone(),
            Cause::Program(Program { path, reason }) => {
                let source = EffectError::Runs { path: path.clone(), reason: reason.clone() };
                return effect(self.package, self.run.name, source);
            }
        };
        InstallError::UnknownScript {
            package: self.run.package.clone(),
            architecture: self.package.architecture.clone(),
            script: self.run.name.as_str(),
            digest: self.run.script,
            parts,
        }
    }
}

impl<'a> Installation<'a> {
    /// Unpacks all packages.
    pub(super) fn begin(
        packages: &'a [Package],
        payloads: &'a Payloads,
        options: &'a InstallOptions<'a>,
    ) -> Result<Self, InstallError> {
        let mut tree = Tree::new(options.epoch);
        super::merge_usr(&mut tree, packages, options.epoch);
        let mut planned = plan(packages);
        let mut image = Image::new(tree, packages, payloads, options);
        // Diversions stand before anything is unpacked, as they would for packages that come after.
        for script in &planned {
            if let What::Known(known) = &script.what {
                image.note_diversions(script.package, known);
            }
        }
        for package in packages {
            unpack::unpack(&mut image, package)?;
        }
        for script in &mut planned {
            script.without_programs(&image);
        }
        without_asked(&mut planned);
        let activated = activated(packages);
        let architecture = packages.iter().map(|package| &package.architecture).find(|one| !one.is_all());
        Ok(Self {
            image,
            planned,
            architecture,
            next: 0,
            activated,
            seen_to: BTreeSet::new(),
            triggered: BTreeMap::new(),
        })
    }

    /// Goes through all scripts; the first that is neither known nor recorded is an error.
    pub(super) fn run(mut self) -> Result<Image<'a>, InstallError> {
        while let Some(step) = self.next()? {
            match step {
                Step::Known(at) => self.apply(at)?,
                Step::Unknown(pending) => self.replay_recorded(&pending)?,
            }
        }
        Ok(self.image)
    }

    fn dpkg_version(&self) -> String {
        self.image.package("dpkg").map(|package| package.version.to_string()).unwrap_or_default()
    }

    /// The next script that would run.
    fn next(&mut self) -> Result<Option<Step<'a>>, InstallError> {
        if let Some(script) = self.planned.get_mut(self.next) {
            let at = self.next;
            self.next += 1;
            // The program may have come meanwhile.
            script.without_programs(&self.image);
            return Ok(Some(match &script.what {
                What::Known(_) => Step::Known(at),
                What::Unknown { .. } => {
                    Step::Unknown(pending(script, script.name.arguments(), self.architecture))
                }
            }));
        }
        Ok(self.next_trigger()?.map(Step::Unknown))
    }

    /// The next unknown postinst that a trigger starts once more, until nothing waits. What known ones do for triggers, they do
    /// anyway.
    fn next_trigger(&mut self) -> Result<Option<Pending<'a>>, InstallError> {
        let of = |script: &Planned<'_>| {
            let names = self.waiting_for(script);
            (!names.is_empty()).then_some((script.place, names))
        };
        let Some((place, names)) = self.planned.iter().find_map(of) else { return Ok(None) };
        let arguments = vec![TRIGGERED.to_owned(), names.join(" ")];
        self.seen_to.extend(names.into_iter().map(|name| (place, name)));
        let count = self.triggered.entry(place).or_default();
        *count += 1;
        let is_over = *count > TRIGGERED_LIMIT;
        let script = self.planned.iter().find(|script| script.place == place && is_unknown_postinst(script));
        let pending = script.map(|script| pending(script, arguments, self.architecture));
        match pending {
            Some(pending) if is_over => Err(InstallError::Triggers { run: Box::new(pending.run) }),
            pending => Ok(pending),
        }
    }

    /// The triggers that a script is to be started for and was not yet.
    fn waiting_for(&self, script: &Planned<'_>) -> Vec<String> {
        if !is_unknown_postinst(script) {
            return Vec::new();
        }
        let place = script.place;
        let is_activated =
            |name: &String| self.activated.iter().any(|(other, by)| other == name && *by > place);
        let is_touched = |name: &String| {
            let Ok(path) = name.parse::<TreePath>() else { return false };
            let later = self.image.packages.iter().skip(place + 1);
            name.starts_with('/')
                && later
                    .flat_map(|package| &package.members)
                    .any(|member| member.path.is_below(&path) || member.path == path)
        };
        let is_new = |name: &String| !self.seen_to.contains(&(place, name.clone()));
        let names = interests(script.package).into_iter();
        names.filter(|name| is_new(name) && (is_activated(name) || is_touched(name))).collect()
    }

    /// Whether a script of which that is true may still come.
    fn comes_later(&self, is_wanted: impl Fn(&ScriptRun) -> bool) -> bool {
        let unknown = |script: &&Planned<'_>| matches!(script.what, What::Unknown { .. });
        let is_wanted = |script: &Planned<'a>| is_wanted(&pending(script, Vec::new(), self.architecture).run);
        let left = &self.planned[self.next.min(self.planned.len())..];
        // Whatever runs may activate anything.
        let may_wait =
            |script: &&Planned<'_>| is_unknown_postinst(script) && !interests(script.package).is_empty();
        left.iter().filter(unknown).any(&is_wanted) || self.planned.iter().filter(may_wait).any(&is_wanted)
    }

    fn apply(&mut self, at: usize) -> Result<(), InstallError> {
        let Planned { package, name, what: What::Known(known), .. } = &self.planned[at] else {
            return Ok(());
        };
        // What a config script asks is asked nowhere.
        if *name == ScriptName::Config {
            return Ok(());
        }
        self.image.apply(package, known).map_err(|source| effect(package, *name, source))
    }

    /// The files as a script would find them. A preinst does not find those that its package brings, but for an essential one,
    /// which is there before dpkg runs; of the other packages dpkg may have unpacked more or less, and here all are. Dpkg's
    /// records, and what is made of all files, such as the loader's cache, are as when the package is configured.
    fn before(&self, pending: &Pending<'_>) -> Result<Tree, InstallError> {
        let mut image = self.image.clone();
        image.configuring = Some(pending.place);
        image.finish()?;
        record::write(&mut image)?;
        if pending.run.name == ScriptName::Preinst && !pending.package.is_essential() {
            unpack::take_back(&mut image, pending.package)?;
        }
        Ok(image.into_tree())
    }

    fn replay_recorded(&mut self, pending: &Pending<'a>) -> Result<(), InstallError> {
        let recordings = self.image.options.recordings;
        if recordings.of(&pending.run.package).is_empty() {
            return Err(pending.unknown());
        }
        if recordings.allowed() == Allowed::DeclaredOnly {
            return Err(InstallError::OnlyRecorded { run: Box::new(pending.run.clone()) });
        }
        let before = self.before(pending)?;
        let recording = recordings.find(&pending.run, &before, self.image.payloads)?;
        self.replay(pending, recording)
    }

    fn replay(&mut self, pending: &Pending<'a>, recording: &Recording) -> Result<(), InstallError> {
        let Pending { package, run, place, .. } = pending;
        for name in &recording.triggers {
            self.activated.insert((name.clone(), usize::MAX));
            // Who was started for it is to be started again, but for who does it himself.
            self.seen_to.retain(|(of, seen)| seen != name || of == place);
        }
        self.image.replay(package, recording).map_err(|source| effect(package, run.name, source))
    }

    /// Gives ids to accounts that the lock does not have yet, so that what follows can be recorded too.
    fn allow(&mut self, recording: &Recording) -> Result<(), InstallError> {
        let allocated = allocate_accounts(&self.image.accounts, &recording.accounts.requests())
            .map_err(|source| InstallError::Allocate { run: Box::new(recording.run.clone()), source })?;
        self.image.names = Names::new(&allocated);
        self.image.accounts = Cow::Owned(allocated);
        Ok(())
    }
}

fn effect(package: &Package, name: ScriptName, source: EffectError) -> InstallError {
    InstallError::Effect { package: package.name.clone(), script: name.as_str(), source }
}

fn pending<'a>(
    script: &Planned<'a>,
    arguments: Vec<String>,
    architecture: Option<&Architecture>,
) -> Pending<'a> {
    let (digest, cause) = match &script.what {
        What::Unknown { digest, cause } => (*digest, cause.clone()),
        What::Known(_) => (Digest::of(b""), Cause::Parts(Vec::new())),
    };
    let (package, name) = (script.package, script.name);
    let architecture = architecture.unwrap_or(&package.architecture).clone();
    let run = ScriptRun { package: package.name.clone(), name, arguments, script: digest, architecture };
    let text = package.control_text(name.as_str()).unwrap_or_default();
    Pending { run, place: script.place, package, text, cause }
}

/// All scripts in the order in which they would run: all preinsts, then all packages are configured.
fn plan(packages: &[Package]) -> Vec<Planned<'_>> {
    let mut planned = Vec::new();
    for (place, package) in packages.iter().enumerate() {
        for (name, text) in scripts_of(package) {
            let what = know(name, text, &package.architecture).map_or_else(
                |parts| What::Unknown { digest: Digest::of(text.as_bytes()), cause: Cause::Parts(parts) },
                What::Known,
            );
            planned.push(Planned { place, package, name, what });
        }
    }
    planned.sort_by_key(|script| (script.name != ScriptName::Preinst, script.place, script.name));
    planned
}

/// An unknown postinst asks by itself: debconf starts the config script of whoever asks it for the first time.
fn without_asked(planned: &mut Vec<Planned<'_>>) {
    let asking: BTreeSet<usize> =
        planned.iter().filter(|script| is_unknown_postinst(script)).map(|script| script.place).collect();
    planned.retain(|script| script.name != ScriptName::Config || !asking.contains(&script.place));
}

impl Planned<'_> {
    /// Takes a script for unknown that would have to run a program of this image.
    fn without_programs(&mut self, image: &Image<'_>) {
        let What::Known(known) = &self.what else { return };
        if self.name == ScriptName::Config {
            return;
        }
        if let Some(program) = image.needed_program(known) {
            let text = self.package.control_text(self.name.as_str()).unwrap_or_default();
            self.what = What::Unknown { digest: Digest::of(text.as_bytes()), cause: Cause::Program(program) };
        }
    }
}

/// Triggers that packages activate when they are configured, by place.
fn activated(packages: &[Package]) -> BTreeSet<(String, usize)> {
    let of = |(place, package): (usize, &Package)| {
        let names = triggers(package, &["activate", "activate-await", "activate-noawait"]);
        names.into_iter().map(move |name| (name, place)).collect::<Vec<_>>()
    };
    packages.iter().enumerate().flat_map(of).collect()
}

fn is_unknown_postinst(script: &Planned<'_>) -> bool {
    script.name == ScriptName::Postinst && matches!(script.what, What::Unknown { .. })
}

/// The triggers that start a package's postinst.
fn interests(package: &Package) -> Vec<String> {
    triggers(package, &["interest", "interest-await", "interest-noawait"])
}

/// The names after these directives in a package's file of triggers.
fn triggers(package: &Package, directives: &[&str]) -> Vec<String> {
    let text = package.control_text("triggers").unwrap_or_default();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let directive = words.next()?;
            words.next().filter(|_| directives.contains(&directive)).map(str::to_owned)
        })
        .collect()
}

/// Scripts that are neither known nor recorded, in the order in which they would run: for each what an installation would
/// say. `architectures` says for which images a package is.
pub fn unknown_scripts(
    packages: &[Package],
    architectures: impl Fn(&Package) -> BTreeSet<Architecture>,
    recordings: &Recordings,
) -> Vec<(ScriptRun, InstallError)> {
    let mut planned = plan(packages);
    without_asked(&mut planned);
    let unknown = planned.into_iter().filter(|script| matches!(script.what, What::Unknown { .. }));
    unknown
        .filter_map(|script| {
            let mut here = architectures(script.package)
                .into_iter()
                .map(|architecture| pending(&script, script.name.arguments(), Some(&architecture)));
            here.find(|pending| !recordings.has(&pending.run))
        })
        .map(|pending| (pending.run.clone(), pending.unknown()))
        .collect()
}
