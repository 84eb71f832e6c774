//! Packages that are refused, and rules between packages: every error names the package and what is wrong with it.

#![allow(clippy::unwrap_used, reason = "the functions that the tests share may panic too")]
#![allow(clippy::print_stdout, reason = "how much was covered is for people")]

mod bad_input;
mod bad_members;
mod deb;

use std::{collections::BTreeSet, fs, process::Command};

use builder_tree::{
    InstallError, InstallOptions, Kind, MemberKind, Owner, Package, PackageError, PackageInput, Payloads,
    Recordings, Tree, TreePath, accounts_needed, install, unknown_scripts,
};
use bundles_release::lock::{Accounts, SourcePackage};
use deb::{Deb, Member};
use proptest::prelude::*;
use registry_wire::Digest;

fn unpack(deb: &Deb) -> Result<Package, PackageError> {
    let folder = tempfile::tempdir().unwrap();
    Package::unpack(&deb.write(folder.path()), &mut Vec::new()).map(|unpacked| unpacked.package)
}

fn refusal(deb: &Deb) -> String {
    unpack(deb).unwrap_err().to_string()
}

/// The tree of packages, and where their payloads are.
fn tree_of(debs: &[Deb]) -> (Result<Tree, InstallError>, Payloads, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (mut packages, mut payloads) = (Vec::new(), Payloads::new());
    for deb in debs {
        let input = deb.write(folder.path());
        let path = folder.path().join(format!("{}.payload", deb.name));
        let mut payload = fs::File::create(&path).unwrap();
        packages.push(Package::unpack(&input, &mut payload).unwrap().package);
        payloads.add(input.sha256, path);
    }
    let options = InstallOptions {
        accounts: &Accounts::default(),
        epoch: 1_000_000_000,
        recordings: &Recordings::none(),
    };
    (install(&packages, &payloads, &options).map(|installed| installed.tree), payloads, folder)
}

fn tree(debs: &[Deb]) -> Tree {
    tree_of(debs).0.unwrap()
}

fn conflict(debs: &[Deb]) -> String {
    tree_of(debs).0.unwrap_err().to_string()
}

fn path(text: &str) -> TreePath {
    text.parse().unwrap()
}

fn owner(tree: &Tree, text: &str) -> Owner {
    tree.get(&path(text)).unwrap_or_else(|| panic!("{text} is not there")).owner.clone()
}

fn package(name: &str) -> Owner {
    Owner::Package(name.into())
}

