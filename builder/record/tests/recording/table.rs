//! Scripts made by hand, in a small tree with a real shell.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use builder_inputs::allocate_accounts;
use builder_record::ScriptRecorder;
use builder_tree::{
    Allowed, ControlFile, HostNames, InstallOptions, Installed as Made, Kind, MemberKind, Package,
    PackageMember, Recording, Recordings, Tree, install, record_scripts,
};
use bundles_release::{lock::Accounts, sbom::ScriptLevel};
use registry_wire::Digest;

use crate::{EPOCH, chain, debian::Installed, kept, machine, system::System, through_files};

/// What a shell and the simplest programs need.
const SMALL: [&str; 15] = [
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "gcc-12-base",
    "libacl1",
    "libattr1",
    "libc6",
    "libdebconfclient0",
    "libgcc-s1",
    "libgmp10",
    "libpcre2-8-0",
    "libselinux1",
    "libtinfo6",
];

/// A small system, and a package of one file with a script of ours.
pub(crate) struct Bed {
    pub(crate) installed: Installed,
    folder: tempfile::TempDir,
}

/// One for all tests, which take turns: a script has the machine for itself.
fn bed() -> MutexGuard<'static, Bed> {
    static BED: LazyLock<Mutex<Bed>> = LazyLock::new(|| Mutex::new(Bed::new()));
    BED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bed {
    fn new() -> Self {
        let system = System::new("bookworm", kept(), EPOCH);
        let mut installed = system.essential;
        installed.packages.retain(|package| SMALL.contains(&package.name.as_str()));
        assert_eq!(installed.packages.len(), SMALL.len());
        Self::of(installed)
    }

    pub(crate) fn of(installed: Installed) -> Self {
        Self { installed, folder: tempfile::tempdir().unwrap() }
    }

    /// All packages with ours, which brings `/usr/share/own` with that content.
    pub(crate) fn packages(&mut self, content: &str, scripts: &[(&str, &str)]) -> Vec<Package> {
        let sha256 = Digest::of(content.as_bytes());
        let path = self.folder.path().join(sha256.hex());
        std::fs::write(&path, content).unwrap();
        self.installed.payloads.add(sha256, path);
        let file = PackageMember {
            path: "/usr/share/own".parse().unwrap(),
            kind: MemberKind::File { offset: 0, length: content.len() as u64 },
            mode: 0o644,
            uid: 0,
            gid: 0,
            user: "root".into(),
            group: "root".into(),
            mtime: EPOCH,
        };
        let paragraph = "Package: own\nVersion: 1\nArchitecture: amd64\n";
        let mut control = BTreeMap::from([("control".to_owned(), paragraph.to_owned())]);
        control.extend(scripts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
        let control = control
            .into_iter()
            .map(|(name, text)| (name, ControlFile::new(0o755, text.into_bytes())))
            .collect();
        let own = Package {
            sha256,
            name: "own".parse().unwrap(),
            version: "1".parse().unwrap(),
            architecture: "amd64".parse().unwrap(),
            control,
            members: vec![file],
        };
        let mut packages = self.installed.packages.clone();
        packages.push(own);
        packages
    }

    pub(crate) fn record(&mut self, script: &str) -> Result<Recordings, String> {
        let packages = self.packages("one", &[("postinst", script)]);
        let mut recordings = Recordings::none();
        for recording in self.record_packages(&packages)? {
            recordings.add(recording);
        }
        Ok(recordings)
    }

    pub(crate) fn record_packages(&self, packages: &[Package]) -> Result<Vec<Recording>, String> {
        let (made, missing) = self.record_one(packages, "own", &Recordings::none())?;
        assert!(missing.is_none(), "{missing:?}");
        Ok(made)
    }

    /// What one package does after what is recorded of others, and what is missing to know all of it.
    pub(crate) fn record_one(
        &self,
        packages: &[Package],
        wanted: &str,
        recordings: &Recordings,
    ) -> Result<(Vec<Recording>, Option<String>), String> {
        let machine = machine();
        let mut recorder = ScriptRecorder::new(&machine, &self.installed.payloads);
        let options = InstallOptions { accounts: &Accounts::default(), epoch: EPOCH, recordings };
        let wanted = wanted.parse().unwrap();
        let made = record_scripts(packages, &self.installed.payloads, &options, &wanted, &mut recorder)
            .map_err(|error| chain(&error))?;
        // Contents are read before the temporary folders go.
        let kept = through_files(&made.recordings, self.folder.path());
        Ok((kept.of(&wanted).to_vec(), made.missing.map(|error| error.to_string())))
    }

    pub(crate) fn build(&self, packages: &[Package], recordings: &Recordings) -> Result<Tree, String> {
        self.install(packages, recordings).map(|installed| installed.tree)
    }

    fn installed_with(&self, packages: &[Package], recordings: &Recordings) -> Made {
        self.install(packages, recordings).unwrap_or_else(|error| panic!("{error}"))
    }

    fn install(&self, packages: &[Package], recordings: &Recordings) -> Result<Made, String> {
        let needed: Vec<_> = recordings.iter().flat_map(|recording| recording.accounts.requests()).collect();
        let accounts = allocate_accounts(&Accounts::default(), &needed).unwrap();
        let options = InstallOptions { accounts: &accounts, epoch: EPOCH, recordings };
        install(packages, &self.installed.payloads, &options)
            .map_err(|error| format!("{error}\n{}", error.hint().unwrap_or_default()))
    }
}

pub(crate) const SHELL: &str = "#!/bin/sh\nset -e\n";

#[test]
fn what_must_not_be_recorded_is_refused() {
    let mut bed = bed();
    for (name, script, expected) in [
        (
            "network",
            "bash -c ': > /dev/tcp/192.0.2.1/80' || true",
            "wants the network, 192.0.2.1:80; there is none where effects are recorded",
        ),
        (
            "fails",
            "echo before; echo what is wrong >&2; exit 3",
            "failed, with exit code 3\n    | before\n    | what is wrong",
        ),
        (
            "random",
            "cat /proc/sys/kernel/random/uuid /dev/urandom | head -c 20 > /etc/random",
            "does not do the same twice: /etc/random differs",
        ),
        ("pid", "echo $$ > /var/pid", "does not do the same twice: /var/pid differs"),
        (
            "time of files",
            "echo $SOURCE_DATE_EPOCH > /etc/date",
            "does not do the same twice: /etc/date differs",
        ),
        (
            "version of dpkg",
            "echo $DPKG_RUNNING_VERSION > /etc/version",
            "does not do the same twice: /etc/version differs",
        ),
        ("clock", "date > /etc/date", "does not do the same twice: /etc/date differs"),
        (
            "name of chance",
            "cp /usr/share/own $(mktemp /etc/x.XXXXXXXX)",
            "does not do the same twice: /etc/x.",
        ),
        ("asks", "read answer; echo $answer > /etc/answer", "reads what a person would type"),
        (
            "service",
            "cp /bin/true /sbin/start-stop-daemon; /sbin/start-stop-daemon --start",
            "starts a service with /usr/sbin/start-stop-daemon",
        ),
        ("daemon", "sleep 1000 > /dev/null 2>&1 &", "ended and left 1 processes running"),
        ("pipe", "mkfifo /etc/pipe", "left a pipe at /etc/pipe"),
        (
            "dpkg",
            "echo x >> /var/lib/dpkg/status.d/own",
            "changed /var/lib/dpkg/status.d/own, a record of dpkg's",
        ),
        (
            "ids",
            "echo root:x:1:1::/:/bin/sh > /etc/passwd; echo root:x:0: >> /etc/passwd",
            "does to accounts cannot be recorded",
        ),
        (
            "a list that never ends",
            "ln -sf /dev/zero /etc/passwd",
            "left /etc/passwd as something else than a text",
        ),
        ("a list that is a pipe", "rm /etc/group; mkfifo /etc/group", "left /etc/group as something else"),
        (
            "lists of the machine",
            "cp -a /etc /x; rm -r /etc; ln -s /proc/self/cwd/etc /etc",
            "left /etc/passwd as something else",
        ),
    ] {
        let error = bed.record(&format!("{SHELL}{script}\n")).expect_err(name);
        assert!(error.contains(expected), "{name}: {error}");
        assert!(error.contains("postinst of package own"), "{name}: {error}");
    }
    let packages = bed.packages("one", &[("postinst", "#!/usr/bin/python3\n")]);
    let error = bed.record_packages(&packages).unwrap_err();
    assert!(error.contains("needs /usr/bin/python3, which the image does not hold"), "{error}");
}

#[test]
fn what_a_script_does_is_written_down() {
    let mut bed = bed();
    let script = format!(
        "{SHELL}[ \"$1\" = configure ] && [ -z \"$2\" ] && [ \"$DPKG_MAINTSCRIPT_NAME\" = postinst ]\n\
         mkdir -p /etc/own.d && cp /usr/share/own /etc/own.d/copy && chmod 640 /etc/own.d/copy\n\
         chown daemon:adm /etc/own.d/copy; ln -s copy /etc/own.d/link; ln -s copy /etc/own.d/other; chown -h daemon:adm /etc/own.d/other; rm /etc/issue.net; chmod 700 /srv\n\
         head -c 9000 /dev/zero > /etc/own.d/zeros; echo of a moment > /tmp/x; touch /etc/debian_version\n\
         [ ! -e /etc/absent ]; cd /etc; cat /proc/self/cwd/host.conf > /dev/null; ls /etc/update-motd.d > /dev/null; date +%s > /etc/own.d/date || exit 1\n\
         [ $(cat /etc/own.d/date) = {EPOCH} ] || echo later; rm /etc/own.d/date\n"
    );
    let recordings = bed.record(&script).unwrap_or_else(|error| panic!("{error}"));
    let [recording] = recordings.of(&"own".parse().unwrap()) else { panic!("one run") };
    let changes: Vec<String> = recording.changes.iter().map(ToString::to_string).collect();
    let expected = [
        "removed /etc/issue.net",
        "directory /etc/own.d 0755 root:root",
        "file /etc/own.d/copy 0640 daemon:adm 3 bytes",
        "link /etc/own.d/link -> copy",
        "link /etc/own.d/other -> copy daemon:adm",
        "file /etc/own.d/zeros 0644 root:root 9000 bytes",
        "directory /srv 0700 root:root",
    ];
    assert_eq!(changes, expected);
    let read = |path: &str| recording.reads.get(&path.parse().unwrap()).map(ToString::to_string);
    assert_eq!(read("/etc/absent").as_deref(), Some("absent"));
    assert_eq!(read("/bin").as_deref(), Some("link usr/bin"));
    let own = format!("file {} 0644 0:0", Digest::of(b"one"));
    assert_eq!(read("/usr/share/own"), Some(own));
    for (path, start) in
        [("/etc/update-motd.d", "list sha256:"), ("/srv", "directory 0755"), ("/usr/bin/dash", "file ")]
    {
        assert!(read(path).is_some_and(|state| state.starts_with(start)), "{path}: {:?}", read(path));
    }
    assert!(read("/etc/host.conf").is_some(), "it is reached through the working folder");
    // Programs that it starts count with their loader and libraries.
    assert!(recording.reads.keys().any(|path| path.name() == "ld-linux-x86-64.so.2"));
    assert!(recording.reads.keys().any(|path| path.name() == "libselinux.so.1"));
    assert!(read("/etc/os-release").is_none(), "nobody looked at it");

    let packages = bed.packages("one", &[("postinst", &script)]);
    let tree = bed.build(&packages, &recordings).unwrap();
    let at = |path: &str| tree.get(&path.parse().unwrap()).cloned();
    let copy = at("/etc/own.d/copy").unwrap();
    assert_eq!((copy.mode, copy.uid, copy.gid), (0o640, 1, 4));
    let other = at("/etc/own.d/other").unwrap();
    assert_eq!((other.kind, other.uid, other.gid), (Kind::Symlink("copy".to_owned()), 1, 4));
    assert!(at("/etc/issue.net").is_none() && at("/etc/own.d/date").is_none());
    assert_eq!(at("/srv").unwrap().owner.to_string(), "generated by base-files");
}

#[test]
fn a_preinst_finds_nothing_of_its_package() {
    let mut bed = bed();
    let script = format!(
        "{SHELL}[ ! -e /usr/share/own ] && [ -e /etc/issue ]\n\
         echo preinst > /usr/share/own; mkdir -m 700 /usr/share/own.d; echo kept > /usr/share/own.d/kept\n"
    );
    let packages = bed.packages("one", &[("preinst", &script)]);
    let mut recordings = Recordings::none();
    for recording in bed.record_packages(&packages).unwrap_or_else(|error| panic!("{error}")) {
        assert_eq!(recording.reads[&"/usr/share/own".parse().unwrap()].to_string(), "absent");
        recordings.add(recording);
    }
    let tree = bed.build(&packages, &recordings).unwrap_or_else(|error| panic!("{error}"));
    // The package is unpacked over what was there.
    let own = tree.get(&"/usr/share/own".parse().unwrap()).unwrap();
    assert_eq!(own.owner.to_string(), "package own");
    let folder = tree.get(&"/usr/share/own.d".parse().unwrap()).unwrap();
    assert_eq!((folder.mode, tree.get(&"/usr/share/own.d/kept".parse().unwrap()).is_some()), (0o700, true));
}

#[test]
fn names_of_hosts_are_asked_in_vain() {
    let mut bed = bed();
    let ask = "bash -c ': > /dev/udp/127.0.0.1/53' || true\n[ ! -e '/etc/one\ntwo' ]\n";
    for (script, expected) in [("true\n", HostNames::NotAsked), (ask, HostNames::Unanswered)] {
        let recordings = bed.record(&format!("{SHELL}{script}")).unwrap_or_else(|error| panic!("{error}"));
        let [recording] = recordings.of(&"own".parse().unwrap()) else { panic!("one run") };
        assert_eq!(recording.host_names, expected, "{script}");
    }
}

#[test]
fn a_declared_script_that_needs_a_program_of_the_image_is_recorded() {
    let mut bed = bed();
    let script = format!(
        "{SHELL}# Automatically added by dh_icons/13.9.1\n\
         if [ \"$1\" = \"configure\" ] || [ \"$1\" = \"abort-upgrade\" ] || [ \"$1\" = \"abort-deconfigure\" ] || [ \"$1\" = \"abort-remove\" ] ; then\n\
         \tif command -v update-icon-caches >/dev/null; then\n\t\tupdate-icon-caches /usr/share/icons/own\n\tfi\nfi\n\
         # End automatically added section\n"
    );
    let program = format!("{SHELL}echo $1 > /usr/share/own.cache\n");
    let without = bed.packages(&program, &[("postinst", &script)]);
    assert!(bed.record_packages(&without).unwrap().is_empty(), "all of it is declared");
    let mut packages = without.clone();
    let own = packages.last_mut().unwrap();
    let mut file = own.members[0].clone();
    (file.path, file.mode) = ("/usr/sbin/update-icon-caches".parse().unwrap(), 0o755);
    own.members.push(file);
    let error = bed.build(&packages, &Recordings::none()).unwrap_err();
    assert!(error.contains("what its postinst does cannot be done"), "{error}");
    assert!(error.contains("bundle effects record own"), "{error}");
    let mut recordings = Recordings::none();
    for recording in bed.record_packages(&packages).unwrap_or_else(|error| panic!("{error}")) {
        recordings.add(recording);
    }
    let cache = "/usr/share/own.cache".parse().unwrap();
    let made = bed.installed_with(&packages, &recordings);
    assert!(made.tree.get(&cache).is_some());
    assert_eq!(made.script_level(packages.last().unwrap()), ScriptLevel::Recorded);
    // Where the program is not there, what is declared holds.
    let made = bed.installed_with(&without, &recordings);
    assert!(made.tree.get(&cache).is_none());
    assert_eq!(made.script_level(without.last().unwrap()), ScriptLevel::Declared);
}

#[test]
fn what_is_replaced_keeps_nothing() {
    let mut bed = bed();
    // Folders of base-files and libc6, made anew, and made something else.
    let script = format!(
        "{SHELL}rm -rf /etc/update-motd.d /usr/share/lintian; mkdir -p /usr/share/lintian/overrides/new\n\
         echo kept > /usr/share/lintian/overrides/own; ln -s profile.d /etc/update-motd.d\n\
         rm -r /etc/default; echo no folder > /etc/default; rm /etc/issue; mkdir /etc/issue; echo > /etc/issue/x\n"
    );
    let recordings = bed.record(&script).unwrap_or_else(|error| panic!("{error}"));
    let packages = bed.packages("one", &[("postinst", &script)]);
    let tree = bed.build(&packages, &recordings).unwrap_or_else(|error| panic!("{error}"));
    let below = |path: &str| -> Vec<String> {
        tree.below(&path.parse().unwrap()).map(|(path, _)| path.to_string()).collect()
    };
    let overrides = "/usr/share/lintian/overrides";
    let expected = [overrides.to_owned(), format!("{overrides}/new"), format!("{overrides}/own")];
    assert_eq!(below("/usr/share/lintian"), expected);
    assert!(below("/etc/update-motd.d").is_empty() && below("/etc/default").is_empty());
    assert_eq!(below("/etc/issue"), ["/etc/issue/x"]);
    let kind = |path: &str| tree.get(&path.parse().unwrap()).unwrap().kind.clone();
    assert_eq!(kind("/etc/update-motd.d"), Kind::Symlink("profile.d".to_owned()));
    assert!(matches!(kind("/etc/default"), Kind::File { .. }));
}

#[test]
fn a_recording_holds_as_long_as_nothing_changes() {
    let mut bed = bed();
    let script = format!("{SHELL}cp /usr/share/own /etc/copy; [ -e /etc/other ] || ls /etc > /etc/list\n");
    let recordings = bed.record(&script).unwrap();
    let same = bed.packages("one", &[("postinst", &script)]);
    bed.build(&same, &recordings).unwrap();

    let refused = |bed: &Bed, packages: &[Package], recordings: &Recordings, expected: &str| {
        let error = bed.build(packages, recordings).unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(error.ends_with("\nbundle effects record own"), "{error}");
    };
    let changed = bed.packages("two", &[("postinst", &script)]);
    refused(&bed, &changed, &recordings, "looked at /usr/share/own, which has changed: it is `file sha256:");
    let other_text = bed.packages("one", &[("postinst", &format!("{script}true\n"))]);
    refused(&bed, &other_text, &recordings, "is not the one that was recorded");
    let mut other_arguments = Recordings::none();
    for recording in recordings.of(&"own".parse().unwrap()) {
        let mut recording = recording.clone();
        recording.run.arguments = vec!["configure".into(), "1.0".into()];
        other_arguments.add(recording);
    }
    refused(&bed, &same, &other_arguments, "was recorded with other arguments: `configure 1.0`");
    let preinst = bed.packages("one", &[("postinst", &script), ("preinst", &script)]);
    refused(
        &bed,
        &preinst,
        &recordings,
        "the preinst of package own, started with `install` is neither declared nor recorded",
    );
    // What was not there is there now, and a folder that was listed has one name more.
    let mut more = bed.packages("one", &[("postinst", &script)]);
    let own = more.last_mut().unwrap();
    let mut file = own.members[0].clone();
    file.path = "/etc/other".parse().unwrap();
    own.members.push(file);
    refused(&bed, &more, &recordings, "which has changed");
    // Another architecture, and another outcome of the same.
    let with = |change: &dyn Fn(&mut Recording)| {
        let mut changed = Recordings::none();
        for recording in recordings.of(&"own".parse().unwrap()) {
            let mut recording = recording.clone();
            change(&mut recording);
            changed.add(recording);
        }
        changed
    };
    let foreign = with(&|recording| recording.run.architecture = "arm64".parse().unwrap());
    let error = bed.build(&same, &foreign).unwrap_err();
    assert!(error.contains("was recorded on arm64, and the image is for amd64"), "{error}");
    assert!(error.ends_with("\nbundle effects record own; on a machine that is amd64"), "{error}");
    let mut twice = recordings.clone();
    for recording in recordings.iter() {
        twice.add(recording.clone());
    }
    bed.build(&same, &twice).unwrap();
    for other in with(&|recording| drop(recording.changes.pop())).iter() {
        twice.add(other.clone());
    }
    refused(&bed, &same, &twice, "has two recordings that hold, and they do not say the same");
    // Only declared scripts may have a part.
    let error = bed.build(&same, &recordings.clone().allowing(Allowed::DeclaredOnly)).unwrap_err();
    assert!(error.starts_with("package own: its postinst (sha256:"), "{error}");
    assert!(error.contains("is only recorded, and `scripts = \"declared-only\"` refuses that"), "{error}");
    for way_out in ["add it to the table of effects", "set `scripts = \"recorded\"`"] {
        assert!(error.contains(way_out), "{error}");
    }
    // Nothing is recorded at all.
    let error = bed.build(&same, &Recordings::none()).unwrap_err();
    assert!(
        error.contains("is not known") && error.contains("bundle effects record own; or leave own out"),
        "{error}"
    );
}

#[test]
fn a_link_that_comes_between_is_a_change() {
    let mut bed = bed();
    let script = format!("{SHELL}[ -e /usr/share/place/x ] || touch /etc/without-x\n");
    let with = |bed: &mut Bed, members: &[(&str, MemberKind)]| {
        let mut packages = bed.packages("one", &[("postinst", &script)]);
        let own = packages.last_mut().unwrap();
        for (path, kind) in members {
            let (path, kind) = (path.parse().unwrap(), kind.clone());
            own.members.push(PackageMember { path, kind, mode: 0o755, ..own.members[0].clone() });
        }
        packages
    };
    let packages = with(&mut bed, &[("/usr/share/place", MemberKind::Directory)]);
    let mut recordings = Recordings::none();
    for recording in bed.record_packages(&packages).unwrap() {
        recordings.add(recording);
    }
    bed.build(&packages, &recordings).unwrap();
    let file = MemberKind::File { offset: 0, length: 3 };
    let led_away = with(
        &mut bed,
        &[
            ("/usr/share/real", MemberKind::Directory),
            ("/usr/share/real/x", file),
            ("/usr/share/place", MemberKind::Symlink("real".to_owned())),
        ],
    );
    let error = bed.build(&led_away, &recordings).unwrap_err();
    assert!(error.contains("looked at /usr/share/place"), "{error}");
    // The folder itself was looked at only on the way.
    let reads = &recordings.of(&"own".parse().unwrap())[0].reads;
    assert!(!reads.contains_key(&"/usr/share/place".parse().unwrap()), "{reads:?}");
    assert!(error.contains("/usr/share/place above it is a link now"), "{error}");
}

#[test]
fn without_a_helper_nothing_is_recorded() {
    let mut bed = bed();
    let packages = bed.packages("one", &[("postinst", &format!("{SHELL}true\n"))]);
    let mut machine = machine();
    machine.minimum = builder_sandbox::Level::Full;
    machine.sandbox = builder_sandbox::Own::new(builder_sandbox::Helper {
        program: "/nonexistent/helper".into(),
        arguments: Vec::new(),
    });
    let mut recorder = ScriptRecorder::new(&machine, &bed.installed.payloads);
    let options =
        InstallOptions { accounts: &Accounts::default(), epoch: EPOCH, recordings: &Recordings::none() };
    let wanted = "own".parse().unwrap();
    let error =
        record_scripts(&packages, &bed.installed.payloads, &options, &wanted, &mut recorder).unwrap_err();
    let error = chain(&error);
    assert!(
        error.contains("started with `configure \"\"` was not run: /nonexistent/helper does not start"),
        "{error}"
    );
}
