//! One package's members enter the tree.

use std::collections::BTreeSet;

use crate::{
    Content, Entry, InstallError, Kind, MemberKind, Owner, Package, PackageMember, TreePath, effect::Image,
};

use super::relation::replaces;

const NO_REPLACES: &str = "neither package declares that it replaces the other";
const NOT_OURS: &str = "merged /usr is laid out before any package, and none may change it";
const NOT_DIRECTORY: &str = "a directory and something else cannot share a path";

/// What happens to a member whose path is taken.
enum Verdict {
    Replace,
    Keep,
}

pub(super) fn unpack(image: &mut Image<'_>, package: &Package) -> Result<(), InstallError> {
    for member in &package.members {
        place(image, package, member)?;
    }
    Ok(())
}

/// Takes out what one package brought: its files, and the directories that nobody else needs.
pub(super) fn take_back(image: &mut Image<'_>, package: &Package) -> Result<(), InstallError> {
    let owner = Owner::Package(package.name.as_str().into());
    let mut directories_of_others = BTreeSet::new();
    for other in image.packages.iter().filter(|other| other.name != package.name) {
        for member in other.members.iter().filter(|member| matches!(member.kind, MemberKind::Directory)) {
            directories_of_others.insert(place_of(image, other, &member.path)?);
        }
    }
    let own = image.tree.iter().filter(|(_, entry)| entry.owner == owner);
    let own: Vec<_> = own.map(|(path, entry)| (path.clone(), entry.kind == Kind::Directory)).collect();
    // What is in a directory comes after it.
    for (path, is_directory) in own.into_iter().rev() {
        let is_needed = is_directory
            && (directories_of_others.contains(&path) || image.tree.below(&path).next().is_some());
        if !is_needed {
            image.tree.remove(&path);
        }
    }
    Ok(())
}

fn place(image: &mut Image<'_>, package: &Package, member: &PackageMember) -> Result<(), InstallError> {
    check_parents(image, package, member)?;
    let path = place_of(image, package, &member.path)?;
    if let Some(existing) = image.tree.get(&path) {
        match decide(image, package, member, &path, existing)? {
            Verdict::Keep => return Ok(()),
            Verdict::Replace => {}
        }
    }
    let owner = Owner::Package(package.name.as_str().into());
    let kind = match &member.kind {
        MemberKind::Directory => Kind::Directory,
        MemberKind::Symlink(target) => Kind::Symlink(target.clone()),
        MemberKind::File { offset, length } => {
            let content = if *length == 0 {
                Content::bytes([])
            } else {
                Content::Payload { package: package.sha256, offset: *offset, length: *length }
            };
            Kind::File { content, linked: false }
        }
        MemberKind::HardLink(first) => {
            let first = place_of(image, package, first)?;
            let missing = || InstallError::HardLink {
                package: package.name.clone(),
                path: path.clone(),
                target: first.clone(),
            };
            // A link to a file that another package replaced would tie the two together; dpkg has no such case.
            let entry =
                image.tree.get_mut(&first).filter(|entry| entry.owner == owner).ok_or_else(missing)?;
            let Kind::File { linked, .. } = &mut entry.kind else { return Err(missing()) };
            *linked = true;
            let entry = entry.clone();
            image.tree.insert(path, entry);
            return Ok(());
        }
    };
    let (uid, gid) = image.names.owner_of(&member.user, member.uid, &member.group, member.gid);
    let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { member.mode };
    image.tree.insert(path, Entry { kind, mode, uid, gid, mtime: member.mtime, owner });
    Ok(())
}

/// Where a path of this package goes: diversions of other packages first, then the links on the way.
pub(crate) fn place_of(
    image: &Image<'_>,
    package: &Package,
    path: &TreePath,
) -> Result<TreePath, InstallError> {
    let path = diverted(image, package, path);
    image
        .tree
        .resolve(path)
        .ok_or_else(|| InstallError::Links { package: package.name.clone(), path: path.clone() })
}

fn diverted<'a>(image: &'a Image<'_>, package: &Package, path: &'a TreePath) -> &'a TreePath {
    match image.diversions.get(path) {
        Some(diversion) if diversion.package != package.name => &diversion.to,
        _ => path,
    }
}

/// What is above a path must be no file: another package may have made one of what is a directory for this one.
fn check_parents(image: &Image<'_>, package: &Package, member: &PackageMember) -> Result<(), InstallError> {
    let is_directory =
        |path: &TreePath| image.tree.get(path).is_some_and(|entry| entry.kind == Kind::Directory);
    let mut above = diverted(image, package, &member.path).parent();
    while let Some(parent) = above.filter(|parent| !is_directory(parent)) {
        match image.tree.lookup(&parent) {
            Some((at, entry)) if matches!(entry.kind, Kind::File { .. }) => {
                return Err(InstallError::Conflict {
                    path: at,
                    first: entry.owner.to_string(),
                    first_kind: kind_name(&entry.kind),
                    second: package.name.clone(),
                    second_kind: member_kind_name(&member.kind),
                    rule: NOT_DIRECTORY,
                });
            }
            _ => above = parent.parent(),
        }
    }
    Ok(())
}

fn decide(
    image: &Image<'_>,
    package: &Package,
    member: &PackageMember,
    path: &TreePath,
    existing: &Entry,
) -> Result<Verdict, InstallError> {
    let is_directory = |path: &TreePath| {
        image.tree.lookup(path).is_some_and(|(_, entry)| matches!(entry.kind, Kind::Directory))
    };
    let conflict = |rule| InstallError::Conflict {
        path: path.clone(),
        first: existing.owner.to_string(),
        first_kind: kind_name(&existing.kind),
        second: package.name.clone(),
        second_kind: member_kind_name(&member.kind),
        rule,
    };
    match (&existing.kind, &member.kind) {
        // The first package that brings a directory decides about its mode; ours yield to any package.
        (Kind::Directory, MemberKind::Directory) => {
            let ours = matches!(existing.owner, Owner::Generated(_));
            Ok(if ours { Verdict::Replace } else { Verdict::Keep })
        }
        // A link to a directory stays, as dpkg has it: this is how merged /usr works.
        (Kind::Symlink(_), MemberKind::Directory) if is_directory(path) => Ok(Verdict::Keep),
        (Kind::Symlink(have), MemberKind::Symlink(want)) if have == want => {
            let ours = matches!(existing.owner, Owner::Generated(_));
            Ok(if ours { Verdict::Replace } else { Verdict::Keep })
        }
        (Kind::Directory, _) | (_, MemberKind::Directory) => Err(conflict(NOT_DIRECTORY)),
        _ => {
            let Owner::Package(name) = &existing.owner else { return Err(conflict(NOT_OURS)) };
            let Some(other) = image.package(name) else { return Err(conflict(NO_REPLACES)) };
            if other.name == package.name {
                return Err(conflict("the package brings the path twice"));
            }
            if replaces(package, other) {
                Ok(Verdict::Replace)
            } else if replaces(other, package) {
                Ok(Verdict::Keep)
            } else {
                Err(conflict(NO_REPLACES))
            }
        }
    }
}

const fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Directory => "directory",
        Kind::File { .. } => "file",
        Kind::Symlink(_) => "symbolic link",
    }
}

const fn member_kind_name(kind: &MemberKind) -> &'static str {
    match kind {
        MemberKind::Directory => "directory",
        MemberKind::File { .. } => "file",
        MemberKind::Symlink(_) => "symbolic link",
        MemberKind::HardLink(_) => "hard link",
    }
}
