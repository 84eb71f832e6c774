//! The registry that `bundle up` leaves running.

use std::{io::Read as _, net::TcpStream, process::Command};

use rustix::fs::{OFlags, fcntl_setfl};

use crate::{session::silent_address, shop::Shop};

#[test]
fn a_caller_sees_the_end_of_its_pipe_while_the_registry_lives() {
    let shop = Shop::locked();
    let session = &shop.session;
    let (mut reader, writer) = std::io::pipe().unwrap();
    let up = session.command(["--json", "up", "shop", "--listen", &silent_address()]);
    // The shell leaves the pipe open to the command as descriptor 7 as well.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exec \"$@\" 7>&1", "sh"]).arg(up.get_program()).args(up.get_args()).env_clear();
    for (name, value) in up.get_envs() {
        shell.env(name, value.unwrap());
    }
    let status = shell.current_dir(session.path("work")).stdout(writer).status().unwrap();
    assert!(status.success());
    // Our own end of the pipe was in the command.
    drop(shell);
    fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("the registry holds the pipe open");
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    let address = document["registry"].as_str().unwrap();
    assert!(TcpStream::connect(address).is_ok(), "the registry lives");
    assert_eq!(session.json("down")["stopped"], true);
}

#[test]
fn the_second_time_there_is_nothing_to_do() {
    let shop = Shop::locked();
    let session = &shop.session;
    let first = session.json(&format!("up shop --listen {}", silent_address()));
    assert_eq!(first["changed"], true);
    // With the private keys gone only what needs none can succeed.
    for key in ["root", "release", "channel"] {
        std::fs::remove_file(session.path(&format!("home/keys/shop/{key}.key"))).unwrap();
    }
    let second = session.json("up shop");
    assert_eq!((&second["changed"], &second["bytesSent"]), (&false.into(), &0.into()));
    assert_eq!((&second["release"], &second["record"]), (&first["release"], &1.into()));
}
