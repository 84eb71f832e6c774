//! Scripts that call programs of the essential set of Debian and adduser.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use builder_tree::{Content, Kind, Recordings, Tree};

use crate::{
    EPOCH,
    debian::{Installed, STATUS},
    kept,
    system::System,
    table::{Bed, SHELL},
};

/// The essential set with adduser.
fn bed() -> MutexGuard<'static, Bed> {
    static BED: LazyLock<Mutex<Bed>> = LazyLock::new(|| {
        let system = System::new("bookworm", kept(), EPOCH);
        let oracle = system.install(&["adduser"]).unwrap();
        let inputs = system.archive.inputs(&oracle.text(STATUS), &system.debs);
        Mutex::new(Bed::of(Installed::unpack(&inputs, &[])))
    });
    BED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The line of an account in a list of a tree.
fn line(tree: &Tree, list: &str, name: &str) -> String {
    let Kind::File { content: Content::Bytes(bytes), .. } = &tree.get(&list.parse().unwrap()).unwrap().kind
    else {
        panic!("{list} is made by the builder")
    };
    let text = std::str::from_utf8(bytes).unwrap();
    let found = text.lines().find(|line| line.split(':').next() == Some(name));
    found.unwrap_or_else(|| panic!("{name} is missing in {list}:\n{text}")).to_owned()
}

#[test]
fn a_preinst_of_a_package_with_configuration_files_is_recorded() {
    let mut bed = bed();
    let script = format!("{SHELL}[ ! -e /usr/share/own ]; echo x > /etc/of-preinst\n");
    let conffiles = ("conffiles", "/usr/share/own\n");
    let packages = bed.packages("one", &[("preinst", &script), conffiles]);
    let mut recordings = Recordings::none();
    for recording in bed.record_packages(&packages).unwrap_or_else(|error| panic!("{error}")) {
        recordings.add(recording);
    }
    bed.build(&packages, &recordings).unwrap_or_else(|error| panic!("{error}"));
    // Which of two configuration files stays, dpkg would ask.
    let script = format!("{SHELL}echo x > /usr/share/own\n");
    let packages = bed.packages("one", &[("preinst", &script), conffiles]);
    let error = bed.record_packages(&packages).unwrap_err();
    assert!(error.contains("/usr/share/own is taken"), "{error}");
}

#[test]
fn modes_that_dpkg_is_told_are_told_again() {
    let mut bed = bed();
    let script = format!("{SHELL}dpkg-statoverride --quiet --update --add root mail 2750 /usr/share/own\n");
    let recordings = bed.record(&script).unwrap_or_else(|error| panic!("{error}"));
    let [recording] = recordings.of(&"own".parse().unwrap()) else { panic!("one run") };
    let told: Vec<String> = recording.overrides.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["root mail 2750 /usr/share/own"]);
    let packages = bed.packages("one", &[("postinst", &script)]);
    let tree = bed.build(&packages, &recordings).unwrap_or_else(|error| panic!("{error}"));
    let own = tree.get(&"/usr/share/own".parse().unwrap()).unwrap();
    assert_eq!((own.mode, own.uid, own.gid), (0o2750, 0, 8));
    let list = &tree.get(&"/var/lib/dpkg/statoverride".parse().unwrap()).unwrap().kind;
    assert_eq!(
        *list,
        Kind::File { content: Content::bytes(*b"root mail 2750 /usr/share/own\n"), linked: false }
    );
    // What was told before is not taken back.
    let tell = format!("{SHELL}dpkg-statoverride --quiet --add root mail 644 /a\n");
    let untell = format!("{SHELL}dpkg-statoverride --quiet --remove /a\n");
    let packages = bed.packages("one", &[("preinst", &tell), ("postinst", &untell)]);
    let error = bed.record_packages(&packages).unwrap_err();
    assert!(error.contains("changed /var/lib/dpkg/statoverride, a record of dpkg's"), "{error}");
}

#[test]
fn accounts_are_made_again() {
    let mut bed = bed();
    let script = format!(
        "{SHELL}addgroup --system --quiet shared\nadduser --system --quiet --ingroup shared --no-create-home reader\n\
         adduser --system --quiet --group --home /var/lib/own --gecos 'Own daemon' own\n\
         adduser --quiet own adm; chown own:shared /usr/share/own\n"
    );
    let recordings = bed.record(&script).unwrap_or_else(|error| panic!("{error}"));
    let packages = bed.packages("one", &[("postinst", &script)]);
    let tree = bed.build(&packages, &recordings).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(line(&tree, "/etc/group", "shared"), "shared:x:101:");
    assert_eq!(line(&tree, "/etc/group", "own"), "own:x:102:");
    assert_eq!(line(&tree, "/etc/passwd", "reader"), "reader:x:100:101::/nonexistent:/usr/sbin/nologin");
    assert_eq!(
        line(&tree, "/etc/passwd", "own"),
        "own:x:102:102:Own daemon,,,:/var/lib/own:/usr/sbin/nologin"
    );
    assert_eq!(line(&tree, "/etc/group", "adm"), "adm:x:4:own");
    assert_eq!(line(&tree, "/etc/gshadow", "adm"), "adm:*::own");
    assert!(line(&tree, "/etc/shadow", "own").starts_with("own:!:"));
    let own = tree.get(&"/usr/share/own".parse().unwrap()).unwrap();
    assert_eq!((own.uid, own.gid), (102, 101));
}

