//! More than ten thousand packages that were made to do harm, or damaged by chance. None makes the reader panic, none
//! has a place outside its tree, and each that is refused says which package, which member and why.

use std::collections::BTreeMap;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use crate::bad_input::{NAME, control_of, deb_of, header, read, read_deb, sum, tree_of};

/// How often each kind of bad input is made.
const ROUNDS: usize = 4000;

/// What is refused, and for what, and what is taken.
#[derive(Default)]
struct Outcomes {
    taken: usize,
    refused: BTreeMap<String, usize>,
}

impl Outcomes {
    fn note(&mut self, outcome: Result<(), String>) {
        let Err(message) = outcome else {
            self.taken += 1;
            return;
        };
        let names_it = message.contains(&format!("package {NAME}")) || message.contains("package other-name");
        assert!(names_it, "no package is named: {message}");
        // The reason, without the paths and numbers that differ from case to case.
        let reason = REASONS.iter().find(|reason| message.contains(**reason));
        let reason = reason.unwrap_or_else(|| panic!("a reason that no test knows: {message}"));
        *self.refused.entry((*reason).to_owned()).or_default() += 1;
    }

    fn total(&self) -> usize {
        self.taken + self.refused.values().sum::<usize>()
    }

    fn print(&self, what: &str) {
        println!("{what}: {} cases, {} taken", self.total(), self.taken);
        for (reason, count) in &self.refused {
            println!("  {count:>6} refused: {reason}");
        }
    }

    /// That each of these reasons was met.
    fn met(&self, reasons: &[&str]) {
        let missing: Vec<_> = reasons.iter().filter(|reason| !self.refused.contains_key(**reason)).collect();
        assert!(missing.is_empty(), "never met: {missing:?}");
    }
}

/// Every reason for which a package is refused.
const REASONS: &[&str] = &[
    "is not a path inside the tree",
    "is not UTF-8",
    "is not a number",
    "the checksum of a header is wrong",
    "it cannot be read to its end",
    "something follows its end",
    "it is a hard link to",
    "it goes through",
    "it is below",
    "it is no directory, and something is below it",
    "it is there twice",
    "it is a device or a pipe",
    "is not known",
    "its link target is empty",
    "the root must be a directory",
    "it has a PAX header",
    "it holds more than",
    "a long name",
    "is too large",
    "only files are expected in the control archive",
    "it is missing",
    "the lock says",
    "it is not an ar archive",
    "it ends within",
    "a header is not text",
    "a header does not end as it should",
    "has no size",
    "the format is not 2.x",
    "debian-binary does not come before it",
    "the data comes before the control",
    "it is not a member of a .deb",
    "there is no data.tar",
    "failed to fill whole buffer",
    "belongs to",
    "leads through links that never end",
    "its name is longer than",
    "is no name of a trigger",
    "is not a file of the image",
    "is taken",
];

fn pick<'a>(random: &mut StdRng, from: &[&'a [u8]]) -> &'a [u8] {
    from.choose(random).expect("there is something to choose")
}

/// Names that fall on each other.
const NAMES: &[&[u8]] = &[
    b"./a",
    b"./a",
    b"./a/b",
    b"./a/b/c",
    b"./b",
    b"./b/c",
    b"./lib/x",
    b"./usr/lib/x",
    b"./lib",
    b"./etc/ld.so.cache",
    b"./var/lib/dpkg/status",
];
/// Names that have no place, or an unusual form.
const ODD_NAMES: &[&[u8]] = &[
    b"./",
    b"./a/",
    b"./bin/../x",
    b"../x",
    b"/etc/passwd",
    b"./../../etc/passwd",
    b"a/./b",
    b"//a//b",
    b"",
    b".",
    b"..",
    b"a\xff",
    b"\xc3\x28",
    b"a\nb",
    b"a\x7fb",
    b"./a\\b",
];

fn name(random: &mut StdRng) -> &'static [u8] {
    let names = if random.gen_range(0..6) == 0 { ODD_NAMES } else { NAMES };
    pick(random, names)
}

/// What stands in the members of a control archive.
const WORDS: &[&[u8]] = &[
    b"interest",
    b"interest-noawait",
    b"../../../etc/passwd",
    b"a/b",
    b"..",
    b"File",
    b"/usr/file",
    b"/usr/../../x",
    b"/nowhere",
    b"remove-on-upgrade",
    b"#",
    b"\xff",
    b"a\x01b",
    b"\n",
];
const LINKS: &[&[u8]] = &[
    b"",
    b"/",
    b"/etc/shadow",
    b"../../../../etc",
    b"./a",
    b"./b",
    b"a",
    b"b",
    b"usr",
    b".",
    b"\xff",
    b"a\nb",
];
const KINDS: &[u8] = b"0000000000000555555555522222222221111111\x003467LKxgSVMDZ";

