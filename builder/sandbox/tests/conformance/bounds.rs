//! Ends that the command does not choose, and what is left then: nothing.

use std::{fs, path::Path, thread, time::Duration};

use builder_sandbox::{End, Level, Mount, Specification, Wall};

use crate::bed::{BOTH, Bed, Came, EVERYBODY, Which, Who, command_of, text};

fn everywhere(test: impl Fn(&Bed, Who, Which)) {
    let bed = Bed::make();
    for who in EVERYBODY {
        for which in BOTH {
            test(&bed, who, which);
        }
    }
}

#[test]
fn time_is_bounded() {
    everywhere(|bed, who, which| {
        let mut specification = bed.specification(&["attempt", "spin", "1000"]);
        specification.limits.time = Duration::from_millis(300);
        assert_eq!(bed.ran(who, which, &specification).end, End::OverTime, "{which:?} as {who:?}");
    });
}

#[test]
fn processor_time_is_bounded() {
    everywhere(|bed, who, which| {
        let mut specification = bed.specification(&["attempt", "spin", "1000"]);
        specification.limits.processor = Duration::from_secs(1);
        // On a busy machine a second of the processor takes long.
        specification.limits.time = Duration::from_mins(10);
        let end = bed.ran(who, which, &specification).end;
        assert_eq!(end, End::Killed(libc::SIGKILL), "{which:?} as {who:?}");
    });
}

#[test]
fn output_is_bounded() {
    everywhere(|bed, who, which| {
        let specification = bed.specification(&["attempt", "flood", "100000000"]);
        let outcome = bed.ran(who, which, &specification);
        assert_eq!(outcome.end, End::OverOutput, "{which:?} as {who:?}");
        let kept = u64::try_from(outcome.output.len()).unwrap();
        assert!(kept <= specification.limits.output, "{which:?} as {who:?}: {kept}");
        let control = bed.command(who, &["attempt", "flood", "1000000"]).output().unwrap();
        assert!(control.status.success() && control.stdout.len() >= 1_000_000, "outside it is all written");
    });
}

/// A command that leaves a process behind, which marks a file.
fn lingering(bed: &Bed, who: Who) -> (Specification, std::path::PathBuf) {
    let folder = bed.folder_of(who);
    let mut specification = bed.specification(&["attempt", "linger", "/out/mark"]);
    specification.mounts.push(Mount::Writable { source: folder.clone(), target: "/out".into() });
    (specification, folder.join("mark"))
}

/// Whether something still marks the file. Three looks that see the same mark, far longer apart than marks are.
fn is_marked(mark: &Path) -> bool {
    let look = || fs::read_to_string(mark).unwrap_or_default();
    let first = look();
    (0..3).any(|_| {
        thread::sleep(Duration::from_millis(100));
        look() != first
    })
}

/// Waits until something marks the file.
fn await_mark(mark: &Path) {
    let begun = std::time::Instant::now();
    while !is_marked(mark) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} is never marked", mark.display());
    }
}

#[test]
fn nothing_outlives_the_command() {
    everywhere(|bed, who, which| {
        let (specification, mark) = lingering(bed, who);
        assert_eq!(bed.ran(who, which, &specification).end, End::Exited(0));
        assert!(!is_marked(&mark), "{which:?} as {who:?}");
    });
    let bed = Bed::make();
    let mark = bed.folder_of(Who::Somebody).join("mark");
    let control =
        bed.command(Who::Somebody, &["attempt", "linger", &mark.to_string_lossy()]).status().unwrap();
    assert!(control.success());
    await_mark(&mark);
}

#[test]
fn nothing_outlives_the_caller() {
    everywhere(|bed, who, which| {
        let folder = bed.folder_of(who);
        let mut specification = bed.specification(&["mark-on", "/out/mark"]);
        specification.mounts.push(Mount::Writable { source: folder.clone(), target: "/out".into() });
        let mut caller = bed.start(who, which, Level::Isolated, &specification);
        let mark = folder.join("mark");
        await_mark(&mark);
        caller.kill().unwrap();
        caller.wait().unwrap();
        // The kernel needs a moment to end them all; by itself it would mark for half a minute.
        let killed = std::time::Instant::now();
        while is_marked(&mark) {
            assert!(killed.elapsed() < Duration::from_secs(10), "{which:?} as {who:?}: it goes on");
        }
    });
}

#[test]
fn a_machine_without_namespaces_is_told_and_used_as_far_as_it_goes() {
    let bed = Bed::make();
    for who in EVERYBODY {
        let mut specification = bed.specification(&["say", "hello"]);
        let came = bed.run(who, Which::Confined, Level::Isolated, &specification);
        let Came::Refused { error, remedy } = came else { panic!("{came:?}") };
        assert!(
            error.contains("user namespaces are switched off (user.max_user_namespaces is 0)"),
            "{error}"
        );
        assert_eq!(remedy.as_deref(), Some("sysctl user.max_user_namespaces=15000"));
        // Without a root of its own, a command sees inputs only where they are.
        let came = bed.run(who, Which::Confined, Level::Confined, &specification);
        assert!(
            matches!(&came, Came::Refused { error, .. } if error.contains("a root of its own")),
            "{came:?}"
        );
        specification.program = bed.program();
        specification.mounts = vec![Mount::ReadOnly { source: bed.program(), target: bed.program() }];
        let outcome = bed.ran(who, Which::Confined, &specification);
        assert_eq!((outcome.reached.level(), text(&outcome.output)), (Level::Confined, "hello".to_owned()));
    }
}

#[test]
fn a_masked_proc_is_no_way_to_the_machines() {
    let bed = Bed::make();
    // As container runtimes do: something lies over a part of /proc, here in namespaces of this test.
    let script = "mount --bind /dev/null /proc/kallsyms && exec \"$@\"";
    let mut command = command_of(Who::Root, Path::new("/usr/bin/unshare"));
    command.args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"]);
    command.args(["/bin/sh", "-c", script, "sh"]).arg(bed.program()).args(["run", "own", "isolated"]);
    // Older kernels give no other /proc then; newer ones do, since it tells of processes only.
    match Bed::come(command, &bed.specification(&["read", "/proc/kallsyms"])) {
        Came::Ran(outcome) => {
            assert!(outcome.reached.walls.contains(&Wall::Facts), "{outcome:?}");
            assert_eq!(outcome.end, End::Exited(1), "{outcome:?}");
        }
        Came::Refused { error, remedy } => {
            assert!(error.contains("parts of /proc are masked"), "{error}");
            assert_eq!(
                remedy.as_deref(),
                Some("run the pod with securityContext.procMount Unmasked and hostUsers false")
            );
        }
    }
}
