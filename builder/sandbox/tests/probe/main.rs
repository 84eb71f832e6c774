//! What the tests run. Outside: `run EXECUTOR MINIMUM` reads a specification, runs it and prints what came of it, as
//! whoever started it. In between: `helper`. Inside: the attempts.

#![allow(unsafe_code)] // Attempts are system calls that no safe crate would make.

mod attempt;
mod plain;
mod pod;

use std::{
    io::{self, Read as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use builder_sandbox::{
    Access, Attempt, Bubblewrap, Executor, Helper, Level, Observer, Own, Specification, Watch,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["helper"] => {
            builder_sandbox::enter();
            ExitCode::SUCCESS
        }
        ["run", executor, minimum] => succeed(run(executor, minimum)),
        ["watch", clock, skipped] => succeed(watch(clock, skipped)),
        ["time-and", path] => succeed(plain::time_and(path)),
        ["say", text] => succeed(plain::say(text)),
        ["exit", code] => code.parse().map_or(ExitCode::from(2), |code: u8| ExitCode::from(code)),
        ["die", signal] => succeed(plain::die(signal)),
        ["write", path, content] => succeed(plain::write(path, content)),
        ["read", path] => succeed(plain::read(path)),
        ["surroundings"] => succeed(plain::surroundings()),
        ["loopback"] => succeed(plain::loopback()),
        ["change", folder] => succeed(plain::change(folder)),
        ["pod"] => succeed(pod::report()),
        ["mark-on", path] => succeed(attempt::mark_on(path)),
        ["gained", what, before] => succeed(attempt::gained(what, before)),
        ["handle", path] => succeed(attempt::print_handle(path)),
        ["keep-key", description] => succeed(attempt::keep_key(description)),
        ["attempt", name, ref arguments @ ..] => {
            attempt::make(name, arguments).map_or(ExitCode::from(2), succeed)
        }
        _ => ExitCode::from(2),
    }
}

fn succeed(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "{}", told(&error)).unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

/// This program, as the helper.
fn helper() -> io::Result<Helper> {
    Ok(Helper { program: std::env::current_exe()?, arguments: vec!["helper".to_owned()] })
}

/// Prints the outcome, or the error with its sources and remedy, as JSON.
fn run(executor: &str, minimum: &str) -> io::Result<()> {
    let helper = helper()?;
    let executor: Box<dyn Executor> = match executor {
        "own" => Box::new(Own::new(helper)),
        _ => Box::new(Bubblewrap::new(PathBuf::from("/usr/bin/bwrap"), helper)),
    };
    let minimum =
        Level::ALL.into_iter().find(|level| level.name() == minimum).ok_or(io::ErrorKind::InvalidInput)?;
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let specification: Specification = serde_json::from_str(&text)?;
    let document = match executor.run(&specification, minimum) {
        Ok(outcome) => serde_json::json!({ "ran": outcome }),
        Err(error) => serde_json::json!({ "refused": told(&error), "remedy": error.remedy() }),
    };
    serde_json::to_writer(io::stdout(), &document)?;
    Ok(())
}

/// Notes what it sees.
#[derive(Default)]
struct Seen(Vec<String>);

impl Observer for Seen {
    fn accessed(&mut self, access: &Access<'_>) {
        let is_there = rustix::fs::statat(access.root, "probe", rustix::fs::AtFlags::empty()).is_ok();
        self.0.push(format!("{:?} {} {is_there}", access.used, access.path.display()));
    }

    fn attempted(&mut self, attempt: Attempt) {
        self.0.push(format!("{attempt:?}"));
    }
}

/// The same in the own executor, watched.
fn watch(clock: &str, skipped: &str) -> io::Result<()> {
    let number = |text: &str| text.parse::<u64>().map_err(io::Error::other);
    let skipped_processes = number(skipped)?.try_into().map_err(io::Error::other)?;
    let watch = Watch { clock: number(clock)?, skipped_processes };
    let specification: Specification = serde_json::from_reader(io::stdin())?;
    let mut seen = Seen::default();
    let outcome = Own::new(helper()?).run_watched(&specification, Level::Full, watch, &mut seen);
    let document = match outcome {
        Ok(outcome) => serde_json::json!({ "ran": outcome, "seen": seen.0 }),
        Err(error) => serde_json::json!({ "refused": told(&error), "remedy": error.remedy() }),
    };
    serde_json::to_writer(io::stdout(), &document)?;
    Ok(())
}

fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
