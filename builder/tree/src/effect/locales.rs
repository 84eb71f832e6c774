//! The list of locales that could be made (locale-gen(8)). None is asked for, so none is made.

use super::{EffectError, Image, here_document};
use crate::{Owner, TreePath};

const LIST: &str = "etc/locale.gen";
const SUPPORTED: &str = "usr/share/i18n/SUPPORTED";

impl Image<'_> {
    pub(super) fn locales(&mut self, by: &Owner, script: &str) -> Result<(), EffectError> {
        let list = TreePath::known(LIST);
        let missing = || EffectError::HereDocument { path: list.clone(), number: 1 };
        let head = here_document::nth(script, 1).ok_or_else(missing)?;
        // The empty choice of locales takes the mark of the first line that holds nothing else.
        let mut is_first = true;
        let mut text = head.lines().fold(String::new(), |mut text, line| {
            let is_mark = line.chars().all(|letter| letter == '#' || letter == ' ');
            if is_mark && is_first {
                is_first = false;
            } else {
                text.push_str(line);
            }
            text.push('\n');
            text
        });
        let supported = self.text(&TreePath::known(SUPPORTED))?;
        let mut locales: Vec<&str> = supported
            .lines()
            .filter(|line| line.starts_with(|letter: char| letter.is_ascii_alphabetic()))
            .map(str::trim_end)
            .collect();
        locales.sort_unstable();
        locales.dedup();
        for locale in locales {
            text.push_str("# ");
            text.push_str(locale);
            text.push('\n');
        }
        self.new_file(by, &list, text)
    }
}
