//! A clock that stands still where the caller wants it.
//!
//! Programs read the time without a system call, from a page that the kernel lends them. A program's first call after its
//! start is one for memory; while it waits, the names of the functions of that page are spoiled, so its library does not
//! find them and asks the kernel, and that call waits too. A program that looks for them earlier, as one without a C
//! library might, still has the machine's clock, and so have times that the kernel itself gives to files.

#![allow(non_upper_case_globals, reason = "system calls are called as the C library calls them")]

use std::{collections::BTreeMap, io};

#[allow(clippy::wildcard_imports, reason = "constants of system calls")]
use libc::*;
use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use crate::{
    kernel::{Answered, Waiting},
    observation::Process,
};

/// What the names of the page's functions begin with.
const PREFIXES: [&[u8]; 2] = [b"__vdso_", b"__kernel_"];
/// The page and those beside it are few.
const LENDED_LIMIT: u64 = 64 << 10;

/// A clock that does not move.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// Since 1970.
    seconds: u64,
}

/// The calls that tell the time, and the one by which a program's start is noticed.
pub(crate) fn add_rules(rules: &mut BTreeMap<i64, Vec<SeccompRule>>) -> Result<(), BackendError> {
    let start = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    rules.insert(SYS_brk, vec![SeccompRule::new(vec![start])?]);
    rules.insert(SYS_clock_gettime, Vec::new());
    rules.insert(SYS_gettimeofday, Vec::new());
    #[cfg(target_arch = "x86_64")]
    rules.insert(SYS_time, Vec::new());
    Ok(())
}

impl Clock {
    pub(crate) const fn new(seconds: u64) -> Self {
        Self { seconds }
    }

    /// Answers a call for the time; none if it is another call.
    pub(crate) fn tell(self, waiting: &Waiting, process: &Process<'_>) -> io::Result<Option<Answered>> {
        let [first, second, ..] = waiting.arguments;
        // Seconds, then a fraction: 0.
        let time = [self.seconds.to_ne_bytes(), [0; 8]].concat();
        let told = |address: u64| -> io::Result<Option<Answered>> {
            // Nothing to write to: the kernel says what is wrong.
            Ok(Some(process.write(address, &time).map_or(Answered::Continue, |()| Answered::Done(0))))
        };
        match waiting.number {
            SYS_brk => {
                spoil(process)?;
                Ok(Some(Answered::Continue))
            }
            SYS_clock_gettime => match c_int::try_from(first) {
                Ok(CLOCK_REALTIME | CLOCK_REALTIME_COARSE | CLOCK_TAI) => told(second),
                _ => Ok(Some(Answered::Continue)),
            },
            SYS_gettimeofday if first != 0 => told(first),
            #[cfg(target_arch = "x86_64")]
            SYS_time => {
                if first != 0 {
                    process.write(first, &self.seconds.to_ne_bytes())?;
                }
                Ok(Some(Answered::Done(self.seconds.cast_signed())))
            }
            _ => Ok(None),
        }
    }
}

/// Makes the functions of the lent page unfindable.
fn spoil(process: &Process<'_>) -> io::Result<()> {
    let maps = process.list("maps")?;
    let Some(range) = maps.lines().find(|line| line.ends_with("[vdso]")) else { return Ok(()) };
    let ends = range.split(' ').next().and_then(|range| range.split_once('-'));
    let number = |text: &str| u64::from_str_radix(text, 16).map_err(io::Error::other);
    let Some((start, end)) = ends else { return Ok(()) };
    let (start, end) = (number(start)?, number(end)?);
    let length = end.saturating_sub(start).min(LENDED_LIMIT);
    let bytes = process.read(start, usize::try_from(length).map_err(io::Error::other)?)?;
    for prefix in PREFIXES {
        for (at, _) in bytes.windows(prefix.len()).enumerate().filter(|(_, window)| *window == prefix) {
            process.write(start + at as u64, b"..")?;
        }
    }
    Ok(())
}
