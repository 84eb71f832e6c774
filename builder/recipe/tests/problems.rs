//! What people see when a file of a platform is wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, os::unix::fs::symlink};

use builder_recipe::{FolderEntry, LoadError, Platform, PlatformFolder};

const BUNDLE: &str = r#"
[platform]
name = "shop"
version = "1.0.0"
repository = "shop"
default-suite = "bookworm"

[suites.bookworm]
origin = "Debian"
label = "Debian"
codename = "bookworm"
components = ["main"]
keys = ["4D64FEC119C2029067D6E791F8D2585B8783D481"]
"#;

const ENVIRONMENT: &str = r#"
[config]
api_url = "http://web"

[services.web]
replicas = 3
"#;

const STORE: &str = r#"
[image]
packages = ["redis-server"]
user = "redis"
entrypoint = ["/usr/bin/redis-server"]

[service]
kind = "statefulset"
ports = { redis = 6379 }
resources = { cpu = "100m", memory = "64Mi" }
health = { ready = { tcp = "redis" } }
"#;

const WEB: &str = r#"
[image]
packages = ["nodejs", "ca-certificates"]
user = "65532:65532"
entrypoint = ["/usr/bin/node", "/app/server.js"]

[[image.files]]
source = "app"
target = "/app"

[service]
ports = { http = 3000 }
resources = { cpu = "2", memory = "4Gi", limit = { cpu = "4", memory = "8Gi" } }
needs = ["store"]

[service.health]
ready = { path = "/ready", period = "5s" }
alive = { path = "/health", after = "10s" }
deadline = "90s"

[service.env]
API_URL = { config = "api_url" }
"#;

fn folder() -> PlatformFolder {
    let mut folder = PlatformFolder::default();
    let texts = [
        ("bundle.toml", BUNDLE),
        ("environments/test.toml", ENVIRONMENT),
        ("store/recipe.toml", STORE),
        ("web/recipe.toml", WEB),
    ];
    folder.entries.extend(texts.map(|(name, text)| (name.to_owned(), FolderEntry::Text(text.to_owned()))));
    folder.entries.insert("web/app/server.js".to_owned(), FolderEntry::File { executable: false });
    folder
}

/// The problems after one text in one file was replaced.
fn problems(file: &str, from: &str, to: &str) -> String {
    let mut folder = folder();
    let Some(FolderEntry::Text(text)) = folder.entries.get_mut(file) else { panic!("no {file}") };
    assert_eq!(text.matches(from).count(), 1, "{from} stands once in {file}");
    *text = text.replace(from, to);
    shown(&folder)
}

fn shown(folder: &PlatformFolder) -> String {
    Platform::parse(folder).expect_err("a problem is expected").to_string()
}

#[test]
fn the_text_that_is_broken_below_is_good() {
    let platform = Platform::parse(&folder()).unwrap();
    assert_eq!(platform.recipes().len(), 2);
    assert_eq!(platform.environments().len(), 1);
}

