//! Stanzas of fields, as Debian's control files have them (deb822).

/// One field with its folded lines, borrowed from the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    /// Without the white space around; lines of a folded value keep their line ends.
    pub(crate) value: &'a str,
}

/// What a line of a control file is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// A field of the current stanza.
    Field(Field<'a>),
    /// The end of a stanza that had fields.
    End,
}

/// A line that is neither field, folded line, comment nor empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not a field: `{text}`")]
pub struct Deb822Error {
    line: usize,
    text: String,
}

/// Reads fields one by one without copying.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    fields: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 0, fields: 0 }
    }

    /// The next line without its end, and where the one after it starts.
    fn line_at(&self, at: usize) -> Option<(&'a str, usize)> {
        let rest = self.text.get(at..).filter(|rest| !rest.is_empty())?;
        let length = memchr::memchr(b'\n', rest.as_bytes());
        let next = length.map_or(self.text.len(), |length| at + length + 1);
        let line = &rest[..length.unwrap_or(rest.len())];
        Some((line.strip_suffix('\r').unwrap_or(line), next))
    }

    /// The next field or end of a stanza.
    pub(crate) fn read(&mut self) -> Result<Option<Item<'a>>, Deb822Error> {
        loop {
            let Some((line, next)) = self.line_at(self.at) else {
                return Ok((std::mem::take(&mut self.fields) > 0).then_some(Item::End));
            };
            self.at = next;
            self.line += 1;
            if line.trim_ascii().is_empty() {
                if std::mem::take(&mut self.fields) > 0 {
                    return Ok(Some(Item::End));
                }
                continue;
            }
            if line.starts_with('#') {
                continue;
            }
            let colon = memchr::memchr(b':', line.as_bytes());
            let Some(colon) = colon.filter(|colon| *colon > 0 && !line.starts_with([' ', '\t'])) else {
                let text = line.chars().take(80).collect();
                return Err(Deb822Error { line: self.line, text });
            };
            let start = next_offset(self.text, line) + colon + 1;
            let mut end = next_offset(self.text, line) + line.len();
            while let Some((folded, next)) = self.line_at(self.at) {
                if !folded.starts_with([' ', '\t', '#']) || folded.trim_ascii().is_empty() {
                    break;
                }
                end = next_offset(self.text, folded) + folded.len();
                self.at = next;
                self.line += 1;
            }
            self.fields += 1;
            return Ok(Some(Item::Field(Field {
                name: &line[..colon],
                value: self.text[start..end].trim_ascii(),
            })));
        }
    }
}

/// Where a part of `text` starts in it.
fn next_offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> Vec<Item<'_>> {
        let mut reader = Reader::new(text);
        std::iter::from_fn(|| reader.read().unwrap()).collect()
    }

    fn field<'a>(name: &'a str, value: &'a str) -> Item<'a> {
        Item::Field(Field { name, value })
    }

    #[test]
    fn reads_stanzas_folds_and_comments() {
        let text = "\n# c\nA: 1\nB:\n x\n y\n\n\nA:2\r\n\nC: z";
        assert_eq!(
            all(text),
            [
                field("A", "1"),
                field("B", "x\n y"),
                Item::End,
                field("A", "2"),
                Item::End,
                field("C", "z"),
                Item::End
            ]
        );
        assert_eq!(all(""), []);
    }

    #[test]
    fn says_which_line_is_wrong() {
        for (text, line) in [("A: 1\nnonsense\n", 2), (" folded first\n", 1), (": no name\n", 1)] {
            let mut reader = Reader::new(text);
            let error = loop {
                match reader.read() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("accepted {text:?}"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.line, line, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s)[A-C: #\\n\\r\\t\u{e9}]{0,60}") {
            let mut reader = Reader::new(&text);
            while let Ok(Some(_)) = reader.read() {}
        }
    }
}
