//! Watching from outside: every system call of the command that names a file waits until an [`Observer`] has seen it.
//!
//! The command's process adds a filter whose calls wait (`seccomp_unotify(2)`), and hands the descriptor on which they are
//! heard of to the caller. Nothing inside can leave the filter or answer for the observer. **What is not seen**: what
//! another thread changes in a path between the look and the kernel's own reading of it, so a program that wants to deceive
//! can.

use std::{
    cell::OnceCell,
    ffi::OsString,
    fs::{self, File},
    io,
    net::{IpAddr, SocketAddr},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStringExt as _, fs::FileExt as _},
    },
    path::{Path, PathBuf},
};

use libc::c_int;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Clock,
    error::SandboxError,
    kernel::{Answered, Waiting, answer, receive, still_waits},
    observed::{Base, Call, Names},
};

/// Longest path that Linux takes, with its end.
const PATH_LIMIT: usize = 4096;
/// Where a process finds links to what is its own, and where they are in its folder.
const OWN_FOLDERS: [(&str, &str); 3] = [("/proc/self", ""), ("/proc/thread-self", ""), ("/dev/fd", "fd")];
/// Pages are read one by one: the next may not be there.
const PAGE: u64 = 4096;

/// What a command does with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Asks whether it is there and what it is; links are followed to the end.
    Look,
    /// The same, about the link itself if it is one; makes, renames or removes it.
    LookAtLink,
    /// Reads what is in it, or lists it.
    Read,
    /// The same, if it is no link.
    ReadNoLink,
    /// Starts it.
    Execute,
}

/// One use of one path.
#[derive(Debug, Clone)]
pub struct Access<'a> {
    /// The path inside, absolute, as the command wrote it.
    pub path: PathBuf,
    /// What it does with it.
    pub used: Use,
    /// The root of the command: a place to begin, which cannot be read. Its links are the command's, so they lead
    /// elsewhere, and may change at any time.
    pub root: &'a OwnedFd,
}

/// Something that a command cannot have here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// To reach an address.
    Network(SocketAddr),
    /// To read what a person types.
    Question,
}

/// How a command is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// The time that its clock shows and goes on showing, in seconds since 1970.
    pub clock: u64,
    /// How many process ids are used up before its own.
    pub skipped_processes: u32,
}

/// Sees what a command does, while it waits.
pub trait Observer {
    /// It uses a path.
    fn accessed(&mut self, access: &Access<'_>);

    /// It wants what it cannot have.
    fn attempted(&mut self, attempt: Attempt);
}

/// Hears of the calls of one command.
pub(crate) struct Listening<'a> {
    listener: OwnedFd,
    observer: &'a mut dyn Observer,
    clock: Clock,
    /// Before the command begins the calls are the helper's.
    begun: bool,
}

impl<'a> Listening<'a> {
    pub(crate) fn new(listener: OwnedFd, observer: &'a mut dyn Observer, watch: Watch) -> Self {
        Self { listener, observer, clock: Clock::new(watch.clock), begun: false }
    }

    pub(crate) const fn listener(&self) -> &OwnedFd {
        &self.listener
    }

    /// Takes note of the next call, and lets it go.
    pub(crate) fn hear(&mut self) -> Result<(), SandboxError> {
        let Some(waiting) = receive(&self.listener).map_err(SandboxError::Observe)? else { return Ok(()) };
        let answered = match self.note(&waiting) {
            Ok(answered) => answered,
            // Its process was killed while one looked.
            Err(_) if !still_waits(&self.listener, waiting.id).map_err(SandboxError::Observe)? => {
                return Ok(());
            }
            Err(error) => return Err(SandboxError::Observe(error)),
        };
        answer(&self.listener, waiting.id, answered).map_err(SandboxError::Observe)
    }

