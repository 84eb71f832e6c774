//! Recipes that cannot be solved, told at the lines that ask.

use std::error::Error;

use builder_inputs::{LockingError, SolveError};
use builder_recipe::{Platform, Recipe};
use bundles_release::lock::PackageName;

/// What is wrong with all of them, each at its place in its recipe.
pub(crate) fn told(problems: &[SolveError], platform: &Platform) -> String {
    problems.iter().map(|problem| one(problem, platform)).collect::<Vec<_>>().join("\n\n")
}

fn one(problem: &SolveError, platform: &Platform) -> String {
    let recipe = problem.recipe().as_str().parse().ok().and_then(|name| platform.recipe(&name));
    let mut message = problem.to_string();
    let mut cause = problem.source();
    while let Some(error) = cause {
        message.extend(["\n  because: ", &error.to_string()]);
        cause = error.source();
    }
    let Some(recipe) = recipe else { return message };
    match problem {
        SolveError::Unknown { package, .. } | SolveError::Virtual { package, .. } => {
            at(recipe, &packages(recipe, Some(package)), &message, &[])
        }
        SolveError::Pin { package, .. } => {
            let path = ["image", "pins", package.as_str()].map(str::to_owned);
            at(recipe, &path, &message, &[])
        }
        SolveError::Hold { package, .. } => {
            let index = recipe.image().holds.iter().position(|held| held == package);
            let mut path = vec!["image".to_owned(), "holds".to_owned()];
            path.extend(index.map(|index| index.to_string()));
            at(recipe, &path, &message, &[])
        }
        SolveError::Unsatisfiable { asked, .. } => {
            at(recipe, &packages(recipe, asked.first()), &message, asked.get(1..).unwrap_or_default())
        }
        SolveError::Index { .. } => message,
    }
}

/// The place of a package that a recipe asks for; without one, of all.
fn packages(recipe: &Recipe, package: Option<&PackageName>) -> Vec<String> {
    let mut path = vec!["image".to_owned(), "packages".to_owned()];
    let index = package.and_then(|package| recipe.image().packages.iter().position(|other| other == package));
    path.extend(index.map(|index| index.to_string()));
    path
}

fn at(recipe: &Recipe, path: &[String], message: &str, others: &[PackageName]) -> String {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let mut problem = recipe.problem(&path, message, "");
    let others = others.iter().map(|other| {
        let path = packages(recipe, Some(other));
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let place = recipe.problem(&path, "", "").location;
        format!("{other} ({}:{}:{})", place.file, place.line, place.column)
    });
    let others: Vec<String> = others.collect();
    problem.help = (!others.is_empty()).then(|| format!("it stands against {}", others.join(", ")));
    problem.to_string()
}

/// An architecture of which a suite has no index, told at the lines that ask for it.
pub(crate) fn without_index(error: &LockingError, platform: &Platform) -> Option<String> {
    let LockingError::NoIndex { suite, architecture, .. } = error else { return None };
    let asking = platform.recipes().filter(|recipe| {
        let mut requests = recipe.package_requests().into_iter();
        requests.any(|request| {
            request.architecture.as_str() == architecture && request.suites().any(|of| of == suite)
        })
    });
    let told = asking.map(|recipe| {
        let listed = recipe.image().platforms.iter();
        let index = listed.map(|one| one.architecture()).position(|one| one.as_str() == architecture);
        let mut path = vec!["image".to_owned(), "platforms".to_owned()];
        path.extend(index.map(|index| index.to_string()));
        at(recipe, &path, &error.to_string(), &[])
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("\n\n"))
}
