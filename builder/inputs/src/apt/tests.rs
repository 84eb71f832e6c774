use proptest::prelude::*;

use super::*;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn bases(locations: &Locations, suite: &str) -> Vec<String> {
    locations.of_suite(&suite.parse().unwrap()).into_iter().map(ToString::to_string).collect()
}

#[test]
fn reads_both_formats_and_skips_what_is_not_for_us() {
    let folder = folder(&[
        (
            "sources.list",
            "# comment\ndeb http://one.example/debian stable main # tail\ndeb-src http://source.example/ stable main\n\
             deb [arch=amd64 signed-by=/k.gpg] https://two.example/x bookworm main contrib\ndeb cdrom:[x]/ bookworm main\n",
        ),
        (
            "sources.list.d/a.sources",
            "Types: deb deb-src\nURIs: http://three.example/debian http://four.example/debian/\nSuites: bookworm\n trixie\n\
             Components: main\n\nTypes: deb\nURIs: http://off.example/\nSuites: bookworm\nEnabled: no\n\n\
             Types: deb\nURIs: http://flat.example/\nSuites: ./\n",
        ),
        (
            "sources.list.d/b.sources.disabled-by-hand",
            "Types: deb\nURIs: http://no.example/\nSuites: bookworm\n",
        ),
        ("sources.list.d/c.list", "deb file:/srv/archive bookworm main\n"),
    ]);
    let locations = Locations::of_apt(folder.path()).unwrap();
    let listed = [
        "https://two.example/x",
        "http://three.example/debian",
        "http://four.example/debian",
        "file:/srv/archive",
    ];
    assert_eq!(bases(&locations, "bookworm"), [&listed[..], &["http://one.example/debian"]].concat());
    // A suite that no source lists is sought at all of them.
    assert_eq!(bases(&locations, "forky"), [&["http://one.example/debian"][..], &listed[..]].concat());
}

#[test]
fn finds_the_keys_of_sources() {
    let folder = folder(&[
        (
            "sources.list",
            "deb [ arch=amd64 Signed-By=/one.gpg,/two.asc,0123456789ABCDEF0123456789ABCDEF01234567 ] http://a.example/ s main\n\
             deb-src [signed-by=/source.gpg] http://a.example/ s main\n",
        ),
        (
            "sources.list.d/a.sources",
            "Types: deb\nURIs: http://b.example/\nSuites: s\nSigned-By: /two.asc\n /three.gpg\n\n\
             Types: deb\nURIs: http://c.example/\nSuites: s\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n\
             \x20-----END PGP PUBLIC KEY BLOCK-----\n\n\
             Types: deb\nURIs: http://d.example/\nSuites: s\nEnabled: no\nSigned-By: /off.gpg\n",
        ),
        ("trusted.gpg.d/any.gpg", ""),
        ("trusted.gpg.d/README", ""),
    ]);
    let file = |path: &str| KeySource::File(path.into());
    let inline = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n";
    let mut expected = vec![
        file("/one.gpg"),
        file("/three.gpg"),
        file("/two.asc"),
        KeySource::File(folder.path().join("trusted.gpg.d/any.gpg")),
        KeySource::Inline(inline.to_owned()),
    ];
    expected.sort();
    assert_eq!(Locations::of_apt(folder.path()).unwrap().keys(), expected);
}

#[test]
fn says_when_nothing_is_configured_or_malformed() {
    let empty = folder(&[("sources.list", "# nothing\n")]);
    assert!(matches!(Locations::of_apt(empty.path()), Err(AptError::Empty { .. })));
    let malformed = folder(&[("sources.list.d/a.sources", "nonsense\n")]);
    assert!(matches!(Locations::of_apt(malformed.path()), Err(AptError::Syntax { .. })));
}

#[test]
fn reads_proxies() {
    for (text, http, https) in [
        ("Acquire::http::Proxy \"http://proxy.example:3128\";", Some("http://proxy.example:3128"), None),
        (
            "acquire { http { Proxy \"http://a.example/\"; }; https::proxy \"DIRECT\"; };",
            Some("http://a.example/"),
            None,
        ),
        (
            "// Acquire::http::Proxy \"x\";\n# y\n/* z */ Acquire::https::Proxy p.example;",
            None,
            Some("p.example"),
        ),
        ("APT::Install-Recommends \"false\"; DPkg::Post-Invoke { \"rm -f /x\"; };", None, None),
        ("Acquire::http::Proxy \"unfinished", None, None),
    ] {
        let mut settings = ProxySettings::default();
        proxy::read(text, &mut settings);
        assert_eq!((settings.http.as_deref(), settings.https.as_deref()), (http, https), "{text}");
    }
}

#[test]
fn reads_the_configuration_of_this_machine() {
    let locations = Locations::of_apt(Path::new(APT_FOLDER)).unwrap();
    assert!(!bases(&locations, "bookworm").is_empty());
}

proptest! {
    #[test]
    fn never_panics(text in "[a:\"{};#/* \n\u{e9}]{0,60}") {
        proxy::read(&text, &mut ProxySettings::default());
        one_line(&text, &mut Locations::default());
        let _result = deb822(&text, &mut Locations::default());
    }
}
