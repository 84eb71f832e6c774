//! Rules that hold between the files of a platform.

use std::collections::{BTreeMap, BTreeSet};

use bundles_objects::{ConfigKey, EnvironmentValue, Service, ServiceName, ServiceProblem, need_levels};

use crate::{Environment, Platform, Problem, Recipe, check::nearest};

impl Platform {
    /// The rules that the platform breaks.
    pub(crate) fn broken_rules(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let known: BTreeSet<ServiceName> = self
            .recipes()
            .filter(|recipe| recipe.service.is_some())
            .map(|recipe| recipe.name.clone())
            .collect();
        for recipe in self.recipes() {
            let Some(service) = &recipe.service else { continue };
            let broken = service.problems(&recipe.name, &known);
            problems.extend(broken.into_iter().map(|problem| place(recipe, None, problem)));
        }
        self.check_circles(&mut problems);
        for environment in self.environments.values() {
            self.check_environment(environment, &known, &mut problems);
        }
        problems
    }

    fn check_environment(
        &self,
        environment: &Environment,
        known: &BTreeSet<ServiceName>,
        problems: &mut Vec<Problem>,
    ) {
        for name in environment.services.keys().filter(|name| !known.contains(*name)) {
            let names: Vec<&str> = known.iter().map(ServiceName::as_str).collect();
            let problem = Problem::new(
                environment.document.location(&["services", name.as_str()]),
                format!("there is no service `{name}`"),
            );
            problems.push(suggest(problem, name.as_str(), &names));
        }
        let mut used = BTreeSet::new();
        for (name, resolved) in self.services(environment) {
            let Some(recipe) = self.recipe(&name) else { continue };
            let broken = resolved.service.problems(&name, known);
            problems.extend(broken.into_iter().map(|problem| place(recipe, Some(environment), problem)));
            for (variable, key) in config_keys(&resolved.service) {
                if !environment.config.contains_key(key) {
                    let location = recipe.document.location(&["service", "env", variable, "config"]);
                    let file = environment.document.file();
                    let problem = Problem::new(location, format!("{file} gives no value for `{key}`"));
                    problems.push(problem.helping(format!("add `{key} = \"...\"` under [config] in {file}")));
                }
                used.insert(key.clone());
            }
        }
        let names: Vec<&str> = used.iter().map(ConfigKey::as_str).collect();
        for key in environment.config.keys().filter(|key| !used.contains(*key)) {
            let location = environment.document.location(&["config", key.as_str()]);
            problems.push(suggest(
                Problem::new(location, format!("no recipe uses `{key}`")),
                key.as_str(),
                &names,
            ));
        }
    }

    fn check_circles(&self, problems: &mut Vec<Problem>) {
        let services = self
            .recipes()
            .filter_map(|recipe| Some((&recipe.name, recipe.service.as_ref()?.needs.as_slice())));
        let mut needs: BTreeMap<&ServiceName, &[ServiceName]> = services.collect();
        // A need of what does not exist, or of itself, has been reported.
        if needs
            .iter()
            .any(|(name, wanted)| wanted.iter().any(|need| need == *name || !needs.contains_key(need)))
        {
            return;
        }
        if need_levels(&needs).is_ok() {
            return;
        }
        // What nobody in the rest needs is not part of a circle.
        loop {
            let wanted: BTreeSet<&ServiceName> = needs.values().flat_map(|wanted| wanted.iter()).collect();
            let is_in = |name: &&ServiceName, wants: &&[ServiceName]| {
                wanted.contains(*name) && wants.iter().any(|need| needs.contains_key(need))
            };
            let rest: BTreeMap<_, _> =
                needs.iter().filter(|(name, wants)| is_in(name, wants)).map(|(n, w)| (*n, *w)).collect();
            if rest.len() == needs.len() {
                break;
            }
            needs = rest;
        }
        let Some(recipe) = needs.keys().next().and_then(|name| self.recipe(name)) else { return };
        let names = needs.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let problem = Problem::new(
            recipe.document.location(&["service", "needs"]),
            format!("services need each other in a circle: {names}"),
        );
        problems.push(problem.helping("remove one of the needs: one service has to start first"));
    }
}

fn config_keys(service: &Service) -> impl Iterator<Item = (&str, &ConfigKey)> {
    service.env.iter().filter_map(|(variable, value)| match value {
        EnvironmentValue::Config(reference) => Some((variable.as_str(), &reference.config)),
        EnvironmentValue::Literal(_) | EnvironmentValue::Secret(_) => None,
    })
}

/// A broken rule of a service stands in the environment if that is where the value comes from, else in the recipe.
fn place(recipe: &Recipe, environment: Option<&Environment>, problem: ServiceProblem) -> Problem {
    let path: Vec<&str> = problem.path.iter().map(String::as_str).collect();
    let in_environment = environment.and_then(|environment| {
        let path = [&["services", recipe.name.as_str()], path.as_slice()].concat();
        environment.document.has(&path).then(|| environment.document.location(&path))
    });
    let location = in_environment.unwrap_or_else(|| {
        let path = [&["service"], path.as_slice()].concat();
        recipe.document.location(&path)
    });
    Problem::new(location, problem.message).helping(problem.help)
}

fn suggest(problem: Problem, given: &str, known: &[&str]) -> Problem {
    match nearest(given, known) {
        Some(best) => problem.helping(format!("did you mean `{best}`?")),
        None => problem.helping("remove it"),
    }
}
