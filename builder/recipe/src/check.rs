//! The check of form: a document against the schema of its kind, all problems at once.
//!
//! It understands the part of JSON Schema that `schemars` makes of the types of this crate. Texts are checked by the
//! parser of their type, found by the schema's pattern.

use std::{collections::BTreeMap, ops::Range, sync::LazyLock};

use bundles_objects::TextFormat;
use serde_json::{Map, Value};

use crate::{
    Document, Problem,
    document::{Key, Node, NodeValue},
    name,
};

static FORMATS: LazyLock<BTreeMap<&'static str, TextFormat>> =
    LazyLock::new(|| name::text_formats().into_iter().map(|format| (format.pattern, format)).collect());

/// Compares the document with the schema.
pub(crate) fn check(document: &Document, schema: &Value) -> Vec<Problem> {
    let mut check = Check { document, root: schema, problems: Vec::new(), path: Vec::new() };
    check.value(schema, document.root());
    check.problems
}

struct Check<'a> {
    document: &'a Document,
    root: &'a Value,
    problems: Vec<Problem>,
    path: Vec<String>,
}

impl<'a> Check<'a> {
    fn value(&mut self, schema: &'a Value, node: &Node) {
        let schema = self.resolve(schema);
        if let Some(options) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
            return self.options(options, node);
        }
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            return self.word(&words.iter().filter_map(Value::as_str).collect::<Vec<_>>(), node);
        }
        if let Some(word) = schema.get("const").and_then(Value::as_str) {
            return self.word(&[word], node);
        }
        let wanted = schema.get("type").and_then(Value::as_str).unwrap_or("object");
        if wanted != node.value.schema_type() {
            let problem = Problem::new(
                self.place(node),
                format!("{} is {}, {} is expected", self.subject(), node.value.kind(), kind_of_type(wanted)),
            );
            let help = help_for_type(wanted, &node.value);
            self.problems.push(match help {
                Some(help) => problem.helping(help),
                None => problem,
            });
            return;
        }
        match &node.value {
            NodeValue::Text(text) => self.text(schema, text, node),
            NodeValue::Integer(number) => self.integer(schema, *number, node),
            NodeValue::List(items) => self.list(schema, items, node),
            NodeValue::Table(entries) => self.table(schema, entries, node),
            NodeValue::Float | NodeValue::Boolean | NodeValue::Time => {}
        }
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let Some(next) = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer))
            else {
                break;
            };
            schema = next;
        }
        schema
    }

    fn place(&self, node: &Node) -> crate::Location {
        // A table stands for many lines; the path finds its key.
        if matches!(node.value, NodeValue::Table(_)) {
            self.document.location(&self.path)
        } else {
            self.document.locate(&node.span)
        }
    }

    fn subject(&self) -> String {
        if self.path.is_empty() { "the file".to_owned() } else { format!("`{}`", self.path.join(".")) }
    }

    fn text(&mut self, schema: &Value, text: &str, node: &Node) {
        let format = schema.get("pattern").and_then(Value::as_str).and_then(|pattern| FORMATS.get(pattern));
        if let Some(Err(error)) = format.map(|format| (format.check)(text)) {
            let problem = Problem::new(self.place(node), format!("{} cannot be `{text}`", self.subject()));
            self.problems.push(example(schema, problem.expecting(error.expected())));
        }
    }

    fn integer(&mut self, schema: &Value, number: Option<i64>, node: &Node) {
        let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
        let (least, largest) = (bound("minimum").unwrap_or(i64::MIN), bound("maximum").unwrap_or(i64::MAX));
        if number.is_some_and(|number| (least..=largest).contains(&number)) {
            return;
        }
        let given = number.map_or_else(|| "that large".to_owned(), |number| number.to_string());
        let expected = match (bound("minimum"), bound("maximum")) {
            (Some(least), Some(largest)) => format!("a number from {least} to {largest}"),
            (Some(least), None) => format!("a number from {least}"),
            (None, Some(largest)) => format!("a number up to {largest}"),
            (None, None) => "a number of at most 64 bits".to_owned(),
        };
        let problem = Problem::new(self.place(node), format!("{} cannot be {given}", self.subject()));
        self.problems.push(problem.expecting(expected));
    }

    fn list(&mut self, schema: &'a Value, items: &[Node], node: &Node) {
        if items.is_empty() && schema.get("minItems").and_then(Value::as_u64).is_some_and(|least| least > 0) {
            let problem = Problem::new(self.place(node), format!("{} cannot be empty", self.subject()));
            self.problems.push(problem);
        }
        let most = schema.get("maxItems").and_then(Value::as_u64).and_then(|most| usize::try_from(most).ok());
        if let Some((first, most)) = most.and_then(|most| Some((items.get(most)?, most))) {
            let message = format!("{} has {} entries, {most} is the most", self.subject(), items.len());
            self.problems.push(Problem::new(self.place(first), message).helping(match most {
                1 => "keep one of them".to_owned(),
                _ => format!("keep {most} of them"),
            }));
        }
        let Some(inner) = schema.get("items") else { return };
        for (index, item) in items.iter().enumerate() {
            self.path.push(index.to_string());
            self.value(inner, item);
            self.path.pop();
        }
    }

    fn table(&mut self, schema: &'a Value, entries: &[(Key, Node)], node: &Node) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let property = |name: &str| properties.and_then(|properties| properties.get(name));
        let patterns =
            schema.get("patternProperties").and_then(Value::as_object).and_then(|map| map.iter().next());
        let additional = schema.get("additionalProperties").filter(|value| value.is_object());
        let mut meant: Vec<&str> = Vec::new();
        for (key, value) in entries {
            let inner = if let Some(inner) = property(&key.text) {
                inner
            } else if let Some((pattern, inner)) = patterns {
                if let Some(Err(error)) =
                    FORMATS.get(pattern.as_str()).map(|format| (format.check)(&key.text))
                {
                    let place = self.document.locate(&key.span);
                    let message = format!("a key of {} cannot be `{}`", self.subject(), key.text);
                    self.problems.push(Problem::new(place, message).expecting(error.expected()));
                    continue;
                }
                inner
            } else if let Some(inner) = additional {
                inner
            } else {
                let known: Vec<&str> =
                    properties.into_iter().flat_map(Map::keys).map(String::as_str).collect();
                self.unknown_key(&key.text, &key.span, &known);
                meant.extend(nearest(&key.text, &known));
                continue;
            };
            self.path.push(key.text.clone());
            self.value(inner, value);
            self.path.pop();
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            // A mistyped key has been reported, with the right one.
            if entries.iter().all(|(key, _)| key.text != name) && !meant.contains(&name) {
                let (place, subject) = (self.place(node), self.subject());
                let problem = Problem::new(place, format!("{subject} has no `{name}`"));
                let schema = property(name).map(|schema| self.resolve(schema));
                self.problems.push(match schema.and_then(|schema| example_of(name, schema)) {
                    Some(help) => problem.helping(help),
                    None => problem,
                });
            }
        }
    }

    fn unknown_key(&mut self, key: &str, span: &Range<usize>, known: &[&str]) {
        let place = self.document.locate(span);
        let message = format!("{} has no key `{key}`", self.subject());
        let problem = Problem::new(place, message).expecting(format!("one of {}", quoted(known)));
        self.problems.push(suggest(key, known, problem));
    }

    fn word(&mut self, words: &[&str], node: &Node) {
        match &node.value {
            NodeValue::Text(text) if words.contains(&text.as_str()) => {}
            NodeValue::Text(text) => {
                let problem =
                    Problem::new(self.place(node), format!("{} cannot be \"{text}\"", self.subject()));
                let problem = problem.expecting(format!("one of {}", quoted(words)));
                self.problems.push(suggest(text, words, problem));
            }
            other => {
                let problem = Problem::new(
                    self.place(node),
                    format!("{} is {}, a text is expected", self.subject(), other.kind()),
                );
                self.problems.push(problem.expecting(format!("one of {}", quoted(words))));
            }
        }
    }

    /// One of several forms: the one of the value's kind, and for tables the one that knows most of the keys.
    fn options(&mut self, options: &'a [Value], node: &Node) {
        let options: Vec<&Value> = options.iter().map(|option| self.resolve(option)).collect();
        let words: Vec<&str> = options.iter().flat_map(|option| words_of(option)).collect();
        let fitting: Vec<&&Value> = options
            .iter()
            .filter(|option| words_of(option).is_empty())
            .filter(|option| option.get("type").and_then(Value::as_str) == Some(node.value.schema_type()))
            .collect();
        if let (NodeValue::Table(entries), [_, _, ..]) = (&node.value, fitting.as_slice()) {
            let keys_of = |option: &&&'a Value| option.get("properties").and_then(Value::as_object);
            let known = |option: &&&'a Value| {
                keys_of(option)
                    .map_or(0, |keys| entries.iter().filter(|(key, _)| keys.contains_key(&key.text)).count())
            };
            let best = fitting.iter().copied().max_by_key(known);
            if let Some(option) = best.filter(|option| known(option) > 0) {
                return self.value(option, node);
            }
            let keys: Vec<&str> =
                fitting.iter().filter_map(keys_of).flat_map(Map::keys).map(String::as_str).collect();
            if let Some((key, _)) = entries.first() {
                return self.unknown_key(&key.text, &key.span, &keys);
            }
            let problem = Problem::new(self.place(node), format!("{} is empty", self.subject()));
            return self.problems.push(problem.expecting(format!("one of {}", quoted(&keys))));
        }
        match (fitting.as_slice(), &node.value) {
            ([option, ..], _) => self.value(option, node),
            ([], NodeValue::Text(_)) if !words.is_empty() => self.word(&words, node),
            ([], value) => {
                let mut kinds: Vec<&str> = options
                    .iter()
                    .map(|option| {
                        kind_of_type(option.get("type").and_then(Value::as_str).unwrap_or("string"))
                    })
                    .collect();
                kinds.dedup();
                let message =
                    format!("{} is {}, {} is expected", self.subject(), value.kind(), kinds.join(" or "));
                self.problems.push(Problem::new(self.place(node), message));
            }
        }
    }
}

