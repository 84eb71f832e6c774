//! Whatever stands in the files of a platform, it is read or refused with a place, never a crash.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use builder_recipe::{FolderEntry, Platform, PlatformFolder};
use proptest::{prelude::*, sample::Index};

const FILES: [(&str, &str); 3] = [
    (
        "bundle.toml",
        r#"[platform]
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
updates = ["bookworm-security"]

[suites.bookworm-security]
origin = "Debian"
label = "Debian-Security"
codename = "bookworm-security"
components = ["main"]
keys = ["4D64FEC119C2029067D6E791F8D2585B8783D481"]
"#,
    ),
    (
        "environments/test.toml",
        r#"[config]
api_url = "http://web"

[services.web]
replicas = 3
"#,
    ),
    (
        "web/recipe.toml",
        r#"[image]
packages = ["nodejs", "ca-certificates"]
recommends = ["nodejs"]
pins = { nodejs = ">= 18", libc6 = "<< 3" }
holds = ["libc6"]
user = "65532:65532"
entrypoint = ["/usr/bin/node", "/app/server.js"]

[service]
ports = { http = 3000 }
resources = { cpu = "2", memory = "4Gi", limit = { cpu = "4", memory = "8Gi" } }

[service.health]
ready = { path = "/ready", period = "5s" }
deadline = "90s"

[service.env]
API_URL = { config = "api_url" }
"#,
    ),
];

fn folder(changed: usize, text: &str) -> PlatformFolder {
    let mut folder = PlatformFolder::default();
    for (index, (name, good)) in FILES.iter().enumerate() {
        let text = if index == changed { text.to_owned() } else { (*good).to_owned() };
        folder.entries.insert((*name).to_owned(), FolderEntry::Text(text));
    }
    folder
}

#[test]
fn the_files_that_are_broken_below_are_good() {
    let platform = Platform::parse(&folder(FILES.len(), "")).unwrap();
    let request = platform.recipe(&"web".parse().unwrap()).unwrap().package_requests().remove(0);
    let suites: Vec<&str> = request.suites().map(bundles_release::lock::SuiteName::as_str).collect();
    assert_eq!(suites, ["bookworm", "bookworm-security"]);
    assert_eq!(request.pins["libc6"].to_string(), "<< 3");
    assert_eq!((request.recommends.len(), request.holds.len()), (1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_changed_file(
        file in 0..FILES.len(),
        edits in prop::collection::vec((any::<Index>(), 0..4_u8, any::<char>()), 1..4)
    ) {
        let mut text: Vec<char> = FILES[file].1.chars().collect();
        for (at, kind, character) in edits {
            if text.is_empty() {
                break;
            }
            let at = at.index(text.len());
            match kind {
                0 => text[at] = character,
                1 => drop(text.drain(at..(at + 9).min(text.len()))),
                2 => text.insert(at, character),
                _ => text.truncate(at.max(1)),
            }
        }
        if let Err(problems) = Platform::parse(&folder(file, &text.into_iter().collect::<String>())) {
            prop_assert!(problems.to_string().contains("-->"));
        }
    }

    #[test]
    fn any_text(file in 0..FILES.len(), text in "(?s).{0,80}|[\\[\\]a-z =\"'{},.\\n0-9#-]{0,60}") {
        if let Err(problems) = Platform::parse(&folder(file, &text)) {
            prop_assert!(problems.to_string().contains("-->"));
        }
    }
}
