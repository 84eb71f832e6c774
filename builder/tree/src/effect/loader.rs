//! What ldconfig would find (ldconfig(8)): the shared libraries of the directories that the loader searches.

use std::collections::BTreeMap;

use super::{EffectError, Image, architecture::MULTIARCH, loader_cache};
use crate::{Content, Kind, Owner, PayloadError, Payloads, TreePath};

/// Longest program header table and dynamic section that are read.
const TABLE_LIMIT: u64 = 1 << 16;
/// Depth to which configurations may include others.
const INCLUDE_LIMIT: usize = 4;

impl Image<'_> {
    pub(super) fn write_loader_cache(&mut self) -> Result<(), EffectError> {
        let owner = Owner::Generated("ldconfig".into());
        let mut libraries = Vec::new();
        let mut seen = Vec::new();
        for directory in self.library_directories()? {
            let text = directory.to_string();
            let Some(real) = self.tree.follow(&directory) else { continue };
            if seen.contains(&real) {
                continue;
            }
            for (name, flags) in self.libraries_of(&real)? {
                let path = real.child(&name);
                if self.tree.get(&path).is_none() {
                    continue;
                }
                libraries.push(loader_cache::Library { path: format!("{text}/{name}"), name, flags });
            }
            seen.push(real);
        }
        let bytes = loader_cache::encode(libraries);
        self.write(&owner, &TreePath::known("etc/ld.so.cache"), bytes, 0o644)
    }

    /// The configured directories in their order, then those that are always searched.
    fn library_directories(&self) -> Result<Vec<TreePath>, EffectError> {
        let mut directories = Vec::new();
        let main = TreePath::known("etc/ld.so.conf");
        if self.is_file(&main) {
            self.read_configuration(&main, &mut directories, 0)?;
        } else {
            // Without libc-bin there is no main configuration; Debian's consists of this one line.
            self.include("/etc/ld.so.conf.d/*.conf", &mut directories, 0)?;
        }
        for (architecture, triplet) in MULTIARCH {
            if self.packages.iter().any(|package| package.architecture.as_str() == architecture) {
                directories.push(TreePath::known(&format!("lib/{triplet}")));
                directories.push(TreePath::known(&format!("usr/lib/{triplet}")));
            }
        }
        directories.push(TreePath::known("lib"));
        directories.push(TreePath::known("usr/lib"));
        Ok(directories)
    }

    fn read_configuration(
        &self,
        path: &TreePath,
        directories: &mut Vec<TreePath>,
        depth: usize,
    ) -> Result<(), EffectError> {
        for line in self.text(path)?.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            match line.split_once(char::is_whitespace) {
                Some(("include", pattern)) => self.include(pattern.trim(), directories, depth)?,
                _ if line.is_empty() => {}
                _ => {
                    let form = |_| EffectError::Form {
                        path: path.clone(),
                        reason: format!("{line} is no directory"),
                    };
                    directories.push(line.parse().map_err(form)?);
                }
            }
        }
        Ok(())
    }

    /// Patterns have one `*`, in the name of the file.
    fn include(
        &self,
        pattern: &str,
        directories: &mut Vec<TreePath>,
        depth: usize,
    ) -> Result<(), EffectError> {
        if depth >= INCLUDE_LIMIT {
            return Ok(());
        }
        let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        let Ok(folder) = folder.parse::<TreePath>() else { return Ok(()) };
        let (prefix, suffix) = name.split_once('*').unwrap_or((name, ""));
        let paths: Vec<TreePath> = self
            .tree
            .below(&folder)
            .filter(|(path, _)| {
                path.parent().as_ref() == Some(&folder)
                    && path.name().starts_with(prefix)
                    && path.name().ends_with(suffix)
            })
            .map(|(path, _)| path.clone())
            .collect();
        paths.iter().try_for_each(|path| self.read_configuration(path, directories, depth + 1))
    }

    /// Names under which programs ask for the libraries directly in `directory`.
    fn libraries_of(&self, directory: &TreePath) -> Result<BTreeMap<String, u32>, EffectError> {
        let mut found = BTreeMap::new();
        for (path, entry) in self.tree.below(directory) {
            let name = path.name();
            let is_candidate = (name.starts_with("lib") || name.starts_with("ld-")) && name.contains(".so");
            if !is_candidate || path.parent().as_ref() != Some(directory) {
                continue;
            }
            let is_link = matches!(entry.kind, Kind::Symlink(_));
            let Some((_, target)) = self.tree.lookup(path) else { continue };
            let Kind::File { content, .. } = &target.kind else { continue };
            let library = shared_library(self.payloads, content)
                .map_err(|source| EffectError::Payload { path: path.clone(), source })?;
            let Some(library) = library else { continue };
            let soname = library.soname.unwrap_or_else(|| name.to_owned());
            // A link under another name is for the linker of a compiler, not for the loader.
            if !is_link || soname == name {
                found.insert(soname, library.flags);
            }
        }
        Ok(found)
    }
}