#[test]
fn members_that_have_no_place_in_an_image_are_refused() {
    let cases = [
        (
            Member::file("../etc/passwd", "x"),
            "package bad-one: ../etc/passwd: `../etc/passwd` is not a path inside the tree",
        ),
        (Member::file("./usr/../../etc/x", "x"), "is not a path inside the tree"),
        (
            Member::hard_link("usr/x", "../../etc/shadow"),
            "package bad-one: ./usr/x: `../../etc/shadow` is not a path",
        ),
        (
            Member::hard_link("usr/x", "usr/y"),
            "package bad-one: /usr/x: it is a hard link to /usr/y, which is no file that comes before it",
        ),
        (Member::symlink("usr/x", ""), "its link target is empty"),
        (
            Member::of_type("dev/null", tar::EntryType::Char),
            "package bad-one: ./dev/null: it is a device or a pipe",
        ),
        (Member::of_type("dev/sda", tar::EntryType::Block), "it is a device or a pipe"),
        (Member::of_type("run/x", tar::EntryType::Fifo), "it is a device or a pipe"),
        (Member::of_type("x", tar::EntryType::new(b'Z')), "package bad-one: ./x: type Z is not known"),
        (Member::file("a\nb", "x"), "is not a path inside the tree"),
    ];
    for (member, expected) in cases {
        let message = refusal(&Deb::new("bad-one").with(member));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn archives_that_are_cut_short_or_lie_are_refused() {
    let good = Deb::new("bad-one").with(Member::file("usr/x", "content"));
    unpack(&good).unwrap();
    for (deb, expected) in [
        (good.clone().edited(|data| data.truncate(700)), "it cannot be read to its end"),
        (good.clone().edited(|data| data[100] ^= 1), "the checksum of a header is wrong"),
        (good.clone().edited(|data| data.extend_from_slice(b"more")), "something follows its end"),
        (
            good.clone().edited(|data| data.splice(..0, vec![0; 512]).for_each(drop)),
            "something follows its end",
        ),
        (good.clone().edited(|data| data[156] = b'x').with_checksums(), "data.tar: it has a PAX header"),
        (good.clone().edited(|data| data[156] = b'L').with_checksums(), "a long name belongs to no member"),
        (good.clone().edited(|data| data[124..136].fill(0xff)).with_checksums(), "is not a number"),
        (
            good.clone()
                .edited(|data| {
                    data[124..136].copy_from_slice(&[0x80, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
                })
                .with_checksums(),
            "it holds more than 67108864 bytes, or says that it does",
        ),
        (good.clone().without_control(), "the data comes before the control"),
        (good.clone().compressed("lzma"), "compression .lzma is not known"),
    ] {
        let message = refusal(&deb);
        assert!(message.starts_with("package bad-one: ") && message.contains(expected), "{message}");
    }
}

#[test]
fn an_archive_names_each_path_once_and_nothing_below_what_is_no_directory() {
    let link = || Member::symlink("usr/x", "/etc");
    let file = |path: &str| Member::file(path, "1");
    for (members, expected) in [
        (
            vec![link(), file("usr/x/passwd")],
            "/usr/x/passwd: it goes through /usr/x, a symbolic link of the same",
        ),
        (vec![file("usr/x/passwd"), link()], "/usr/x: it is no directory, and something is below it"),
        (vec![file("usr/x"), file("usr/x/y")], "/usr/x/y: it is below /usr/x, a file of the same package"),
        (vec![file("usr/x"), file("usr/x")], "/usr/x: it is there twice"),
        (vec![link(), file("usr/x")], "/usr/x: it is there twice"),
        (vec![Member::directory("usr/x"), link()], "/usr/x: it is there twice"),
        (vec![link(), Member::hard_link("usr/y", "usr/x")], "which is no file that comes before it"),
    ] {
        let deb = members.into_iter().fold(Deb::new("bad-one"), Deb::with);
        let message = refusal(&deb);
        assert!(message.starts_with("package bad-one: ") && message.contains(expected), "{message}");
    }
    unpack(&Deb::new("good-one").with(Member::directory("usr/x")).with(Member::directory("usr/x"))).unwrap();
    let twice = Deb::new("bad-one").control("md5sums", "").control("md5sums", "");
    assert_eq!(refusal(&twice), "package bad-one: md5sums: it is there twice");
}

#[test]
fn bombs_are_refused_before_they_fill_a_disk() {
    for suffix in ["xz", "zst", "gz"] {
        let bomb = Deb::new("bad-one").with(Member::file("usr/x", "")).edited(|data| {
            // Zeros after the end, and a file that says that it is as long.
            data.resize(80 << 20, 0);
        });
        let message = refusal(&bomb.compressed(suffix));
        assert!(message.contains(": it holds more than "), "{suffix}: {message}");
    }
}

#[test]
fn what_is_above_a_path_stays_a_directory() {
    let file = Deb::new("one").with(Member::file("usr/x", "1"));
    let below = Deb::new("two").with(Member::file("usr/x/y", "2"));
    for debs in [[file.clone(), below.clone()], [below, file]] {
        let message = conflict(&debs);
        assert!(message.contains("/usr/x belongs to package"), "{message}");
        assert!(message.contains("a directory and something else cannot share a path"), "{message}");
    }
    let message = conflict(&[Deb::new("one").with(Member::symlink("lib", "elsewhere"))]);
    assert!(message.contains("/lib belongs to generated by merged-usr (symbolic link)"), "{message}");
}

#[test]
fn all_compressions_hold_the_same() {
    let deb = |suffix: &str| {
        let deb = Deb::new("good-one").with(Member::file("usr/x", &"content ".repeat(5000)));
        unpack(&deb.compressed(suffix)).unwrap().members
    };
    for suffix in ["xz", "zst", "gz"] {
        assert_eq!(deb(suffix), deb(""), "{suffix}");
    }
}

#[test]
fn the_control_archive_is_read_alone() {
    let folder = tempfile::tempdir().unwrap();
    let deb = Deb::new("good-one").control("md5sums", "00  usr/x\n").with(Member::file("usr/x", "content"));
    let input = deb.edited(|data| data.truncate(700)).write(folder.path());
    assert!(Package::unpack(&input, &mut Vec::new()).is_err(), "its data is cut short");
    let package = Package::read_control(&input).unwrap();
    assert_eq!(package.control["md5sums"].text, "00  usr/x\n");
    assert!(package.members.is_empty());
    let other = PackageInput { sha256: Digest::of(b"other"), ..input };
    assert!(matches!(Package::read_control(&other).unwrap_err(), PackageError::Corrupted { .. }));
}

#[test]
fn a_corrupted_file_names_package_digests_and_the_next_command() {
    let folder = tempfile::tempdir().unwrap();
    let input = Deb::new("good-one").with(Member::file("usr/x", "content")).write(folder.path());
    let bytes = fs::read(&input.deb).unwrap();
    for at in [0, 70, bytes.len() / 2, bytes.len() - 1] {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        fs::write(&input.deb, bad).unwrap();
        let error = Package::unpack(&input, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, PackageError::Corrupted { .. }), "{error}");
        assert!(
            error.to_string().contains("of package good-one is corrupted: it hashes to sha256:"),
            "{error}"
        );
        assert_eq!(error.hint(), Some("run `bundle fetch`, which replaces missing and corrupted files"));
    }
    fs::remove_file(&input.deb).unwrap();
    let error = Package::unpack(&input, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, PackageError::Open { .. }), "{error}");
}

#[test]
fn the_control_must_name_the_locked_package() {
    let message = refusal(&Deb::new("good-one").field("Version", "9"));
    assert_eq!(message, "package good-one: its Version is 9, the lock says 1.0-1");
    for (field, said, expected) in [
        ("good-one", "1.0-1", None),
        (
            "good-one",
            "2",
            Some("package good-one: its Source is good-one (1.0-1), the lock says good-one (2)"),
        ),
        (
            "better",
            "1.0-1",
            Some("package good-one: its Source is good-one (1.0-1), the lock says better (1.0-1)"),
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut input = Deb::new("good-one").write(folder.path());
        input.source = Some(SourcePackage { name: field.parse().unwrap(), version: said.parse().unwrap() });
        let error = Package::read_control(&input).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), expected, "{field} {said}");
    }
}

#[test]
fn files_of_two_packages_conflict_unless_one_replaces_the_other() {
    let one = || Deb::new("one").with(Member::file("usr/x", "1"));
    let two = |replaces: &str| Deb::new("two").field("Replaces", replaces).with(Member::file("usr/x", "2"));
    let message = conflict(&[one(), two("other")]);
    let expected = "/usr/x belongs to package one (file) and to package two (file); \
                    neither package declares that it replaces the other";
    assert_eq!(message, expected);
    assert!(conflict(&[one(), two("one (<< 1.0)")]).contains("neither"));
    for replaces in ["one", "x, one (<= 1.0-1)", "one:any (= 1.0-1)", "one (>> 0.9)"] {
        assert_eq!(owner(&tree(&[one(), two(replaces)]), "usr/x"), package("two"), "{replaces}");
        assert_eq!(owner(&tree(&[two(replaces), one()]), "usr/x"), package("two"), "{replaces}");
    }
    let message = conflict(&[
        one(),
        Deb::new("two").with(Member::file("usr/x/y", "2")).with(Member::directory("usr/x")),
    ]);
    assert!(message.contains("/usr/x"), "{message}");
    let twice = Deb::new("one").with(Member::file("bin/x", "1")).with(Member::file("usr/bin/x", "2"));
    assert!(conflict(&[twice]).contains("the package brings the path twice"));
}

#[test]
fn merged_usr_is_there_before_any_package() {
    let lib = Deb::new("one").with(Member::directory("lib")).with(Member::file("lib/x.so", "1"));
    let tree =
        tree(&[lib, Deb::new("two").with(Member::directory("usr/lib")).with(Member::file("sbin/y", "2"))]);
    assert_eq!(tree.get(&path("lib")).unwrap().kind, Kind::Symlink("usr/lib".into()));
    assert_eq!(owner(&tree, "usr/lib/x.so"), package("one"));
    assert_eq!(owner(&tree, "usr/sbin/y"), package("two"));
    assert!(tree.get(&path("lib/x.so")).is_none());
    assert_eq!(tree.lookup(&path("lib/x.so")).unwrap().0, path("usr/lib/x.so"));
}

#[test]
fn the_first_package_decides_about_a_directory_and_times_are_clamped() {
    let first = Deb::new("one").with(Member::directory("srv/data").mode(0o2775));
    let tree = tree(&[first, Deb::new("two").with(Member::directory("srv/data"))]);
    let entry = tree.get(&path("srv/data")).unwrap();
    assert_eq!((entry.mode, entry.owner.clone()), (0o2775, package("one")));
    assert!(tree.iter().all(|(_, entry)| entry.mtime <= 1_000_000_000));
}

#[test]
fn names_of_one_file_stay_tied_together() {
    let deb = Deb::new("one").with(Member::file("usr/b", "same")).with(Member::hard_link("usr/a", "usr/b"));
    let tree = tree(&[deb]);
    let kind = |text: &str| tree.get(&path(text)).unwrap().kind.clone();
    assert_eq!(kind("usr/a"), kind("usr/b"));
    assert!(matches!(kind("usr/a"), Kind::File { linked: true, .. }));
}

#[test]
fn a_generated_part_is_known_but_for_its_parameters_and_nothing_may_stand_beside_it() {
    let script = |tail: &str| {
        format!(
            "#!/bin/sh\nset -e\n# Automatically added by dh_installdeb/13.11.4\n\
             dpkg-maintscript-helper rm_conffile /etc/one.conf 1.0\\~ one -- \"$@\"\n\
             # End automatically added section\n{tail}"
        )
    };
    assert!(tree_of(&[Deb::new("one").control("postinst", &script("exit 0\n"))]).0.is_ok());
    let evil = "one; rm -rf /";
    for (bad, shown) in [
        (script("reboot\n"), "not known of it: `reboot`"),
        (script("").replace(" one ", &format!(" {evil} ")), evil),
        (script("").replace("rm_conffile", "rm_everything"), "rm_everything"),
        (script("").replace("set -e", "exit 0"), "not known of it: `exit 0`"),
        (script("").replace("added by dh_installdeb", "added by dh_evil"), "dpkg-maintscript-helper"),
    ] {
        let message = conflict(&[Deb::new("one").control("postinst", &bad)]);
        assert!(message.contains(shown), "{bad}\n{message}");
    }
}

#[test]
fn an_unknown_script_is_refused_by_name_digest_and_lines() {
    let script = "#!/bin/sh\nset -e\nuseradd evil\nchmod 4755 /usr/bin/x\n";
    for member in ["preinst", "postinst", "config"] {
        let debs = [Deb::new("one").control(member, script)];
        let message = conflict(&debs);
        let digest = registry_wire::Digest::of(script.as_bytes());
        assert!(
            message.contains(&format!("package one (all): its {member} ({digest}) is not known")),
            "{message}"
        );
        assert!(message.ends_with("not known of it: `useradd evil`, `chmod 4755 /usr/bin/x`"), "{message}");
        let packages = [unpack(&debs[0]).unwrap()];
        let accounts = accounts_needed(&packages, &Recordings::none(), |_, _| Ok(None)).unwrap();
        assert!(accounts.is_empty(), "nobody knows what it makes");
        let unknown = unknown_scripts(
            &packages,
            |package| BTreeSet::from([package.architecture.clone()]),
            &Recordings::none(),
        );
        let names: Vec<&str> = unknown.iter().map(|(run, _)| run.name.as_str()).collect();
        assert_eq!(names, [member]);
    }
    // What runs when a package goes is of no concern.
    tree(&[Deb::new("one").control("prerm", script).control("postrm", script)]);
}

#[test]
fn records_are_where_scanners_look() {
    let (result, payloads, _folder) = tree_of(&[Deb::new("one").control("md5sums", "00  usr/x\n")]);
    let tree = result.unwrap();
    let text = |text: &str| {
        let Kind::File { content, .. } = &tree.get(&path(text)).unwrap().kind else { panic!("{text}") };
        String::from_utf8(payloads.read(content, 1 << 20).unwrap().unwrap()).unwrap()
    };
    assert!(text("var/lib/dpkg/status.d/one").starts_with("Package: one\nVersion: 1.0-1\n"));
    assert_eq!(text("var/lib/dpkg/status.d/one.md5sums"), "00  usr/x\n");
    assert!(tree.get(&path("var/lib/dpkg/status")).is_none());
}

/// Writes a tree to a folder, as root would find it; owners stay those of whoever runs the test.
fn write_out(tree: &Tree, payloads: &Payloads, folder: &std::path::Path) {
    for (path, entry) in tree.iter() {
        let at = folder.join(path.as_str());
        match &entry.kind {
            Kind::Directory => fs::create_dir_all(&at).unwrap(),
            Kind::Symlink(target) => std::os::unix::fs::symlink(target, &at).unwrap(),
            Kind::File { content, .. } => {
                fs::write(&at, payloads.read(content, 1 << 20).unwrap().unwrap()).unwrap();
            }
        }
    }
}

#[test]
fn dpkg_finds_its_own_database_in_an_image_with_dpkg() {
    let described = |name: &str| {
        Deb::new(name)
            .field("Maintainer", "x <x@example.org>")
            .field("Description", "x")
            .with(Member::directory("usr"))
    };
    let sums = |lines: &[&str]| lines.iter().flat_map(|line| [*line, "\n"]).collect::<String>();
    let (one, two) = ("c4ca4238a0b923820dcc509a6f75849b", "c81e728d9d4c2f636f067f89cc14862c");
    let debs = [
        described("dpkg")
            .with(Member::file("usr/bin/dpkg", ""))
            .control("md5sums", "d41d8cd98f00b204e9800998ecf8427e  usr/bin/dpkg\n"),
        described("one")
            .with(Member::file("usr/x", "1"))
            .with(Member::file("usr/own", "1"))
            .with(Member::file("lib/merged", "1"))
            .with(Member::file("etc/one.conf", "1"))
            .control("conffiles", "/etc/one.conf\n")
            .control(
                "md5sums",
                &sums(&[&format!("{one}  usr/x"), &format!("{one}  usr/own"), &format!("{one}  lib/merged")]),
            ),
        described("two")
            .field("Replaces", "one (<< 2)")
            .with(Member::file("usr/x", "2"))
            .control("md5sums", &sums(&[&format!("{two}  usr/x")])),
    ];
    let (result, payloads, folder) = tree_of(&debs);
    let root = folder.path().join("root");
    write_out(&result.unwrap(), &payloads, &root);
    let dpkg = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).arg(format!("--root={}", root.display())).args(arguments).output();
        let output = output.expect("dpkg is installed");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
        String::from_utf8(said).unwrap()
    };
    assert_eq!(dpkg("dpkg", &["--audit"]), "");
    assert_eq!(dpkg("dpkg", &["--verify"]), "");
    assert_eq!(dpkg("dpkg-query", &["--listfiles", "one"]), "/usr\n/usr/own\n/lib/merged\n/etc/one.conf\n");
    assert_eq!(dpkg("dpkg-query", &["--search", "/usr/x"]), "two: /usr/x\n");
    let conffiles = dpkg("dpkg-query", &["--show", "--showformat=${Conffiles}", "one"]);
    assert_eq!(conffiles, format!(" /etc/one.conf {one}"));
    // What it is told apart by: a file that changed.
    fs::write(root.join("usr/own"), "3").unwrap();
    let changed =
        Command::new("dpkg").arg(format!("--root={}", root.display())).arg("--verify").output().unwrap();
    assert!(String::from_utf8_lossy(&changed.stdout).contains("/usr/own"), "{changed:?}");
}