#[test]
fn broken_toml() {
    insta::assert_snapshot!(problems("web/recipe.toml", r#"user = "65532:65532""#, r#"user = "65532:65532"#), @r##"
    not TOML: invalid basic string, expected `"`
     --> web/recipe.toml:4:20
      |
    4 | user = "65532:65532
      |                    ^
    "##);
    insta::assert_snapshot!(problems("web/recipe.toml", "[service]", "[service"), @r##"
    not TOML: unclosed table, expected `]`
      --> web/recipe.toml:11:9
       |
    11 | [service
       |         ^
    "##);
}

#[test]
fn unknown_key() {
    insta::assert_snapshot!(problems("environments/test.toml", "replicas", "replica"), @r##"
    `services.web` has no key `replica`
     --> environments/test.toml:6:1
      |
    6 | replica = 3
      | ^^^^^^^
      = expected: one of `replicas`, `resources`, `scaling`
      = help: did you mean `replicas`?
    "##);
    insta::assert_snapshot!(problems("web/recipe.toml", "ports = { http", "volumes = { http"), @r##"
    `service` has no key `volumes`
      --> web/recipe.toml:12:1
       |
    12 | volumes = { http = 3000 }
       | ^^^^^^^
       = expected: one of `kind`, `replicas`, `ports`, `resources`, `scaling`, `needs`, `health`, `env`, `config-files`, `storage`, `scratch`, `network`, `rollout`, `stop`, `backup`
    "##);
    insta::assert_snapshot!(problems("web/recipe.toml", "config = \"api_url\"", "confg = \"api_url\""), @r##"
    `service.env.API_URL` has no key `confg`
      --> web/recipe.toml:22:13
       |
    22 | API_URL = { confg = "api_url" }
       |             ^^^^^
       = expected: one of `config`, `secret`
       = help: did you mean `config`?
    "##);
}

#[test]
fn missing_key() {
    insta::assert_snapshot!(problems("web/recipe.toml", "user = \"65532:65532\"\n", ""), @r##"
    `image` has no `user`
     --> web/recipe.toml:2:2
      |
    2 | [image]
      |  ^^^^^
      = help: add it, for example user = "65532:65532"
    "##);
    insta::assert_snapshot!(problems("store/recipe.toml", ", memory = \"64Mi\"", ""), @r##"
    `service.resources` has no `memory`
      --> store/recipe.toml:10:1
       |
    10 | resources = { cpu = "100m" }
       | ^^^^^^^^^
       = help: add it, for example memory = "256Mi"
    "##);
}

#[test]
fn wrong_kind_of_value() {
    insta::assert_snapshot!(problems("web/recipe.toml", r#"["nodejs", "ca-certificates"]"#, r#""nodejs""#), @r##"
    `image.packages` is a text, a list is expected
     --> web/recipe.toml:3:12
      |
    3 | packages = "nodejs"
      |            ^^^^^^^^
      = help: put it in brackets: ["nodejs"]
    "##);
    insta::assert_snapshot!(problems("web/recipe.toml", r#"cpu = "2""#, "cpu = 2"), @r##"
    `service.resources.cpu` is a whole number, a text is expected
      --> web/recipe.toml:13:21
       |
    13 | resources = { cpu = 2, memory = "4Gi", limit = { cpu = "4", memory = "8Gi" } }
       |                     ^
       = help: put it in quotes: "2"
    "##);
    insta::assert_snapshot!(problems("web/recipe.toml", r#"API_URL = { config = "api_url" }"#, "API_URL = true"), @r##"
    `service.env.API_URL` is true or false, a text or a table is expected
      --> web/recipe.toml:22:11
       |
    22 | API_URL = true
       |           ^^^^
    "##);
}

#[test]
fn wrong_text() {
    insta::assert_snapshot!(problems("web/recipe.toml", r#"memory = "4Gi""#, r#"memory = "4GB""#), @r##"
    `service.resources.memory` cannot be `4GB`
      --> web/recipe.toml:13:35
       |
    13 | resources = { cpu = "2", memory = "4GB", limit = { cpu = "4", memory = "8Gi" } }
       |                                   ^^^^^
       = expected: an amount of memory: a whole number and one of Ki, Mi, Gi, Ti, as 64Mi or 4Gi
       = help: for example "256Mi"
    "##);
    insta::assert_snapshot!(problems("web/recipe.toml", r#"deadline = "90s""#, r#"deadline = "90""#), @r##"
    `service.health.deadline` cannot be `90`
      --> web/recipe.toml:19:12
       |
    19 | deadline = "90"
       |            ^^^^
       = expected: a time: a whole number and one of s, m, h, as 90s or 5m, at most 24h
       = help: for example "90s"
    "##);
    insta::assert_snapshot!(problems("web/recipe.toml", "65532:65532", "root"), @r##"
    `image.user` cannot be `root`
     --> web/recipe.toml:4:8
      |
    4 | user = "root"
      |        ^^^^^^
      = expected: a user: uid:gid with two numbers above 0, or the name of an account other than root
      = help: for example "65532:65532"
    "##);
    insta::assert_snapshot!(problems("web/recipe.toml", "ca-certificates", "ca certificates"), @r##"
    `image.packages.1` cannot be `ca certificates`
     --> web/recipe.toml:3:23
      |
    3 | packages = ["nodejs", "ca certificates"]
      |                       ^^^^^^^^^^^^^^^^^
      = expected: a package name: at least two lower-case letters, digits, +, - and ., starting with a letter or digit
      = help: for example "nodejs"
    "##);
    insta::assert_snapshot!(problems("store/recipe.toml", "statefulset", "stateful"), @r##"
    `service.kind` cannot be "stateful"
     --> store/recipe.toml:8:8
      |
    8 | kind = "stateful"
      |        ^^^^^^^^^^
      = expected: one of `deployment`, `statefulset`
      = help: did you mean `statefulset`?
    "##);
}

#[test]
fn platforms_of_an_image() {
    let entrypoint = "entrypoint = [\"/usr/bin/node\"";
    let with = |platforms: &str| format!("platforms = {platforms}\n{entrypoint}");
    insta::assert_snapshot!(
        problems("web/recipe.toml", entrypoint, &with(r#"["linux/arm64", "linux/arm64"]"#)), @r##"
    `linux/arm64` is listed twice
     --> web/recipe.toml:5:29
      |
    5 | platforms = ["linux/arm64", "linux/arm64"]
      |                             ^^^^^^^^^^^^^
      = help: name it once
    "##);
    insta::assert_snapshot!(problems("web/recipe.toml", entrypoint, &with("[]")), @r##"
    `image.platforms` cannot be empty
     --> web/recipe.toml:5:13
      |
    5 | platforms = []
      |             ^^
    "##);
    insta::assert_snapshot!(problems("web/recipe.toml", entrypoint, &with(r#"["linux/arm46"]"#)), @r##"
    `image.platforms.0` cannot be "linux/arm46"
     --> web/recipe.toml:5:14
      |
    5 | platforms = ["linux/arm46"]
      |              ^^^^^^^^^^^^^
      = expected: one of `linux/amd64`, `linux/arm64`
      = help: did you mean `linux/arm64`?
    "##);
    for given in ["arm64", "linux/aarch64", "linux/arm64/v8"] {
        let told = problems("web/recipe.toml", entrypoint, &with(&format!("[\"{given}\"]")));
        assert!(told.contains("did you mean `linux/arm64`?"), "{told}");
    }
}

#[test]
fn an_image_for_several_platforms_asks_for_each() {
    let mut folder = folder();
    let Some(FolderEntry::Text(text)) = folder.entries.get_mut("web/recipe.toml") else {
        panic!("a recipe");
    };
    *text = text.replace("entrypoint =", "platforms = [\"linux/arm64\", \"linux/amd64\"]\nentrypoint =");
    let platform = Platform::parse(&folder).unwrap();
    let requests = platform.recipe(&"web".parse().unwrap()).unwrap().package_requests();
    let of: Vec<&str> = requests.iter().map(|request| request.architecture.as_str()).collect();
    assert_eq!(of, ["amd64", "arm64"]);
    assert_eq!(requests[0].packages, requests[1].packages);
}

#[test]
fn number_out_of_range() {
    insta::assert_snapshot!(problems("web/recipe.toml", "3000", "70000"), @r##"
    `service.ports.http` cannot be 70000
      --> web/recipe.toml:12:18
       |
    12 | ports = { http = 70000 }
       |                  ^^^^^
       = expected: a number from 1 to 65535
    "##);
}

#[test]
fn every_problem_of_every_file_at_once() {
    let mut folder = folder();
    for (file, from, to) in [
        ("web/recipe.toml", "entrypoint", "entry-point"),
        ("web/recipe.toml", "period = \"5s\"", "period = \"5 s\""),
        ("bundle.toml", "origin", "orgin"),
        ("environments/test.toml", "replicas = 3", "replicas = 0"),
    ] {
        let Some(FolderEntry::Text(text)) = folder.entries.get_mut(file) else { panic!("no {file}") };
        *text = text.replace(from, to);
    }
    insta::assert_snapshot!(shown(&folder), @r##"
    `suites.bookworm` has no key `orgin`
     --> bundle.toml:9:1
      |
    9 | orgin = "Debian"
      | ^^^^^
      = expected: one of `origin`, `label`, `codename`, `components`, `keys`, `updates`
      = help: did you mean `origin`?

    `services.web.replicas` cannot be 0
     --> environments/test.toml:6:12
      |
    6 | replicas = 0
      |            ^
      = expected: a number from 1 to 1000

    `image` has no key `entry-point`
     --> web/recipe.toml:5:1
      |
    5 | entry-point = ["/usr/bin/node", "/app/server.js"]
      | ^^^^^^^^^^^
      = expected: one of `suite`, `packages`, `essential`, `recommends`, `pins`, `holds`, `files`, `user`, `entrypoint`, `arguments`, `environment`, `ports`, `working-directory`, `platforms`
      = help: did you mean `entrypoint`?

    `service.health.ready.period` cannot be `5 s`
      --> web/recipe.toml:17:37
       |
    17 | ready = { path = "/ready", period = "5 s" }
       |                                     ^^^^^
       = expected: a time: a whole number and one of s, m, h, as 90s or 5m, at most 24h
       = help: for example "90s"
    "##);
}

#[test]
fn rules_between_keys() {
    insta::assert_snapshot!(
        problems("web/recipe.toml", "ready = { path", "ready = { tcp = \"http\", path"), @r##"
    a check is exactly one of `path` (with `port`), `tcp` and `command`
      --> web/recipe.toml:17:1
       |
    17 | ready = { tcp = "http", path = "/ready", period = "5s" }
       | ^^^^^
       = help: keep one of them
    "##);
    insta::assert_snapshot!(problems("store/recipe.toml", "tcp = \"redis\"", "tcp = \"http\""), @r##"
    there is no port `http`
      --> store/recipe.toml:11:28
       |
    11 | health = { ready = { tcp = "http" } }
       |                            ^^^^^^
       = help: ports are `redis`
    "##);
    insta::assert_snapshot!(problems("web/recipe.toml", "memory = \"8Gi\"", "memory = \"2Gi\""), @r##"
    the limit of 2Gi is below the 4Gi that are kept
      --> web/recipe.toml:13:72
       |
    13 | resources = { cpu = "2", memory = "4Gi", limit = { cpu = "4", memory = "2Gi" } }
       |                                                                        ^^^^^
       = help: set it to 4Gi or more, or leave it out
    "##);
    insta::assert_snapshot!(
        problems("web/recipe.toml", "needs =", "scaling = { min = 2, max = 1, cpu = 70 }\nneeds ="), @r##"
    the largest number of replicas, 1, is below the least, 2
      --> web/recipe.toml:14:28
       |
    14 | scaling = { min = 2, max = 1, cpu = 70 }
       |                            ^
       = help: set `max` to 2 or more
    "##);
}

#[test]
fn rules_between_files() {
    insta::assert_snapshot!(problems("web/recipe.toml", "\"store\"", "\"stores\""), @r##"
    there is no service `stores`
      --> web/recipe.toml:14:10
       |
    14 | needs = ["stores"]
       |          ^^^^^^^^
       = help: other services are `store`
    "##);
    insta::assert_snapshot!(problems("environments/test.toml", "services.web", "services.wbe"), @r##"
    there is no service `wbe`
     --> environments/test.toml:5:11
      |
    5 | [services.wbe]
      |           ^^^
      = help: did you mean `web`?
    "##);
    insta::assert_snapshot!(problems("environments/test.toml", "api_url", "api_uri"), @r##"
    no recipe uses `api_uri`
     --> environments/test.toml:3:11
      |
    3 | api_uri = "http://web"
      |           ^^^^^^^^^^^^
      = help: did you mean `api_url`?

    environments/test.toml gives no value for `api_url`
      --> web/recipe.toml:22:22
       |
    22 | API_URL = { config = "api_url" }
       |                      ^^^^^^^^^
       = help: add `api_url = "..."` under [config] in environments/test.toml
    "##);
    insta::assert_snapshot!(problems("bundle.toml", "default-suite = \"bookworm\"", "default-suite = \"bokworm\""), @r##"
    there is no suite `bokworm`
     --> bundle.toml:6:17
      |
    6 | default-suite = "bokworm"
      |                 ^^^^^^^^^
      = help: did you mean `bookworm`?
    "##);
    insta::assert_snapshot!(problems("store/recipe.toml", "[service]", "[service]\nneeds = [\"web\"]"), @r##"
    services need each other in a circle: `store`, `web`
     --> store/recipe.toml:8:9
      |
    8 | needs = ["web"]
      |         ^^^^^^^
      = help: remove one of the needs: one service has to start first
    "##);
    insta::assert_snapshot!(
        problems("web/recipe.toml", "needs =", "scaling = { min = 4, max = 8, cpu = 70 }\nneeds ="), @r##"
    3 replicas are outside of scaling, 4 to 8
     --> environments/test.toml:6:12
      |
    6 | replicas = 3
      |            ^
      = help: leave `replicas` out: the autoscaler decides
    "##);
}

#[test]
fn source_files() {
    insta::assert_snapshot!(problems("web/recipe.toml", "source = \"app\"", "source = \"ap\""), @r##"
    `ap` takes no file of folder web
     --> web/recipe.toml:8:10
      |
    8 | source = "ap"
      |          ^^^^
      = help: did you mean `app`?
    "##);
    insta::assert_snapshot!(problems("web/recipe.toml", "source = \"app\"", "source = \"../app\""), @r##"
    `image.files.0.source` cannot be `../app`
     --> web/recipe.toml:8:10
      |
    8 | source = "../app"
      |          ^^^^^^^^
      = expected: a path or pattern inside the recipe's folder: relative, with / between names, without `.` and `..`, with `**` only as a whole name
      = help: for example "app/**"
    "##);
    insta::assert_snapshot!(
        problems("web/recipe.toml", "[service]", "[[image.files]]\nsource = \"app/*.js\"\ntarget = \"/app\"\n\n[service]"),
        @r##"
    `app/server.js` becomes /app/server.js a second time
      --> web/recipe.toml:12:10
       |
    12 | source = "app/*.js"
       |          ^^^^^^^^^^
       = help: take it once
    "##);
    let mut folder = folder();
    folder.entries.insert("web/app/secret".to_owned(), FolderEntry::Link);
    insta::assert_snapshot!(shown(&folder), @r##"
    web/app/secret is a symbolic link
     --> web/recipe.toml:8:10
      |
    8 | source = "app"
      |          ^^^^^
      = help: put the file itself there: a link may leave the folder or change without notice
    "##);
}

#[test]
fn a_folder_that_is_no_platform() {
    let folder = tempfile::tempdir().unwrap();
    let error = Platform::load(folder.path()).unwrap_err();
    assert!(matches!(error, LoadError::NoPlatform { .. }));
    assert!(error.hint().is_some());
    let error = Platform::load(&folder.path().join("absent")).unwrap_err();
    assert!(matches!(error, LoadError::ReadFolder { .. }));
}

#[test]
fn a_folder_as_it_stands_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("bundle.toml", BUNDLE);
    write("environments/test.toml", ENVIRONMENT);
    write("store/recipe.toml", STORE);
    let mount = "[service.config-files]\n\"/config/a\" = \"a.conf\"\n\n[service.env]";
    write("web/recipe.toml", &WEB.replace("[service.env]", mount));
    write("web/a.conf", "text\n");
    write("web/app/server.js", "");
    write("web/app/run", "");
    write("notes/a.txt", "");
    let set_mode = |name: &str, mode: u32| {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(folder.path().join(name), permissions).unwrap();
    };
    set_mode("web/app/run", 0o700);
    set_mode("web/app/server.js", 0o600);
    let platform = Platform::load(folder.path()).unwrap();
    let web = platform.recipe(&"web".parse().unwrap()).unwrap();
    let files: Vec<_> =
        web.source_files().iter().map(|file| (file.target.to_string(), file.mode())).collect();
    assert_eq!(files, [("/app/run".to_owned(), 0o755), ("/app/server.js".to_owned(), 0o644)]);
    assert_eq!(web.config_files()["/config/a"], "text\n");

    symlink("server.js", folder.path().join("web/app/link.js")).unwrap();
    let error = Platform::load(folder.path()).unwrap_err();
    assert!(error.to_string().contains("web/app/link.js is a symbolic link"), "{error}");
    fs::remove_file(folder.path().join("web/app/link.js")).unwrap();

    fs::write(folder.path().join("web/a.conf"), [0xff, 0xfe]).unwrap();
    let error = Platform::load(folder.path()).unwrap_err();
    assert!(matches!(error, LoadError::NotText { .. }), "{error}");
}