struct SharedLibrary {
    soname: Option<String>,
    flags: u32,
}

/// Reads a range of a content; nothing if it does not lie inside.
fn range(
    payloads: &Payloads,
    content: &Content,
    offset: u64,
    length: u64,
) -> Result<Option<Vec<u8>>, PayloadError> {
    if length > TABLE_LIMIT || offset.checked_add(length).is_none_or(|end| end > content.length()) {
        return Ok(None);
    }
    payloads.range(content, offset, length).map(Some)
}

/// Reads the name and kind of a shared library of 64 bits, little end first; nothing if it is something else.
fn shared_library(payloads: &Payloads, content: &Content) -> Result<Option<SharedLibrary>, PayloadError> {
    const SHARED: u64 = 3;
    const LOAD: u64 = 1;
    const DYNAMIC: u64 = 2;
    const SONAME: u64 = 14;
    const STRINGS: u64 = 5;
    let Some(header) = range(payloads, content, 0, 64)? else { return Ok(None) };
    if !header.starts_with(b"\x7fELF\x02\x01") || number(&header, 16, 2) != SHARED {
        return Ok(None);
    }
    let Some(flags) = loader_cache::flags_of_machine(number(&header, 18, 2)) else { return Ok(None) };
    let (table, size, count) = (number(&header, 32, 8), number(&header, 54, 2), number(&header, 56, 2));
    let Some(segments) = range(payloads, content, table, size * count)? else { return Ok(None) };
    if size < 56 {
        return Ok(None);
    }
    let mut loads = Vec::new();
    let mut dynamic = None;
    for segment in segments.chunks_exact(usize::try_from(size).unwrap_or(56)) {
        let place = (number(segment, 8, 8), number(segment, 16, 8), number(segment, 32, 8));
        match number(segment, 0, 4) {
            LOAD => loads.push(place),
            DYNAMIC => dynamic = Some(place),
            _ => {}
        }
    }
    let Some((offset, _, length)) = dynamic else { return Ok(None) };
    let Some(dynamic) = range(payloads, content, offset, length)? else { return Ok(None) };
    let value = |tag: u64| {
        dynamic
            .chunks_exact(16)
            .take_while(|entry| number(entry, 0, 8) != 0)
            .find(|entry| number(entry, 0, 8) == tag)
            .map(|entry| number(entry, 8, 8))
    };
    let (Some(name), Some(strings)) = (value(SONAME), value(STRINGS)) else {
        return Ok(Some(SharedLibrary { soname: None, flags }));
    };
    let Some(at) = loads
        .iter()
        .find(|(_, address, size)| (*address..address + size).contains(&strings))
        .map(|(offset, address, _)| strings - address + offset + name)
    else {
        return Ok(None);
    };
    let length = content.length().saturating_sub(at).min(256);
    let Some(text) = range(payloads, content, at, length)? else { return Ok(None) };
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let soname = std::str::from_utf8(text).ok().filter(|text| !text.is_empty() && !text.contains('/'));
    Ok(soname.map(|soname| SharedLibrary { soname: Some(soname.to_owned()), flags }))
}

fn number(bytes: &[u8], offset: usize, length: usize) -> u64 {
    bytes[offset..offset + length].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