fn words_of(option: &Value) -> Vec<&str> {
    match (option.get("const"), option.get("enum")) {
        (Some(word), _) => word.as_str().into_iter().collect(),
        (None, Some(words)) => words.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
        (None, None) => Vec::new(),
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Names the word that was probably meant.
pub(crate) fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let normal = |text: &str| text.to_ascii_lowercase().replace('_', "-");
    let given = normal(given);
    let distance = |word: &&str| strsim::damerau_levenshtein(&given, &normal(word));
    let best = known.iter().copied().min_by_key(distance)?;
    let is_part =
        given.len() > 2 && (best.starts_with(&given) || best.ends_with(&given) || given.starts_with(best));
    (is_part || distance(&best) <= 1.max(given.len() / 3)).then_some(best)
}

fn suggest(given: &str, known: &[&str], problem: Problem) -> Problem {
    match nearest(given, known) {
        Some(best) => problem.helping(format!("did you mean `{best}`?")),
        None => problem,
    }
}

fn example(schema: &Value, problem: Problem) -> Problem {
    match schema.pointer("/examples/0").and_then(Value::as_str) {
        Some(example) => problem.helping(format!("for example \"{example}\"")),
        None => problem,
    }
}

fn example_of(name: &str, schema: &Value) -> Option<String> {
    let example = schema.pointer("/examples/0").and_then(Value::as_str);
    let kind = schema.get("type").and_then(Value::as_str)?;
    match (example, kind) {
        (Some(example), _) => Some(format!("add it, for example {name} = \"{example}\"")),
        (None, kind) => Some(format!("add it: {} is expected", kind_of_type(kind))),
    }
}

fn help_for_type(wanted: &str, value: &NodeValue) -> Option<String> {
    match (wanted, value) {
        ("array", NodeValue::Text(text)) => Some(format!("put it in brackets: [\"{text}\"]")),
        ("string", NodeValue::Integer(Some(number))) => Some(format!("put it in quotes: \"{number}\"")),
        ("string", NodeValue::Integer(None) | NodeValue::Float | NodeValue::Boolean | NodeValue::Time) => {
            Some("put it in quotes".to_owned())
        }
        ("integer", NodeValue::Text(text)) if text.parse::<i64>().is_ok() => {
            Some(format!("leave the quotes out: {text}"))
        }
        _ => None,
    }
}

fn kind_of_type(schema_type: &str) -> &'static str {
    match schema_type {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "a table",
    }
}

impl NodeValue {
    const fn schema_type(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Integer(_) => "integer",
            Self::Float => "number",
            Self::Boolean => "boolean",
            Self::Time => "time",
            Self::List(_) => "array",
            Self::Table(_) => "object",
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float => "a number with a fraction",
            Self::Boolean => "true or false",
            Self::Time => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}
