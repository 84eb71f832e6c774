//! The sandbox's `/`: built of mounts that belong nowhere until they are put in their place, so that no path of the
//! machine is walked twice and none of the sandbox's is followed through a symbolic link.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
        UnmountFlags,
    },
};

use super::{OfStep as _, Stop, confinement::DEVICES, namespaces, owners::Owners};
use crate::{
    kernel::{MountAttributes, change_mount},
    specification::{self, Mount, Specification},
};

/// How much the root itself holds: mount points and links.
const ROOT_BYTES: u64 = 4 << 20;
/// How much `/dev/shm` holds.
const SHARED_MEMORY_BYTES: u64 = 256 << 20;

/// No set-user-id, no devices: holds for all of the sandbox.
const TAME: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
const READ_ONLY: MountAttrFlags = TAME.union(MountAttrFlags::MOUNT_ATTR_RDONLY);
/// A device's own mount: it cannot be replaced, and executes nothing.
const DEVICE: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// A root that is being built.
#[derive(Debug)]
pub(crate) struct Root<'a> {
    specification: &'a Specification,
    owners: &'a Owners,
    sources: Option<Sources>,
}

/// Mounts of what comes from the machine.
#[derive(Debug)]
struct Sources {
    /// In the order of the specification; none for what does not come from the machine.
    mounts: Vec<Option<OwnedFd>>,
    devices: Vec<(&'static str, OwnedFd)>,
    /// The lower tree and the folder of changes.
    overlay: Option<[OwnedFd; 2]>,
}

impl<'a> Root<'a> {
    /// Nothing is built yet.
    pub(crate) const fn new(specification: &'a Specification, owners: &'a Owners) -> Self {
        Self { specification, owners, sources: None }
    }

    /// Without a root of its own a command sees inputs only where they are.
    pub(crate) fn check_is_possible_without_namespaces(specification: &Specification) -> Result<(), Stop> {
        let needs = |path: &Path| {
            Err(io::Error::from(Errno::OPNOTSUPP))
                .of_step_on("have a root of its own, without which there is no", path)
        };
        if specification.root != specification::Root::Empty {
            return needs(Path::new("overlay"));
        }
        for mount in &specification.mounts {
            match mount {
                Mount::ReadOnly { source, target } | Mount::Writable { source, target }
                    if source == target => {}
                other => return needs(other.target()),
            }
        }
        Ok(())
    }

    /// Opens what comes from the machine.
    pub(crate) fn open_sources(&mut self) -> Result<(), Stop> {
        let mut mounts = Vec::new();
        for mount in &self.specification.mounts {
            mounts.push(match mount {
                Mount::ReadOnly { source, .. } => Some(self.open_source(source, READ_ONLY)?),
                Mount::Writable { source, .. } => Some(self.open_source(source, TAME)?),
                Mount::Temporary { .. } | Mount::Link { .. } => None,
            });
        }
        let mut devices = Vec::new();
        for name in DEVICES {
            let path = Path::new("/dev").join(name);
            let device = open_tree(&path, OpenTreeFlags::empty()).of_step_on("open", &path)?;
            set(&device, DEVICE, None, false).of_step_on("restrict", &path)?;
            devices.push((name, device));
        }
        let overlay = match &self.specification.root {
            specification::Root::Empty => None,
            specification::Root::Overlay { lower, changes } => {
                Some([self.open_source(lower, READ_ONLY)?, self.open_source(changes, TAME)?])
            }
        };
        self.sources = Some(Sources { mounts, devices, overlay });
        Ok(())
    }

    fn open_source(&self, path: &Path, attributes: MountAttrFlags) -> Result<OwnedFd, Stop> {
        let (tree, recursive) = match open_tree(path, OpenTreeFlags::empty()) {
            Ok(tree) => (tree, false),
            // What the machine has mounted below it cannot be left out by who is not root.
            Err(Errno::INVAL) => {
                (open_tree(path, OpenTreeFlags::AT_RECURSIVE).of_step_on("open", path)?, true)
            }
            Err(error) => return Err(error).of_step_on("open", path),
        };
        let owners = self.owners.of_inputs();
        match set(&tree, attributes, owners, recursive) {
            // The file system knows no maps: inputs can be read as others read them, and nothing can be written.
            Err(error)
                if owners.is_some()
                    && error.raw_os_error() == Some(libc::EINVAL)
                    && attributes.contains(READ_ONLY) =>
            {
                set(&tree, attributes, None, recursive).of_step_on("restrict", path)?;
            }
            result => result.of_step_on("restrict", path)?,
        }
        Ok(tree)
    }

