//! From the text of a script to what is known of it.

use std::collections::BTreeSet;

use bundles_release::lock::Architecture;
use registry_wire::Digest;
use serde::Serialize;

use super::{
    architecture::OtherNames,
    shape::{commands, shape, split},
    table::{self, Parameters},
    verb::Verb,
};
use crate::{Package, Recordings, ScriptName, ScriptRun};

/// The scripts of a package that dpkg runs on a first installation, and the one that debconf runs.
const SCRIPTS: [ScriptName; 3] = [ScriptName::Preinst, ScriptName::Postinst, ScriptName::Config];

/// Lines that do nothing by themselves.
const FRAME: [&str; 8] = [
    "#!/bin/sh",
    "#! /bin/sh",
    "#!/bin/sh -e",
    "#! /bin/sh -e",
    "#!/bin/bash",
    "set -e",
    "set -eu",
    "set -u",
];
/// The last line of some scripts.
const EXIT: &str = "exit 0";

/// How it is known what a script does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It consists of generated parts that are known, and of nothing else.
    Snippets,
    /// Somebody read it: its text, or its shape, is in the table.
    Declared,
    /// It ran once, in a sandbox, and what it did was written down.
    Recorded,
    /// It is not known.
    Unknown,
}

/// What is known of one script.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Which.
    pub(crate) name: ScriptName,
    pub(crate) verbs: Vec<Verb>,
    nothing: Vec<&'static str>,
    level: Level,
    /// Names of the package's architecture, if the table has others.
    names: Option<OtherNames>,
    /// Whether the table's names stand in the text that is looked up.
    is_renamed: bool,
}

/// A part of a script that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnknownPart {
    /// The program that generated it; `own` for what people wrote.
    pub tool: String,
    /// SHA-256 of its shape, by which the table would know it.
    pub shape: String,
    /// The commands that are not known, parameters and all.
    pub lines: Vec<String>,
}

/// What is known of one script, for people and programs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScriptKnowledge {
    /// Which.
    pub script: ScriptName,
    /// SHA-256 of its text.
    pub digest: Digest,
    /// How it is known.
    pub level: Level,
    /// What it does in an image: verbs with their parameters, a line for each.
    pub effects: Vec<String>,
    /// Why parts of it do nothing.
    pub nothing: Vec<&'static str>,
    /// What is not known of it.
    pub unknown: Vec<UnknownPart>,
    /// Where it is not known: for images of these architectures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Architecture>,
}

/// What is known of the scripts of a package in images of some architectures, in the order in which they run.
pub fn script_knowledge(
    package: &Package,
    architectures: &BTreeSet<Architecture>,
    recordings: &Recordings,
) -> Vec<ScriptKnowledge> {
    let mut scripts: Vec<ScriptKnowledge> = scripts_of(package)
        .map(|(script, text)| {
            let digest = Digest::of(text.as_bytes());
            let is_recorded_on = |architecture: &&Architecture| {
                recordings.has(&ScriptRun {
                    package: package.name.clone(),
                    name: script,
                    arguments: script.arguments(),
                    script: digest,
                    architecture: (*architecture).clone(),
                })
            };
            let (on, missing): (Vec<&Architecture>, Vec<&Architecture>) =
                architectures.iter().partition(is_recorded_on);
            let recorded = || ScriptKnowledge {
                script,
                digest,
                level: Level::Recorded,
                effects: recordings.lines(&package.name, script, digest),
                nothing: Vec::new(),
                unknown: Vec::new(),
                missing: Vec::new(),
            };
            match know(script, text, &package.architecture) {
                // Only for an image in which it cannot be done as declared is there a recording.
                Ok(_) if !on.is_empty() => recorded(),
                Ok(known) => ScriptKnowledge {
                    script,
                    digest,
                    level: known.level,
                    effects: known.verbs.iter().map(Verb::line).collect(),
                    nothing: known.nothing,
                    unknown: Vec::new(),
                    missing: Vec::new(),
                },
                Err(_) if missing.is_empty() && !on.is_empty() => recorded(),
                Err(unknown) => ScriptKnowledge {
                    script,
                    digest,
                    level: Level::Unknown,
                    effects: Vec::new(),
                    nothing: Vec::new(),
                    unknown,
                    missing: missing.into_iter().cloned().collect(),
                },
            }
        })
        .collect();
    // It runs as a part of the postinst, which debconf has start it.
    let is_asked =
        scripts.iter().any(|one| one.script == ScriptName::Postinst && one.level == Level::Recorded);
    for config in scripts.iter_mut().filter(|one| is_asked && one.script == ScriptName::Config) {
        if config.level == Level::Unknown {
            config.level = Level::Recorded;
            config.nothing.push("Its postinst starts it.");
            config.unknown.clear();
            config.missing.clear();
        }
    }
    scripts
}

