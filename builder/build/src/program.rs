//! Whether an image can start its process: a name that was mistyped, or a script whose shell was left out, would be
//! found out in a cluster only.

use builder_image::Process;
use builder_tree::{Entry, Kind, PayloadError, Payloads, Tree, TreePath};

/// No script is longer; only scripts are read.
const SCRIPT_LIMIT: u64 = 1 << 20;

/// Why the process of an image would not start.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is no such file.
    #[error("it starts {program}, which is not in it")]
    Missing {
        /// The program, as the recipe names it.
        program: String,
        /// Programs of the same name elsewhere.
        elsewhere: Vec<TreePath>,
    },
    /// What is there is no program that its user may run.
    #[error("it starts {program}, and {path} there is {what}")]
    NotExecutable {
        /// The program, as the recipe names it.
        program: String,
        /// Where that leads to.
        path: TreePath,
        /// What is there.
        what: String,
    },
    /// A script without what runs it.
    #[error("it starts {program}, a script for {}, which is not in it", interpreter.escape_default())]
    Interpreter {
        /// The program, as the recipe names it.
        program: String,
        /// What the first line of the script names.
        interpreter: String,
    },
    /// The program cannot be read.
    #[error("{program}, which it starts, cannot be read")]
    Read {
        /// The program, as the recipe names it.
        program: String,
        /// What is wrong.
        source: PayloadError,
    },
}

impl ProgramError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { elsewhere, .. } if !elsewhere.is_empty() => {
                let paths: Vec<String> = elsewhere.iter().map(ToString::to_string).collect();
                format!("it has {}", paths.join(" and "))
            }
            Self::Missing { .. } => "correct the name, or add the file or the package that has it".to_owned(),
            Self::NotExecutable { .. } => {
                "name another; a file of the recipe may be run where it may be on this machine: chmod +x"
                    .to_owned()
            }
            Self::Interpreter { interpreter, .. } if interpreter.ends_with('\r') => {
                "save it with the line ends of Unix: its first line ends in a carriage return".to_owned()
            }
            Self::Interpreter { interpreter, .. } => {
                format!("add the package that has {interpreter}, or start what runs it by its own name")
            }
            Self::Read { .. } => "build once more".to_owned(),
        }
    }
}

/// Makes sure that the first word of a command is a program that the image's user may run, and that what runs it is there
/// where it is a script. Looks things up as `execve(2)` and the container runtimes do.
pub(crate) fn ensure_starts(
    tree: &Tree,
    payloads: &Payloads,
    process: &Process,
    program: &str,
) -> Result<(), ProgramError> {
    let told = || program.to_owned();
    let (path, entry) = find(tree, process, program)
        .ok_or_else(|| ProgramError::Missing { program: told(), elsewhere: same_name(tree, program) })?;
    let unfit = |what: String| ProgramError::NotExecutable { program: told(), path: path.clone(), what };
    let Kind::File { content, .. } = &entry.kind else { return Err(unfit("no file".to_owned())) };
    if !may_run(entry, &process.user) {
        return Err(unfit(format!("a file of mode {:04o} that its user may not run", entry.mode)));
    }
    let text = payloads
        .read(content, SCRIPT_LIMIT)
        .map_err(|source| ProgramError::Read { program: told(), source })?;
    let missing = text.as_deref().and_then(interpreters).and_then(|needed| {
        let is_missing = |name: &&str| find(tree, process, name).is_none();
        needed.into_iter().find(is_missing).map(ToOwned::to_owned)
    });
    match missing {
        Some(interpreter) => Err(ProgramError::Interpreter { program: told(), interpreter }),
        None => Ok(()),
    }
}

/// What a script needs to be run: the program of its first line, and what `env` looks for if that is it.
fn interpreters(text: &[u8]) -> Option<Vec<&str>> {
    let line = text.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    // A carriage return of an editor is a part of the name, as it is for Linux.
    let mut words = std::str::from_utf8(line).ok()?.split([' ', '\t']).filter(|word| !word.is_empty());
    let interpreter = words.next()?;
    let mut needed = vec![interpreter];
    if interpreter.ends_with("/env") {
        needed.extend(words.find(|word| !word.starts_with('-') && !word.contains('=')));
    }
    Some(needed)
}

