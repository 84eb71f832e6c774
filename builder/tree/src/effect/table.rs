//! The table of known scripts and parts of scripts.

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;
use registry_wire::Digest;
use serde::Deserialize;

use super::{architecture::OtherNames, verb::Verb};

/// The table's files.
const FILES: [(&str, &str); 11] = [
    ("base.toml", include_str!("../../effects/base.toml")),
    ("essential.toml", include_str!("../../effects/essential.toml")),
    ("redis.toml", include_str!("../../effects/redis.toml")),
    ("nodejs.toml", include_str!("../../effects/nodejs.toml")),
    ("system.toml", include_str!("../../effects/system.toml")),
    ("languages.toml", include_str!("../../effects/languages.toml")),
    ("servers.toml", include_str!("../../effects/servers.toml")),
    ("capabilities.toml", include_str!("../../effects/capabilities.toml")),
    ("programs.toml", include_str!("../../effects/programs.toml")),
    ("inert.toml", include_str!("../../effects/inert.toml")),
    ("snippets.toml", include_str!("../../effects/snippets.toml")),
];

/// Parameters that were taken out of a text, by name.
pub(super) type Parameters = BTreeMap<String, String>;

/// A known script.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Script {
    /// The package that it was read in. Another package may have the same text.
    #[allow(dead_code, reason = "for people; the hash identifies the script")]
    package: String,
    /// `preinst`, `postinst` or `config`.
    pub(super) name: String,
    /// SHA-256 of its text, one for each text that does the same.
    #[serde(default)]
    sha256: Vec<String>,
    /// SHA-256 of its shape without generated parts, one for each that does the same.
    #[serde(default)]
    shape: Vec<String>,
    /// Why there is nothing to do, for scripts without effects.
    pub(super) nothing: Option<String>,
    /// What it does on a first installation.
    #[serde(default)]
    pub(super) effect: Vec<toml::Table>,
}

/// A known part of scripts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Snippet {
    /// The program that generates it; `own` for lines that people write.
    pub(super) tool: String,
    /// The scripts that it may stand in.
    pub(super) scripts: Vec<String>,
    /// SHA-256 of its shape, one for each that does the same.
    pub(super) shape: Vec<String>,
    /// Why there is nothing to do, for parts without effects.
    pub(super) nothing: Option<String>,
    /// What it does on a first installation.
    #[serde(default)]
    pub(super) effect: Vec<toml::Table>,
}

/// Which texts are parameters in what a program generates.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    tool: Vec<String>,
    pattern: String,
}

/// Scripts that have nothing to do on a first installation, for one reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inert {
    reason: String,
    /// For each the package, `preinst`, `postinst` or `config`, and the SHA-256 of its shape without generated parts.
    scripts: Vec<String>,
}

impl Inert {
    fn scripts(&self) -> impl Iterator<Item = Script> {
        self.scripts.iter().map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let mut word = || words.next().unwrap_or_default();
            let (package, name, shape) = (word(), word(), vec![word()]);
            let nothing = Some(self.reason.clone());
            Script { package, name, sha256: Vec::new(), shape, nothing, effect: Vec::new() }
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    inert: Vec<Inert>,
    #[serde(default)]
    script: Vec<Script>,
    #[serde(default)]
    snippet: Vec<Snippet>,
    #[serde(default)]
    parameter: Vec<Rule>,
}

/// The whole table.
struct Table {
    scripts: Vec<Script>,
    snippets: Vec<Snippet>,
    rules: BTreeMap<String, Vec<Regex>>,
    by_text: BTreeMap<Digest, usize>,
    by_frame: BTreeMap<(Digest, String), usize>,
    by_shape: BTreeMap<(String, Digest), Vec<usize>>,
}

/// That every file can be read is tested; it cannot change at run time.
static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut all = File::default();
    for (_, text) in FILES {
        let file = parse(text).unwrap_or_default();
        all.script.extend(file.inert.iter().flat_map(Inert::scripts));
        all.script.extend(file.script);
        all.snippet.extend(file.snippet);
        all.parameter.extend(file.parameter);
    }
    let mut table = Table {
        scripts: all.script,
        snippets: all.snippet,
        rules: BTreeMap::new(),
        by_text: BTreeMap::new(),
        by_frame: BTreeMap::new(),
        by_shape: BTreeMap::new(),
    };
    let digests = |texts: &[String]| -> Vec<Digest> {
        texts.iter().filter_map(|hex| Digest::from_hex(hex).ok()).collect()
    };
    for (at, script) in table.scripts.iter().enumerate() {
        table.by_text.extend(digests(&script.sha256).into_iter().map(|digest| (digest, at)));
        let frames = digests(&script.shape).into_iter().map(|digest| ((digest, script.name.clone()), at));
        table.by_frame.extend(frames);
    }
    for (at, snippet) in table.snippets.iter().enumerate() {
        for digest in digests(&snippet.shape) {
            table.by_shape.entry((snippet.tool.clone(), digest)).or_default().push(at);
        }
    }
    for rule in all.parameter {
        let Ok(pattern) = Regex::new(&rule.pattern) else { continue };
        for tool in rule.tool {
            table.rules.entry(tool).or_default().push(pattern.clone());
        }
    }
    table
});