/// The scripts of a package that are there, by name.
pub(crate) fn scripts_of(package: &Package) -> impl Iterator<Item = (ScriptName, &str)> {
    SCRIPTS.into_iter().filter_map(|name| Some((name, package.control_text(name.as_str())?)))
}

/// What a script of a package of that architecture does: known as a whole, or by its frame and all its generated parts; as
/// it is, or as the table's architecture has it.
pub(crate) fn know(
    name: ScriptName,
    text: &str,
    architecture: &Architecture,
) -> Result<Known, Vec<UnknownPart>> {
    let names = OtherNames::of(architecture);
    let known = |is_renamed| Known {
        name,
        verbs: Vec::new(),
        nothing: Vec::new(),
        level: Level::Declared,
        names,
        is_renamed,
    };
    let as_it_is = look_up(known(false), text);
    match (as_it_is, names) {
        (Err(unknown), Some(names)) => look_up(known(true), &names.to_table(text)).map_err(|_| unknown),
        (as_it_is, _) => as_it_is,
    }
}

fn look_up(mut known: Known, text: &str) -> Result<Known, Vec<UnknownPart>> {
    let name = known.name;
    if let Some(script) = table::script_of_text(Digest::of(text.as_bytes()))
        // One text may serve as several scripts; where it does nothing, its name does not matter.
        && (script.name == name.as_str() || script.effect.is_empty())
        && known.add(&script.effect, script.nothing.as_deref(), &Parameters::new())
    {
        return Ok(known);
    }
    let parts = split(text);
    let mut unknown = Vec::new();
    let frame = shape(&parts.frame, table::rules("own").iter());
    let read = table::script_of_frame(frame.digest, name.as_str());
    if !read.is_some_and(|script| known.add(&script.effect, script.nothing.as_deref(), &frame.parameters)) {
        known.level = Level::Snippets;
        let lines = known.add_frame(&parts.frame);
        if !lines.is_empty() {
            unknown.push(UnknownPart { tool: "own".to_owned(), shape: frame.digest.hex(), lines });
        }
    }
    for part in &parts.generated {
        if let Some(part) = known.add_generated(part.tool, part.text) {
            unknown.push(part);
        }
    }
    if unknown.is_empty() { Ok(known) } else { Err(unknown) }
}

impl Known {
    /// A script that does nothing.
    pub(crate) const fn of_nothing() -> Self {
        Self {
            name: ScriptName::Postinst,
            verbs: Vec::new(),
            nothing: Vec::new(),
            level: Level::Declared,
            names: None,
            is_renamed: false,
        }
    }

    /// Adds what an entry of the table says. `false` if a parameter does not fit.
    fn add(
        &mut self,
        effects: &[toml::Table],
        nothing: Option<&'static str>,
        parameters: &Parameters,
    ) -> bool {
        let mut parameters = parameters.clone();
        if let (Some(names), true) = (self.names, self.is_renamed) {
            for value in parameters.values_mut() {
                *value = names.of_table(value);
            }
        }
        let Some(verbs) = table::verbs(effects, &parameters, self.names) else { return false };
        self.verbs.extend(verbs);
        self.nothing.extend(nothing);
        true
    }

    /// Adds the snippet that has the shape of `text`; its shape's hash if there is none.
    fn add_snippet(&mut self, tool: &str, text: &str) -> Result<(), Digest> {
        let shape = shape(text, table::rules(tool).iter());
        match table::snippet(tool, shape.digest, self.name.as_str()) {
            Some(found) if self.add(&found.effect, found.nothing.as_deref(), &shape.parameters) => Ok(()),
            _ => Err(shape.digest),
        }
    }

    /// Adds a generated part: as a whole, or one command after the other.
    fn add_generated(&mut self, tool: &str, text: &str) -> Option<UnknownPart> {
        let Err(whole) = self.add_snippet(tool, text) else { return None };
        let lines: Vec<String> = commands(text)
            .into_iter()
            .filter(|command| self.add_snippet(tool, command).is_err())
            .map(str::to_owned)
            .collect();
        (!lines.is_empty()).then(|| UnknownPart { tool: tool.to_owned(), shape: whole.hex(), lines })
    }

    /// Adds the commands of a frame that nobody read as a whole. Returns those that are not known.
    fn add_frame(&mut self, frame: &str) -> Vec<String> {
        let mut unknown = Vec::new();
        for command in commands(frame) {
            let is_end = command == EXIT && frame.trim_end().ends_with(&format!("\n{EXIT}"));
            if !is_end && !FRAME.contains(&command) && self.add_snippet("own", command).is_err() {
                unknown.push(command.to_owned());
            }
        }
        unknown
    }
}
