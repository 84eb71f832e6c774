//! From the files of a folder to a platform.

use std::collections::{BTreeMap, BTreeSet};

use bundles_objects::{ServiceName, SourcePath};
use bundles_release::{EnvironmentName, lock::SuiteName};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    Document, Environment, EnvironmentDocument, FileRule, FolderEntry, Location, Platform, PlatformDocument,
    PlatformFolder, Problem, Problems, Recipe, RecipeDocument, SourceFile,
    check::{check, nearest},
    pattern::Taken,
    schema,
};

impl Platform {
    /// Parses and checks a platform. Texts of configuration files are not read; their presence is checked.
    pub fn parse(folder: &PlatformFolder) -> Result<Self, Problems> {
        let mut reader = Reader { folder, problems: Vec::new() };
        let manifest = reader.document::<PlatformDocument>("bundle.toml", &schema::platform_schema());
        let recipes = reader.recipes();
        let environments = reader.environments();
        let platform = manifest.map(|(document, manifest)| {
            reader.check_suites(&document, &manifest, &recipes);
            let recipes: BTreeMap<_, _> =
                recipes.into_iter().map(|(name, parsed)| reader.recipe(name, parsed, &manifest)).collect();
            Self {
                product: manifest.platform.name,
                version: manifest.platform.version,
                repository: manifest.platform.repository,
                default_suite: manifest.platform.default_suite,
                scripts: manifest.platform.scripts,
                sandbox: manifest.platform.sandbox,
                suites: manifest.suites,
                recipes,
                environments,
            }
        });
        // Rules between parts only make sense where each part is well formed.
        if reader.problems.is_empty()
            && let Some(platform) = &platform
        {
            reader.problems = platform.broken_rules();
        }
        Problems::none_of(reader.problems)?;
        platform.ok_or_else(|| {
            Problems::from(Problem::new(Location::file("bundle.toml"), "there is no such file"))
        })
    }
}

struct Reader<'a> {
    folder: &'a PlatformFolder,
    problems: Vec<Problem>,
}

type ParsedRecipe = (Document, RecipeDocument);