fn parse(text: &str) -> Result<File, toml::de::Error> {
    toml::from_str(text)
}

/// The script with that whole text.
pub(super) fn script_of_text(digest: Digest) -> Option<&'static Script> {
    TABLE.by_text.get(&digest).map(|at| &TABLE.scripts[*at])
}

/// The script of that name whose frame has that shape.
pub(super) fn script_of_frame(digest: Digest, name: &str) -> Option<&'static Script> {
    TABLE.by_frame.get(&(digest, name.to_owned())).map(|at| &TABLE.scripts[*at])
}

/// The part with that shape that `tool` generates for scripts of that name.
pub(super) fn snippet(tool: &str, digest: Digest, name: &str) -> Option<&'static Snippet> {
    let found = TABLE.by_shape.get(&(tool.to_owned(), digest))?;
    found
        .iter()
        .map(|at| &TABLE.snippets[*at])
        .find(|snippet| snippet.scripts.iter().any(|known| known == name))
}

/// All parts that are known.
#[cfg(test)]
pub(super) fn snippets() -> &'static [Snippet] {
    &TABLE.snippets
}

/// Which texts are parameters in what `tool` generates.
pub(super) fn rules(tool: &str) -> &'static [Regex] {
    TABLE.rules.get(tool).map_or(&[], Vec::as_slice)
}

/// The verbs of an entry with parameters filled in; nothing if one of them does not fit.
///
/// A string `<name>` or a part of one stands for a parameter; `each = "name"` repeats the verb for every word of one.
/// Names of an architecture are those of `names`, if it is not the table's.
pub(super) fn verbs(
    effects: &[toml::Table],
    parameters: &Parameters,
    names: Option<OtherNames>,
) -> Option<Vec<Verb>> {
    let mut verbs = Vec::new();
    for effect in effects {
        let mut effect = effect.clone();
        if let Some(names) = names {
            effect.iter_mut().for_each(|(_, value)| names.rename(value));
        }
        match effect.remove("each") {
            Some(toml::Value::String(name)) => {
                for word in parameters.get(&name)?.split(' ') {
                    let mut parameters = parameters.clone();
                    parameters.insert(name.clone(), word.trim_matches('\'').to_owned());
                    verbs.push(verb(&effect, &parameters)?);
                }
            }
            Some(_) => return None,
            None => verbs.push(verb(&effect, parameters)?),
        }
    }
    Some(verbs)
}

