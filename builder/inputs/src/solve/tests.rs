use std::sync::LazyLock;

use bundles_release::lock::Component;
use proptest::prelude::*;

use super::*;
use crate::{
    packages::Place,
    relation::{self, Group},
};

fn index(packages: &[(&str, &str, &str)]) -> String {
    let mut text = String::new();
    for (name, version, fields) in packages {
        let fields = fields.replace(';', "\n");
        let fields = format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\n{fields}");
        text += fields.trim_end();
        text += "\nFilename: pool/x.deb\nSize: 1\nSHA256: 0\n\n";
    }
    text
}

fn request(packages: &[&str], essential: bool) -> PackageRequest {
    let packages = packages.iter().map(|package| package.parse().unwrap()).collect();
    let request =
        PackageRequest::new("r".parse().unwrap(), "s".parse().unwrap(), "amd64".parse().unwrap(), packages);
    PackageRequest { essential, ..request }
}

static SUITE: LazyLock<SuiteName> = LazyLock::new(|| "s".parse().unwrap());
static COMPONENT: LazyLock<Component> = LazyLock::new(|| "main".parse().unwrap());

fn read(text: &str) -> Packages<'_> {
    let mut packages = Packages::default();
    let place = Place { suite: &SUITE, component: &COMPONENT, architecture: "amd64" };
    packages.add(text, place).unwrap();
    packages
}

/// Names and versions in order, and what was left out.
fn solved(
    text: &str,
    request: &PackageRequest,
    chosen: &Chosen,
) -> Result<(Vec<String>, Vec<String>), SolveError> {
    let packages = read(text);
    let selection = solve(&packages, request, chosen, &Kept::default(), &Siblings::default())?;
    let shown = |entry: &usize| format!("{} {}", packages.entry(*entry).name, packages.entry(*entry).version);
    let satisfied = selection.satisfied.iter().map(|satisfied| satisfied.package.to_string()).collect();
    Ok((selection.entries.iter().map(shown).collect(), satisfied))
}

fn names(packages: &[(&str, &str, &str)], asked: &[&str]) -> String {
    match solved(&index(packages), &request(asked, false), &Chosen::new()) {
        Ok((entries, _)) => entries.join(", "),
        Err(error) => error.to_string(),
    }
}

#[test]
fn follows_relations() {
    for (case, packages, expected) in [
        ("newest version", &[("aa", "1", ""), ("aa", "1.10", ""), ("aa", "1.9", "")][..], "aa 1.10"),
        (
            "dependencies first",
            &[("aa", "1", "Depends: cc;Pre-Depends: bb"), ("bb", "1", ""), ("cc", "1", "")],
            "bb 1, cc 1, aa 1",
        ),
        ("circle", &[("aa", "1", "Depends: bb"), ("bb", "1", "Depends: aa")], "bb 1, aa 1"),
        (
            "left alternative",
            &[("aa", "1", "Depends: cc | bb"), ("bb", "1", ""), ("cc", "1", "")],
            "cc 1, aa 1",
        ),
        (
            "right alternative, left is missing",
            &[("aa", "1", "Depends: xx | bb"), ("bb", "1", "")],
            "bb 1, aa 1",
        ),
        (
            "right alternative, left is excluded",
            &[("aa", "1", "Depends: cc | bb;Conflicts: cc"), ("bb", "1", ""), ("cc", "1", "")],
            "bb 1, aa 1",
        ),
        (
            "old version is asked for",
            &[("aa", "1", "Depends: bb (<< 2)"), ("bb", "2", ""), ("bb", "1.5", "")],
            "bb 1.5, aa 1",
        ),
        (
            "other architecture",
            &[
                ("aa", "1", "Depends: bb:i386 | bb:any | cc:any | bb"),
                ("bb", "1", "Multi-Arch: foreign"),
                ("cc", "1", "Multi-Arch: allowed"),
            ],
            "cc 1, aa 1",
        ),
        (
            "own architecture by name",
            &[("aa", "1", "Depends: bb:amd64, cc:native"), ("bb", "1", ""), ("cc", "1", "")],
            "bb 1, cc 1, aa 1",
        ),
        (
            "essential before priority",
            &[
                ("aa", "1", "Depends: vv"),
                ("p1", "1", "Priority: required;Provides: vv"),
                ("p2", "1", "Essential: yes;Provides: vv"),
            ],
            "p2 1, aa 1",
        ),
        (
            "an alternative that something else needs anyway",
            &[
                ("aa", "1", "Depends: bb, cc | dd"),
                ("bb", "1", "Depends: dd"),
                ("cc", "1", ""),
                ("dd", "1", ""),
            ],
            "dd 1, bb 1, aa 1",
        ),
        (
            "virtual by priority, then name",
            &[
                ("aa", "1", "Depends: vv"),
                ("p1", "1", "Priority: optional;Provides: vv"),
                ("p3", "1", "Priority: required;Provides: vv"),
                ("p2", "1", "Priority: required;Provides: vv"),
            ],
            "p2 1, aa 1",
        ),
        (
            "provided version",
            &[
                ("aa", "1", "Depends: vv (>= 2)"),
                ("p1", "1", "Provides: vv"),
                ("p2", "1", "Provides: vv (= 1)"),
                ("p3", "1", "Provides: vv (= 2)"),
            ],
            "p3 1, aa 1",
        ),
        (
            "real before virtual",
            &[("aa", "1", "Depends: vv"), ("bb", "1", "Provides: vv;Priority: required"), ("vv", "1", "")],
            "vv 1, aa 1",
        ),
        (
            "breaks forces an older",
            &[
                ("aa", "1", "Depends: bb, cc"),
                ("bb", "1", "Breaks: cc (>= 2)"),
                ("cc", "2", ""),
                ("cc", "1", ""),
            ],
            "bb 1, cc 1, aa 1",
        ),
        (
            "conflict with a virtual spares oneself",
            &[("aa", "1", "Depends: mm;Conflicts: vv;Provides: vv"), ("mm", "1", "")],
            "mm 1, aa 1",
        ),
        (
            "backtracks out of a provider that conflicts",
            &[
                ("aa", "1", "Depends: vv, cc"),
                ("p1", "1", "Provides: vv;Conflicts: cc"),
                ("p2", "1", "Provides: vv"),
                ("cc", "1", ""),
            ],
            "p2 1, cc 1, aa 1",
        ),
        ("recommends are left", &[("aa", "1", "Recommends: bb"), ("bb", "1", "")], "aa 1"),
        (
            "base is always there",
            &[
                ("aa", "1", ""),
                ("base-files", "1", ""),
                ("base-passwd", "1", ""),
                ("zz", "1", "Essential: yes"),
            ],
            "base-files 1, base-passwd 1, aa 1",
        ),
    ] {
        assert_eq!(names(packages, &["aa"]), expected, "{case}");
    }
}

