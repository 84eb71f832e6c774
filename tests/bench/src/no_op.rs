//! `no-op`: building the reference platform when nothing has changed.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use anyhow::{Result, ensure};
use test_interop::{platform, program};

use crate::{
    figures::{Goal, Pair, Report, Unit},
    measure::{Taken, note, run},
    workshop::{Stocked, Workshop, cargo, warm},
};

const LIMIT: f64 = 0.05;

pub(crate) fn run_bench(workshop: &Workshop, rounds: u32) -> Result<Report> {
    let stocked = workshop.reference()?;
    warm("ours", &mut stocked.build()?)?;
    let makefile = makefile(&workshop.empty("make")?, &stocked)?;
    warm("make", &mut makefile.command()?)?;
    warm("cargo", &mut cargo()?)?;
    let (mut with_make, mut with_cargo) = (Pair::default(), Pair::default());
    for round in 1..=rounds {
        let taken = [run(&mut stocked.build()?)?, run(&mut makefile.command()?)?, run(&mut cargo()?)?];
        let document = serde_json::from_slice(&taken[0].output)?;
        ensure!(
            platform::images(&document)?.values().all(|image| !image.built),
            "nothing was to be built: {document}"
        );
        let [ours, makes, cargos] = taken.map(|Taken { seconds, .. }| seconds);
        note(&format!(
            "round {round} of {rounds}: ours {:.1} ms, make {:.1} ms, cargo {:.1} ms",
            ours * 1e3,
            makes * 1e3,
            cargos * 1e3
        ));
        with_make.push(ours, makes);
        with_cargo.push(ours, cargos);
    }
    Ok(Report {
        ours: "bundle build of recipes/ with both images in the store: parses recipes and lock, hashes the recipes' own \
               files, looks for the results"
            .to_owned(),
        peers: vec![
            format!(
                "make --question: the least that a builder can do. Two targets that need the same {} files; looks at \
                 their times and reads none of them",
                makefile.files
            ),
            "cargo build of this workspace: a builder that people use, with a lock, recipes of many packages and a \
             store of results, as ours; a larger job than ours, and only times are looked at"
                .to_owned(),
        ],
        rows: vec![
            with_make.row(
                "time, with make",
                Unit::Seconds,
                "make --question",
                vec![Goal::AtMost(LIMIT)],
            ),
            with_cargo.row("time, with cargo", Unit::Seconds, "cargo build", Vec::new()),
        ],
    })
}

/// A makefile whose targets are newer than all that they need.
struct Makefile {
    path: std::path::PathBuf,
    files: usize,
}

impl Makefile {
    /// A command that ends well if there is nothing to do.
    fn command(&self) -> Result<Command> {
        let mut command = program::system("make")?;
        command.args(["--question", "--no-builtin-rules", "--file"]).arg(&self.path).arg("all");
        Ok(command)
    }
}

fn makefile(folder: &Path, stocked: &Stocked) -> Result<Makefile> {
    let mut text = String::from("all:");
    let mut rules = String::new();
    let mut files = 0;
    for recipe in stocked.lock.recipes.keys() {
        let target = folder.join(recipe.as_str());
        write!(text, " {}", target.display())?;
        write!(rules, "{}:", target.display())?;
        let mut needed = vec![stocked.platform.join("bundle.toml"), stocked.platform.join("bundle.lock")];
        needed.extend(files_below(&stocked.platform.join(recipe.as_str()))?);
        let sums = stocked.lock.recipe_packages(recipe).map(|package| package.sha256.hex());
        needed.extend(sums.map(|sum| stocked.downloads().join("sha256").join(sum)));
        for file in &needed {
            write!(rules, " {}", file.display())?;
        }
        rules.push_str("\n\tfalse\n");
        files += needed.len();
        fs::write(target, "")?;
    }
    let path = folder.join("makefile");
    fs::write(&path, format!("{text}\n{rules}"))?;
    Ok(Makefile { path, files })
}

fn files_below(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_below(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}
