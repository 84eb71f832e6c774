//! Attempts to take more than was given, and to see what was left open. All are bounded.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    ptr, thread,
    time::{Duration, Instant},
};

use super::{check, number};

/// Whether there is a descriptor beside the three, and that of the folder that is read.
pub(crate) fn inherited() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let descriptor: i32 = number(&entry.file_name().to_string_lossy())?;
        let is_the_folder = fs::read_link(entry.path()).is_ok_and(|path| path.ends_with("fd"));
        if descriptor > 2 && !is_the_folder {
            return Ok(());
        }
    }
    Err(io::Error::other("0, 1 and 2"))
}

pub(crate) fn variable(name: &str) -> io::Result<()> {
    std::env::var(name).map(drop).map_err(io::Error::other)
}

pub(crate) fn host_name_of(name: &str) -> io::Result<()> {
    let own = rustix::system::uname();
    if own.nodename().to_string_lossy() == name { Ok(()) } else { Err(io::Error::other("another name")) }
}

/// Starts that many processes, all alive at once.
pub(crate) fn fork_bomb(count: &str) -> io::Result<()> {
    let count: usize = number(count)?;
    let mut children = Vec::new();
    let mut result = Ok(());
    for _ in 0..count {
        // SAFETY: this program has one thread.
        match check(unsafe { libc::fork() }.into()) {
            Ok(0) => loop {
                thread::sleep(Duration::from_secs(1));
            },
            Ok(child) => children.push(libc::pid_t::try_from(child).map_err(io::Error::other)?),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    for child in children {
        // SAFETY: numbers, and no status.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, ptr::null_mut(), 0);
        }
    }
    result
}

pub(crate) fn thread_bomb(count: &str) -> io::Result<()> {
    let count: usize = number(count)?;
    for _ in 0..count {
        let builder = thread::Builder::new().stack_size(64 << 10);
        builder.spawn(|| thread::sleep(Duration::from_secs(30)))?;
    }
    Ok(())
}

/// Asks for that many bytes and writes a few of them.
pub(crate) fn memory(bytes: &str) -> io::Result<()> {
    let mut taken = Vec::<u8>::new();
    taken.try_reserve_exact(number(bytes)?).map_err(io::Error::other)?;
    taken.push(1);
    Ok(())
}

/// Writes that many bytes to one file.
pub(crate) fn fill(path: &str, bytes: &str) -> io::Result<()> {
    let bytes: usize = number(bytes)?;
    // A limit on files is told by a signal, which ends the program, unless it is ignored.
    // SAFETY: ignoring is no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let mut file = File::create(path)?;
    let part = [1; 16 << 10];
    for _ in 0..bytes.div_ceil(part.len()) {
        file.write_all(&part)?;
    }
    file.sync_all()?;
    drop(file);
    fs::remove_file(path)
}

pub(crate) fn open_many(count: &str) -> io::Result<()> {
    let count: usize = number(count)?;
    let files: io::Result<Vec<_>> = (0..count).map(|_| File::open("/dev/null")).collect();
    files.map(drop)
}

/// Uses the processor for that many seconds.
pub(crate) fn spin(seconds: &str) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(number(seconds)?);
    while Instant::now() < end {
        std::hint::black_box((0..100_000_u64).sum::<u64>());
    }
    Ok(())
}

pub(crate) fn lock_memory() -> io::Result<()> {
    let bytes = vec![1_u8; 16 << 20];
    // SAFETY: the bytes live and have that length.
    check(unsafe { libc::mlock(bytes.as_ptr().cast(), bytes.len()) }.into()).map(drop)
}

/// Asks for 128 descriptors, which is more than inside and less than outside.
pub(crate) fn raise_limit() -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: 128, rlim_max: 128 };
    // SAFETY: the limit lives.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }.into()).map(drop)
}

pub(crate) fn flood(bytes: &str) -> io::Result<()> {
    let bytes: usize = number(bytes)?;
    let part = [b'x'; 4 << 10];
    let mut output = io::stdout().lock();
    for _ in 0..bytes.div_ceil(part.len()) {
        output.write_all(&part)?;
    }
    Ok(())
}

/// Leaves a process behind, out of session and parentage, that marks a file.
pub(crate) fn linger(path: &str) -> io::Result<()> {
    // SAFETY: this program has one thread.
    if check(unsafe { libc::fork() }.into())? != 0 {
        return Ok(());
    }
    rustix::process::setsid()?;
    // SAFETY: as above.
    if check(unsafe { libc::fork() }.into())? != 0 {
        return Ok(());
    }
    // The end of the output must not depend on it.
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    mark_on(path)
}

/// Marks a file every few milliseconds for half a minute.
pub(crate) fn mark_on(path: &str) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    for mark in 0.. {
        fs::write(path, format!("{mark}"))?;
        thread::sleep(Duration::from_millis(5));
        if Instant::now() > end {
            break;
        }
    }
    Ok(())
}