#[test]
fn says_what_cannot_be() {
    for (packages, asked, expected) in [
        (
            &[("redis-server", "1", ""), ("redis-tools", "1", ""), ("zsh", "1", "")][..],
            "redis-sever",
            &[
                "recipe r asks for package redis-sever, which suite s does not have; did you mean redis-server",
            ][..],
        ),
        (&[("zsh", "1", "")], "nginx", &["which suite s does not have"]),
        (
            &[("mawk", "1", "Provides: awk"), ("gawk", "1", "Provides: awk")],
            "awk",
            &["only a virtual package", "gawk, mawk"],
        ),
        (
            &[("aa", "1", "Depends: bb (>= 2)"), ("bb", "1", "")],
            "aa",
            &["cannot be installed together", "aa 1", "bb (>= 2)"],
        ),
        (&[("aa", "1", "Depends: missing")], "aa", &["aa", "missing"]),
        (
            &[("aa", "1", "Depends: bb, cc"), ("bb", "1", "Conflicts: cc"), ("cc", "1", "")],
            "aa",
            &["cannot be installed together", "bb 1", "cc"],
        ),
    ] {
        let told = names(packages, &[asked]);
        for part in expected {
            assert!(told.contains(part), "{part} is missing in: {told}");
        }
    }
}

#[test]
fn leaves_out_what_only_scripts_need_unless_it_is_asked_for() {
    let text = index(&[
        ("aa", "1", "Depends: adduser, debconf (>= 0.5) | debconf-2.0"),
        ("adduser", "1", ""),
        ("debconf", "2", "Essential: yes"),
        ("base-files", "1", "Essential: yes;Pre-Depends: awk"),
        ("mawk", "1", "Provides: awk"),
        ("bb", "1", "Depends: awk"),
    ]);
    let of = |asked: &[&str], essential| solved(&text, &request(asked, essential), &Chosen::new()).unwrap();
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(of(&["aa"], false), (owned(&["base-files 1", "aa 1"]), owned(&["adduser", "awk", "debconf"])));
    assert_eq!(
        of(&["aa", "adduser", "bb"], false),
        (owned(&["mawk 1", "base-files 1", "adduser 1", "aa 1", "bb 1"]), owned(&["debconf"])),
        "awk is there for another package, so it is not left out"
    );
    assert_eq!(
        of(&["aa"], true),
        (owned(&["mawk 1", "base-files 1", "adduser 1", "debconf 2", "aa 1"]), Vec::new())
    );
}

#[test]
fn takes_the_version_that_another_recipe_has() {
    let text = index(&[("aa", "2", ""), ("aa", "1", ""), ("bb", "1", "Depends: aa (>= 2)")]);
    let versions = [("aa".parse().unwrap(), "1".parse().unwrap())].into();
    let chosen = Chosen::from([(SUITE.clone(), versions)]);
    assert_eq!(solved(&text, &request(&["aa"], false), &chosen).unwrap().0, ["aa 1"]);
    assert!(matches!(
        solved(&text, &request(&["bb"], false), &chosen),
        Err(SolveError::Unsatisfiable { .. })
    ));
}

