//! Problems in the files of a platform, as people see them.

use std::fmt;

use crate::Location;

/// One problem: where, what, what is expected, and a way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub location: Location,
    /// What is wrong.
    pub message: String,
    /// What would have been right.
    pub expected: Option<String>,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    pub(crate) fn new(location: Location, message: impl Into<String>) -> Self {
        Self { location, message: message.into(), expected: None, help: None }
    }

    pub(crate) fn expecting(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn helping(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { file, line, column, text, length } = &self.location;
        writeln!(formatter, "{}", self.message)?;
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        write!(formatter, "{gutter}--> {file}:{line}:{column}")?;
        if *length > 0 {
            // Tabs stay tabs so that the mark stands below its text.
            let before = text.chars().take(column - 1).map(|letter| if letter == '\t' { '\t' } else { ' ' });
            let before: String = before.collect();
            write!(formatter, "\n{gutter} |\n{number} | {text}\n{gutter} | {before}{}", "^".repeat(*length))?;
        }
        for (name, note) in [("expected", &self.expected), ("help", &self.help)] {
            if let Some(note) = note {
                write!(formatter, "\n{gutter} = {name}: {note}")?;
            }
        }
        Ok(())
    }
}

/// All problems of a platform, by file and place. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Sorts the problems; `Ok` when there are none.
    pub(crate) fn none_of(mut problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by(|left, right| left.location.cmp(&right.location));
        problems.dedup();
        Err(Self(problems))
    }

    /// The problems.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n\n")?;
            }
            problem.fmt(formatter)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}
