//! The control archive: scripts, lists and the control paragraph (deb-control(5)).

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io::Read,
};

use super::{Charset, ControlFile, error::Fault, tar};

/// Longest name of a member: dpkg's database has it behind the name of the package.
const NAME_LIMIT: usize = 64;

/// Members whose text is understood here; all others are kept as they are.
const READ: [&str; 6] = ["control", "preinst", "postinst", "conffiles", "triggers", "md5sums"];

/// Reads all members of a control archive.
pub(super) fn read<R: Read>(tar: &mut tar::Reader<'_, R>) -> Result<BTreeMap<String, ControlFile>, Fault> {
    let mut files = BTreeMap::new();
    while let Some(header) = tar.next_header()? {
        if header.path.is_root() {
            continue;
        }
        let name = header.path.as_str().to_owned();
        if !matches!(header.kind, tar::HeaderKind::File) || name.contains('/') {
            return Err(Fault::member(name, "only files are expected in the control archive"));
        }
        if name.len() > NAME_LIMIT {
            return Err(Fault::member(name, format!("its name is longer than {NAME_LIMIT} bytes")));
        }
        let bytes = tar.read_content(header.size)?;
        let file = ControlFile::new(header.mode, bytes);
        if file.charset != Charset::Utf8 && READ.contains(&&*name) {
            return Err(Fault::member(name, "it is not UTF-8"));
        }
        match files.entry(name) {
            Entry::Vacant(place) => place.insert(file),
            Entry::Occupied(first) => return Err(Fault::member(first.key(), "it is there twice")),
        };
    }
    if files.contains_key("control") { Ok(files) } else { Err(Fault::member("control", "it is missing")) }
}

/// A paragraph of fields, in their order. Names compare without regard to case.
pub(crate) struct Paragraph<'a> {
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Paragraph<'a> {
    /// Reads the first paragraph of `text`. A value keeps its continuation lines as written.
    pub(crate) fn parse(text: &'a str) -> Self {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        let mut start = 0;
        let mut open: Option<(&str, usize)> = None;
        for line in text.split_inclusive('\n') {
            let end = start + line.len();
            let content = line.trim_end_matches('\n');
            if content.is_empty() {
                break;
            }
            if !content.starts_with([' ', '\t', '#']) {
                if let Some((name, from)) = open.take() {
                    fields.push((name, text[from..start].trim()));
                }
                if let Some((name, _)) = content.split_once(':') {
                    open = Some((name, start + name.len() + 1));
                }
            }
            start = end;
        }
        if let Some((name, from)) = open {
            fields.push((name, text[from..start].trim()));
        }
        Self { fields }
    }

    /// The value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// All fields in their order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.fields.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_are_kept(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(ControlFile::new(0o644, bytes.clone()).bytes(), bytes);
        }
    }

    #[test]
    fn old_text_is_read() {
        let file = ControlFile::new(0o644, b"Andr\xe9".to_vec());
        assert_eq!((file.text.as_str(), file.charset), ("Andr\u{e9}", Charset::Latin1));
    }

    #[test]
    fn values_keep_their_lines() {
        let text = "Package: a\nDescription: short\n long\n .\n more\nTag: x,\n y\n\nPackage: b\n";
        let paragraph = Paragraph::parse(text);
        assert_eq!(paragraph.get("package"), Some("a"));
        assert_eq!(paragraph.get("Description"), Some("short\n long\n .\n more"));
        assert_eq!(paragraph.get("Tag"), Some("x,\n y"));
        assert_eq!(paragraph.fields().count(), 3);
    }
}
