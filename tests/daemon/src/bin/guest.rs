//! The guest verbs of the executable alone, so that these tests need no other room's command line.

use std::path::Path;

use daemon_backup::guest::{confirm, discard, install, report};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["guest", "install", folder] => install(Path::new("/proc/self/exe"), Path::new(folder))?,
        ["guest", "present"] => {}
        ["guest", "discard", paths @ ..] => discard(paths)?,
        ["guest", "confirm", partial, named] => {
            let confirmed = confirm(Path::new(partial), Path::new(named))?;
            report(&confirmed, Path::new("/dev/termination-log"))?;
        }
        _ => anyhow::bail!("unknown guest verb: {words:?}"),
    }
    Ok(())
}
