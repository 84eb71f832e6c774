//! A TOML file with the place of everything in it.

use std::{ops::Range, sync::Arc};

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::Problem;

/// A TOML file.
#[derive(Debug, Clone)]
pub struct Document {
    file: String,
    text: Arc<str>,
    root: Node,
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) value: NodeValue,
}

/// A value.
#[derive(Debug, Clone)]
pub(crate) enum NodeValue {
    Text(String),
    /// None when it does not fit into 64 bits.
    Integer(Option<i64>),
    Float,
    Boolean,
    Time,
    List(Vec<Node>),
    Table(Vec<(Key, Node)>),
}

/// A key and its place.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) span: Range<usize>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The file, from the platform's folder.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// Number of characters that are meant on that line; 0 for the file as a whole.
    pub length: usize,
    /// The line.
    pub text: String,
}

impl Location {
    pub(crate) fn file(file: &str) -> Self {
        Self { file: file.to_owned(), line: 1, column: 1, length: 0, text: String::new() }
    }
}

impl Document {
    /// Parses TOML; the first error of syntax ends it, since what follows would be guesses.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, Box<Problem>> {
        let text: Arc<str> = text.into();
        match DeTable::parse(&text) {
            Ok(table) => {
                let root = Node { span: 0..0, value: table_value(table.into_inner()) };
                Ok(Self { file: file.to_owned(), root, text: Arc::clone(&text) })
            }
            Err(error) => {
                let document = Self {
                    file: file.to_owned(),
                    root: Node { span: 0..0, value: NodeValue::Table(Vec::new()) },
                    text: Arc::clone(&text),
                };
                let location = document.locate(&error.span().unwrap_or(0..0));
                Err(Box::new(Problem::new(location, format!("not TOML: {}", error.message()))))
            }
        }
    }

    /// The file, from the platform's folder.
    pub fn file(&self) -> &str {
        &self.file
    }

    pub(crate) const fn root(&self) -> &Node {
        &self.root
    }

    /// Takes the document as a value. Its form has been checked, so an error here is a gap of that check.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Box<Problem>> {
        toml::from_str(&self.text).map_err(|error| {
            let location = self.locate(&error.span().unwrap_or(0..0));
            Box::new(Problem::new(location, error.message()))
        })
    }

    /// The place of the value at a path of keys and indices, or of the nearest one above it that is there.
    pub fn location<S: AsRef<str>>(&self, path: &[S]) -> Location {
        let (span, _) = self.nearest(path);
        self.locate(&span)
    }

    /// Whether there is a value at a path.
    pub(crate) fn has<S: AsRef<str>>(&self, path: &[S]) -> bool {
        self.nearest(path).1
    }

    fn nearest<S: AsRef<str>>(&self, path: &[S]) -> (Range<usize>, bool) {
        let mut node = &self.root;
        let mut span = 0..0;
        for step in path {
            let step = step.as_ref();
            let (next, place) = match &node.value {
                NodeValue::Table(entries) => {
                    let Some((key, next)) = entries.iter().find(|(key, _)| key.text == step) else {
                        return (span, false);
                    };
                    // A table is long: its key stands for it.
                    let is_table = matches!(next.value, NodeValue::Table(_));
                    (next, if is_table { key.span.clone() } else { next.span.clone() })
                }
                NodeValue::List(items) => {
                    let Some(next) = step.parse::<usize>().ok().and_then(|index| items.get(index)) else {
                        return (span, false);
                    };
                    (next, next.span.clone())
                }
                _ => return (span, false),
            };
            node = next;
            span = place;
        }
        (span, true)
    }

    /// Line and column of a span; only its first line counts.
    pub(crate) fn locate(&self, span: &Range<usize>) -> Location {
        let start = floor_boundary(&self.text, span.start);
        let end = floor_boundary(&self.text, span.end.max(start));
        let line_start = self.text[..start].rfind('\n').map_or(0, |index| index + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |index| start + index);
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        let end = end.min(line_start + line.len());
        let is_whole_file = span.end == 0;
        Location {
            file: self.file.clone(),
            line: self.text[..line_start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            length: if is_whole_file {
                0
            } else {
                self.text.get(start..end).unwrap_or("").chars().count().max(1)
            },
            text: if is_whole_file { String::new() } else { line.to_owned() },
        }
    }
}

fn floor_boundary(text: &str, index: usize) -> usize {
    let index = index.min(text.len());
    (0..=index).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0)
}

fn node(spanned: Spanned<DeValue<'_>>) -> Node {
    let span = spanned.span();
    let value = match spanned.into_inner() {
        DeValue::String(text) => NodeValue::Text(text.into_owned()),
        DeValue::Integer(number) => {
            NodeValue::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Float(_) => NodeValue::Float,
        DeValue::Boolean(_) => NodeValue::Boolean,
        DeValue::Datetime(_) => NodeValue::Time,
        DeValue::Array(items) => NodeValue::List(items.into_iter().map(node).collect()),
        DeValue::Table(table) => table_value(table),
    };
    Node { span, value }
}

fn table_value(table: DeTable<'_>) -> NodeValue {
    let entry = |(key, value): (Spanned<toml::de::DeString<'_>>, Spanned<DeValue<'_>>)| {
        let span = key.span();
        (Key { text: key.into_inner().into_owned(), span }, node(value))
    };
    let mut entries: Vec<_> = table.into_iter().map(entry).collect();
    entries.sort_by_key(|(key, _)| key.span.start);
    NodeValue::Table(entries)
}
