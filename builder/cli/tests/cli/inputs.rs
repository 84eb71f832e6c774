//! From recipes to images, and the registry of this machine: what is refused.

use std::fs;

use insta::assert_snapshot;

use crate::{
    session::{Session, with_filters},
    shop::{RECIPE, Shop},
};

#[test]
fn folders_that_are_no_platform() {
    let session = Session::new();
    with_filters(|| {
        for verb in ["lock", "fetch", "build", "release", "show"] {
            insta::allow_duplicates! {
                assert_snapshot!(session.run(verb), @r"
                exit 2
                error: neither [FOLDER]/work nor a folder above it holds bundle.toml
                  try: bundle --help, and --platform FOLDER
                ");
                assert_snapshot!(session.run(&format!("{verb} --platform absent")), @r"
                exit 3
                error: folder absent cannot be read
                  because: No such file or directory (os error 2)
                  try: name the folder that holds bundle.toml, and see that it can be read
                ");
            }
        }
        assert_snapshot!(session.run("up absent"), @r"
        exit 3
        error: folder absent cannot be read
          because: No such file or directory (os error 2)
          try: name the folder that holds bundle.toml, and see that it can be read
        ");
        assert_snapshot!(session.run("schema recipes"), @r"
        exit 2
        error: invalid value 'recipes' for '<FILE>'
          [possible values: platform, recipe, environment, trust]

          tip: a similar value exists: 'recipe'

        For more information, try '--help'.
        ");
    });
}

#[test]
fn a_store_of_another_program() {
    let session = Session::new();
    with_filters(|| {
        let removed = session.run("gc");
        assert!(removed.contains("removed 0 files"), "{removed}");
        fs::write(session.path("home/store/format"), "9\n").unwrap();
        let refused = session.run("gc");
        assert!(refused.contains("has form 9, this program knows form 1"), "{refused}");
        assert!(refused.starts_with("exit 1"), "{refused}");
    });
}

#[test]
fn locks_that_do_not_hold() {
    let shop = Shop::new();
    let session = &shop.session;
    with_filters(|| {
        for verb in ["lock --check", "fetch", "build", "release"] {
            insta::allow_duplicates! {
                assert_snapshot!(session.run(&format!("{verb} --platform shop")), @r"
                exit 3
                error: there is no lock at shop/bundle.lock
                  try: bundle lock --platform shop
                ");
            }
        }
        session.write("empty/README", "");
        let folder = session.path("work/empty").display().to_string();
        let keyring = session.path("archive/keyring.gpg").display().to_string();
        let lock = format!("lock --platform shop --from file:{folder} --keyring {keyring}");
        assert_snapshot!(session.run(&lock), @r"
        exit 3
        error: suite stable is not at any of the places that were looked at: file:[FOLDER]/work/empty
          try: add a source of the same Origin to /etc/apt, or name one with `bundle lock --from URI`
        ");
        assert_snapshot!(session.run(&lock.replace("keyring.gpg", "absent.gpg")), @r"
        exit 1
        error: cannot read keyring [FOLDER]/archive/absent.gpg
          because: No such file or directory (os error 2)
          try: name a file of OpenPGP public keys, binary or armored
        ");

        shop.lock();
        // A locked package that is in no archive any more.
        let fetch = format!("fetch --platform shop --from file:{folder}");
        fs::remove_dir_all(session.path("home/downloads/sha256")).unwrap();
        // Packages are worked on side by side: whichever fails first is named.
        let either = |shown: String| shown.replace("base-passwd", "base-files");
        assert_snapshot!(either(session.run(&fetch)), @r"
        exit 7
        fetching 2 files: [SIZE]
        error: package base-files 1.0 of suite stable has left the archive: no source has it any more; `bundle lock --update` locks what is there now
          try: bundle lock --platform shop --update
        ");
        assert_snapshot!(either(session.run("build --platform shop")), @r"
        exit 3
        web: unpacking, 2 parts
        error: image web cannot be built
          because: cannot read [FOLDER]/home/downloads/sha256/[HEX] of package base-files
          because: No such file or directory (os error 2)
          try: bundle fetch --platform shop
        ");
        let recipe =
            session.read("shop/web/recipe.toml").replace("packages = []", "packages = [\"redis-server\"]");
        session.write("shop/web/recipe.toml", &recipe);
        for verb in
            ["lock --check --platform", "fetch --platform", "build --platform", "release --platform", "up"]
        {
            insta::allow_duplicates! {
                assert_snapshot!(session.run(&format!("{verb} shop")), @r"
                exit 3
                error: shop/bundle.lock is out of date: recipe web asks for other packages than bundle.lock holds; `bundle lock` brings it up to date
                  try: bundle lock --platform shop
                ");
            }
        }
        session.write("shop/bundle.lock", "format = 2\n");
        assert_snapshot!(session.run("build --platform shop"), @r"
        exit 3
        error: shop/bundle.lock is not a valid lock
          because: the lock has format 2, this program reads format 1
          try: use the version of bundle that wrote it, or a later one
        ");
        session.write("shop/web/recipe.toml", &recipe.replace("packages", "package"));
        assert_snapshot!(session.run("lock --platform shop"), @r#"
        exit 3
        error: `image` has no key `package`
         --> web/recipe.toml:3:1
          |
        3 | package = ["redis-server"]
          | ^^^^^^^
          = expected: one of `suite`, `packages`, `essential`, `recommends`, `pins`, `holds`, `files`, `user`, `entrypoint`, `arguments`, `environment`, `ports`, `working-directory`, `platforms`
          = help: did you mean `packages`?
        "#);
    });
}

#[test]
fn suites_that_were_defined_anew() {
    let shop = Shop::locked();
    let session = &shop.session;
    let good = session.read("shop/bundle.toml");
    let fingerprint = good.split('"').find(|text| text.len() == 40).unwrap();
    let other = format!("{}{}", &fingerprint[1..], &fingerprint[..1]);
    assert_ne!(fingerprint, other);
    for (old, new, told) in [
        (fingerprint, other.as_str(), "suite stable has other keys now"),
        (
            "components = [\"main\"]",
            "components = [\"main\", \"contrib\"]",
            "suite stable has other components now",
        ),
    ] {
        let changed = good.replace(old, new);
        assert_ne!(changed, good, "{old}");
        session.write("shop/bundle.toml", &changed);
        for verb in ["lock --check", "build", "fetch"] {
            let said = session.run(&format!("{verb} --platform shop"));
            assert!(said.starts_with("exit 3") && said.contains(told), "{verb}: {said}");
            assert!(said.contains("try: bundle lock --platform shop"), "{said}");
        }
    }
    // No source has a suite of that name: to lock it would contradict every check.
    let codename = good.lines().find(|line| line.starts_with("codename")).unwrap();
    session.write("shop/bundle.toml", &good.replace(codename, "codename = \"other\""));
    let folder = session.path("archive").display().to_string();
    let said =
        session.run(&format!("lock --platform shop --from file:{folder} --keyring {folder}/keyring.gpg"));
    assert!(said.starts_with("exit 4") && said.contains("wanted with Codename other"), "{said}");
    session.write("shop/bundle.toml", &good);
    assert!(session.run("lock --check --platform shop").contains("up to date"));
}

#[test]
fn locks_that_say_something_else_than_their_packages() {
    let shop = Shop::locked();
    let session = &shop.session;
    let good = session.read("shop/bundle.lock");
    assert!(session.run("build --platform shop").contains("built"));
    let version = "version = \"1.0\"";
    for (old, new, told) in [
        // What the store has is what the lock said when it was built.
        (version, "version = \"1.1\"", &["exit 3", "its Version is 1.0, the lock says 1.1"][..]),
        (
            "tar = \"",
            "tar = \"later-",
            &["exit 3", "is out of date", "images made with later-", "bundle lock --platform shop"],
        ),
    ] {
        let changed = good.replacen(old, new, 1);
        assert_ne!(changed, good, "{old}");
        session.write("shop/bundle.lock", &changed);
        let said = session.run("build --platform shop");
        assert!(told.iter().all(|part| said.contains(part)), "{old}: {said}");
    }
}

#[test]
fn platforms_without_recipes() {
    let shop = Shop::locked();
    let session = &shop.session;
    let (web, elsewhere) = (session.path("work/shop/web"), session.path("work/elsewhere"));
    fs::rename(&web, &elsewhere).unwrap();
    let lock = session.read("shop/bundle.lock");
    for verb in ["lock", "build", "release"] {
        let said = session.run(&format!("{verb} --platform shop"));
        assert!(said.starts_with("exit 3\nerror: shop holds no recipe\n"), "{verb}: {said}");
    }
    assert_eq!(session.read("shop/bundle.lock"), lock);
    std::os::unix::fs::symlink(&elsewhere, &web).unwrap();
    let said = session.run("build --platform shop");
    let told = "shop/web leads to a recipe, and is a symbolic link, which is not followed";
    assert!(said.starts_with("exit 3") && said.contains(told), "{said}");
}

#[test]
fn recipes_that_cannot_be_solved() {
    let shop = Shop::locked();
    let session = &shop.session;
    let recipe = session.read("shop/web/recipe.toml");
    let folder = session.path("archive").display().to_string();
    let lock = format!("lock --platform shop --from file:{folder} --keyring {folder}/keyring.gpg");
    for (packages, more, command, told) in [
        (
            "[\"redis-server\"]",
            "",
            lock.clone(),
            &[
                "exit 3",
                "recipe web asks for package redis-server, which suite stable does not have",
                " --> web/recipe.toml:3:13",
                "3 | packages = [\"redis-server\"]",
                "try: correct `packages` in the recipe",
            ][..],
        ),
        (
            "[]",
            "holds = [\"base-files\", \"base-file\"]",
            format!("{lock} --update"),
            &[
                "exit 3",
                "recipe web holds base-file, which suite stable does not have; did you mean base-files",
                "holds = [\"base-files\", \"base-file\"]",
                "try: correct `holds` in the recipe",
            ],
        ),
        (
            "[]",
            "holds = [\"base-files\", \"base-file\"]",
            "lock --platform shop --check".to_owned(),
            &["recipe web holds base-file, which its image does not have"],
        ),
        (
            "[]",
            "pins = { base-files = \"< 9\" }",
            lock.clone(),
            &["exit 3", "`image.pins.base-files` cannot be `< 9`", " --> web/recipe.toml:4:23"],
        ),
        (
            "[]",
            "pins = { base-files = \"= 9\" }",
            lock.clone(),
            &[
                "exit 3",
                "recipe web pins base-files to `= 9`, but suite stable has 1.0",
                " --> web/recipe.toml:4:23",
                "try: correct `pins` in the recipe",
            ],
        ),
        (
            "[]",
            "recommends = [\"nodejs\"]",
            lock.clone(),
            &["exit 3", "`nodejs` is not one of `image.packages`", " --> web/recipe.toml:4:15"],
        ),
        (
            "[]",
            "holds = [\"base-files\"]",
            format!("{lock} --update absent"),
            &[
                "exit 2",
                "package absent is not in shop/bundle.lock",
                "try: bundle lock --platform shop --update",
            ],
        ),
        (
            "[]",
            "holds = [\"base-files\"]",
            format!("{lock} --update base-files"),
            &["up to date, 2 packages"],
        ),
    ] {
        let text = recipe.replace("packages = []", &format!("packages = {packages}\n{more}"));
        session.write("shop/web/recipe.toml", &text);
        let said = session.run(&command);
        for part in told {
            assert!(said.contains(part), "{part} is missing in:\n{said}");
        }
    }
}

#[test]
fn effects_of_scripts() {
    let shop = Shop::locked();
    let session = &shop.session;
    with_filters(|| {
        assert_snapshot!(session.run("effects show absent --platform shop"), @r"
        exit 2
        error: bundle.lock holds no package absent
          try: bundle effects audit --platform shop
        ");
        let audit = session.run("effects audit --platform shop");
        assert!(
            audit.contains("2 packages: 0 declared, 2 none, 0 recorded, 0 snippets, 0 unknown"),
            "{audit}"
        );
        let shown = session.run("effects show base-files --platform shop");
        assert!(shown.contains("no scripts"), "{shown}");
        fs::remove_dir_all(session.path("home/downloads/sha256")).unwrap();
        let refused = session.run("effects audit --platform shop");
        assert!(refused.starts_with("exit 3"), "{refused}");
        assert!(refused.contains("try: bundle fetch --platform shop"), "{refused}");
    });
}

#[test]
fn services_and_environments_that_are_not_there() {
    let shop = Shop::locked();
    let session = &shop.session;
    with_filters(|| {
        assert_snapshot!(session.run("build --platform shop wep"), @r"
        exit 2
        error: there is no recipe `wep`
          try: bundle build web --platform shop
        ");
        assert_snapshot!(session.run("up shop --environment prod"), @r"
        exit 2
        error: there is no environment prod; there are test
          try: bundle up shop --environment NAME
        ");
    });
}

#[test]
fn processes_that_would_not_start() {
    let shop = Shop::locked();
    let write = |program: &str| {
        let recipe = RECIPE.replace("/app/serve", program);
        assert_ne!(recipe, RECIPE);
        shop.session.write("shop/web/recipe.toml", &recipe);
    };
    write("/app/server");
    assert_snapshot!(shop.session.run("build --platform shop"), @r#"
    exit 3
    web: unpacking, 2 parts
    error: image web would not start: it starts /app/server, which is not in it
     --> web/recipe.toml:5:14
      |
    5 | entrypoint = ["/app/server"]
      |              ^^^^^^^^^^^^^^^
      = help: correct the name, or add the file or the package that has it
    "#);
    write("/usr/local/bin/serve");
    assert_snapshot!(shop.session.run("build --platform shop"), @r#"
    exit 3
    web: unpacking, 2 parts
    error: image web would not start: it starts /usr/local/bin/serve, which is not in it
     --> web/recipe.toml:5:14
      |
    5 | entrypoint = ["/usr/local/bin/serve"]
      |              ^^^^^^^^^^^^^^^^^^^^^^^^
      = help: it has /app/serve
    "#);
    let check = RECIPE.replace("ready = { tcp = \"http\" }", "ready = { command = [\"/app/check\", \"x\"] }");
    assert_ne!(check, RECIPE);
    shop.session.write("shop/web/recipe.toml", &check);
    assert_snapshot!(shop.session.run("build --platform shop"), @r#"
    exit 3
    web: unpacking, 2 parts
    error: a check of image web would not start: it starts /app/check, which is not in it
      --> web/recipe.toml:14:32
       |
    14 | health = { ready = { command = ["/app/check", "x"] } }
       |                                ^^^^^^^^^^^^^^^^^^^
       = help: correct the name, or add the file or the package that has it
    "#);
    shop.session.write("shop/web/recipe.toml", RECIPE);
    shop.session.write("shop/web/app/serve", "#!/bin/sh\nexec true\n");
    assert_snapshot!(shop.session.run("build --platform shop"), @r#"
    exit 3
    web: unpacking, 2 parts
    error: image web would not start: it starts /app/serve, a script for /bin/sh, which is not in it
     --> web/recipe.toml:5:14
      |
    5 | entrypoint = ["/app/serve"]
      |              ^^^^^^^^^^^^^^
      = help: add the package that has /bin/sh, or start what runs it by its own name
    "#);
}

#[test]
fn a_damaged_store() {
    let shop = Shop::locked();
    let session = &shop.session;
    session.run("build --platform shop");
    let mut damaged = 0;
    for blob in fs::read_dir(session.path("home/store/blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    // Nothing leaves the machine under a digest that it does not have, and nobody has to look for what is damaged.
    let build = || session.run("build --platform shop --output out");
    let (mut told, mut refusals) = (build(), 0);
    while told.starts_with("exit") {
        assert!(told.contains("was damaged and is removed"), "{told}");
        assert!(told.contains("run the command again"), "{told}");
        refusals += 1;
        assert!(refusals <= damaged, "{told}");
        told = build();
    }
    assert!(refusals > 1, "{told}");
    let mut whole = 0;
    for blob in fs::read_dir(session.path("work/out/blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        let digest = registry_wire::Digest::of(&fs::read(blob.path()).unwrap());
        assert_eq!(digest.hex(), blob.file_name().to_string_lossy());
        whole += 1;
    }
    assert!(damaged > 1 && whole > 1, "{damaged} damaged, {whole} whole");
}

#[test]
fn a_damaged_payload() {
    let shop = Shop::locked();
    let session = &shop.session;
    let images = session.run("build --platform shop --output before");
    assert!(!images.starts_with("exit"), "{images}");
    // What was compressed is gone, so that the unpacked packages are needed; all of them are damaged.
    let (mut gone, mut damaged) = (0, 0);
    for blob in fs::read_dir(session.path("home/store/blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            fs::remove_file(&path).unwrap();
            gone += 1;
        } else if let Some(last) = bytes.last_mut().filter(|last| **last != b'}') {
            *last ^= 1;
            fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(gone > 1 && damaged > 1, "{gone} gone, {damaged} damaged");
    let build = || session.run("build --platform shop --output out");
    let (mut told, mut refusals) = (build(), 0);
    while told.starts_with("exit") {
        assert!(told.contains("was damaged and is removed"), "{told}");
        refusals += 1;
        assert!(refusals <= damaged, "{told}");
        told = build();
    }
    assert!(refusals > 0, "nothing read what was damaged");
    let index = |folder: &str| fs::read(session.path(&format!("work/{folder}/index.json"))).unwrap();
    assert_eq!(index("out"), index("before"));
}

#[test]
fn ports_that_are_taken() {
    let shop = Shop::locked();
    let session = &shop.session;
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    with_filters(|| {
        assert_snapshot!(session.run(&format!("up shop --listen {address}")), @r"
        exit 1
        web: unpacking, 2 parts
        web: encoding layers, 5 parts
        error: another program listens on [REGISTRY]
          try: --listen ADDRESS with another port
        ");
        assert_snapshot!(session.run(&format!("registry serve --address {address}")), @r"
        exit 1
        error: cannot listen on [REGISTRY]
          because: Address already in use (os error 98)
          try: bundle registry serve --address [REGISTRY]
        ");
    });
}

#[test]
fn a_registry_that_is_not_known() {
    let session = Session::new();
    let folder = session.path("home/registry");
    fs::create_dir_all(&folder).unwrap();
    with_filters(|| {
        assert_snapshot!(session.run("down"), @"no registry runs");
        fs::write(folder.join("process.json"), "{").unwrap();
        assert_snapshot!(session.run("down"), @r"
        exit 1
        error: the record of the registry process, [FOLDER]/home/registry/process.json, is not valid
          because: EOF while parsing an object at line 1 column 1
          try: end the registry by hand if it runs, and remove [FOLDER]/home/registry/process.json
        ");
        assert_snapshot!(session.run("guest discard /proc/version"), @r"
        exit 1
        error: cannot remove /proc/version, which is no longer needed
          because: Operation not permitted (os error 1)
        ");
    });
}

#[test]
fn a_level_that_there_is_not() {
    let session = Session::new();
    with_filters(|| {
        assert_snapshot!(session.run("doctor --require perfect"), @r"
        exit 2
        error: invalid value 'perfect' for '--require <LEVEL>'
          [possible values: none, confined, isolated, full]

        For more information, try '--help'.
        ");
    });
    let reached = session.json("doctor --require none");
    assert!(reached["own"]["level"].is_string() && reached["own"]["walls"].is_array(), "{reached}");
}
