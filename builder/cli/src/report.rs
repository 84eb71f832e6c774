//! What a command says: lines for people, or one JSON document for programs. Progress goes to standard error.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Lines.
    Text,
    /// One JSON document on standard output.
    Json,
}

/// Writes results to standard output and notes to standard error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    format: Format,
}

impl Report {
    /// Writes in `format`.
    pub(crate) const fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether bars can be drawn.
    pub(crate) fn draws_bars(self) -> bool {
        self.format == Format::Text && io::stderr().is_terminal()
    }

    /// The result of a command: the document for programs, else the lines for people.
    pub(crate) fn result(self, document: &impl Serialize, lines: impl FnOnce() -> String) -> io::Result<()> {
        let mut output = io::stdout().lock();
        match self.format {
            Format::Json => {
                serde_json::to_writer_pretty(&mut output, document)?;
                writeln!(output)
            }
            Format::Text => {
                let lines = lines();
                output.write_all(lines.as_bytes())?;
                if lines.ends_with('\n') { Ok(()) } else { writeln!(output) }
            }
        }
    }

    /// The first lines of a result whose rest comes later. Programs get all of it in the end.
    pub(crate) fn beginning(self, lines: impl FnOnce() -> String) -> io::Result<()> {
        match self.format {
            Format::Json => Ok(()),
            Format::Text => io::stdout().lock().write_all(lines().as_bytes()),
        }
    }

    /// A line about what is going on. A closed standard error is no reason to stop.
    #[allow(clippy::unused_self, reason = "who reports decides where notes go")]
    pub(crate) fn note(self, line: &str) {
        writeln!(io::stderr().lock(), "{line}").unwrap_or_default();
    }
}

/// A text for a terminal: control characters are escaped, since they could change what is shown of it.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// A length in bytes for people: `12.3 MB`.
pub(crate) fn bytes(length: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    for (unit, size) in UNITS {
        if length >= size {
            let tenths = (u128::from(length) * 10 + u128::from(size) / 2) / u128::from(size);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{length} B")
}

#[cfg(test)]
mod tests {
    #[test]
    fn lengths_read_well() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (12_345_678, "12.3 MB"),
            (2_960_000_000, "3.0 GB"),
        ];
        for (length, text) in cases {
            assert_eq!(super::bytes(length), text);
        }
    }
}
