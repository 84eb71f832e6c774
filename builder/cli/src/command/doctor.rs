//! `bundle doctor`: what this machine reaches.

use std::{fmt::Write as _, io, path::PathBuf};

use builder_sandbox::{Bubblewrap, Executor, Level, Own, Reached, SandboxError, Wall};
use clap::{Args, builder::PossibleValuesParser};
use serde_json::{Value, json};

use super::{Context, sandbox};
use crate::error::{CommandError, Kind, OfKind as _};

/// Say what this machine reaches: which walls a sandbox has here, and what the others lack
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Fail if the own sandbox is weaker.
    #[arg(long, value_name = "LEVEL", value_parser = PossibleValuesParser::new(Level::ALL.map(Level::name)))]
    require: Option<String>,
}

/// Runs the verb.
pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), CommandError> {
    let required = arguments.require.as_deref().and_then(named).unwrap_or(Level::None);
    let own = Own::new(sandbox::helper()?);
    let reached = own.measure().of_kind(Kind::Machine)?;
    let bubblewrap = Bubblewrap::new(PathBuf::from("bwrap"), sandbox::helper()?);
    let other = bubblewrap.measure();
    context
        .report
        .result(
            &json!({ own.name(): document(&reached), bubblewrap.name(): other.as_ref().map_or(Value::Null, document) }),
            || format!("{}{}", lines(own.name(), &reached), other_lines(bubblewrap.name(), &other)),
        )
        .of_kind(Kind::Machine)?;
    if reached.level() >= required {
        return Ok(());
    }
    let error = SandboxError::Weaker { required, reached };
    let remedy = error.remedy().map(ToOwned::to_owned);
    let error = CommandError::new(Kind::Machine, error);
    Err(match remedy {
        Some(remedy) => error.hint(remedy),
        None => error,
    })
}

fn named(name: &str) -> Option<Level> {
    Level::ALL.into_iter().find(|level| level.name() == name)
}

fn document(reached: &Reached) -> Value {
    json!({ "level": reached.level(), "walls": reached.walls, "gaps": reached.gaps })
}

/// One line per wall: whether it stands, else why not and what helps.
fn lines(name: &str, reached: &Reached) -> String {
    let mut text = format!("sandbox, {name}: {}\n", reached.level());
    for wall in Wall::ALL {
        let gap = reached.gaps.iter().find(|gap| gap.wall == wall);
        let state = gap.map_or_else(
            || "stands".to_owned(),
            |gap| match &gap.remedy {
                Some(remedy) => format!("missing: {}; try: {remedy}", gap.cause),
                None => format!("missing: {}", gap.cause),
            },
        );
        // Nothing fails when a line is added to a text.
        writeln!(text, "  {:<17}{state}", wall.name()).unwrap_or_default();
    }
    text
}

/// The second executor is not needed, so that it is missing is a line and no failure.
fn other_lines(name: &str, reached: &Result<Reached, SandboxError>) -> String {
    match reached {
        Ok(reached) => lines(name, reached),
        Err(SandboxError::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            format!("sandbox, {name}: not installed; try: apt-get install bubblewrap\n")
        }
        Err(error) => format!("sandbox, {name}: {error}\n"),
    }
}

#[cfg(test)]
mod tests {
    use builder_sandbox::Gap;

    use super::*;

    #[test]
    fn every_wall_has_a_line() {
        let gap = |wall, remedy: Option<&str>| Gap {
            wall,
            cause: "it is off".to_owned(),
            remedy: remedy.map(ToOwned::to_owned),
        };
        let gaps = vec![gap(Wall::Files, Some("switch it on")), gap(Wall::Scopes, None)];
        let walls = Wall::ALL.into_iter().filter(|wall| gaps.iter().all(|gap| gap.wall != *wall)).collect();
        insta::assert_snapshot!(lines("own", &Reached { walls, gaps }), @r"
        sandbox, own: isolated
          users            stands
          mounts           stands
          processes        stands
          messages         stands
          hostName         stands
          network          stands
          controlGroups    stands
          root             stands
          facts            stands
          unprivileged     stands
          capabilities     stands
          noNewPrivileges  stands
          systemCalls      stands
          files            missing: it is off; try: switch it on
          scopes           missing: it is off
          limits           stands
        ");
    }

    #[test]
    fn a_program_that_is_not_there_can_be_installed() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        let lines = other_lines("bubblewrap", &Err(SandboxError::Start { program: "bwrap".into(), source }));
        assert_eq!(lines, "sandbox, bubblewrap: not installed; try: apt-get install bubblewrap\n");
    }
}