impl Reader<'_> {
    /// One file in its form; `None` when it has problems, which are noted.
    fn document<T: DeserializeOwned>(&mut self, file: &str, schema: &Value) -> Option<(Document, T)> {
        let text = match self.folder.entries.get(file) {
            Some(FolderEntry::Text(text)) => text,
            Some(FolderEntry::Link) => {
                self.problems.push(link_problem(Location::file(file), file));
                return None;
            }
            Some(FolderEntry::File { .. } | FolderEntry::Special) | None => {
                self.problems.push(Problem::new(Location::file(file), "there is no such file"));
                return None;
            }
        };
        let document = match Document::parse(file, text) {
            Ok(document) => document,
            Err(problem) => {
                self.problems.push(*problem);
                return None;
            }
        };
        let problems = check(&document, schema);
        if !problems.is_empty() {
            self.problems.extend(problems);
            return None;
        }
        match document.read() {
            Ok(value) => Some((document, value)),
            Err(problem) => {
                self.problems.push(*problem);
                None
            }
        }
    }

    fn recipes(&mut self) -> BTreeMap<ServiceName, ParsedRecipe> {
        let schema = schema::recipe_schema();
        let files =
            self.folder.entries.keys().filter_map(|file| Some((file, file.strip_suffix("/recipe.toml")?)));
        let files: Vec<_> =
            files.filter(|(_, name)| !name.contains('/') && *name != "environments").collect();
        let mut recipes = BTreeMap::new();
        for (file, name) in files {
            let parsed = self.document(file, &schema);
            match name.parse::<ServiceName>() {
                Ok(name) => recipes.extend(parsed.map(|parsed| (name, parsed))),
                Err(error) => {
                    let problem =
                        Problem::new(Location::file(file), format!("the folder cannot be called `{name}`"));
                    self.problems.push(problem.expecting(error.expected()));
                }
            }
        }
        recipes
    }

    fn environments(&mut self) -> BTreeMap<EnvironmentName, Environment> {
        let schema = schema::environment_schema();
        let files = self.folder.entries.keys();
        let name_of =
            |file: &str| file.strip_prefix("environments/")?.strip_suffix(".toml").map(str::to_owned);
        let files: Vec<_> = files.filter_map(|file| Some((file, name_of(file)?))).collect();
        let mut environments = BTreeMap::new();
        for (file, name) in files.into_iter().filter(|(_, name)| !name.contains('/')) {
            let parsed = self.document::<EnvironmentDocument>(file, &schema);
            let Ok(name) = name.parse::<EnvironmentName>() else {
                let problem =
                    Problem::new(Location::file(file), format!("the file cannot be called `{name}.toml`"));
                let expected = "an environment name: at most 63 lower-case letters, digits and inner dashes";
                self.problems.push(problem.expecting(expected));
                continue;
            };
            if let Some((document, EnvironmentDocument { config, services, scripts })) = parsed {
                environments.insert(name.clone(), Environment { name, config, scripts, services, document });
            }
        }
        environments
    }

    fn check_suites(
        &mut self,
        document: &Document,
        manifest: &PlatformDocument,
        recipes: &BTreeMap<ServiceName, ParsedRecipe>,
    ) {
        let known: Vec<&str> = manifest.suites.keys().map(SuiteName::as_str).collect();
        let mut check = |document: &Document, path: &[&str], suite: &SuiteName| {
            if !manifest.suites.contains_key(suite) {
                let problem = Problem::new(document.location(path), format!("there is no suite `{suite}`"));
                self.problems.push(problem.helping(match nearest(suite.as_str(), &known) {
                    Some(best) => format!("did you mean `{best}`?"),
                    None => format!("declare it in bundle.toml under [suites.{suite}]"),
                }));
            }
        };
        check(document, &["platform", "default-suite"], &manifest.platform.default_suite);
        for (name, suite) in &manifest.suites {
            for (index, update) in suite.updates.iter().enumerate() {
                check(document, &["suites", name.as_str(), "updates", &index.to_string()], update);
            }
        }
        for (document, recipe) in recipes.values() {
            if let Some(suite) = &recipe.image.suite {
                check(document, &["image", "suite"], suite);
            }
        }
    }

    fn recipe(
        &mut self,
        name: ServiceName,
        (document, parsed): ParsedRecipe,
        manifest: &PlatformDocument,
    ) -> (ServiceName, Recipe) {
        let sources = self.source_files(&name, &document, &parsed.image.files);
        for (target, source) in parsed.service.iter().flat_map(|service| &service.config_files) {
            let path = ["service", "config-files", target.as_str()];
            let file = format!("{name}/{source}");
            let place = document.location(&path);
            match self.folder.entries.get(&file) {
                Some(FolderEntry::Text(_) | FolderEntry::File { .. }) => {}
                Some(FolderEntry::Link) => self.problems.push(link_problem(place, &file)),
                Some(FolderEntry::Special) | None => {
                    self.problems.push(self.missing_file(&name, source.as_str(), place));
                }
            }
        }
        let RecipeDocument { image, service } = parsed;
        if image.entrypoint.first().is_some_and(|program| !program.starts_with('/')) {
            let place = document.location(&["image", "entrypoint", "0"]);
            let problem = Problem::new(place, "the program has no absolute path");
            self.problems
                .push(problem.helping("there is no shell and no search path: write it as \"/usr/bin/node\""));
        }
        for (index, package) in image.recommends.iter().enumerate() {
            if !image.packages.contains(package) {
                let place = document.location(&["image", "recommends", &index.to_string()]);
                let problem = Problem::new(place, format!("`{package}` is not one of `image.packages`"));
                self.problems.push(problem.helping(format!("add \"{package}\" to `packages`")));
            }
        }
        for (index, platform) in image.platforms.iter().enumerate() {
            if image.platforms[..index].contains(platform) {
                let place = document.location(&["image", "platforms", &index.to_string()]);
                let problem = Problem::new(place, format!("`{}` is listed twice", platform.as_str()));
                self.problems.push(problem.helping("name it once"));
            }
        }
        let suite = image.suite.clone().unwrap_or_else(|| manifest.platform.default_suite.clone());
        let updates = manifest.suites.get(&suite).map(|suite| suite.updates.clone()).unwrap_or_default();
        let recipe = Recipe {
            name: name.clone(),
            image,
            service,
            suite,
            updates,
            sources,
            config_files: BTreeMap::new(),
            document,
        };
        (name, recipe)
    }

    /// The files that rules take, by target. Every rule takes at least one; no two files share a target.
    fn source_files(
        &mut self,
        name: &ServiceName,
        document: &Document,
        rules: &[FileRule],
    ) -> Vec<SourceFile> {
        let prefix = format!("{name}/");
        let in_folder: Vec<(&str, &FolderEntry)> = self
            .folder
            .entries
            .iter()
            .filter_map(|(path, entry)| Some((path.strip_prefix(&prefix)?, entry)))
            .collect();
        let mut targets: BTreeMap<String, (SourceFile, Location)> = BTreeMap::new();
        for (index, rule) in rules.iter().enumerate() {
            let index = index.to_string();
            let place = document.location(&["image", "files", &index, "source"]);
            let mut takes_nothing = true;
            for (path, entry) in &in_folder {
                let taken = rule.source.take(path);
                if taken == Taken::Not {
                    continue;
                }
                takes_nothing = false;
                let executable = match entry {
                    FolderEntry::Text(_) => false,
                    FolderEntry::File { executable } => *executable,
                    FolderEntry::Link => {
                        self.problems.push(link_problem(place.clone(), &format!("{prefix}{path}")));
                        continue;
                    }
                    FolderEntry::Special => {
                        let message = format!("`{path}` is neither a file nor a folder");
                        self.problems.push(Problem::new(place.clone(), message));
                        continue;
                    }
                };
                let Ok(source) = path.parse::<SourcePath>() else {
                    let message = format!("`{}` has a name that images do not take", path.escape_default());
                    self.problems.push(Problem::new(place.clone(), message).helping("rename the file"));
                    continue;
                };
                // A part of a path that is good is good.
                let target = match taken {
                    Taken::Below(rest) => {
                        rest.parse().map_or(rule.target.clone(), |rest| rule.target.join(&rest))
                    }
                    Taken::Itself | Taken::Not => rule.target.clone(),
                };
                let file = SourceFile { source, target, executable };
                let key = file.target.to_string();
                if let Some((other, _)) = targets.get(&key) {
                    let message = if other.source == file.source {
                        format!("`{path}` becomes {key} a second time")
                    } else {
                        format!("`{path}` and `{}` both become {key}", other.source)
                    };
                    self.problems.push(Problem::new(place.clone(), message).helping("take it once"));
                } else {
                    targets.insert(key, (file, place.clone()));
                }
            }
            if takes_nothing {
                self.problems.push(self.missing_file(name, rule.source.as_str(), place));
            }
        }
        let is_target = |path: &str| targets.contains_key(path);
        let within = targets.values().filter_map(|(file, place)| {
            let mut folders =
                std::iter::successors(file.target.parent(), bundles_objects::AbsolutePath::parent);
            Some((file, place, folders.find(|folder| is_target(folder.as_str()))?))
        });
        self.problems.extend(within.map(|(file, place, folder)| {
            let message = format!("{} cannot be in {folder}, which is a file", file.target);
            Problem::new(place.clone(), message).helping("choose another target")
        }));
        targets.into_values().map(|(file, _)| file).collect()
    }

    fn missing_file(&self, name: &ServiceName, source: &str, place: Location) -> Problem {
        let prefix = format!("{name}/");
        let mut known = BTreeSet::new();
        for path in self.folder.entries.keys().filter_map(|path| path.strip_prefix(&prefix)) {
            known.extend(path.match_indices('/').map(|(at, _)| &path[..at]).chain([path]));
        }
        let known: Vec<&str> = known.into_iter().filter(|path| *path != "recipe.toml").collect();
        let problem = Problem::new(place, format!("`{source}` takes no file of folder {name}"));
        match nearest(source, &known) {
            Some(best) => problem.helping(format!("did you mean `{best}`?")),
            None => problem.helping(format!("add the file to folder {name} or remove the line")),
        }
    }
}

fn link_problem(place: Location, path: &str) -> Problem {
    Problem::new(place, format!("{path} is a symbolic link"))
        .helping("put the file itself there: a link may leave the folder or change without notice")
}