/// A data archive of a few members, most of them wrong in one way.
fn archive(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.gen_range(1..7) {
        let kind = *KINDS.choose(random).expect("there are kinds");
        let content: Vec<u8> = match kind {
            b'L' | b'K' => {
                [&b"./"[..], &vec![b'n'; random.gen_range(1..400)], b"/", name(random), b"\0"].concat()
            }
            b'x' | b'g' => b"19 path=../../else\n".to_vec(),
            b'0' | b'7' => vec![b'c'; random.gen_range(0..1500)],
            _ => Vec::new(),
        };
        let mut head = header(name(random), kind, content.len() as u64, pick(random, LINKS));
        match random.gen_range(0..48) {
            0 => head[124..136].copy_from_slice(b"77777777777\0"),
            1 => head[124..136].fill(0xff),
            2 => head[random.gen_range(100..150)] = random.r#gen(),
            3 => head[345..350].copy_from_slice(b"../..".as_slice()),
            4 => head[257..265].copy_from_slice(b"ustar\x0000"),
            _ => {}
        }
        if random.gen_range(0..48) != 0 {
            sum(&mut head);
        }
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    match random.gen_range(0..12) {
        0 => bytes.truncate(random.gen_range(0..bytes.len())),
        1 => bytes.extend_from_slice(&[&[0; 1024][..], b"more"].concat()),
        2 => {}
        _ => bytes.resize(bytes.len() + 1024, 0),
    }
    bytes
}

/// A good archive, to damage.
fn good() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, content, link) in [
        (&b"./"[..], b'5', &b""[..], &b""[..]),
        (b"./usr/", b'5', b"", b""),
        (b"./usr/file", b'0', b"content", b""),
        (b"./usr/hard", b'1', b"", b"./usr/file"),
        (b"./usr/soft", b'2', b"", b"../usr/file"),
        (b"././@LongLink", b'L', b"./usr/a-long-name\0", b""),
        (b"./usr/a-long", b'0', b"more content", b""),
    ] {
        bytes.extend_from_slice(&header(name, kind, content.len() as u64, link));
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Changes a few bytes, cuts, doubles or moves a part.
fn damage(random: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..random.gen_range(1..6) {
        let at = random.gen_range(0..bytes.len().max(1));
        let end = (at + random.gen_range(1..600)).min(bytes.len());
        match random.gen_range(0..8) {
            0 => bytes.truncate(at.max(1)),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            3 => bytes[at..end].reverse(),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.r#gen();
                }
            }
        }
    }
}

/// Makes checksums right again, so that a reader goes on to what was damaged.
fn sum_all(bytes: &mut [u8]) {
    for block in
        bytes.chunks_exact_mut(512).filter(|block| block.starts_with(b"./") || block.starts_with(b"../"))
    {
        sum(block);
    }
}

#[test]
fn data_archives_are_read_or_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = StdRng::seed_from_u64(1);
    let mut outcomes = Outcomes::default();
    let control = control_of(NAME, None);
    for round in 0..ROUNDS {
        let data = if round % 3 == 0 {
            let mut bytes = good();
            damage(&mut random, &mut bytes);
            sum_all(&mut bytes);
            bytes
        } else {
            archive(&mut random)
        };
        outcomes.note(read_deb(&deb_of(&control, &data), folder.path()).map(drop));
    }
    outcomes.print("data archives");
    assert!(outcomes.taken > 50, "only {} were good", outcomes.taken);
    outcomes.met(&[
        "is not a path inside the tree",
        "is not UTF-8",
        "is not a number",
        "the checksum of a header is wrong",
        "it cannot be read to its end",
        "something follows its end",
        "it is a hard link to",
        "it goes through",
        "it is below",
        "it is no directory, and something is below it",
        "it is there twice",
        "it is a device or a pipe",
        "is not known",
        "its link target is empty",
        "the root must be a directory",
        "it has a PAX header",
        "it holds more than",
        "a long name",
    ]);
}

