//! Attempts to talk to somebody.

use std::{
    ffi::CStr,
    io,
    net::{SocketAddr, TcpStream, UdpSocket},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr as LocalAddress, UnixStream},
    },
    time::Duration,
};

use super::{check, number};

const PATIENCE: Duration = Duration::from_secs(3);

/// A greeting that a listener of the test sends.
fn greeted(mut stream: impl io::Read) -> io::Result<()> {
    stream.read_exact(&mut [0; 5])
}

pub(crate) fn tcp(address: &str) -> io::Result<()> {
    let address: SocketAddr = number(address)?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    greeted(stream)
}

/// To somebody who waits for the first word.
pub(crate) fn connect(address: &str) -> io::Result<()> {
    TcpStream::connect_timeout(&number(address)?, PATIENCE).map(drop)
}

pub(crate) fn udp(address: &str) -> io::Result<()> {
    let address: SocketAddr = number(address)?;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(address)?;
    socket.send(b"hello")?;
    socket.recv(&mut [0; 5]).map(drop)
}

pub(crate) fn open(family: i32, kind: i32, protocol: i32) -> io::Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::socket(family, kind, protocol) }.into()).map(drop)
}

/// Whether there is another device than loopback.
pub(crate) fn interfaces() -> io::Result<()> {
    // SAFETY: the list ends with index 0, and its names are C strings; it is not freed, since the program ends.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    for place in 0.. {
        // SAFETY: as above.
        let entry = unsafe { &*list.add(place) };
        if entry.if_index == 0 {
            break;
        }
        // SAFETY: as above.
        if unsafe { CStr::from_ptr(entry.if_name) } != c"lo" {
            return Ok(());
        }
    }
    Err(io::Error::other("only lo"))
}

pub(crate) fn abstract_socket(name: &str) -> io::Result<()> {
    greeted(UnixStream::connect_addr(&LocalAddress::from_abstract_name(name)?)?)
}

pub(crate) fn path_socket(path: &str) -> io::Result<()> {
    greeted(UnixStream::connect(path)?)
}