    /// Makes the sandbox's root this process's.
    pub(crate) fn build(mut self) -> Result<(), Stop> {
        if self.sources.is_none() {
            self.open_sources()?;
        }
        let Some(sources) = self.sources.take() else { return Err(Stop::Over) };
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).of_step("make mounts private")?;
        let stage = memory(ROOT_BYTES, 0o755)?;
        let all = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&stage, "", CWD, "/", all).of_step("mount the root")?;
        let root = match sources.overlay {
            None => stage.try_clone().of_step("keep the root")?,
            Some(layers) => overlay(&stage, layers)?,
        };
        let root = root.as_fd();
        self.fill(root, sources.mounts)?;
        devices(root, sources.devices)?;
        processes(root)?;
        if self.specification.root == specification::Root::Empty {
            set(root, READ_ONLY, None, false).of_step("close the root")?;
        }
        rustix::process::fchdir(root).of_step("enter the root")?;
        // The old root comes to lie on the new one (pivot_root(2)) and is taken off it.
        rustix::process::pivot_root(".", ".").of_step("change the root")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).of_step("leave the machine's root")?;
        rustix::process::chdir("/").of_step("enter the root")
    }

    fn fill(&self, root: BorrowedFd<'_>, opened: Vec<Option<OwnedFd>>) -> Result<(), Stop> {
        for (mount, opened) in self.specification.mounts.iter().zip(opened) {
            let target = mount.target();
            match (mount, opened) {
                (Mount::Link { text, .. }, _) => link(root, target, text)?,
                (Mount::Temporary { bytes, .. }, _) => {
                    put(&memory(*bytes, 0o1777)?, &place(root, target, Kind::Folder)?, target)?;
                }
                (Mount::ReadOnly { .. } | Mount::Writable { .. }, Some(tree)) => {
                    let kind = Kind::of(&tree).of_step_on("look at", target)?;
                    put(&tree, &place(root, target, kind)?, target)?;
                }
                (Mount::ReadOnly { .. } | Mount::Writable { .. }, None) => return Err(Stop::Over),
            }
        }
        Ok(())
    }
}

fn open_tree(path: &Path, more: OpenTreeFlags) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | more;
    rustix::mount::open_tree(CWD, path, flags)
}

fn set(
    mount: impl AsFd,
    set: MountAttrFlags,
    owners: Option<BorrowedFd<'_>>,
    recursive: bool,
) -> io::Result<()> {
    change_mount(mount, MountAttributes { set, owners, recursive })
}

/// A new file system in memory.
fn memory(bytes: u64, mode: u32) -> Result<OwnedFd, Stop> {
    const ACTION: &str = "make a file system in memory";
    let system = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).of_step(ACTION)?;
    let system = system.as_fd();
    rustix::mount::fsconfig_set_string(system, "size", bytes.to_string()).of_step(ACTION)?;
    rustix::mount::fsconfig_set_string(system, "mode", format!("{mode:o}")).of_step(ACTION)?;
    rustix::mount::fsconfig_create(system).of_step(ACTION)?;
    rustix::mount::fsmount(system, FsMountFlags::FSMOUNT_CLOEXEC, TAME).of_step(ACTION)
}

/// Lays changes over a tree. Both come to lie on the stage, which is out of reach once the root is changed.
fn overlay(stage: &OwnedFd, [lower, changes]: [OwnedFd; 2]) -> Result<OwnedFd, Stop> {
    const ACTION: &str = "lay changes over the tree";
    let stage = stage.as_fd();
    for (name, tree) in [("lower", &lower), ("changes", &changes)] {
        put(tree, &place(stage, Path::new(name), Kind::Folder)?, Path::new(name))?;
    }
    for name in ["upper", "work"] {
        place(changes.as_fd(), Path::new(name), Kind::Folder)?;
    }
    let system = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).of_step(ACTION)?;
    let system = system.as_fd();
    // The stage covers the machine's root, but paths still begin below it.
    rustix::process::fchdir(stage).of_step(ACTION)?;
    for (key, value) in [("lowerdir", "lower"), ("upperdir", "changes/upper"), ("workdir", "changes/work")] {
        rustix::mount::fsconfig_set_string(system, key, value).of_step_on(ACTION, Path::new(value))?;
    }
    rustix::mount::fsconfig_set_flag(system, "userxattr").of_step(ACTION)?;
    rustix::mount::fsconfig_create(system).of_step(ACTION)?;
    let root = rustix::mount::fsmount(system, FsMountFlags::FSMOUNT_CLOEXEC, TAME).of_step(ACTION)?;
    let path = Path::new("root");
    put(&root, &place(stage, path, Kind::Folder)?, path)?;
    Ok(root)
}

