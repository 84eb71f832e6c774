//! What both executors promise.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    sync::atomic::{AtomicBool, Ordering},
};

use builder_sandbox::{End, Level, Mount, Wall};
use rustix::fs::{CWD, RenameFlags};

use crate::bed::{BOTH, Bed, Came, EVERYBODY, SOMEBODY, Which, Who, as_root, over, text};

/// Runs a test in both executors as everybody.
fn everywhere(test: impl Fn(&Bed, Who, Which)) {
    let bed = Bed::make();
    for who in EVERYBODY {
        for which in BOTH {
            test(&bed, who, which);
        }
    }
}

#[test]
fn all_walls_stand_on_this_machine() {
    everywhere(|bed, who, which| {
        let reached = bed.ran(who, which, &bed.specification(&["say", "hello"])).reached;
        let (gaps, level) = match (who, which) {
            // Bubblewrap mounts all of /proc, and maps the user who starts it: root is user 0.
            (Who::Root, Which::Bubblewrap) => (vec![Wall::Facts, Wall::Unprivileged], Level::Isolated),
            (Who::Somebody, Which::Bubblewrap) => (vec![Wall::Facts], Level::Isolated),
            _ => (Vec::new(), Level::Full),
        };
        assert_eq!(reached.level(), level, "{who:?} {which:?}: {reached:?}");
        assert_eq!(reached.gaps.iter().map(|gap| gap.wall).collect::<Vec<_>>(), gaps, "{who:?} {which:?}");
        assert_eq!(reached.walls.len() + reached.gaps.len(), Wall::ALL.len());
    });
}

#[test]
fn less_than_was_asked_for_runs_nothing() {
    let bed = Bed::make();
    let folder = bed.folder_of(Who::Root);
    let mut specification = bed.specification(&["write", "/out/file", "x"]);
    specification.mounts.push(Mount::Writable { source: folder.clone(), target: "/out".into() });
    let came = bed.run(Who::Root, Which::Bubblewrap, Level::Full, &specification);
    let Came::Refused { error, remedy } = came else { panic!("{came:?}") };
    assert!(
        error.contains(
            "isolated, full is asked for: no facts: all of /proc is there; no unprivileged: outside"
        ),
        "{error}"
    );
    assert!(remedy.is_some());
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
}

#[test]
fn what_a_command_names_is_seen_and_its_clock_stands_still() {
    let bed = Bed::make();
    for who in EVERYBODY {
        let input = bed.folder_of(who);
        fs::write(input.join("file"), "x").unwrap();
        Bed::give(&input.join("file"), who);
        let mut specification = bed.specification(&["time-and", "file"]);
        specification.mounts.push(Mount::ReadOnly { source: input.clone(), target: "/in".into() });
        let (outcome, seen) = bed.watched(who, ["1700000000", "5"], &specification);
        assert_eq!(outcome.end, End::Exited(0), "{who:?}: {}", text(&outcome.errors));
        // The first process, five that did nothing, and the command.
        assert_eq!(text(&outcome.output), "1700000000 7", "{who:?}");
        assert_eq!(seen.first().map(String::as_str), Some("Execute /probe true"), "{who:?}");
        let wanted = [
            "Look /in true",
            "Read /in/file true",
            "LookAtLink /in/absent true",
            "Network(192.0.2.1:80)",
            "Question",
        ];
        let found: Vec<&str> = seen.iter().map(String::as_str).filter(|line| wanted.contains(line)).collect();
        assert_eq!(found, wanted, "{who:?}: {seen:?}");
        let (outcome, _) = bed.watched(who, ["1800000000", "0"], &specification);
        assert_eq!(text(&outcome.output), "1800000000 2", "{who:?}");
    }
}

#[test]
fn ends_and_output_are_told() {
    everywhere(|bed, who, which| {
        let outcome = bed.ran(who, which, &bed.specification(&["say", "hello"]));
        assert_eq!((outcome.end, text(&outcome.output)), (End::Exited(0), "hello".to_owned()));
        assert_eq!(bed.ran(who, which, &bed.specification(&["exit", "7"])).end, End::Exited(7));
        assert_eq!(bed.ran(who, which, &bed.specification(&["die", "9"])).end, End::Killed(9));
        let mut nothing = bed.specification(&[]);
        nothing.program = "/absent".into();
        let came = bed.run(who, which, Level::Isolated, &nothing);
        assert!(matches!(&came, Came::Refused { error, .. } if error.contains("start /absent")), "{came:?}");
    });
}

