//! A recording is carried out again.

use std::collections::BTreeMap;

use super::{Change, Outcome, Recording, Recordings, ScriptName, ScriptRun, State, told};
use crate::{
    ChangedRead, Content, EffectError, Entry, InstallError, Kind, Owner, Package, Payloads, Tree, TreePath,
    effect::Image,
};

/// What recordings left at a path, and whose. Nothing that comes later may undo it.
pub(crate) type Left = BTreeMap<TreePath, (ScriptRun, Option<Entry>)>;

impl Recordings {
    /// The recording that holds for a script in the tree that is there before it.
    pub(crate) fn find(
        &self,
        run: &ScriptRun,
        before: &Tree,
        payloads: &Payloads,
    ) -> Result<&Recording, InstallError> {
        let named: Vec<&Recording> =
            self.of(&run.package).iter().filter(|one| one.run.name == run.name).collect();
        let Some(first) = named.first() else {
            return Err(InstallError::NotRecorded { run: Box::new(run.clone()) });
        };
        let here: Vec<&Recording> =
            named.iter().copied().filter(|one| one.run.architecture == run.architecture).collect();
        let Some(first_here) = here.first() else {
            let recorded = first.run.architecture.clone();
            return Err(InstallError::OtherArchitecture { run: Box::new(run.clone()), recorded });
        };
        let of_script: Vec<&Recording> =
            here.iter().copied().filter(|one| one.run.script == run.script).collect();
        let Some(same) = of_script.first() else {
            let recorded = first_here.run.script;
            return Err(InstallError::ScriptChanged { run: Box::new(run.clone()), recorded });
        };
        let of_arguments: Vec<&Recording> =
            of_script.iter().copied().filter(|one| one.run.arguments == run.arguments).collect();
        if of_arguments.is_empty() {
            let recorded = told(&same.run.arguments);
            return Err(InstallError::ArgumentsChanged { run: Box::new(run.clone()), recorded });
        }
        let mut nearest: Option<(usize, InstallError)> = None;
        let mut found: Option<&Recording> = None;
        for recording in of_arguments {
            let (mut count, mut first) = (0, None);
            for (path, was) in &recording.reads {
                let is = State::of(before, payloads, path, was.seen()).map_err(|source| {
                    let source = EffectError::Payload { path: path.clone(), source };
                    InstallError::Effect { package: run.package.clone(), script: run.name.as_str(), source }
                })?;
                let link = link_before(before, recording, path);
                if is != *was || link.is_some() {
                    count += 1;
                    first.get_or_insert((path, was, is, link));
                }
            }
            let Some((path, was, is, link)) = first else {
                match found {
                    Some(other) if !other.is_same_outcome(recording) => {
                        return Err(InstallError::Ambiguous { run: Box::new(run.clone()) });
                    }
                    _ => found = Some(recording),
                }
                continue;
            };
            if nearest.as_ref().is_none_or(|(least, _)| count < *least) {
                let change = ChangedRead { path: path.clone(), was: was.clone(), is, link, more: count - 1 };
                let (run, change) = (Box::new(run.clone()), Box::new(change));
                nearest = Some((count, InstallError::ReadChanged { run, change }));
            }
        }
        let none = || InstallError::NotRecorded { run: Box::new(run.clone()) };
        found.ok_or_else(|| nearest.map_or_else(none, |(_, error)| error))
    }
}

/// The link on the way to a path that was looked at where there was none: the script would be led elsewhere. One that the
/// script itself looked at, and then put something else in place of, is compared as such.
fn link_before(before: &Tree, recording: &Recording, path: &TreePath) -> Option<TreePath> {
    let above = std::iter::successors(path.parent(), TreePath::parent);
    let mut links =
        above.filter(|above| before.get(above).is_some_and(|entry| matches!(entry.kind, Kind::Symlink(_))));
    links.find(|link| !matches!(recording.reads.get(link), Some(State::Link(_))))
}

