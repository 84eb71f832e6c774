//! What a script looks at, followed link by link in its own root while it waits.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::Read as _,
    net::SocketAddr,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            fs::FileExt as _,
        },
    },
    path::{Component, Path, PathBuf},
};

use builder_sandbox::{Access, Attempt, Observer, Use};
use builder_tree::{HostNames, Seen, TreePath};
use rustix::fs::FileType;

use crate::rooted::{look, open_file};

/// Links that are followed at most, as Linux does.
const LINK_LIMIT: usize = 40;
/// Interpreters that start one another at most, as Linux does.
const INTERPRETER_LIMIT: usize = 5;
/// How much of a program is read to see what starts it.
const HEAD: usize = 4 << 10;
/// Folders that are not the tree's.
const FOREIGN: [&str; 4] = ["dev", "proc", "sys", "tmp"];
/// How many bytes the list of paths may have in a file, about; that of a whole image has a few megabytes. Above it nothing is
/// noted any more.
pub(crate) const NOTED_LIMIT: usize = 24 << 20;
/// What a path has there beside its own bytes: what was there, as a hash.
const NOTE: usize = 100;
/// A program whose purpose it is to start services.
const STARTER: &str = "start-stop-daemon";
/// Scripts that start services.
const STARTERS: &str = "/etc/init.d";

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    /// Paths of the tree, and how each was looked at.
    pub(crate) reads: BTreeMap<TreePath, Seen>,
    /// How many bytes the list of these would have.
    pub(crate) noted: usize,
    /// The first address that was asked for.
    pub(crate) network: Option<SocketAddr>,
    /// Whether somebody was asked for the name of a host.
    pub(crate) host_names: HostNames,
    /// How often somebody was asked.
    pub(crate) questions: usize,
    /// What was started to start a service.
    pub(crate) service: Option<String>,
    /// A path that no tree has.
    pub(crate) nameless: Option<PathBuf>,
}

impl Observer for Watcher {
    fn accessed(&mut self, access: &Access<'_>) {
        self.follow(access.root.as_fd(), &access.path, access.used, 0);
    }

    fn attempted(&mut self, attempt: Attempt) {
        match attempt {
            Attempt::Network(address) if is_name_server(address) => self.host_names = HostNames::Unanswered,
            Attempt::Network(address) => {
                self.network.get_or_insert(address);
            }
            Attempt::Question => self.questions += 1,
        }
    }
}

impl Watcher {
    /// Follows a path; all that decides where it leads is noted.
    fn follow(&mut self, root: BorrowedFd<'_>, path: &Path, used: Use, depth: usize) {
        let follows_last = !matches!(used, Use::LookAtLink | Use::ReadNoLink);
        let mut pending: Vec<OsString> = parts(path);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = pending.pop() {
            if part == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&part);
            if at == Path::new("/") && FOREIGN.iter().any(|foreign| part == *foreign) {
                return;
            }
            let is_last = pending.is_empty();
            let found = look(root, &next).and_then(|found| {
                let kind = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode);
                Ok((found, kind))
            });
            let Ok((found, kind)) = found else {
                self.note_absent(&next);
                return;
            };
            if kind == FileType::Symlink && (!is_last || follows_last) {
                self.note(&next, Seen::There);
                links += 1;
                let Ok(target) = rustix::fs::readlinkat(&found, "", Vec::new()) else { return };
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if links > LINK_LIMIT {
                    return;
                }
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                pending.extend(parts(&target));
                continue;
            }
            if !is_last && kind != FileType::Directory {
                self.note(&next, Seen::There);
                return;
            }
            at = next;
        }
        let is_inside = matches!(used, Use::Read | Use::ReadNoLink);
        self.note(&at, if is_inside { Seen::Inside } else { Seen::There });
        if used == Use::Execute {
            self.start(root, &at, depth);
        }
    }

    /// A name that no tree can have, such as one with line ends, is absent in each: that it was looked for says nothing.
    fn note_absent(&mut self, path: &Path) {
        if tree_path(path).is_some() {
            self.note(path, Seen::There);
        }
    }

    fn note(&mut self, path: &Path, seen: Seen) {
        let text = tree_path(path);
        if self.noted > NOTED_LIMIT {
            return;
        }
        match text {
            Some(path) => {
                if !self.reads.contains_key(&path) {
                    self.noted += path.as_str().len() + NOTE;
                }
                let known = self.reads.entry(path).or_insert(seen);
                *known = seen.max(*known);
            }
            None => {
                self.nameless.get_or_insert_with(|| path.to_owned());
            }
        }
    }

    /// The kernel reads a program's interpreter by itself.
    fn start(&mut self, root: BorrowedFd<'_>, path: &Path, depth: usize) {
        if path.file_name().is_some_and(|name| name == STARTER) || path.parent() == Some(Path::new(STARTERS))
        {
            self.service.get_or_insert_with(|| path.display().to_string());
        }
        let interpreter = open_file(root, path).ok().flatten().and_then(|file| interpreter(&file));
        if let Some(interpreter) = interpreter.filter(|_| depth < INTERPRETER_LIMIT) {
            self.follow(root, &interpreter, Use::Execute, depth + 1);
        }
    }
}

fn tree_path(path: &Path) -> Option<TreePath> {
    path.to_str()?.parse().ok()
}

/// Where the C library asks for names when no file says where (`resolv.conf(5)`). In a sandbox nobody is there.
fn is_name_server(address: SocketAddr) -> bool {
    address.ip().is_loopback() && address.port() == 53
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(part).collect()
}