/// The entry that a name leads to: on the path if it has no slash, else from the working directory.
fn find<'a>(tree: &'a Tree, process: &Process, name: &str) -> Option<(TreePath, &'a Entry)> {
    let look = |folder: &str| {
        let whole = [folder, name].join("/");
        let components: Vec<&str> = whole.split('/').filter(|part| !["", "."].contains(part)).collect();
        tree.lookup(&["/", &components.join("/")].concat().parse().ok()?)
    };
    if name.starts_with('/') {
        return look("");
    }
    if name.contains('/') {
        return look(process.working_directory.as_deref().unwrap_or_default());
    }
    process.environment.get("PATH")?.split(':').find_map(look)
}

/// Whether `user`, as `uid:gid`, may run it.
fn may_run(entry: &Entry, user: &str) -> bool {
    let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
    let bits = if uid == "0" {
        0o111
    } else if uid == entry.uid.to_string() {
        0o100
    } else if gid == entry.gid.to_string() {
        0o010
    } else {
        0o001
    };
    entry.mode & bits != 0
}

/// Programs with the same last component, a few.
fn same_name(tree: &Tree, program: &str) -> Vec<TreePath> {
    const SHOWN: usize = 3;
    let name = program.rsplit('/').next().unwrap_or(program);
    let is_same = |(path, entry): &(&TreePath, &Entry)| {
        path.name() == name
            && entry.mode & 0o111 != 0
            && matches!(entry.kind, Kind::File { .. } | Kind::Symlink(_))
    };
    tree.iter().filter(is_same).map(|(path, _)| path.clone()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use builder_tree::{Content, Owner};

    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::new(1);
        let mut put = |path: &str, kind, mode, uid| {
            let entry = Entry { kind, mode, uid, gid: uid, mtime: 1, owner: Owner::Source };
            tree.insert(path.parse().unwrap(), entry);
        };
        let file =
            |text: &str| Kind::File { content: Content::bytes(text.as_bytes().to_vec()), linked: false };
        put("/bin", Kind::Symlink("usr/bin".to_owned()), 0o777, 0);
        put("/usr/bin/node", file("\x7fELF"), 0o755, 0);
        put("/usr/bin/nodejs", Kind::Symlink("node".to_owned()), 0o777, 0);
        put("/usr/bin/env", file("\x7fELF"), 0o755, 0);
        put("/app/serve", file("#!/usr/bin/env -S node --x\n"), 0o755, 0);
        put("/app/shell", file("#!/bin/sh -e\n"), 0o755, 0);
        put("/app/ruby", file("#!/usr/bin/env ruby\n"), 0o755, 0);
        put("/app/windows", file("#!/usr/bin/node\r\n"), 0o755, 0);
        put("/app/plain", file("x"), 0o644, 0);
        put("/app/roots", file("x"), 0o744, 0);
        put("/app/own", file("x"), 0o700, 999);
        tree
    }

    fn start(program: &str) -> Result<(), String> {
        let process = Process {
            user: "999:999".to_owned(),
            ports: BTreeSet::new(),
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin".to_owned())]),
            entrypoint: Vec::new(),
            arguments: Vec::new(),
            working_directory: Some("/app".to_owned()),
        };
        ensure_starts(&tree(), &Payloads::new(), &process, program)
            .map_err(|error| format!("{error}; {}", error.hint()))
    }

    #[test]
    fn what_starts() {
        for program in ["/usr/bin/node", "/bin/node", "nodejs", "./serve", "/app/serve", "/app/own"] {
            assert_eq!(start(program), Ok(()), "{program}");
        }
    }

    #[test]
    fn what_does_not() {
        let cases = [
            ("/usr/bin/nod", "/usr/bin/nod, which is not in it; correct the name"),
            ("/usr/local/bin/node", "which is not in it; it has /usr/bin/node"),
            ("serve", "which is not in it; it has /app/serve"),
            ("/app", "/app there is no file"),
            ("/app/plain", "is a file of mode 0644 that its user may not run"),
            ("/app/roots", "is a file of mode 0744 that its user may not run"),
            ("/app/shell", "a script for /bin/sh, which is not in it"),
            ("/app/windows", "a script for /usr/bin/node\\r, which is not in it; save it"),
            ("/app/ruby", "a script for ruby, which is not in it"),
        ];
        for (program, expected) in cases {
            let error = start(program).unwrap_err();
            assert!(error.contains(expected), "{program}: {error}");
        }
    }
}
