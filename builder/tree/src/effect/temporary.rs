//! Temporary files and what systemd-tmpfiles(8) makes beside them, by their configuration (tmpfiles.d(5)).

use super::{EffectError, Image};
use crate::{Kind, Owner, TreePath};

const PROGRAM: &str = "usr/bin/systemd-tmpfiles";
/// Where a configuration is looked for, the strongest first.
const FOLDERS: [&str; 2] = ["etc/tmpfiles.d", "usr/lib/tmpfiles.d"];

/// One line of a configuration, as far as it acts when files are made.
struct Line {
    kind: char,
    path: TreePath,
    mode: Option<u32>,
    owner: Option<String>,
    argument: Option<String>,
    /// Whether mode and owner are given to what was there before too.
    adjusts: bool,
}

impl Image<'_> {
    /// `systemd-tmpfiles --create NAME…`. Lines for the start of a machine are left out, as there. The first of several
    /// lines that make one path holds, and directories come before what is in them.
    pub(super) fn temporary_files(&mut self, names: &str) -> Result<(), EffectError> {
        if !self.is_file(&TreePath::known(PROGRAM)) {
            return Ok(());
        }
        let mut lines: Vec<(TreePath, Line)> = Vec::new();
        for name in names.split(' ') {
            let base = name.rsplit('/').next().unwrap_or(name);
            let candidates = FOLDERS.into_iter().map(|folder| TreePath::known(&format!("{folder}/{base}")));
            let Some(path) = candidates.into_iter().find(|path| self.is_file(path)) else { continue };
            for text in self.text(&path)?.lines() {
                let form =
                    |reason| EffectError::Form { path: path.clone(), reason: format!("{reason}: {text}") };
                if let Some(line) = parse(text).map_err(form)?
                    && (line.kind == 'z'
                        || !lines.iter().any(|(_, other)| other.path == line.path && other.kind != 'z'))
                {
                    lines.push((path.clone(), line));
                }
            }
        }
        lines.sort_by(|(_, left), (_, right)| left.path.cmp(&right.path));
        let by = Owner::Generated("systemd-tmpfiles".into());
        lines.iter().try_for_each(|(path, line)| {
            self.make(&by, line).map_err(|_| EffectError::Form {
                path: path.clone(),
                reason: format!("{} is asked for, which is not made here", line.path),
            })
        })
    }

    fn make(&mut self, by: &Owner, line: &Line) -> Result<(), EffectError> {
        let owner = line.owner.as_deref();
        let exists = self.tree.lookup(&line.path).is_some();
        match line.kind {
            'd' | 'D' | 'v' | 'q' | 'Q' if !exists => {
                self.directory(by, &line.path, line.mode.unwrap_or(0o755), owner)
            }
            'd' | 'D' | 'v' | 'q' | 'Q' | 'e' | 'z' if exists && line.adjusts => {
                let Some((_, entry)) = self.tree.lookup(&line.path) else { return Ok(()) };
                let (mode, uid, gid) = (line.mode.unwrap_or(entry.mode), entry.uid, entry.gid);
                self.permissions(&line.path, mode, owner)?;
                if owner.is_none() {
                    let at = self.tree.follow(&line.path).and_then(|path| self.tree.get_mut(&path));
                    if let Some(entry) = at {
                        (entry.uid, entry.gid) = (uid, gid);
                    }
                }
                Ok(())
            }
            'f' if !exists => {
                let text = line.argument.clone().unwrap_or_default();
                self.write(by, &line.path, text.into_bytes(), line.mode.unwrap_or(0o644))?;
                self.permissions(&line.path, line.mode.unwrap_or(0o644), owner)
            }
            'L' if self.tree.resolve(&line.path).is_none_or(|path| self.tree.get(&path).is_none()) => {
                let target = line.argument.clone();
                self.symlink(
                    by,
                    &line.path,
                    &target.unwrap_or_else(|| format!("/usr/share/factory{}", line.path)),
                )
            }
            'C' if !exists => {
                let from = line.argument.as_ref().and_then(|from| from.parse().ok());
                let from: TreePath = from
                    .unwrap_or_else(|| TreePath::known(&format!("usr/share/factory/{}", line.path.as_str())));
                match self.tree.lookup(&from).map(|(_, entry)| matches!(entry.kind, Kind::File { .. })) {
                    Some(true) => self.copy(by, &from, &line.path),
                    Some(false) => Err(EffectError::NotFile { path: from }),
                    None => Ok(()),
                }
            }
            // Attributes of files are no part of an image; removal has nothing to remove.
            _ => Ok(()),
        }
    }
}

/// Reads a line; nothing for those that do not act when files are made.
fn parse(text: &str) -> Result<Option<Line>, &'static str> {
    let mut words = text.split_whitespace();
    let Some(kind) = words.next().filter(|word| !word.starts_with('#')) else { return Ok(None) };
    let mut letters = kind.chars();
    let first = letters.next().unwrap_or_default();
    // Not at the start of a machine, not from its credentials; attributes of files are no part of an image.
    if letters.clone().any(|letter| "!^".contains(letter)) || "xXrRhHtTaAZ".contains(first) {
        return Ok(None);
    }
    if !"dDvqQezfLC".contains(first)
        || letters.any(|letter| !("-=$".contains(letter) || letter == '+' && first == 'L'))
    {
        return Err("this type of line is not made here");
    }
    let mut field = || words.next().filter(|word| *word != "-");
    let path = field().ok_or("there is no path")?;
    // What a pattern would meet was made on a machine.
    if "ez".contains(first) && path.contains(['%', '*', '?', '[']) {
        return Ok(None);
    }
    if path.contains(['%', '*', '?', '[']) {
        return Err("specifiers and patterns are not filled in here");
    }
    let path = path.parse().map_err(|_| "the path is wrong")?;
    let mode = field();
    let adjusts = !mode.is_some_and(|mode| mode.contains(':'));
    let mode = mode
        .map(|mode| u32::from_str_radix(mode.trim_start_matches(['~', ':']), 8))
        .transpose()
        .map_err(|_| "the mode is wrong")?;
    let mut name = || field().map(|name| name.trim_start_matches(':'));
    let (user, group) = (name(), name());
    let owner = (user.is_some() || group.is_some())
        .then(|| format!("{}:{}", user.unwrap_or("root"), group.unwrap_or("root")));
    let _age = field();
    let argument = words.collect::<Vec<_>>().join(" ");
    if argument.contains(['%', '\\', '"']) {
        return Err("specifiers and escapes are not filled in here");
    }
    let argument = Some(argument).filter(|argument| !argument.is_empty() && argument != "-");
    Ok(Some(Line { kind: first, path, mode, owner, argument, adjusts }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = parse("d /run/nginx 0750 www-data - - -").unwrap().unwrap();
        assert_eq!((line.kind, line.path.as_str(), line.mode), ('d', "run/nginx", Some(0o750)));
        assert_eq!(line.owner.as_deref(), Some("www-data:root"));
        for nothing in ["", "# d /x", "r! /forward", "x /tmp/a", "L! /x - - - - /y", "z /run/* 1777"] {
            assert!(parse(nothing).unwrap().is_none(), "{nothing}");
        }
        for wrong in ["d", "p /x", "d /run/%u", "d /x 9", "f+ /x", "f /x - - - - a%b"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