    fn note(&mut self, waiting: &Waiting) -> io::Result<Answered> {
        let process = Process::new(&self.listener, waiting);
        if let Some(answered) = self.clock.tell(waiting, &process)? {
            return Ok(answered);
        }
        let Some(call) = Call::of(waiting) else { return Ok(Answered::Continue) };
        match call {
            Call::Connect { address, length } => {
                if let Some(address) = process.network_address(address, length)? {
                    self.observer.attempted(Attempt::Network(address));
                }
            }
            Call::Send(messages) => {
                for message in messages {
                    if let Some(address) = process.address_of(message)? {
                        self.observer.attempted(Attempt::Network(address));
                    }
                }
            }
            Call::ReadInput => {
                // Who has closed it asks nobody.
                if self.begun && process.link("fd/0")?.is_some_and(|file| file == Path::new("/dev/null")) {
                    self.observer.attempted(Attempt::Question);
                }
            }
            Call::Files(names) => {
                for Names { base, text, used } in names {
                    // A path that cannot be read is an error of the call, and names nothing.
                    let Some(path) = process.path(base, text, used)? else { continue };
                    self.begun |= used == Use::Execute;
                    if self.begun {
                        self.observer.accessed(&Access { path, used, root: process.root()? });
                    }
                }
            }
        }
        Ok(Answered::Continue)
    }
}

/// A process that waits, seen through `/proc`. Its number may be another's once it waits no more, so after whatever is
/// opened or read under that number one asks whether it still does.
pub(crate) struct Process<'a> {
    listener: &'a OwnedFd,
    /// Which call it waits in.
    id: u64,
    folder: PathBuf,
    memory: OnceCell<File>,
    root: OnceCell<OwnedFd>,
}

impl<'a> Process<'a> {
    fn new(listener: &'a OwnedFd, waiting: &Waiting) -> Self {
        let folder = PathBuf::from(format!("/proc/{}", waiting.process));
        Self { listener, id: waiting.id, folder, memory: OnceCell::new(), root: OnceCell::new() }
    }