fn verb(effect: &toml::Table, parameters: &Parameters) -> Option<Verb> {
    let mut filled = effect.clone();
    for (_, value) in &mut filled {
        if let toml::Value::String(text) = value {
            for (name, parameter) in parameters {
                *text = text.replace(&format!("<{name}>"), parameter);
            }
            if text.contains('<') {
                return None;
            }
        }
    }
    filled.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every placeholder of an entry, so that it can be filled in.
    fn sample(effects: &[toml::Table]) -> Parameters {
        let place = Regex::new("<([a-z0-9-]+)>").unwrap();
        let text = effects.iter().map(ToString::to_string).collect::<String>();
        let each = Regex::new("each = \"([a-z0-9-]+)\"").unwrap();
        let names =
            place.captures_iter(&text).chain(each.captures_iter(&text)).map(|found| found[1].to_owned());
        let value = |name: &str| match name.trim_end_matches(|last: char| last.is_ascii_digit()) {
            "alternative" => "--install /usr/bin/a a /usr/bin/b 1 --slave /usr/bin/c c /usr/bin/d",
            "directories" => "/usr/local/a default",
            "arguments" => "defaults",
            _ => "sample",
        };
        names.map(|name| (name.clone(), value(&name).to_owned())).collect()
    }

    #[test]
    fn every_entry_is_readable_unique_and_says_what_it_does() {
        let mut seen = BTreeMap::new();
        let mut count = 0;
        let mut once = |key: String, label: &str, hex: &str| {
            Digest::from_hex(hex).unwrap_or_else(|error| panic!("{label}: {error}"));
            assert_eq!(seen.insert(key, label.to_owned()), None, "{label}");
        };
        for (file, text) in FILES {
            let parsed = parse(text).unwrap_or_else(|error| panic!("{file}: {error}"));
            let inert: Vec<Script> = parsed.inert.iter().flat_map(Inert::scripts).collect();
            for script in parsed.script.iter().chain(&inert) {
                let label = format!("{file}: {} {}", script.package, script.name);
                assert!(matches!(script.name.as_str(), "preinst" | "postinst" | "config"), "{label}");
                assert_eq!(script.effect.is_empty(), script.nothing.is_some(), "{label}");
                assert!(!script.sha256.is_empty() || !script.shape.is_empty(), "{label}");
                for hex in &script.sha256 {
                    once(hex.clone(), &label, hex);
                    assert!(verbs(&script.effect, &Parameters::new(), None).is_some(), "{label}");
                }
                for hex in &script.shape {
                    once(format!("{hex} {}", script.name), &label, hex);
                }
                assert!(verbs(&script.effect, &sample(&script.effect), None).is_some(), "{label}");
                count += 1;
            }
            for snippet in &parsed.snippet {
                let label = format!("{file}: {} {:?}", snippet.tool, snippet.shape);
                assert_eq!(snippet.effect.is_empty(), snippet.nothing.is_some(), "{label}");
                assert!(!snippet.shape.is_empty() && !snippet.scripts.is_empty(), "{label}");
                for (hex, name) in
                    snippet.shape.iter().flat_map(|hex| snippet.scripts.iter().map(move |name| (hex, name)))
                {
                    assert!(matches!(name.as_str(), "preinst" | "postinst" | "config"), "{label}");
                    once(format!("{hex} {} {name}", snippet.tool), &label, hex);
                }
                assert!(verbs(&snippet.effect, &sample(&snippet.effect), None).is_some(), "{label}");
            }
            for rule in &parsed.parameter {
                let pattern = Regex::new(&rule.pattern).unwrap_or_else(|error| panic!("{file}: {error}"));
                assert!(pattern.capture_names().flatten().count() > 0, "{file}: {}", rule.pattern);
            }
        }
        assert!(count >= 50, "only {count} scripts");
    }

    #[test]
    fn every_file_is_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/effects");
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut read = FILES.map(|(name, _)| name);
        read.sort_unstable();
        assert_eq!(names, read);
    }

    #[test]
    fn parameters_fill_verbs_that_they_fit() {
        let effects: Vec<toml::Table> =
            vec![toml::from_str("verb = \"unit\"\nname = \"<units>\"\neach = \"units\"").unwrap()];
        let parameters = |value: &str| Parameters::from([("units".to_owned(), value.to_owned())]);
        let unit = |name: &str| Verb::Unit { name: name.to_owned(), enabled: true };
        assert_eq!(
            verbs(&effects, &parameters("a.service b.timer"), None),
            Some(vec![unit("a.service"), unit("b.timer")])
        );
        assert_eq!(verbs(&effects, &Parameters::new(), None), None);
        let user: Vec<toml::Table> = vec![toml::from_str("verb = \"group\"\nname = \"<name>\"").unwrap()];
        assert_eq!(verbs(&user, &Parameters::from([("name".to_owned(), "no name".to_owned())]), None), None);
    }
}
