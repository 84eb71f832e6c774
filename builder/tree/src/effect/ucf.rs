//! Configurations that ucf(1) keeps: like conffiles, but made when a package is installed.

use md5::{Digest as _, Md5};

use super::{EffectError, Image};
use crate::{Kind, Owner, TreePath};

const FOLDER: &str = "var/lib/ucf";
/// Only a file that is shorter is copied, unless its script asks for `--three-way`; no script that is known here does that
/// for a longer one.
const CACHE_LIMIT: usize = 25_600;

impl Image<'_> {
    /// `ucf FROM TO; ucfr PACKAGE TO`: the file, its hash, a copy if it is short, and whom it belongs to.
    pub(super) fn ucf(
        &mut self,
        by: &Owner,
        package: &str,
        from: &TreePath,
        to: &TreePath,
    ) -> Result<(), EffectError> {
        let not_file = || EffectError::NotFile { path: from.clone() };
        let (_, entry) = self.tree.lookup(from).ok_or_else(not_file)?;
        let Kind::File { content, .. } = entry.kind.clone() else { return Err(not_file()) };
        let mode = entry.mode;
        let in_payload = |source| EffectError::Payload { path: from.clone(), source };
        let bytes =
            self.payloads.read(&content, super::READ_LIMIT).map_err(in_payload)?.ok_or_else(not_file)?;
        let sum = Md5::digest(&bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        if !self.is_file(to) {
            self.write(by, to, bytes.clone(), mode)?;
        }
        if bytes.len() < CACHE_LIMIT {
            let cached = to.to_string().replace('/', ":");
            self.write(by, &TreePath::known(&format!("{FOLDER}/cache/{cached}")), bytes, mode)?;
        }
        self.add_line(by, "hashfile", &format!("{sum}  {to}\n"))?;
        self.add_line(by, "registry", &format!("{package} \t {to}\n"))
    }

    fn add_line(&mut self, by: &Owner, file: &str, line: &str) -> Result<(), EffectError> {
        let path = TreePath::known(&format!("{FOLDER}/{file}"));
        let mut text = if self.is_file(&path) { self.text(&path)? } else { String::new() };
        if !text.contains(line) {
            text.push_str(line);
        }
        self.write(by, &path, text.into_bytes(), 0o644)
    }
}
