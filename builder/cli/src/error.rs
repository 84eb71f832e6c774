//! The one error type of the executable: what failed, which exit code it sets, and what to type next.

use std::{error::Error, fmt, io};

/// What to type when a file system is full. Every room writes to a temporary name first.
const FULL_HINT: &str = "df -h shows which file system is full; make room there and type the same command again \
     (nothing half-written was left)";

/// Why a command failed, as [`Kind::meaning`] says; each kind has its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Machine,
    Usage,
    Input,
    Trust,
    Remote,
    Rollout,
    Gone,
    UnderWay,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Machine,
        Self::Usage,
        Self::Input,
        Self::Trust,
        Self::Remote,
        Self::Rollout,
        Self::Gone,
        Self::UnderWay,
    ];

    /// What a user is told of the exit code.
    const fn meaning(self) -> &'static str {
        match self {
            Self::Machine => "something on this machine: a file, a process, a full disk",
            Self::Usage => "what was typed",
            Self::Input => "a recipe, a lock or another document is wrong or out of date",
            Self::Trust => "a signature, a key or a rule of the trust root says no",
            Self::Remote => "a registry, a mirror or a cluster does not answer as it should",
            Self::Rollout => "the cluster took a release back or refused it",
            Self::Gone => "a locked file has left every mirror: `bundle lock --update` helps",
            Self::UnderWay => "the rollout had not ended when the time to wait was over; it goes on",
        }
    }

    /// The exit code of the process.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Machine => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::Trust => 4,
            Self::Remote => 5,
            Self::Rollout => 6,
            Self::Gone => 7,
            Self::UnderWay => 8,
        }
    }
}

/// The exit codes, for the help text.
pub(crate) fn exit_codes() -> String {
    let lines = Kind::ALL.map(|kind| format!("\n  {}  {}", kind.exit_code(), kind.meaning()));
    format!("Exit codes:\n  0  done{}", lines.concat())
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct CommandError {
    kind: Kind,
    source: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
}

impl CommandError {
    /// A failure of `kind`. Wherever a full file system is the cause, it is one of this machine.
    pub(crate) fn new(kind: Kind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        if is_full(&*source) {
            return Self { kind: Kind::Machine, source, hint: Some(FULL_HINT.to_owned()) };
        }
        Self { kind, source, hint: None }
    }

    /// Adds what to type next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same where something is known.
    #[must_use]
    pub(crate) fn hint_if(self, hint: Option<impl Into<String>>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Of which kind it is.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The exit code of the process.
    pub(crate) const fn exit_code(&self) -> u8 {
        self.kind.exit_code()
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "error: {}", self.source)?;
        let mut cause = self.source.source();
        while let Some(error) = cause {
            write!(formatter, "\n  because: {error}")?;
            cause = error.source();
        }
        if let Some(hint) = &self.hint {
            write!(formatter, "\n  try: {hint}")?;
        }
        Ok(())
    }
}

/// Whether no space was left for something.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let full =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    std::iter::successors(Some(error), |&error| error.source())
        .any(|error| error.downcast_ref().is_some_and(full))
}

/// Says of which kind a library's error is, at the place where it is met.
pub(crate) trait OfKind<T> {
    /// Turns the error into a failure of `kind`.
    fn of_kind(self, kind: Kind) -> Result<T, CommandError>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> OfKind<T> for Result<T, E> {
    fn of_kind(self, kind: Kind) -> Result<T, CommandError> {
        self.map_err(|source| CommandError::new(kind, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("`{name}` is not read")]
    struct Outer {
        name: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn names_the_cause_and_the_next_command() {
        let error = Outer { name: "bundle.lock", source: std::io::Error::other("no space left") };
        let error = CommandError::new(Kind::Input, error).hint("bundle lock recipes");
        insta::assert_snapshot!(error, @r"
        error: `bundle.lock` is not read
          because: no space left
          try: bundle lock recipes
        ");
        assert_eq!(error.exit_code(), 3);
    }

    #[test]
    fn a_full_disk_is_the_machines_whoever_met_it() {
        let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = CommandError::new(Kind::Remote, Outer { name: "a.deb", source });
        insta::assert_snapshot!(error, @r"
        error: `a.deb` is not read
          because: no storage space
          try: df -h shows which file system is full; make room there and type the same command again (nothing half-written was left)
        ");
        assert_eq!(error.exit_code(), 1);
        assert_eq!(CommandError::new(Kind::Remote, "other").exit_code(), 5);
    }
}