#[test]
fn names_a_relation_that_cannot_be_read() {
    let text = index(&[("aa", "1", "Depends: bb"), ("bb", "1", "Depends: cc (!)")]);
    let error = solved(&text, &request(&["aa"], false), &Chosen::new()).unwrap_err();
    assert!(matches!(error, SolveError::Index { .. }), "{error}");
}

const NAMES: [&str; 7] = ["pa", "pb", "pc", "pd", "pe", "pf", "pg"];

/// A relation to one of the names or the virtual one, with one of four constraints.
type AnyRelation = (usize, u8);

/// A package: name, version, what it needs, what it breaks, what it provides.
type AnyPackage = (usize, u8, Vec<Vec<AnyRelation>>, Vec<AnyRelation>, Option<u8>);

/// A small world: up to two versions of each package with random relations.
fn world() -> impl Strategy<Value = Vec<AnyPackage>> {
    let relation = (0..NAMES.len() + 1, 0..4_u8);
    let package = (
        0..NAMES.len(),
        1..3_u8,
        prop::collection::vec(prop::collection::vec(relation.clone(), 1..3), 0..3),
        prop::collection::vec(relation, 0..2),
        prop::option::of(0..3_u8),
    );
    prop::collection::vec(package, 1..12)
}

fn written(relation: (usize, u8)) -> String {
    let name = NAMES.get(relation.0).copied().unwrap_or("vv");
    match relation.1 {
        0 => name.to_owned(),
        1 => format!("{name} (= 1)"),
        2 => format!("{name} (>= 2)"),
        _ => format!("{name} (<< 2)"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What comes out holds every relation, and nothing comes out only if nothing can, by trying all subsets.
    #[test]
    fn a_solution_holds_all_relations(world in world(), asked in 0..NAMES.len()) {
        let mut seen = BTreeSet::new();
        let mut text = String::new();
        for (name, version, needs, excludes, provides) in world {
            if !seen.insert((name, version)) {
                continue;
            }
            let needs: Vec<String> = needs
                .into_iter()
                .map(|group| group.into_iter().map(written).collect::<Vec<_>>().join(" | "))
                .collect();
            let excludes: Vec<String> = excludes.into_iter().map(written).collect();
            let provides = provides.map_or(String::new(), |version| match version {
                0 => "Provides: vv".to_owned(),
                version => format!("Provides: vv (= {version})"),
            });
            let fields = format!("Depends: {};Breaks: {};{provides}", needs.join(", "), excludes.join(", "));
            text += &index(&[(NAMES[name], &version.to_string(), &fields)]);
        }
        let packages = read(&text);
        let request = request(&[NAMES[asked]], false);
        let possible = (0..1_u32 << packages.len()).map(|bits| {
            (0..packages.len()).filter(|entry| bits & 1 << entry != 0).collect::<BTreeSet<usize>>()
        }).any(|set| holds(&packages, &set, NAMES[asked]));
        match solve(&packages, &request, &Chosen::new(), &Kept::default(), &Siblings::default()) {
            Ok(selection) => {
                let set: BTreeSet<usize> = selection.entries.iter().copied().collect();
                prop_assert_eq!(set.len(), selection.entries.len());
                prop_assert!(holds(&packages, &set, NAMES[asked]), "{:?} in\n{}", selection.entries, text);
                let again = solve(&packages, &request, &Chosen::new(), &Kept::default(), &Siblings::default()).unwrap();
                prop_assert_eq!(again.entries, selection.entries);
            }
            Err(SolveError::Unknown { .. }) => prop_assert!(packages.named(NAMES[asked]).is_empty()),
            Err(error) => prop_assert!(!possible, "{error} in\n{text}"),
        }
    }
}

/// Whether a set of packages is consistent, written down a second time without the solver.
fn holds(packages: &Packages<'_>, set: &BTreeSet<usize>, asked: &str) -> bool {
    let meets = |entry: &usize, alternative: &relation::Alternative<'_>| {
        let package = packages.entry(*entry);
        package.name == alternative.name && alternative.accepts(&package.version)
            || packages.providers(alternative.name).iter().any(|provider| {
                provider.entry == *entry && alternative.accepts_provided(provider.version.as_ref())
            })
    };
    let met =
        |group: &Group<'_>| group.iter().any(|alternative| set.iter().any(|entry| meets(entry, alternative)));
    let mut names = BTreeSet::new();
    set.iter().any(|entry| packages.entry(*entry).name == asked)
        && set.iter().all(|entry| {
            let package = packages.entry(*entry);
            let others = || set.iter().filter(|other| packages.entry(**other).name != package.name);
            names.insert(package.name)
                && package.needs().unwrap().iter().all(met)
                && !package
                    .excludes()
                    .unwrap()
                    .iter()
                    .flatten()
                    .any(|excluded| others().any(|other| meets(other, excluded)))
        })
}
