//! What scripts do to accounts, with Debian's own programs for them.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use builder_tree::{Content, Kind, Tree};

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