#[test]
fn control_archives_are_read_or_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = StdRng::seed_from_u64(2);
    let mut outcomes = Outcomes::default();
    for round in 0..ROUNDS {
        let mut control = control_of(NAME, None);
        match round % 5 {
            // Members that dpkg's database is made of.
            4 => {
                control.truncate(1024);
                for name in [&b"./triggers"[..], b"./conffiles", b"./md5sums"] {
                    let text = [pick(&mut random, WORDS), b" ", pick(&mut random, WORDS), b"\n"].concat();
                    control.extend_from_slice(&header(name, b'0', text.len() as u64, b""));
                    control.extend_from_slice(&text);
                    control.resize(control.len().next_multiple_of(512), 0);
                }
                control.resize(control.len() + 1024, 0);
            }
            // The paragraph.
            0 => {
                let mut text = control[512..612].to_vec();
                damage(&mut random, &mut text);
                control = control_of(NAME, Some(&text));
            }
            // Beside a good control file, whatever an archive may hold.
            1 => {
                control.truncate(1024);
                control.extend_from_slice(&archive(&mut random));
            }
            2 => {
                damage(&mut random, &mut control);
                sum_all(&mut control);
            }
            _ => damage(&mut random, &mut control),
        }
        outcomes.note(read_deb(&deb_of(&control, &good()), folder.path()).map(drop));
    }
    outcomes.print("control archives");
    outcomes.met(&[
        "the lock says",
        "only files are expected in the control archive",
        "is not UTF-8",
        "the checksum of a header is wrong",
        "it cannot be read to its end",
        "is no name of a trigger",
        "is not a file of the image",
    ]);
}

#[test]
fn files_of_whole_packages_are_read_or_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = StdRng::seed_from_u64(3);
    let mut outcomes = Outcomes::default();
    let whole = deb_of(&control_of(NAME, None), &good());
    let packed = |suffix: &str, bytes: &[u8]| {
        let mut deb = whole[..whole.len() - good().len()].to_vec();
        let length = deb.len();
        deb[length - 60..length - 44]
            .copy_from_slice(format!("{:<16}", format!("data.tar.{suffix}")).as_bytes());
        deb[length - 12..length - 2].copy_from_slice(format!("{:<10}", bytes.len()).as_bytes());
        deb.extend_from_slice(bytes);
        deb
    };
    let compressed: Vec<Vec<u8>> =
        ["xz", "zst", "gz"].map(|suffix| packed(suffix, &crate::deb::compress(suffix, &good()))).into();
    for round in 0..ROUNDS {
        let mut deb = match round % 4 {
            0 => whole.clone(),
            other => compressed[other - 1].clone(),
        };
        assert!(round > 3 || read_deb(&deb, folder.path()).is_ok(), "the whole package is good");
        if round % 8 < 4 {
            // Only what is outside the compressed bytes, which have checks of their own.
            let mut front = deb[..200].to_vec();
            damage(&mut random, &mut front);
            deb.splice(..200, front);
        } else {
            damage(&mut random, &mut deb);
        }
        outcomes.note(read_deb(&deb, folder.path()).map(drop));
    }
    outcomes.print("packages");
    outcomes.met(&[
        "it is not an ar archive",
        "it ends within",
        "a header does not end as it should",
        "has no size",
        "it cannot be read to its end",
    ]);
}

#[test]
fn two_packages_share_a_tree_or_the_rule_that_decides_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = StdRng::seed_from_u64(4);
    let mut outcomes = Outcomes::default();
    let names: &[&[u8]] =
        &[b"./a", b"./a/b", b"./a/b/c", b"./b", b"./lib/x", b"./usr/lib/x", b"./bin", b"./b/x"];
    let links: &[&[u8]] = &[b"a", b"b", b"/a", b"../..", b"/", b"./a/b", b"usr/lib", b"../b", b"lib"];
    let mut some = |name: &str| loop {
        let mut data = Vec::new();
        for _ in 0..random.gen_range(1..5) {
            let kind = *b"0522".choose(&mut random).expect("there are kinds");
            let (name, link) = (pick(&mut random, names), pick(&mut random, links));
            data.extend_from_slice(&header(name, kind, 0, link));
        }
        data.resize(data.len() + 1024, 0);
        if let Ok(read) = read(name, &deb_of(&control_of(name, None), &data), folder.path()) {
            break read.0;
        }
    };
    for _ in 0..ROUNDS {
        let packages = [some(NAME), some("other-name")];
        // Every file is empty, so no payload is read.
        outcomes.note(tree_of(&packages, &builder_tree::Payloads::new()).map(drop));
    }
    outcomes.print("pairs of packages");
    assert!(outcomes.taken > 500, "only {} fit together", outcomes.taken);
    outcomes.met(&["belongs to", "leads through links that never end"]);
}
