//! The own executor: the helper makes namespaces and a root with system calls alone.

use std::process::Command;

use crate::{
    channel::{Action, Order, Stage, Surroundings},
    error::SandboxError,
    executor::{Executor, Outcome},
    level::{Gap, Level, Reached, Wall},
    observation::{Observer, Watch},
    session::{Answer, Helper, converse},
    specification::Specification,
};

/// Runs commands through a helper and no other program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    helper: Helper,
}

impl Own {
    /// Runs through `helper`.
    pub const fn new(helper: Helper) -> Self {
        Self { helper }
    }

    /// Runs a command as [`Executor::run`] does, while `observer` sees each of its calls that names a file before the
    /// kernel carries it out.
    ///
    /// # Errors
    ///
    /// As of [`Executor::run`]; and when a call cannot be seen, which ends the command.
    pub fn run_watched(
        &self,
        specification: &Specification,
        minimum: Level,
        watch: Watch,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, SandboxError> {
        let mut order = order(specification, minimum, Action::Run, Stage::Machine)?;
        order.watch = Some(watch);
        conclude(self.converse(&order, Some((watch, observer)))?, minimum)
    }

    fn converse(
        &self,
        order: &Order,
        observer: Option<(Watch, &mut dyn Observer)>,
    ) -> Result<Answer, SandboxError> {
        let mut command = Command::new(&self.helper.program);
        command.args(&self.helper.arguments);
        converse(command, order, observer)
    }

    fn carry_out(
        &self,
        specification: &Specification,
        minimum: Level,
        action: Action,
    ) -> Result<Outcome, SandboxError> {
        let mut order = order(specification, minimum, action, Stage::Machine)?;
        let mut answer = self.converse(&order, None)?;
        if let Answer::NoNamespaces(gaps) = answer {
            if minimum > Level::Confined {
                return Err(SandboxError::Weaker { required: minimum, reached: nothing_but(gaps) });
            }
            order.stage = Stage::WithoutNamespaces(gaps);
            answer = self.converse(&order, None)?;
        }
        conclude(answer, minimum)
    }
}

impl Executor for Own {
    fn name(&self) -> &'static str {
        "own"
    }

    fn run(&self, specification: &Specification, minimum: Level) -> Result<Outcome, SandboxError> {
        self.carry_out(specification, minimum, Action::Run)
    }

    fn measure(&self) -> Result<Reached, SandboxError> {
        let specification = Specification::new("/");
        self.carry_out(&specification, Level::None, Action::Measure).map(|outcome| outcome.reached)
    }
}

/// An order of this process.
pub(crate) fn order(
    specification: &Specification,
    minimum: Level,
    action: Action,
    stage: Stage,
) -> Result<Order, SandboxError> {
    let outside = Surroundings::observe().map_err(SandboxError::Outside)?;
    let specification = specification.clone();
    Ok(Order { specification, minimum, caller: std::process::id(), outside, stage, action, watch: None })
}

/// What the caller is told.
pub(crate) fn conclude(answer: Answer, required: Level) -> Result<Outcome, SandboxError> {
    match answer {
        Answer::Done(outcome) => Ok(outcome),
        Answer::Weaker(reached) => Err(SandboxError::Weaker { required, reached }),
        Answer::NoNamespaces(gaps) => Err(SandboxError::Weaker { required, reached: nothing_but(gaps) }),
    }
}

/// Walls that were not tried, because those of `gaps` already fail, are gaps too.
fn nothing_but(gaps: Vec<Gap>) -> Reached {
    let mut reached = Reached { walls: Vec::new(), gaps };
    for wall in Wall::ALL {
        if !reached.gaps.iter().any(|gap| gap.wall == wall) {
            let cause = "not tried, because others do not stand".to_owned();
            reached.gaps.push(Gap { wall, cause, remedy: None });
        }
    }
    reached
}
