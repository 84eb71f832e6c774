//! `bundle effects`: what the maintainer scripts of locked packages do, and how that is known.

pub(crate) mod record;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use builder_inputs::PackageCache;
use builder_recipe::ScriptPolicy;
use builder_tree::{Level, Package, Recordings, ScriptKnowledge, script_knowledge, undeclared_hint};
use bundles_release::lock::{Architecture, LockedPackage, PackageName};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    command::Context,
    error::{CommandError, Kind, OfKind as _},
    inputs,
    platform::PlatformFolder,
};

/// Show what the maintainer scripts of locked packages do. None of them runs when an image is built.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// What is meant by a script that counts as recorded.
const RECORDED: &str = "recorded: text, arguments and architecture are those of now; whether all that a script looked at is as \
                        it was, `bundle build` says\n";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say for each locked package how what its scripts do is known; fail if one of them is not known.
    Audit(Audit),
    /// Show what the scripts of a package do in an image.
    Show(Show),
    /// Run the scripts of a package that are not known once, in a sandbox, and write down what they do.
    Record(record::Record),
}

#[derive(Debug, Args)]
struct Audit {
    /// Folder of the platform; the nearest one upward with bundle.toml unless given.
    #[arg(long, value_name = "FOLDER")]
    platform: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Show {
    /// A package of the lock, of one architecture with `:ARCHITECTURE` behind it.
    #[arg(value_name = "PACKAGE")]
    package: String,
    /// Folder of the platform; the nearest one upward with bundle.toml unless given.
    #[arg(long, value_name = "FOLDER")]
    platform: Option<PathBuf>,
}

/// A package and its scripts, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PackageDocument {
    /// Suite, name and architecture.
    package: String,
    name: PackageName,
    version: String,
    scripts: Vec<ScriptKnowledge>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuditDocument {
    /// Packages by how their scripts are known; `none` for those that have none.
    counts: BTreeMap<&'static str, usize>,
    packages: Vec<PackageDocument>,
}

impl PackageDocument {
    fn of(
        package: &Package,
        locked: &LockedPackage,
        architectures: &BTreeSet<Architecture>,
        recordings: &Recordings,
    ) -> Self {
        Self {
            package: locked.key().to_string(),
            name: locked.name.clone(),
            version: package.version.to_string(),
            scripts: script_knowledge(package, architectures, recordings),
        }
    }

    /// The level of the script that is known least.
    fn level(&self) -> Option<Level> {
        self.scripts.iter().map(|script| script.level).max()
    }

    /// Everything that is known, for people.
    fn lines(&self) -> String {
        let mut lines = format!("{} {}\n", self.package, self.version);
        if self.scripts.is_empty() {
            lines.push_str("  no scripts\n");
        }
        for script in &self.scripts {
            let level = word(Some(script.level));
            lines.extend([format!("  {} {}: {level}\n", script.script, script.digest)]);
            lines.extend(script.effects.iter().map(|effect| format!("    {effect}\n")));
            lines.extend(script.nothing.iter().map(|reason| format!("    nothing: {reason}\n")));
            if !script.missing.is_empty() {
                let missing: Vec<&str> = script.missing.iter().map(Architecture::as_str).collect();
                lines.extend([format!("    not recorded on {}\n", missing.join(" and "))]);
            }
            for part in &script.unknown {
                lines.extend([format!("    not known, of {}, shape {}:\n", part.tool, part.shape)]);
                lines.extend(
                    part.lines.iter().map(|line| format!("      {}\n", line.replace('\n', "\n      "))),
                );
            }
        }
        lines
    }
}

const fn word(level: Option<Level>) -> &'static str {
    match level {
        None => "none",
        Some(Level::Snippets) => "snippets",
        Some(Level::Declared) => "declared",
        Some(Level::Recorded) => "recorded",
        Some(Level::Unknown) => "unknown",
    }
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    match &arguments.verb {
        Verb::Audit(arguments) => audit(arguments, context),
        Verb::Show(arguments) => show(arguments, context),
        Verb::Record(arguments) => record::run(arguments, context),
    }
}

