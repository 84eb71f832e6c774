//! The one error type of the executable: what failed, which exit code it sets, and what to type next.

use std::{error::Error, fmt};

/// Why a command failed; each kind has its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something on this machine: a file, a process, a full disk.
    Machine,
    /// What was typed.
    Usage,
    /// A recipe, a lock or another document is wrong or out of date.
    Input,
    /// A signature, a key or a rule of the trust root says no.
    Trust,
    /// A registry, a mirror or a cluster does not answer as it should.
    Remote,
    /// The cluster took a release back or refused it.
    Rollout,
}

impl Kind {
    /// The exit code of the process.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Machine => 1,
            Self::Usage => 2,
            Self::Input => 3,
            Self::Trust => 4,
            Self::Remote => 5,
            Self::Rollout => 6,
        }
    }
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct CommandError {
    kind: Kind,
    source: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
}

impl CommandError {
    /// A failure of `kind`.
    pub(crate) fn new(kind: Kind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: source.into(), hint: None }
    }

    /// Adds what to type next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
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
}