/// The program that starts a program: the one of its first line, or the loader of its libraries.
fn interpreter(file: &File) -> Option<PathBuf> {
    let mut head = Vec::new();
    file.take(HEAD as u64).read_to_end(&mut head).ok()?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        return words.next().map(|word| std::ffi::OsStr::from_bytes(word).into());
    }
    // ELF of 64 bits, least byte first (elf(5)).
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = head.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    };
    let place = |number: u64| usize::try_from(number).ok();
    let (table, size, count) = (place(number(32, 8)?)?, place(number(54, 2)?)?, place(number(56, 2)?)?);
    let row = (0..count).map(|row| table + row * size).find(|row| number(*row, 4) == Some(3))?;
    let (offset, length) = (number(row + 8, 8)?, place(number(row + 32, 8)?)?);
    let mut text = vec![0; length.min(HEAD)];
    file.read_exact_at(&mut text, offset).ok()?;
    let text = text.split(|byte| *byte == 0).next()?;
    Some(std::ffi::OsStr::from_bytes(text).into())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rustix::fs::{CWD, Mode};

    use super::*;

    fn seen(watcher: &Watcher) -> Vec<String> {
        watcher.reads.iter().map(|(path, seen)| format!("{path} {seen:?}")).collect()
    }

    #[test]
    fn all_that_decides_where_a_path_leads_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        symlink("/etc/alternatives/awk", root.join("usr/bin/awk")).unwrap();
        fs::create_dir_all(root.join("etc/alternatives")).unwrap();
        symlink("../../bin/mawk", root.join("etc/alternatives/awk")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        fs::write(root.join("usr/bin/mawk"), "#! /usr/bin/sh -e\n").unwrap();
        for (path, used, expected) in [
            (
                "/bin/awk",
                Use::Execute,
                &[
                    "/bin There",
                    "/etc/alternatives/awk There",
                    "/usr/bin/awk There",
                    "/usr/bin/mawk There",
                    "/usr/bin/sh There",
                ][..],
            ),
            ("/bin/awk", Use::LookAtLink, &["/bin There", "/usr/bin/awk There"]),
            ("/bin", Use::Read, &["/bin There", "/usr/bin Inside"]),
            ("/bin/../bin/./x/y", Use::Read, &["/bin There", "/usr/bin/x There"]),
            ("/usr/bin/mawk/x", Use::Look, &["/usr/bin/mawk There"]),
            ("/loop", Use::Look, &["/loop There"]),
            ("/usr/bin/one\ntwo", Use::Look, &[]),
            ("/proc/self/maps", Use::Read, &[]),
            ("/", Use::Look, &["/ There"]),
        ] {
            let mut watcher = Watcher::default();
            watcher.follow(File::open(root).unwrap().as_fd(), Path::new(path), used, 0);
            assert_eq!(seen(&watcher), expected, "{path}");
            assert_eq!(watcher.nameless, None, "{path}");
        }
        // One that is there is something else.
        fs::write(root.join("one\ntwo"), "").unwrap();
        let mut watcher = Watcher::default();
        watcher.follow(File::open(root).unwrap().as_fd(), Path::new("/one\ntwo"), Use::Look, 0);
        assert_eq!(watcher.nameless.as_deref(), Some(Path::new("/one\ntwo")));
    }

    #[test]
    fn only_a_name_server_of_nobody_is_asked_for_names() {
        for (address, network, host_names) in [
            ("127.0.0.1:53", false, HostNames::Unanswered),
            ("[::1]:53", false, HostNames::Unanswered),
            ("127.0.0.1:80", true, HostNames::NotAsked),
            ("192.0.2.1:53", true, HostNames::NotAsked),
        ] {
            let mut watcher = Watcher::default();
            watcher.attempted(Attempt::Network(address.parse().unwrap()));
            assert_eq!((watcher.network.is_some(), watcher.host_names), (network, host_names), "{address}");
        }
    }

    #[test]
    fn nothing_leads_out_and_nothing_waits() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("bin")).unwrap();
        // Outside, a program names another one.
        fs::write(folder.path().join("outside"), "#!/outside-shell\n").unwrap();
        symlink(folder.path().join("outside"), root.join("bin/link")).unwrap();
        symlink("../../outside", root.join("bin/up")).unwrap();
        rustix::fs::mknodat(CWD, root.join("bin/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let opened = File::open(&root).unwrap();
        for path in ["/bin/link", "/bin/up", "/../outside", "/bin/pipe"] {
            let mut watcher = Watcher::default();
            watcher.follow(opened.as_fd(), Path::new(path), Use::Execute, 0);
            assert!(!watcher.reads.keys().any(|path| path.as_str() == "outside-shell"), "{path}");
            // What the walk took for a folder is a link by the time it is opened.
            assert!(open_file(&opened, Path::new(path)).ok().flatten().is_none(), "{path}");
        }
    }

    #[test]
    fn the_list_has_an_end() {
        let mut watcher = Watcher::default();
        for number in 0..NOTED_LIMIT / NOTE {
            watcher.note(Path::new(&format!("/{}", number / 2)), Seen::There);
        }
        assert!(watcher.noted <= NOTED_LIMIT, "each counts once");
        for number in 0..NOTED_LIMIT / NOTE {
            watcher.note(Path::new(&format!("/x{number}")), Seen::There);
        }
        assert!(watcher.noted > NOTED_LIMIT);
        let count = watcher.reads.len();
        watcher.note(Path::new("/more"), Seen::There);
        assert_eq!(watcher.reads.len(), count);
    }

    #[test]
    fn a_program_has_a_loader() {
        let Ok(file) = File::open("/usr/bin/env") else { panic!("every system has it") };
        let loader = interpreter(&file).unwrap();
        assert!(loader.display().to_string().contains("/ld-linux"), "{}", loader.display());
    }
}