    /// What was just opened or read is this process's; an error if that is not sure.
    fn sure<T>(&self, found: T) -> io::Result<T> {
        if still_waits(self.listener, self.id)? { Ok(found) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// A list that the kernel makes of it.
    pub(crate) fn list(&self, name: &str) -> io::Result<String> {
        let text = fs::read_to_string(self.folder.join(name))?;
        self.sure(text)
    }

    /// Where a link of its folder leads; none if there is no such link.
    fn link(&self, name: &str) -> io::Result<Option<PathBuf>> {
        match fs::read_link(self.folder.join(name)) {
            Ok(target) => self.sure(Some(target)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.sure(None),
            Err(error) => Err(error),
        }
    }

    /// Its memory.
    fn memory(&self) -> io::Result<&File> {
        if self.memory.get().is_none() {
            let memory = File::options().read(true).write(true).open(self.folder.join("mem"))?;
            let memory = self.sure(memory)?;
            return Ok(self.memory.get_or_init(|| memory));
        }
        self.memory.get().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Its root.
    fn root(&self) -> io::Result<&OwnedFd> {
        if self.root.get().is_none() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::open(self.folder.join("root"), flags, Mode::empty())?;
            let root = self.sure(root)?;
            return Ok(self.root.get_or_init(|| root));
        }
        self.root.get().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The path that a call names, absolute; none if it names none.
    fn path(&self, base: Base, text: u64, used: Use) -> io::Result<Option<PathBuf>> {
        let Some(bytes) = self.text(text)? else { return Ok(None) };
        if bytes.is_empty() {
            // What is open was named when it was opened; a program is read once more.
            return match (base, used) {
                (Base::Descriptor(number), Use::Execute) => self.opened(number),
                _ => Ok(None),
            };
        }
        let path = PathBuf::from(OsString::from_vec(bytes));
        if path.is_absolute() {
            return self.through_own_links(path).map(Some);
        }
        let folder = match base {
            Base::WorkingFolder => self.link("cwd")?,
            Base::Descriptor(number) => self.link(&format!("fd/{number}"))?,
        };
        Ok(folder.map(|folder| folder.join(path)))
    }

    /// The path of what a descriptor stands for, if it has one.
    fn opened(&self, descriptor: c_int) -> io::Result<Option<PathBuf>> {
        Ok(self.link(&format!("fd/{descriptor}"))?.filter(|path| path.is_absolute()))
    }

    /// A path that begins at a link by which the kernel shows a process what is its own, from where that leads.
    fn through_own_links(&self, path: PathBuf) -> io::Result<PathBuf> {
        let own = OWN_FOLDERS.iter().find_map(|(folder, inner)| {
            path.strip_prefix(folder).ok().map(|rest| Path::new(inner).join(rest))
        });
        let Some(own) = own else { return Ok(path) };
        let mut parts = own.components();
        let target = match parts.next().and_then(|part| part.as_os_str().to_str()) {
            Some(name @ ("cwd" | "exe" | "root")) => self.link(name)?,
            Some("fd") => match parts.next().and_then(|part| part.as_os_str().to_str()?.parse().ok()) {
                Some(number) => self.opened(number)?,
                None => None,
            },
            _ => None,
        };
        Ok(target.map_or(path, |target| target.join(parts.as_path())))
    }

    /// The address of a network that a message is for.
    fn address_of(&self, message: u64) -> io::Result<Option<SocketAddr>> {
        // A `msghdr` begins with the place of the address and its length. What cannot be read is an error of the call.
        let Ok(head) = self.read(message, 12) else { return Ok(None) };
        let (place, length) = head.split_at(8);
        let (Ok(place), Ok(length)) = (place.try_into(), length.try_into()) else { return Ok(None) };
        self.network_address(u64::from_ne_bytes(place), u32::from_ne_bytes(length).into())
    }

    /// The bytes up to a zero; none if there is no memory or no end.
    fn text(&self, address: u64) -> io::Result<Option<Vec<u8>>> {
        let memory = self.memory()?;
        let mut bytes = Vec::new();
        let mut at = address;
        while bytes.len() < PATH_LIMIT {
            let mut page = vec![0; usize::try_from(PAGE - at % PAGE).unwrap_or_default()];
            match memory.read_exact_at(&mut page, at) {
                Ok(()) => {}
                // No memory there: the call fails with EFAULT.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EIO | libc::EFAULT)) => {
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
            if let Some(end) = page.iter().position(|byte| *byte == 0) {
                bytes.extend_from_slice(&page[..end]);
                return Ok(Some(bytes));
            }
            at += page.len() as u64;
            bytes.extend(page);
        }
        Ok(None)
    }

    /// The address of another machine that a call names, or of this one's network.
    fn network_address(&self, address: u64, length: u64) -> io::Result<Option<SocketAddr>> {
        let mut bytes = vec![0; usize::try_from(length.min(128)).unwrap_or_default()];
        if self.memory()?.read_exact_at(&mut bytes, address).is_err() {
            return Ok(None);
        }
        let family = bytes.get(..2).and_then(|family| family.try_into().ok()).map(u16::from_ne_bytes);
        let port = bytes.get(2..4).and_then(|port| port.try_into().ok()).map(u16::from_be_bytes);
        let (Some(family), Some(port)) = (family, port) else { return Ok(None) };
        let four = bytes.get(4..8).and_then(|four| <[u8; 4]>::try_from(four).ok());
        let six = bytes.get(8..24).and_then(|six| <[u8; 16]>::try_from(six).ok());
        Ok(match (libc::c_int::from(family), four, six) {
            (libc::AF_INET, Some(four), _) => Some((IpAddr::from(four), port).into()),
            (libc::AF_INET6, _, Some(six)) => Some((IpAddr::from(six), port).into()),
            _ => None,
        })
    }

    /// Reads at most a page of its memory.
    pub(crate) fn read(&self, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.memory()?.read_exact_at(&mut bytes, address)?;
        Ok(bytes)
    }

    /// Writes to its memory.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory()?.write_all_at(bytes, address)
    }
}