impl Image<'_> {
    /// Does again what a script did.
    pub(crate) fn replay(&mut self, package: &Package, recording: &Recording) -> Result<(), EffectError> {
        self.recorded.insert(package.name.clone());
        for verb in recording.accounts.verbs() {
            self.carry_out_verb(package, verb)?;
        }
        let owner = Owner::Generated(package.name.as_str().into());
        let is_removed = |change: &&Change| matches!(change.outcome, Outcome::Removed);
        // What is in a directory goes before it.
        for change in recording.changes.iter().rev().filter(is_removed) {
            self.tree.remove(&change.path);
        }
        // What its package brings is unpacked over what a preinst left there; a directory that is there stays as it is.
        let unpacked = Owner::Package(package.name.as_str().into());
        let is_covered = |tree: &Tree, path: &TreePath| {
            let brought = tree.get(path).filter(|entry| entry.owner == unpacked);
            recording.run.name == ScriptName::Preinst
                && brought.is_some_and(|entry| entry.kind != Kind::Directory)
        };
        for change in recording.changes.iter().filter(|change| !is_removed(change)) {
            if !is_covered(&self.tree, &change.path) {
                self.change(&owner, change)?;
            } else if package.has_conffile(&change.path) {
                // Which of the two stays dpkg asks a person.
                return Err(EffectError::Taken { path: change.path.clone() });
            }
        }
        for line in &recording.overrides {
            let (uid, gid) = self.numbers(&line.owner.replace('#', ""))?;
            // What a package's preinst says is there when dpkg unpacks it.
            if recording.run.name == ScriptName::Preinst
                && let Some(entry) = self.tree.get_mut(&line.path).filter(|entry| entry.owner == unpacked)
            {
                (entry.mode, entry.uid, entry.gid) = (line.mode, uid, gid);
            }
            self.overrides.push(line.clone());
        }
        for change in &recording.changes {
            let left = (recording.run.clone(), self.tree.get(&change.path).cloned());
            self.left.insert(change.path.clone(), left);
        }
        Ok(())
    }

    fn change(&mut self, by: &Owner, change: &Change) -> Result<(), EffectError> {
        let path = &change.path;
        let (kind, mode, owner, capabilities) = match &change.outcome {
            Outcome::Removed => return Ok(()),
            Outcome::Directory { mode, owner } => (Kind::Directory, *mode, owner.as_str(), None),
            Outcome::File { mode, owner, content, capabilities } => {
                let content = if content.length() == 0 { Content::bytes([]) } else { content.clone() };
                (Kind::File { content, linked: false }, *mode, owner.as_str(), *capabilities)
            }
            Outcome::Link { target, owner } => (Kind::Symlink(target.clone()), 0o777, owner.as_str(), None),
        };
        let taken = || EffectError::Taken { path: path.clone() };
        let parent = path.parent().ok_or_else(taken)?;
        // A recording names places, not ways that lead there.
        if self.tree.follow(&parent).is_none_or(|at| at != parent) {
            return Err(EffectError::Links { path: path.clone() });
        }
        let there = self.tree.get(path);
        let is_directory = |kind: &Kind| *kind == Kind::Directory;
        if there.is_some_and(|there| is_directory(&there.kind) != is_directory(&kind))
            && self.tree.below(path).next().is_some()
        {
            return Err(taken());
        }
        // A directory of a package stays the package's, whatever its mode is now.
        let by = match there {
            Some(there) if is_directory(&kind) && is_directory(&there.kind) => there.owner.clone(),
            _ => by.clone(),
        };
        let (uid, gid) = self.numbers(owner)?;
        let mtime = self.options.epoch;
        self.tree.insert(path.clone(), Entry { kind, mode, uid, gid, mtime, owner: by });
        if let Some(capabilities) = capabilities {
            self.tree.set_capabilities(path, capabilities);
        }
        Ok(())
    }

    /// The numeric form of `user:group`, where either may be a number.
    fn numbers(&self, owner: &str) -> Result<(u32, u32), EffectError> {
        let unknown = |kind, name: &str| EffectError::UnknownName { kind, name: name.to_owned() };
        let (user, group) = owner.split_once(':').ok_or_else(|| unknown("user", owner))?;
        let uid = self.names.user(user).or_else(|| user.parse().ok()).ok_or_else(|| unknown("user", user))?;
        let gid = self.names.group(group).or_else(|| group.parse().ok());
        Ok((uid, gid.ok_or_else(|| unknown("group", group))?))
    }

    /// Whether all that recordings left is still there, once everything else is done.
    pub(crate) fn check_left(&self) -> Result<(), InstallError> {
        for (path, (run, left)) in &self.left {
            let is = self.tree.get(path);
            let same = |left: &Entry, is: &Entry| {
                (&left.kind, left.mode, left.uid, left.gid) == (&is.kind, is.mode, is.uid, is.gid)
            };
            let holds = match (left, is) {
                (None, None) => true,
                (Some(left), Some(is)) => same(left, is),
                _ => false,
            };
            if !holds {
                let by = is.map_or_else(|| "nobody".into(), |entry| entry.owner.to_string().into());
                return Err(InstallError::Undone { run: Box::new(run.clone()), path: path.clone(), by });
            }
        }
        Ok(())
    }
}