#[test]
fn dpkg_itself_reads_what_was_built() {
    // The fixtures are real packages: dpkg-deb accepts them.
    let folder = tempfile::tempdir().unwrap();
    let input =
        Deb::new("good-one").with(Member::file("usr/x", "content")).compressed("xz").write(folder.path());
    let output = Command::new("dpkg-deb").arg("--contents").arg(&input.deb).output();
    let output = output.expect("dpkg-deb is installed (Debian package dpkg)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("./usr/x"));
}

#[test]
fn what_dpkg_and_tar_write_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let long = format!("usr/share/{}/{}/{}", "a".repeat(120), "b".repeat(120), "c".repeat(200));
    let accent = "usr/share/Főtanúsítvány";
    for (name, content) in [("DEBIAN/control", ""), (long.as_str(), "long"), (accent, "accent")] {
        let file = root.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    std::os::unix::fs::symlink("t".repeat(150), root.join("usr/share/link")).unwrap();
    fs::hard_link(root.join(&long), root.join("usr/share/z")).unwrap();
    let control = "Package: good-one\nVersion: 1.0-1\nArchitecture: all\nMaintainer: x\nDescription: x\n";
    fs::write(root.join("DEBIAN/control"), control).unwrap();
    let deb = folder.path().join("good-one.deb");
    let run = |command: &mut Command| {
        let output = command.output().expect("dpkg-deb and tar are installed (Debian packages dpkg, tar)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&root).arg(&deb));
    let data = folder.path().join("data.tar");
    run(Command::new("tar")
        .args(["--format=gnu", "--exclude=./DEBIAN", "--owner=0", "--group=0"])
        .arg("-cf")
        .arg(&data)
        .arg("-C")
        .arg(&root)
        .arg("."));
    let by_dpkg = Package::unpack(&deb::input("good-one", &deb), &mut Vec::new()).unwrap().package;
    let bytes = fs::read(data).unwrap();
    let by_tar = unpack(&Deb::new("good-one").edited(move |data| data.clone_from(&bytes))).unwrap();
    for package in [by_dpkg, by_tar] {
        let find = |text: &str| package.members.iter().find(|member| member.path.as_str() == text);
        assert!(find(accent).is_some());
        assert_eq!(find("usr/share/link").unwrap().kind, MemberKind::Symlink("t".repeat(150)));
        let (one, other) = (&find(&long).unwrap().kind, &find("usr/share/z").unwrap().kind);
        let is_tied = |kind: &MemberKind| matches!(kind, MemberKind::HardLink(_));
        assert!(is_tied(one) != is_tied(other), "{one:?} {other:?}");
    }
}

proptest! {
    /// Bytes that nobody checked never make the reader panic or escape.
    #[test]
    fn any_bytes_are_read_or_refused(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let deb = Deb::new("bad-one")
            .with(Member::file("usr/x", "content"))
            .with(Member::symlink("usr/y", "x"))
            .edited(move |data| {
                for (at, byte) in &edits {
                    let at = at.index(data.len());
                    data[at] = *byte;
                }
            });
        if let Ok(package) = unpack(&deb) {
            prop_assert!(package.members.iter().all(|member| member.path.components().all(|part| part != "..")));
        }
    }
}
