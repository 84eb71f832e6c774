//! The second executor: the program `bwrap` makes namespaces and root, and the helper the other walls inside them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    channel::{Action, Stage},
    error::SandboxError,
    executor::{Executor, Outcome},
    level::{Level, Reached},
    own::{conclude, order},
    session::{Helper, converse},
    specification::{HOST_NAME, Identity, Mount, Root, Specification},
};

/// Where the helper is inside. A command could start it, and would get what it has already.
const HELPER: &str = "/dev/.helper";

/// Runs commands through bubblewrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bubblewrap {
    program: PathBuf,
    helper: Helper,
}

impl Bubblewrap {
    /// Runs `program`, which is bubblewrap, and `helper` inside it.
    pub const fn new(program: PathBuf, helper: Helper) -> Self {
        Self { program, helper }
    }

    fn carry_out(
        &self,
        specification: &Specification,
        minimum: Level,
        action: Action,
    ) -> Result<Outcome, SandboxError> {
        let order = order(specification, minimum, action, Stage::Inside)?;
        let command = self.command(specification)?;
        conclude(converse(command, &order, None)?, minimum)
    }

    fn command(&self, specification: &Specification) -> Result<Command, SandboxError> {
        if specification.root != Root::Empty {
            return Err(SandboxError::Unsupported { executor: self.name(), what: "lay changes over a tree" });
        }
        let writable = |mount: &&Mount| matches!(mount, Mount::Writable { .. });
        for folder in specification.mounts.iter().filter(writable).map(Mount::target) {
            if specification
                .mounts
                .iter()
                .any(|mount| mount.target() != folder && mount.target().starts_with(folder))
            {
                // It follows links on the way to a mount, and there what was there before may be one.
                return Err(SandboxError::Unsupported {
                    executor: self.name(),
                    what: "mount anything below a writable folder",
                });
            }
        }
        let mut command = Command::new(&self.program);
        command.args(["--unshare-all", "--unshare-user", "--die-with-parent", "--hostname", HOST_NAME]);
        let (user, group) = specification.identity.ids();
        command.args(["--uid", &user.to_string(), "--gid", &group.to_string()]);
        if specification.identity == Identity::Root {
            for name in ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETFCAP"] {
                command.arg("--cap-add").arg(format!("CAP_{name}"));
            }
        }
        command.args(["--dev", "/dev", "--proc", "/proc"]);
        command.arg("--ro-bind").arg(&self.helper.program).arg(HELPER).args(["--remount-ro", "/dev"]);
        for mount in &specification.mounts {
            match mount {
                Mount::ReadOnly { source, target } => command.arg("--ro-bind").arg(source).arg(target),
                Mount::Writable { source, target } => command.arg("--bind").arg(source).arg(target),
                Mount::Temporary { target, bytes } => {
                    command.args(["--perms", "1777", "--size", &bytes.to_string()]).arg("--tmpfs").arg(target)
                }
                Mount::Link { target, text } => command.arg("--symlink").arg(text).arg(target),
            };
        }
        command.args(["--remount-ro", "/", "--", HELPER]).args(&self.helper.arguments);
        Ok(command)
    }
}

impl Executor for Bubblewrap {
    fn name(&self) -> &'static str {
        "bubblewrap"
    }

    fn run(&self, specification: &Specification, minimum: Level) -> Result<Outcome, SandboxError> {
        self.carry_out(specification, minimum, Action::Run)
    }

    fn measure(&self) -> Result<Reached, SandboxError> {
        let specification = Specification::new(Path::new("/"));
        self.carry_out(&specification, Level::None, Action::Measure).map(|outcome| outcome.reached)
    }
}
