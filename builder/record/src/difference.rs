//! What is different after a run: the folder of changes of an overlay, read beside the tree that was there before.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use builder_tree::{
    AccountFiles, Capabilities, Change, Content, Ids, Kind, Outcome, Payloads, ScriptRun, Seen, StatOverride,
    State, Tree, TreePath,
};
use registry_wire::{Digest, Hasher};

use crate::{
    RecordError,
    leavings::{ACCOUNTS, STAT_OVERRIDES, WAITING_TRIGGERS, is_dpkgs, is_left_over},
    scene::Owners,
    upper::{Found, Upper},
};

/// Contents up to this length are kept in memory.
const SMALL: u64 = 4 << 10;
/// The longest list of accounts that is read.
const LIST_LIMIT: u64 = 8 << 20;
/// The kernel gives no longer list of a file's attributes.
const ATTRIBUTES_LIMIT: usize = 64 << 10;
/// How overlayfs says that nothing of the tree below shows through.
const OPAQUE: &str = "user.overlay.opaque";

/// Whether what was in a folder before shows through. Only the outermost folder that hides it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    Shows,
    Hidden,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) changes: Vec<Change>,
    pub(crate) accounts: AccountFiles,
    /// Names of triggers that wait.
    pub(crate) triggers: Vec<String>,
    /// What dpkg was told about modes and owners.
    pub(crate) overrides: Vec<StatOverride>,
}

/// Reads the changes of one run.
pub(crate) struct Reader<'a> {
    pub(crate) run: &'a ScriptRun,
    pub(crate) before: &'a Tree,
    pub(crate) payloads: &'a Payloads,
    /// What the run was given beside the tree.
    pub(crate) props: &'a [TreePath],
    pub(crate) owners: Owners,
    /// The changed files.
    pub(crate) upper: Upper,
}

