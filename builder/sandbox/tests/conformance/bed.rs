//! Running things as root and as somebody else, in both executors and in none.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use builder_sandbox::{Identity, Level, Limits, Mount, Outcome, Root, Specification};
use serde_json::Value;
use tempfile::TempDir;

use crate::scene::VARIABLE;

/// Who starts the executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Root,
    /// A user without any right, as `nobody` is.
    Somebody,
}

/// Through what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Own,
    Bubblewrap,
    /// The own one where there are no namespaces.
    Confined,
}

pub(crate) const EVERYBODY: [Who; 2] = [Who::Root, Who::Somebody];
pub(crate) const BOTH: [Which; 2] = [Which::Own, Which::Bubblewrap];
pub(crate) const SOMEBODY: u32 = 65534;

/// What a run came to.
#[derive(Debug)]
pub(crate) enum Came {
    Ran(Outcome),
    Refused { error: String, remedy: Option<String> },
}

/// A folder that everybody can read, with the program in it.
#[derive(Debug)]
pub(crate) struct Bed {
    folder: TempDir,
}

impl Bed {
    pub(crate) fn make() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests compare root with others, so root starts them"
        );
        let folder = tempfile::Builder::new().prefix("sandbox-").tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("all may look");
        let bed = Self { folder };
        fs::copy(env!("CARGO_BIN_EXE_sandbox-probe"), bed.program()).expect("the program is there");
        bed
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.path("probe")
    }

    /// A folder that belongs to `who`, new.
    pub(crate) fn folder_of(&self, who: Who) -> PathBuf {
        let made =
            tempfile::Builder::new().prefix("of-").tempdir_in(self.folder.path()).expect("a folder").keep();
        Self::give(&made, who);
        made
    }

    pub(crate) fn give(path: &Path, who: Who) {
        let id = if who == Who::Root { 0 } else { SOMEBODY };
        std::os::unix::fs::chown(path, Some(id), Some(id)).expect("root gives");
    }

    /// The program as /probe, a small /tmp, and what is told to the program.
    pub(crate) fn specification(&self, words: &[&str]) -> Specification {
        let mut specification = Specification::new("/probe");
        specification.arguments = words.iter().map(ToString::to_string).collect();
        specification.mounts = vec![
            Mount::ReadOnly { source: self.program(), target: "/probe".into() },
            Mount::Temporary { target: "/tmp".into(), bytes: 1 << 20 },
        ];
        specification.limits = Limits {
            memory: 256 << 20,
            processes: 64,
            descriptors: 64,
            file: 4 << 20,
            changes: 4 << 20,
            output: 64 << 10,
            processor: std::time::Duration::from_secs(20),
            time: std::time::Duration::from_mins(1),
        };
        specification
    }

    /// The program as `who`, outside.
    pub(crate) fn command(&self, who: Who, words: &[&str]) -> Command {
        let mut command = command_of(who, &self.program());
        command.args(words);
        command
    }

    /// The program in a user namespace that allows no other, as root of it without any capability. That is how a machine
    /// without user namespaces looks, made without touching this one.
    fn command_without_namespaces(&self, who: Who, words: &[&str]) -> Command {
        const SCRIPT: &str = "echo 0 >/proc/sys/user/max_user_namespaces && \
            exec setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all \"$@\"";
        let mut command = command_of(who, Path::new("/usr/bin/unshare"));
        command.args(["--user", "--map-root-user", "/bin/sh", "-c", SCRIPT, "sh"]);
        command.arg(self.program()).args(words);
        command
    }

    /// Starts the executor as `who`.
    pub(crate) fn start(&self, who: Who, which: Which, least: Level, what: &Specification) -> Child {
        let words = ["run", if which == Which::Bubblewrap { "bubblewrap" } else { "own" }, least.name()];
        let command = if which == Which::Confined {
            self.command_without_namespaces(who, &words)
        } else {
            self.command(who, &words)
        };
        start(command, what)
    }

    pub(crate) fn come(command: Command, what: &Specification) -> Came {
        read(&start(command, what).wait_with_output().expect("it ends"))
    }

    pub(crate) fn run(&self, who: Who, which: Which, least: Level, what: &Specification) -> Came {
        let output = self.start(who, which, least, what).wait_with_output().expect("it ends");
        read(&output)
    }

    /// The outcome of what must run, and what was seen of it, in the own executor.
    pub(crate) fn watched(
        &self,
        who: Who,
        [clock, skipped]: [&str; 2],
        what: &Specification,
    ) -> (Outcome, Vec<String>) {
        let child = start(self.command(who, &["watch", clock, skipped]), what);
        let output = child.wait_with_output().expect("it ends");
        let Came::Ran(outcome) = read(&output) else { panic!("{who:?}: {}", text(&output.stdout)) };
        let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
        (outcome, serde_json::from_value(document["seen"].clone()).expect("a list"))
    }

    /// The outcome of what must run.
    pub(crate) fn ran(&self, who: Who, which: Which, what: &Specification) -> Outcome {
        let least = if which == Which::Confined { Level::Confined } else { Level::Isolated };
        match self.run(who, which, least, what) {
            Came::Ran(outcome) => outcome,
            Came::Refused { error, .. } => panic!("{which:?} as {who:?}: {error}"),
        }
    }
}

fn start(mut command: Command, what: &Specification) -> Child {
    command.env(VARIABLE, "secret");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let text = serde_json::to_vec(what).expect("a specification is JSON");
    child.stdin.take().expect("it is piped").write_all(&text).expect("it is read");
    child
}

fn read(output: &Output) -> Came {
    let said = String::from_utf8_lossy(&output.stderr);
    let document: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    match document.get("ran") {
        Some(outcome) => Came::Ran(serde_json::from_value(outcome.clone()).expect("an outcome")),
        None => Came::Refused {
            error: document["refused"].as_str().expect("an error").to_owned(),
            remedy: document["remedy"].as_str().map(ToOwned::to_owned),
        },
    }
}

/// A program as `who`, outside.
pub(crate) fn command_of(who: Who, program: &Path) -> Command {
    if who == Who::Root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let id = SOMEBODY.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(program);
    command
}

/// What a command wrote.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

/// As the sandbox's root.
pub(crate) fn as_root(mut specification: Specification) -> Specification {
    specification.identity = Identity::Root;
    specification
}

/// In a tree that can be changed.
pub(crate) fn over(mut specification: Specification, lower: &Path, changes: &Path) -> Specification {
    specification.root = Root::Overlay { lower: lower.to_owned(), changes: changes.to_owned() };
    specification
}