/// `/dev`: what every program may use, and nothing of the machine's.
fn devices(root: BorrowedFd<'_>, devices: Vec<(&'static str, OwnedFd)>) -> Result<(), Stop> {
    let folder = Path::new("/dev");
    let system = memory(ROOT_BYTES, 0o755)?;
    put(&system, &place(root, folder, Kind::Folder)?, folder)?;
    for (name, device) in devices {
        let target = folder.join(name);
        put(&device, &place(root, &target, Kind::File)?, &target)?;
    }
    let links = [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")];
    for (name, text) in links {
        link(root, &folder.join(name), Path::new(text))?;
    }
    let shared = folder.join("shm");
    put(&memory(SHARED_MEMORY_BYTES, 0o1777)?, &place(root, &shared, Kind::Folder)?, &shared)?;
    set(&system, READ_ONLY, None, false).of_step_on("close", folder)
}

/// `/proc`: processes of the sandbox and nothing about the machine.
fn processes(root: BorrowedFd<'_>) -> Result<(), Stop> {
    let folder = Path::new("/proc");
    let action = "mount";
    let system = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).of_step_on(action, folder)?;
    let system = system.as_fd();
    rustix::mount::fsconfig_set_string(system, "subset", "pid").of_step_on(action, folder)?;
    rustix::mount::fsconfig_create(system).of_step_on(action, folder)?;
    let attributes = READ_ONLY | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mounted = match rustix::mount::fsmount(system, FsMountFlags::FSMOUNT_CLOEXEC, attributes) {
        Err(Errno::PERM) => return Err(Stop::Unavailable(namespaces::masked())),
        mounted => mounted.of_step_on(action, folder)?,
    };
    put(&mounted, &place(root, folder, Kind::Folder)?, folder)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
}

impl Kind {
    fn of(tree: &OwnedFd) -> Result<Self, Errno> {
        let is_folder = FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode) == FileType::Directory;
        Ok(if is_folder { Self::Folder } else { Self::File })
    }
}

fn put(tree: &OwnedFd, place: &OwnedFd, target: &Path) -> Result<(), Stop> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", place, "", flags).of_step_on("mount", target)
}

/// The names of a path inside, which has neither `.` nor `..`.
fn names(target: &Path) -> Result<Vec<PathBuf>, Stop> {
    let mut names = Vec::new();
    for component in target.components() {
        match component {
            Component::RootDir => {}
            Component::Normal(name) => names.push(PathBuf::from(name)),
            Component::Prefix(_) | Component::CurDir | Component::ParentDir => {
                return Err(io::Error::from(Errno::INVAL)).of_step_on("make a place at", target);
            }
        }
    }
    Ok(names)
}

/// Opens a file or folder inside, and makes it and its folders if they are not there. No symbolic link is followed.
fn place(root: BorrowedFd<'_>, target: &Path, kind: Kind) -> Result<OwnedFd, Stop> {
    const ACTION: &str = "make a place at";
    let names = names(target)?;
    let mut at = root.try_clone_to_owned().of_step_on(ACTION, target)?;
    for (index, name) in names.iter().enumerate() {
        let is_folder = index + 1 < names.len() || kind == Kind::Folder;
        let made = if is_folder {
            rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755))
        } else {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&at, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        };
        match made {
            // A read-only file system says so before it looks whether the name is there.
            Ok(()) | Err(Errno::EXIST | Errno::ROFS) => {}
            Err(error) => return Err(error).of_step_on(ACTION, target),
        }
        let mut flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        flags.set(OFlags::DIRECTORY, is_folder);
        let next = rustix::fs::openat(&at, name, flags, Mode::empty()).of_step_on(ACTION, target)?;
        if !is_folder && Kind::of(&next).of_step_on(ACTION, target)? == Kind::Folder {
            return Err(Errno::ISDIR).of_step_on(ACTION, target);
        }
        at = next;
    }
    Ok(at)
}

fn link(root: BorrowedFd<'_>, target: &Path, text: &Path) -> Result<(), Stop> {
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(Errno::INVAL).of_step_on("link", target);
    };
    let folder = place(root, folder, Kind::Folder)?;
    rustix::fs::symlinkat(text, &folder, name).of_step_on("link", target)
}
