//! Other programs, each with a clear failure when it is not installed.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// Programs of the distribution that the tests run, and the package of each.
const PACKAGES: &[(&str, &str)] = &[
    ("bwrap", "bubblewrap"),
    ("cmp", "diffutils"),
    ("diff", "diffutils"),
    ("dpkg-deb", "dpkg"),
    ("faketime", "faketime"),
    ("find", "findutils"),
    ("ldconfig", "libc-bin"),
    ("losetup", "mount"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mount", "mount"),
    ("setpriv", "util-linux"),
    ("skopeo", "skopeo"),
    ("stat", "coreutils"),
    ("tar", "tar"),
    ("umoci", "umoci"),
    ("umount", "mount"),
    ("unshare", "util-linux"),
];

/// A program of the distribution.
pub fn installed(name: &str) -> Result<PathBuf> {
    let package = PACKAGES.iter().find(|(program, _)| *program == name).map_or(name, |(_, package)| package);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .with_context(|| format!("{name} is not installed: apt-get install {package}"))
}

/// A command of a program of the distribution.
pub fn system(name: &str) -> Result<Command> {
    Ok(quiet(Command::new(installed(name)?)))
}

/// A command of a program that `tests/programs/build` made. It finds no configuration of the user who runs the tests:
/// `home` is its home.
pub fn built(name: &str, home: &Path) -> Result<Command> {
    let mut command = quiet(Command::new(test_cluster::program(name)?));
    command.env("HOME", home).env_remove("XDG_CONFIG_HOME").env_remove("DOCKER_CONFIG");
    Ok(command)
}

fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null());
    command
}

/// Runs a command; success is expected. Returns standard output.
pub fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = output(command)?;
    ensure!(output.status.success(), "{command:?}: {}\n{}", output.status, all(&output));
    Ok(output.stdout)
}

/// Runs a command; failure is expected. Returns all that it said.
pub fn refused(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    ensure!(!output.status.success(), "{command:?} succeeded:\n{}", all(&output));
    Ok(all(&output))
}

/// Runs a command; an end with this exit code is expected. Returns all that it said.
pub fn refused_with(code: i32, command: &mut Command) -> Result<String> {
    let output = output(command)?;
    ensure!(output.status.code() == Some(code), "{command:?}: {}\n{}", output.status, all(&output));
    Ok(all(&output))
}

fn output(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| format!("{command:?} starts"))
}

fn all(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}