#[test]
fn surroundings_are_the_same_on_every_machine() {
    everywhere(|bed, who, which| {
        let mut specification = bed.specification(&["surroundings"]);
        specification.source_date_epoch = 1_700_000_000;
        specification.environment.insert("LC_ALL".to_owned(), "C".to_owned());
        let outcome = bed.ran(who, which, &specification);
        let expected = "\
domain (none)
folder /
group 100
groups 100
host sandbox
mask 022
user 1000
variable HOME=/homeless
variable LC_ALL=C
variable PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
variable PYTHONHASHSEED=0
variable SOURCE_DATE_EPOCH=1700000000
variable TMPDIR=/tmp
variable TZ=UTC";
        let seen = text(&outcome.output);
        // Bubblewrap leaves the domain name as it is.
        let seen = if which == Which::Bubblewrap { with_domain(&seen) } else { seen };
        assert_eq!(seen, expected, "{who:?} {which:?}");
    });
}

fn with_domain(seen: &str) -> String {
    let lines = seen.lines().map(|line| if line.starts_with("domain ") { "domain (none)" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn writable_folders_are_written_as_who_they_belong_to() {
    everywhere(|bed, who, which| {
        let folder = bed.folder_of(who);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let mut specification = bed.specification(&["write", "/out/below/file", "content"]);
        specification.mounts.push(Mount::Writable { source: folder.clone(), target: "/out".into() });
        let outcome = bed.ran(who, which, &specification);
        assert_eq!(outcome.end, End::Exited(0), "{who:?} {which:?}: {}", text(&outcome.errors));
        let written = folder.join("below/file");
        assert_eq!(fs::read(&written).unwrap(), b"content");
        let owner = if who == Who::Root { 0 } else { SOMEBODY };
        assert_eq!(fs::metadata(&written).unwrap().uid(), owner, "{who:?} {which:?}");
    });
}

#[test]
fn inputs_that_only_their_owner_reads_are_read() {
    everywhere(|bed, who, which| {
        let folder = bed.folder_of(who);
        fs::write(folder.join("file"), "content").unwrap();
        Bed::give(&folder.join("file"), who);
        for (path, mode) in [(folder.join("file"), 0o400), (folder.clone(), 0o500)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut specification = bed.specification(&["read", "/in/file"]);
        specification.mounts.push(Mount::ReadOnly { source: folder, target: "/in".into() });
        let outcome = bed.ran(who, which, &specification);
        assert_eq!(text(&outcome.output), "content", "{who:?} {which:?}: {}", text(&outcome.errors));
    });
}

#[test]
fn the_loopback_device_works() {
    everywhere(|bed, who, which| {
        let outcome = bed.ran(who, which, &bed.specification(&["loopback"]));
        assert_eq!(outcome.end, End::Exited(0), "{who:?} {which:?}: {}", text(&outcome.errors));
    });
}

#[test]
fn changes_to_a_tree_are_read_from_the_upper_folder() {
    let bed = Bed::make();
    for who in EVERYBODY {
        let [lower, changes] = [(); 2].map(|()| bed.folder_of(who));
        let upper = changes.join("upper");
        for folder in ["etc", "dev", "proc", "tmp"] {
            fs::create_dir(lower.join(folder)).unwrap();
        }
        for file in ["etc/kept", "etc/removed", "probe"] {
            fs::write(lower.join(file), "old").unwrap();
        }
        for file in ["etc", "etc/kept", "etc/removed"] {
            Bed::give(&lower.join(file), who);
        }
        let specification = over(as_root(bed.specification(&["change", "/etc"])), &lower, &changes);
        let outcome = bed.ran(who, Which::Own, &specification);
        assert_eq!(outcome.end, End::Exited(0), "{who:?}: {}", text(&outcome.errors));
        assert_eq!(fs::read(upper.join("etc/new")).unwrap(), b"new", "{who:?}");
        assert_eq!(fs::metadata(upper.join("etc/new")).unwrap().mode() & 0o7777, 0o4755, "{who:?}");
        let removed = fs::symlink_metadata(upper.join("etc/removed")).unwrap();
        assert_eq!((removed.mode() & 0o170_000, removed.rdev()), (0o020_000, 0), "{who:?}: a whiteout");
        assert!(!upper.join("etc/kept").exists(), "{who:?}");
        assert_eq!(fs::read(lower.join("etc/removed")).unwrap(), b"old", "{who:?}");
        // Somebody has one user to give, so a file cannot change hands.
        let owner = if who == Who::Root { 42 } else { SOMEBODY };
        assert_eq!(fs::metadata(upper.join("etc/new")).unwrap().uid(), owner, "{who:?}");
        let said = if who == Who::Root { "given" } else { "not given" };
        assert_eq!(text(&outcome.output), said, "{who:?}");
        let mut bounded = over(specification, &lower, &bed.folder_of(who));
        bounded.limits.changes = 1;
        assert_eq!(bed.ran(who, Which::Own, &bounded).end, End::OverChanges, "{who:?}");
    }
    let [lower, changes] = [(); 2].map(|()| bed.folder_of(Who::Root));
    let specification = over(bed.specification(&["say", "x"]), &lower, &changes);
    let came = bed.run(Who::Root, Which::Bubblewrap, Level::None, &specification);
    assert!(matches!(&came, Came::Refused { error, .. } if error.contains("cannot lay changes")), "{came:?}");
}

#[test]
fn no_symbolic_link_leads_a_mount_astray() {
    let bed = Bed::make();
    for who in EVERYBODY {
        let [lower, changes] = [(); 2].map(|()| bed.folder_of(who));
        std::os::unix::fs::symlink("../../../../etc", lower.join("link")).unwrap();
        let mut specification = over(as_root(bed.specification(&["say", "x"])), &lower, &changes);
        specification.mounts.push(Mount::ReadOnly { source: bed.program(), target: "/link/file".into() });
        let came = bed.run(who, Which::Own, Level::Isolated, &specification);
        let expected = "make a place at /link/file";
        assert!(matches!(&came, Came::Refused { error, .. } if error.contains(expected)), "{came:?}");
        specification.mounts.pop();
        specification.mounts.push(Mount::Temporary { target: "/a/../../b".into(), bytes: 1 });
        let came = bed.run(who, Which::Own, Level::Isolated, &specification);
        assert!(matches!(&came, Came::Refused { error, .. } if error.contains("/a/../../b")), "{came:?}");
    }
}

#[test]
fn no_race_leads_a_mount_astray() {
    let bed = Bed::make();
    for who in EVERYBODY {
        let [output, victim] = [(); 2].map(|()| bed.folder_of(who));
        fs::create_dir(output.join("place")).unwrap();
        Bed::give(&output.join("place"), who);
        std::os::unix::fs::symlink(&victim, output.join("other")).unwrap();
        fs::create_dir(output.join("other/control")).unwrap();
        assert!(victim.join("control").exists(), "who follows the link arrives there");
        let mut specification = bed.specification(&["say", "x"]);
        specification.mounts.extend([
            Mount::Writable { source: output.clone(), target: "/out".into() },
            Mount::Temporary { target: "/out/place/new".into(), bytes: 4096 },
        ]);
        // What is a folder now is a link the next moment.
        let is_over = AtomicBool::new(false);
        let came: Vec<Came> = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let (one, other) = (output.join("place"), output.join("other"));
                    rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
                }
            });
            let came = (0..20).map(|_| bed.run(who, Which::Own, Level::Isolated, &specification)).collect();
            is_over.store(true, Ordering::Relaxed);
            came
        });
        for came in &came {
            let is_refused = matches!(came, Came::Refused { error, .. } if error.contains("/out/place/new"));
            assert!(is_refused || matches!(came, Came::Ran(_)), "{who:?}: {came:?}");
        }
        let found: Vec<_> = fs::read_dir(&victim).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(found, ["control"], "{who:?}");
    }
}