/// Reads the scripts of the locked packages that `wanted` names.
fn read(
    folder: &PlatformFolder,
    context: &Context,
    wanted: impl Fn(&LockedPackage) -> bool,
) -> Result<Vec<PackageDocument>, CommandError> {
    let lock = folder.fresh_lock()?;
    let recordings = folder.recordings()?;
    let cache = PackageCache::new(context.home.downloads());
    let locked: Vec<&LockedPackage> = lock.packages.iter().filter(|package| wanted(package)).collect();
    let files: Vec<_> = locked.iter().map(|package| inputs::package_input(package, &cache)).collect();
    let packages = inputs::read_controls(&files).map_err(|error| {
        let error = CommandError::new(Kind::Input, error);
        error.hint(folder.command("fetch"))
    })?;
    let architectures = folder.architectures(&lock);
    let none = BTreeSet::new();
    let document = |(package, locked): (&Package, &LockedPackage)| {
        let architectures = architectures.get(&locked.sha256).unwrap_or(&none);
        PackageDocument::of(package, locked, architectures, &recordings)
    };
    Ok(packages.iter().zip(locked).map(document).collect())
}

fn audit(arguments: &Audit, context: &Context) -> Result<(), CommandError> {
    let folder = PlatformFolder::open(arguments.platform.as_deref())?;
    let packages = read(&folder, context, |_| true)?;
    let mut counts = record::counts();
    for package in &packages {
        *counts.entry(word(package.level())).or_default() += 1;
    }
    let document = AuditDocument { counts, packages };
    let lines = || {
        let mut lines = String::new();
        for package in document.packages.iter().filter(|package| package.level().is_some()) {
            let scripts: Vec<&str> = package.scripts.iter().map(|script| script.script.as_str()).collect();
            let (level, scripts) = (word(package.level()), scripts.join(" "));
            lines.extend([format!("{level:<9} {} {}: {scripts}\n", package.package, package.version)]);
        }
        let counts: Vec<String> =
            document.counts.iter().map(|(level, count)| format!("{count} {level}")).collect();
        lines.extend([format!("{} packages: {}\n", document.packages.len(), counts.join(", "))]);
        if document.counts["recorded"] > 0 {
            lines.push_str(RECORDED);
        }
        lines
    };
    context.report.result(&document, lines).of_kind(Kind::Machine)?;
    let at = |level| document.packages.iter().find(|package| package.level() == Some(level));
    let refused = at(Level::Recorded).filter(|_| folder.platform.scripts == ScriptPolicy::DeclaredOnly);
    match (at(Level::Unknown), refused) {
        (None, None) => Ok(()),
        (None, Some(first)) => {
            let error = format!(
                "{} packages have scripts that are only recorded, and `scripts = \"declared-only\"` refuses that",
                document.counts["recorded"]
            );
            Err(CommandError::new(Kind::Input, error).hint(undeclared_hint(&first.name)))
        }
        (Some(first), _) => {
            let error = format!("{} packages have scripts that are not known", document.counts["unknown"]);
            let missing: BTreeSet<_> = first.scripts.iter().flat_map(|script| &script.missing).collect();
            let here = record::HERE.architecture();
            let command = folder.command(&format!("effects record {}", first.name));
            let other = match folder.platform.scripts {
                ScriptPolicy::Recorded if missing.is_empty() || missing.contains(&here) => command,
                // What other machines have to record is recorded there.
                ScriptPolicy::Recorded => {
                    let missing: Vec<_> = missing.into_iter().map(Architecture::as_str).collect();
                    format!("{command}, on a machine that is {}", missing.join(" or "))
                }
                ScriptPolicy::DeclaredOnly => undeclared_hint(&first.name),
            };
            Err(CommandError::new(Kind::Input, error).hint(format!(
                "{}, which names what is not known; or {other}",
                folder.command(&format!("effects show {}", first.name)),
            )))
        }
    }
}

fn show(arguments: &Show, context: &Context) -> Result<(), CommandError> {
    let folder = PlatformFolder::open(arguments.platform.as_deref())?;
    let is_meant = |package: &LockedPackage| {
        let with_architecture = format!("{}:{}", package.name, package.architecture);
        [package.name.as_str(), &with_architecture].contains(&arguments.package.as_str())
    };
    let packages = read(&folder, context, is_meant)?;
    if packages.is_empty() {
        let error = format!("bundle.lock holds no package {}", arguments.package);
        return Err(CommandError::new(Kind::Usage, error).hint(folder.command("effects audit")));
    }
    context
        .report
        .result(&packages, || packages.iter().map(PackageDocument::lines).collect())
        .of_kind(Kind::Machine)
}
