//! What an innocent command does.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use rustix::process::Signal;

pub(crate) fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

pub(crate) fn die(number: &str) -> io::Result<()> {
    let signal = number.parse().ok().and_then(Signal::from_named_raw).ok_or(io::ErrorKind::InvalidInput)?;
    rustix::process::kill_process(rustix::process::getpid(), signal)?;
    Err(io::Error::other("still alive"))
}

pub(crate) fn write(path: &str, content: &str) -> io::Result<()> {
    Path::new(path).parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, content)
}

pub(crate) fn read(path: &str) -> io::Result<()> {
    io::stdout().write_all(&fs::read(path)?)
}

/// All that tells one machine from another, as far as it must not.
pub(crate) fn surroundings() -> io::Result<()> {
    let name = rustix::system::uname();
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    let groups: Vec<_> = rustix::process::getgroups()?.iter().map(|group| group.as_raw()).collect();
    // Groups that could not be left have no number inside.
    let known = groups.into_iter().filter(|group| *group != 65534).map(|group| group.to_string());
    let mut known: Vec<_> = known.collect();
    known.push(rustix::process::getegid().as_raw().to_string());
    known.dedup();
    let mut lines = vec![
        format!("host {}", name.nodename().to_string_lossy()),
        format!("domain {}", name.domainname().to_string_lossy()),
        format!("folder {}", std::env::current_dir()?.display()),
        format!("user {}", rustix::process::geteuid().as_raw()),
        format!("group {}", rustix::process::getegid().as_raw()),
        format!("groups {}", known.join(" ")),
        format!("mask {:03o}", mask.as_raw_mode()),
    ];
    lines.extend(std::env::vars().map(|(name, value)| format!("variable {name}={value}")));
    lines.sort();
    say(&lines.join("\n"))
}

pub(crate) fn loopback() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    listener.accept()?.0.write_all(b"x")?;
    client.read_exact(&mut [0])
}

/// What a maintainer script does.
pub(crate) fn change(folder: &str) -> io::Result<()> {
    let folder = Path::new(folder);
    fs::remove_file(folder.join("removed"))?;
    let new = folder.join("new");
    fs::write(&new, "new")?;
    let given = std::os::unix::fs::chown(&new, Some(42), Some(42));
    fs::set_permissions(&new, fs::Permissions::from_mode(0o4755))?;
    say(if given.is_ok() { "given" } else { "not given" })
}

/// Prints the time and its process id, reads a file, looks for one that is not there, and asks the network and a person.
pub(crate) fn time_and(path: &str) -> io::Result<()> {
    let time =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(io::Error::other)?;
    say(&format!("{} {}", time.as_secs(), std::process::id()))?;
    std::env::set_current_dir("/in")?;
    std::fs::read(path)?;
    if std::fs::symlink_metadata("absent").is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // Neither answers.
    std::net::TcpStream::connect("192.0.2.1:80").err();
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}