#[test]
fn accounts_that_were_there_stay() {
    let mut bed = bed();
    for (script, expected) in [
        ("usermod --password '$y$j9T$abc' root", "it changes the user root in /etc/shadow"),
        (
            "adduser --system --quiet own; usermod --password '$y$j9T$abc' own",
            "it gives the user own a password, or dates for one, in /etc/shadow",
        ),
        ("adduser --system --quiet --uid 4711 own", "it gives the user own the id 4711 in /etc/passwd"),
        ("gpasswd --administrators daemon adm", "it changes the group adm in /etc/gshadow"),
        ("chmod 644 /etc/shadow", "left another mode or owner at /etc/shadow"),
    ] {
        let error = bed.record(&format!("{SHELL}{script}\n")).expect_err(script);
        assert!(error.contains(expected), "{script}: {error}");
    }
}

#[test]
fn attributes_are_no_effect() {
    let mut bed = bed();
    // setxattr(2), for which there is no program.
    let number = if cfg!(target_arch = "x86_64") { 188 } else { 5 };
    let script = format!(
        "{SHELL}cp /bin/true /srv/own\n\
         perl -e 'my @all = (\"/srv/own\", \"user.own\", \"x\"); syscall({number}, @all, 1, 0) == 0 or die $!'\n"
    );
    let error = bed.record(&script).unwrap_err();
    assert!(error.contains("left the attribute user.own at /srv/own, which an image cannot hold"), "{error}");
}

#[test]
fn triggers_start_scripts_until_none_waits() {
    let mut bed = bed();
    let own = format!("{SHELL}[ \"$1\" = configure ] || echo \"$2\" > /var/own-triggered\n");
    let late = format!("{SHELL}[ \"$1\" = configure ] || dpkg-trigger --no-await own-trigger\n");
    let mut packages =
        bed.packages("one", &[("postinst", &own), ("triggers", "interest-noawait own-trigger\n")]);
    // One that is triggered later, and starts the first one again; and one that triggers it.
    for (name, triggers, script) in [
        ("own-late", "interest-noawait late-trigger\n", Some(late)),
        ("own-last", "activate-noawait late-trigger\n", None),
    ] {
        let mut package = packages.last().unwrap().clone();
        package.name = name.parse().unwrap();
        package.members.clear();
        let control = package.control.get_mut("control").unwrap();
        control.text = format!("Package: {name}\nVersion: 1\nArchitecture: amd64\n");
        package.control.get_mut("triggers").unwrap().text = triggers.to_owned();
        match script {
            Some(text) => package.control.get_mut("postinst").unwrap().text = text,
            None => drop(package.control.remove("postinst")),
        }
        packages.push(package);
    }
    let mut recordings = Recordings::none();
    let (first, missing) = bed.record_one(&packages, "own", &recordings).unwrap();
    assert_eq!(first.len(), 1, "what it does when it is configured");
    assert!(missing.is_some_and(|missing| missing.contains("own-late")));
    for recording in first {
        recordings.add(recording);
    }
    let (late, _) = bed.record_one(&packages, "own-late", &recordings).unwrap();
    let arguments: Vec<_> = late.iter().map(|recording| recording.run.arguments.join(" ")).collect();
    assert_eq!(arguments, ["configure ", "triggered late-trigger"]);
    for recording in late {
        recordings.add(recording);
    }
    let error = bed.build(&packages, &recordings).unwrap_err();
    assert!(error.contains("postinst of package own, started with `triggered own-trigger`"), "{error}");
    recordings = recordings.without(&"own".parse().unwrap());
    let (whole, missing) = bed.record_one(&packages, "own", &recordings).unwrap();
    assert_eq!((whole.len(), missing), (2, None));
    for recording in whole {
        recordings.add(recording);
    }
    let tree = bed.build(&packages, &recordings).unwrap_or_else(|error| panic!("{error}"));
    assert!(tree.get(&"/var/own-triggered".parse().unwrap()).is_some());
}
