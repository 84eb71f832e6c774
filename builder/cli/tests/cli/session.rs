//! A person at a terminal: a folder, a home, and the executable.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// The password of all keys.
pub(crate) const PASSWORD: &str = "correct horse";

/// A folder of its own with nothing of this machine's user.
pub(crate) struct Session {
    folder: tempfile::TempDir,
}

impl Session {
    pub(crate) fn new() -> Self {
        let session = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(session.path("work")).unwrap();
        session
    }

    /// A path below the folder of the session, which is not where commands run.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// A file where commands run.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path("work").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Reads a file where commands run.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path("work").join(path)).unwrap()
    }

    /// A command that runs in the work folder and knows only what a test gives it.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bundle"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.folder.path())
            .env("BUNDLE_HOME", self.path("home"))
            .env("BUNDLE_PASSWORD", PASSWORD)
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command line; words are parted by spaces. Shows exit code, standard output and standard error, with what
    /// differs from run to run left out.
    pub(crate) fn run(&self, line: &str) -> String {
        self.show(self.command(line.split_whitespace()))
    }

    /// The same for a command that was changed.
    pub(crate) fn show(&self, mut command: Command) -> String {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let mut shown = match status.code() {
            Some(0) => String::new(),
            Some(code) => format!("exit {code}\n"),
            None => panic!("{command:?}: {status}"),
        };
        shown.push_str(&String::from_utf8(stdout).unwrap());
        shown.push_str(&String::from_utf8(stderr).unwrap());
        self.steady(&shown)
    }

    /// Runs a command line that must succeed; returns its document.
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        let mut command = self.command(["--json"]);
        let Output { status, stdout, stderr } = command.args(line.split_whitespace()).output().unwrap();
        assert!(status.success(), "{line}: {status}\n{}", String::from_utf8_lossy(&stderr));
        serde_json::from_slice(&stdout).unwrap()
    }

    /// Leaves out the folder of the session.
    fn steady(&self, text: &str) -> String {
        text.replace(self.folder.path().to_str().unwrap(), "[FOLDER]")
    }
}

/// A registry that runs until the test ends.
pub(crate) struct Serving {
    process: Child,
    /// Nobody reads on, but the registry may write.
    _log: BufReader<ChildStderr>,
    /// Where it listens.
    pub(crate) address: String,
}

impl Serving {
    /// Starts one with its data below `root`.
    pub(crate) fn start(session: &Session, root: &Path) -> Self {
        let mut command = session.command(["registry", "serve", "--address", "127.0.0.1:0", "--root"]);
        let mut process = command.arg(root).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").and_then(|rest| rest.split_once(',')).unwrap().0;
        Self { address: address.to_owned(), process, _log: log }
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(&mut self) {
        let id = Pid::from_child(&self.process);
        kill_process(id, Signal::TERM).unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // After `stop` there is nobody to end.
        drop(self.process.kill().and_then(|()| self.process.wait()));
    }
}

/// A port that nobody listens on: it was given to us and closed.
pub(crate) fn silent_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Runs assertions with what is new in each run left out of snapshots.
pub(crate) fn with_filters(assertions: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("sha256:[0-9a-f]{64}", "sha256:[DIGEST]");
    settings.add_filter("sha256/[0-9a-f]{64}", "sha256/[HEX]");
    settings.add_filter("kept-[0-9a-f]{64}", "kept-[HEX]");
    settings.add_filter("[0-9A-Za-z+/]{43}=", "[KEY]");
    settings.add_filter(r"127\.0\.0\.1:[0-9]+", "[REGISTRY]");
    settings.add_filter(r"\b[0-9]+\.[0-9]+ s\b", "[TIME]");
    settings.add_filter(r"[0-9]+(\.[0-9])? k?B\b", "[SIZE]");
    settings.add_filter(r"\b20[0-9-]{8}T[0-9:.]+Z", "[INSTANT]");
    settings.bind(assertions);
}