impl Reader<'_> {
    /// The accounts as they were.
    pub(crate) fn accounts_before(&self) -> Result<AccountFiles, RecordError> {
        let text = |path: &str| self.text_before(path);
        Ok(AccountFiles {
            passwd: text(ACCOUNTS[0])?,
            group: text(ACCOUNTS[1])?,
            shadow: text(ACCOUNTS[2])?,
            gshadow: text(ACCOUNTS[3])?,
        })
    }

    /// Reads all of it.
    pub(crate) fn read(&self) -> Result<Difference, RecordError> {
        let before = self.accounts_before()?;
        let text = |path: &str, before: &str| match self.upper.text(path, LIST_LIMIT) {
            Ok(Found::Text(text)) => Ok(text),
            Ok(Found::Nothing) => Ok(before.to_owned()),
            Ok(Found::Other) => {
                Err(RecordError::List { run: Box::new(self.run.clone()), path: path.to_owned() })
            }
            Err(source) => Err(self.failed(&self.upper.at(path), source)),
        };
        let accounts = AccountFiles {
            passwd: text(ACCOUNTS[0], &before.passwd)?,
            group: text(ACCOUNTS[1], &before.group)?,
            shadow: text(ACCOUNTS[2], &before.shadow)?,
            gshadow: text(ACCOUNTS[3], &before.gshadow)?,
        };
        let waiting = text(WAITING_TRIGGERS, "")?;
        let mut triggers: Vec<String> =
            waiting.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        triggers.sort();
        triggers.dedup();
        let overrides_before = self.text_before(STAT_OVERRIDES)?;
        let overrides = self.added_overrides(&overrides_before, &text(STAT_OVERRIDES, &overrides_before)?)?;
        let ids = Ids::parse(&accounts.passwd, &accounts.group);
        let mut changes = Vec::new();
        self.folder(&TreePath::root(), Below::Shows, &ids, &mut changes)?;
        changes.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(Difference { changes, accounts, triggers, overrides })
    }

    /// The lines that are new. An old one that is gone is a change of what others told dpkg.
    fn added_overrides(&self, before: &str, after: &str) -> Result<Vec<StatOverride>, RecordError> {
        let Ok(list) = STAT_OVERRIDES.parse::<TreePath>() else { return Ok(Vec::new()) };
        let changed = || RecordError::DpkgRecord { run: Box::new(self.run.clone()), path: list.clone() };
        if before.lines().any(|old| !after.lines().any(|line| line == old)) {
            return Err(changed());
        }
        let new = after.lines().filter(|line| !before.lines().any(|old| old == *line));
        new.map(|line| line.parse().map_err(|_| changed())).collect()
    }

    fn failed(&self, path: &Path, source: io::Error) -> RecordError {
        RecordError::Look { run: Box::new(self.run.clone()), path: path.to_owned(), source }
    }

    fn special(&self, path: &TreePath, what: &str) -> RecordError {
        let what = what.to_owned();
        RecordError::Special { run: Box::new(self.run.clone()), path: path.clone(), what }
    }

    fn text_before(&self, path: &str) -> Result<String, RecordError> {
        let Ok(path) = path.parse::<TreePath>() else { return Ok(String::new()) };
        let Some(Kind::File { content, .. }) = self.before.get(&path).map(|entry| &entry.kind) else {
            return Ok(String::new());
        };
        let bytes = self
            .payloads
            .read(content, LIST_LIMIT)
            .map_err(|source| RecordError::Content { path: path.clone(), source })?;
        Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    }

    fn folder(
        &self,
        folder: &TreePath,
        below: Below,
        ids: &Ids,
        changes: &mut Vec<Change>,
    ) -> Result<(), RecordError> {
        let at = self.upper.at(folder.as_str());
        let failed = |source| self.failed(&at, source);
        let mut names = Vec::new();
        for entry in fs::read_dir(&at).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let path = name.to_str().map(|name| format!("{folder}/{name}"));
            let path = path
                .and_then(|path| path.parse::<TreePath>().ok())
                .ok_or_else(|| RecordError::Name { run: Box::new(self.run.clone()), path: entry.path() })?;
            names.push(path);
        }
        names.sort();
        let below = if is_opaque(&at).map_err(failed)? { Below::Hidden } else { below };
        if below == Below::Hidden {
            let gone = self.before.below(folder).map(|(path, _)| path);
            let direct = gone.filter(|path| path.parent().as_ref() == Some(folder) && !names.contains(path));
            for path in direct.cloned().collect::<Vec<_>>() {
                self.removed(&path, changes)?;
            }
        }
        for path in names {
            if is_left_over(&path) || self.props.contains(&path) && !self.is_folder(&path) {
                continue;
            }
            self.entry(&path, below, ids, changes)?;
        }
        Ok(())
    }

    fn is_folder(&self, path: &TreePath) -> bool {
        fs::symlink_metadata(self.upper.at(path.as_str())).is_ok_and(|metadata| metadata.is_dir())
    }

    /// A path is gone, and what was below it.
    fn removed(&self, path: &TreePath, changes: &mut Vec<Change>) -> Result<(), RecordError> {
        if self.before.get(path).is_none() || is_left_over(path) {
            return Ok(());
        }
        self.emptied(path, changes)?;
        self.check_owned(path)?;
        changes.push(Change { path: path.clone(), outcome: Outcome::Removed });
        Ok(())
    }

    /// What was below a path is gone.
    fn emptied(&self, path: &TreePath, changes: &mut Vec<Change>) -> Result<(), RecordError> {
        for (path, _) in self.before.below(path) {
            self.check_owned(path)?;
            changes.push(Change { path: path.clone(), outcome: Outcome::Removed });
        }
        Ok(())
    }

    fn check_owned(&self, path: &TreePath) -> Result<(), RecordError> {
        if is_dpkgs(path) || ACCOUNTS.contains(&path.as_str()) {
            return Err(RecordError::DpkgRecord { run: Box::new(self.run.clone()), path: path.clone() });
        }
        Ok(())
    }

    fn entry(
        &self,
        path: &TreePath,
        below: Below,
        ids: &Ids,
        changes: &mut Vec<Change>,
    ) -> Result<(), RecordError> {
        let at = self.upper.at(path.as_str());
        let failed = |source| self.failed(&at, source);
        let metadata = fs::symlink_metadata(&at).map_err(failed)?;
        let kind = metadata.file_type();
        if kind.is_char_device() && metadata.rdev() == 0 {
            return self.removed(path, changes);
        }
        let before = self.before.get(path);
        let mode = metadata.permissions().mode() & 0o7777;
        let (uid, gid) = match (self.owners, before) {
            (Owners::Exact, _) => (metadata.uid(), metadata.gid()),
            // What nobody can change stays as it was.
            (Owners::Flat, Some(entry)) => (entry.uid, entry.gid),
            (Owners::Flat, None) => (0, 0),
        };
        let is_same =
            |mode: u32| before.is_some_and(|entry| (entry.mode, entry.uid, entry.gid) == (mode, uid, gid));
        let owner = ids.owner(uid, gid);
        if kind.is_dir() || kind.is_file() || kind.is_symlink() {
            self.check_attributes(path, &at)?;
        }
        if !kind.is_dir() {
            self.emptied(path, changes)?;
        }
        let mut note = |outcome| -> Result<(), RecordError> {
            self.check_owned(path)?;
            changes.push(Change { path: path.clone(), outcome });
            Ok(())
        };
        if kind.is_dir() {
            let was_folder = before.is_some_and(|entry| entry.kind == Kind::Directory);
            // The props' folders are not the script's.
            if !(was_folder && is_same(mode) || self.props.contains(path)) {
                note(Outcome::Directory { mode, owner })?;
            }
            return self.folder(path, below, ids, changes);
        }
        if kind.is_symlink() {
            let target = fs::read_link(&at).map_err(failed)?;
            let Some(target) = target.to_str().map(str::to_owned) else {
                return Err(RecordError::Name { run: Box::new(self.run.clone()), path: target });
            };
            let is_kept = before.is_some_and(|entry| {
                entry.kind == Kind::Symlink(target.clone()) && (entry.uid, entry.gid) == (uid, gid)
            });
            return if is_kept { Ok(()) } else { note(Outcome::Link { target, owner }) };
        }
        if !kind.is_file() {
            let what = if kind.is_fifo() {
                "a pipe"
            } else if kind.is_socket() {
                "a socket"
            } else {
                "a device"
            };
            return Err(self.special(path, what));
        }
        if [WAITING_TRIGGERS, STAT_OVERRIDES].contains(&path.as_str()) {
            return Ok(());
        }
        if ACCOUNTS.contains(&path.as_str()) {
            let is_kept = before.is_none() || is_same(mode);
            return if is_kept { Ok(()) } else { Err(self.special(path, "another mode or owner")) };
        }
        let content = content(&at, metadata.len()).map_err(failed)?;
        let capabilities = self.capabilities(path, &at)?;
        if is_same(mode) && self.before.capabilities(path) == capabilities && self.holds(path, &content)? {
            return Ok(());
        }
        note(Outcome::File { mode, owner, content, capabilities })
    }

    /// Whether a file held the same before.
    fn holds(&self, path: &TreePath, content: &Content) -> Result<bool, RecordError> {
        let Some(entry) = self.before.get(path) else { return Ok(false) };
        let Kind::File { content: was, .. } = &entry.kind else { return Ok(false) };
        if was.length() != content.length() {
            return Ok(false);
        }
        let mut hasher = Hasher::new();
        self.payloads
            .copy(was, &mut hasher)
            .map_err(|source| RecordError::Content { path: path.clone(), source })?;
        Ok(hasher.finish() == digest(content))
    }

    /// An image holds no attributes but capabilities. The kernel's own are overlayfs's notes, and labels of the machine's
    /// policy, which no command in a sandbox can set.
    fn check_attributes(&self, path: &TreePath, at: &Path) -> Result<(), RecordError> {
        let mut list = vec![0; ATTRIBUTES_LIMIT];
        let length = match rustix::fs::llistxattr(at, &mut list[..]) {
            Ok(length) => length,
            Err(rustix::io::Errno::OPNOTSUPP) => 0,
            Err(error) => return Err(self.failed(at, error.into())),
        };
        let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let is_commands = |name: &&[u8]| match name.strip_prefix(b"user.overlay.") {
            // Overlayfs writes those of a command so.
            Some(rest) => rest.starts_with(b"overlay."),
            None => !name.starts_with(b"security."),
        };
        match names.into_iter().find(is_commands) {
            None => Ok(()),
            Some(name) => {
                Err(self.special(path, &format!("the attribute {}", String::from_utf8_lossy(name))))
            }
        }
    }

    /// The capabilities of a changed file. Such that the tree cannot write down are refused.
    fn capabilities(&self, path: &TreePath, at: &Path) -> Result<Option<Capabilities>, RecordError> {
        let Some(value) = attribute(at, "security.capability").map_err(|source| self.failed(at, source))?
        else {
            return Ok(None);
        };
        let found = Capabilities::of_attribute(&value);
        match found.filter(|found| found.to_string().parse() == Ok(*found)) {
            Some(found) => Ok(Some(found)),
            None => Err(self.special(path, "capabilities of several kinds")),
        }
    }

    /// What is at each path that was looked at, before the run.
    pub(crate) fn states(
        &self,
        reads: impl Iterator<Item = (TreePath, Seen)>,
    ) -> Result<std::collections::BTreeMap<TreePath, State>, RecordError> {
        let state = |(path, seen): (TreePath, Seen)| {
            let state = State::of(self.before, self.payloads, &path, seen)
                .map_err(|source| RecordError::Content { path: path.clone(), source })?;
            Ok((path, state))
        };
        reads.filter(|(path, _)| !self.props.contains(path)).map(state).collect()
    }
}

/// SHA-256 of what is in a file that a run left.
pub(crate) fn digest(content: &Content) -> Digest {
    match content {
        Content::Bytes(bytes) => Digest::of(bytes),
        Content::Host { digest, .. } => *digest,
        // What a run leaves lies in no package.
        Content::Payload { package, .. } => *package,
    }
}

fn content(at: &Path, length: u64) -> io::Result<Content> {
    if length <= SMALL {
        return Ok(Content::bytes(fs::read(at)?));
    }
    let mut hasher = Hasher::new();
    io::copy(&mut fs::File::open(at)?, &mut hasher)?;
    let length = hasher.length();
    Ok(Content::Host { path: at.to_owned(), digest: hasher.finish(), length })
}

fn is_opaque(folder: &Path) -> io::Result<bool> {
    Ok(attribute(folder, OPAQUE)?.is_some_and(|value| value == b"y"))
}

/// An extended attribute of at most a few bytes; none if there is none.
fn attribute(at: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; 256];
    match rustix::fs::lgetxattr(at, name, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
