//! Watching from outside: every system call of the command that names a file waits until an [`Observer`] has seen it.
//!
//! The command's process adds a filter whose calls wait (`seccomp_unotify(2)`), and hands the descriptor on which they are
//! heard of to the caller. Nothing inside can leave the filter or answer for the observer. **What is not seen**: what
//! another thread changes in a path between the look and the kernel's own reading of it, so a program that wants to deceive
//! can.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStringExt as _, fs::FileExt as _},
    },
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Clock,
    error::SandboxError,
    kernel::{Answered, Waiting, answer, receive, still_waits},
    observed::{Base, Call, Names},
};

/// Longest path that Linux takes, with its end.
const PATH_LIMIT: usize = 4096;
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
    /// The root of the command, as this process reaches it, while it waits. Links in it lead elsewhere.
    pub root: &'a Path,
}

/// Something that a command cannot have here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// To reach an address, as it is written.
    Network(String),
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
        let process = Process::new(waiting.process);
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
            Call::ReadInput => {
                if self.begun && fs::read_link(process.folder.join("fd/0"))? == Path::new("/dev/null") {
                    self.observer.attempted(Attempt::Question);
                }
            }
            Call::Files(names) => self.note_files(&process, &names, waiting.id)?,
        }
        Ok(Answered::Continue)
    }

    fn note_files(&mut self, process: &Process, names: &[Names], id: u64) -> io::Result<()> {
        for Names { base, text, used } in names {
            // A path that cannot be read is an error of the call, and names nothing.
            let Some(path) = process.path(*base, *text)? else { continue };
            if !still_waits(&self.listener, id)? {
                return Ok(());
            }
            self.begun |= *used == Use::Execute;
            if self.begun {
                self.observer.accessed(&Access { path, used: *used, root: &process.root });
            }
        }
        Ok(())
    }
}

/// A process that waits, seen through `/proc`.
pub(crate) struct Process {
    folder: PathBuf,
    root: PathBuf,
}

impl Process {
    fn new(id: u32) -> Self {
        let folder = PathBuf::from(format!("/proc/{id}"));
        Self { root: folder.join("root"), folder }
    }

    /// A file of its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Its memory, to read.
    fn memory(&self) -> io::Result<File> {
        File::open(self.file("mem"))
    }

    /// The path that a call names, absolute; none if it names none.
    fn path(&self, base: Base, text: u64) -> io::Result<Option<PathBuf>> {
        let Some(bytes) = self.text(text)? else { return Ok(None) };
        if bytes.is_empty() {
            return Ok(None);
        }
        let path = PathBuf::from(OsString::from_vec(bytes));
        if path.is_absolute() {
            return Ok(Some(path));
        }
        let folder = match base {
            Base::WorkingFolder => self.file("cwd"),
            Base::Descriptor(number) => self.file(&format!("fd/{number}")),
        };
        match fs::read_link(folder) {
            Ok(folder) => Ok(Some(folder.join(path))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
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
    fn network_address(&self, address: u64, length: u64) -> io::Result<Option<String>> {
        let mut bytes = vec![0; usize::try_from(length.min(128)).unwrap_or_default()];
        if self.memory()?.read_exact_at(&mut bytes, address).is_err() {
            return Ok(None);
        }
        let family = bytes.get(..2).and_then(|family| family.try_into().ok()).map(u16::from_ne_bytes);
        let port = bytes.get(2..4).and_then(|port| port.try_into().ok()).map(u16::from_be_bytes);
        let (Some(family), Some(port)) = (family, port) else { return Ok(None) };
        let four = bytes.get(4..8).and_then(|four| <[u8; 4]>::try_from(four).ok());
        let six = bytes.get(8..24).and_then(|six| <[u8; 16]>::try_from(six).ok());
        let found = match (libc::c_int::from(family), four, six) {
            (libc::AF_INET, Some(four), _) => {
                Some(std::net::SocketAddr::from((std::net::IpAddr::from(four), port)))
            }
            (libc::AF_INET6, _, Some(six)) => {
                Some(std::net::SocketAddr::from((std::net::IpAddr::from(six), port)))
            }
            _ => None,
        };
        Ok(found.map(|address| address.to_string()))
    }

    /// Reads at most a page of its memory.
    pub(crate) fn read(&self, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.memory()?.read_exact_at(&mut bytes, address)?;
        Ok(bytes)
    }

    /// Writes to its memory.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        File::options().write(true).open(self.file("mem"))?.write_all_at(bytes, address)
    }
}
