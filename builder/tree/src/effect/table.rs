//! The table of known scripts.

use std::{collections::BTreeMap, sync::LazyLock};

use bundles_release::lock::AccountName;
use registry_wire::Digest;
use serde::Deserialize;

use super::alternatives::Alternative;
use crate::TreePath;

/// The table's files.
const FILES: [(&str, &str); 5] = [
    ("base.toml", include_str!("../../effects/base.toml")),
    ("essential.toml", include_str!("../../effects/essential.toml")),
    ("transitions.toml", include_str!("../../effects/transitions.toml")),
    ("redis.toml", include_str!("../../effects/redis.toml")),
    ("nodejs.toml", include_str!("../../effects/nodejs.toml")),
];

/// A known script.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Script {
    /// The package that it was read in. Another package may have the same text.
    #[allow(dead_code, reason = "for people; the hash identifies the script")]
    package: String,
    /// `preinst`, `postinst` or `config`.
    pub(crate) name: String,
    /// SHA-256 of its text, one for each text that does the same.
    sha256: Vec<String>,
    /// Why there is nothing to do, for scripts without effects.
    #[allow(dead_code, reason = "for people; the tests want one for each script without effects")]
    #[serde(default)]
    nothing: Option<String>,
    /// What it does on a first installation.
    #[serde(default, rename = "effect")]
    pub(crate) effects: Vec<Verb>,
}

/// What a script does.
#[derive(Debug, Deserialize)]
#[serde(tag = "verb", deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub(crate) enum Verb {
    /// A directory, if there is none.
    Directory { path: TreePath, mode: u32, owner: Option<String> },
    /// An empty file, if there is none; mode and owner in any case.
    File { path: TreePath, mode: u32, owner: Option<String> },
    /// A copy with mode and owner, if there is no file yet.
    Copy { from: TreePath, to: TreePath },
    /// A symbolic link in place of whatever file was there.
    Symlink { path: TreePath, target: String },
    /// Mode and owner of what exists.
    Permissions { path: TreePath, mode: u32, owner: Option<String> },
    /// The same, and dpkg remembers it.
    Override { path: TreePath, mode: u32, owner: String },
    /// Empty directories directly in `directory` go.
    RemoveEmpty { directory: TreePath, prefix: String, suffix: String },
    /// Other packages' files at `path` go to `to`.
    Divert { path: TreePath, to: TreePath },
    /// A choice between programs of one purpose.
    Alternative(Alternative),
    /// A system user with a group of its own name.
    User { name: AccountName, home: TreePath, shell: TreePath },
    /// Links for an init script in the directories of its run levels.
    InitScript { name: String },
    /// A systemd unit is enabled.
    Unit { name: String },
    /// dpkg writes down its own architecture.
    NativeArchitecture,
    /// The list of shells is made.
    Shells {
        #[serde(default)]
        real_last: bool,
    },
    /// Passwords move to files of their own.
    Shadow,
    /// The common PAM configuration is made.
    Pam,
    /// The certificates of authorities are listed and collected.
    Certificates,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    script: Vec<Script>,
}

/// All scripts. That every file can be read is tested; it cannot change at run time.
static SCRIPTS: LazyLock<Vec<Script>> = LazyLock::new(|| {
    FILES.iter().flat_map(|(_, text)| parse(text).map(|file| file.script).unwrap_or_default()).collect()
});

static BY_DIGEST: LazyLock<BTreeMap<Digest, &'static Script>> = LazyLock::new(|| {
    let digests = |script: &'static Script| {
        script.sha256.iter().filter_map(|hex| Digest::from_hex(hex).ok()).map(move |digest| (digest, script))
    };
    SCRIPTS.iter().flat_map(digests).collect()
});

fn parse(text: &str) -> Result<File, toml::de::Error> {
    toml::from_str(text)
}

/// The script with that text.
pub(crate) fn find(digest: Digest) -> Option<&'static Script> {
    BY_DIGEST.get(&digest).copied()
}

/// Programs that maintainer scripts change a system with.
const PROGRAMS: [&str; 32] = [
    "adduser",
    "addgroup",
    "chgrp",
    "chmod",
    "chown",
    "cp",
    "deb-systemd-helper",
    "deb-systemd-invoke",
    "db_get",
    "db_set",
    "dpkg-divert",
    "dpkg-maintscript-helper",
    "dpkg-statoverride",
    "dpkg-trigger",
    "groupadd",
    "install",
    "invoke-rc.d",
    "ldconfig",
    "ln",
    "mkdir",
    "mv",
    "pam-auth-update",
    "perl",
    "py3compile",
    "rm",
    "sed",
    "setcap",
    "systemd-tmpfiles",
    "touch",
    "update-alternatives",
    "update-rc.d",
    "useradd",
];

/// The programs that a script's text names, for the message about an unknown one.
pub(crate) fn verbs_of(text: &str) -> Vec<&'static str> {
    let is_word = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let words: std::collections::BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split(|character| !is_word(character)))
        .collect();
    let used: Vec<&str> = PROGRAMS.into_iter().filter(|program| words.contains(program)).collect();
    if used.is_empty() { vec!["nothing that changes files"] } else { used }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_readable_unique_and_says_what_it_does() {
        let mut seen = BTreeMap::new();
        for (name, text) in FILES {
            let file = parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!file.script.is_empty(), "{name}");
            for script in file.script {
                let label = format!("{name}: {} {}", script.package, script.name);
                assert!(matches!(script.name.as_str(), "preinst" | "postinst" | "config"), "{label}");
                assert_eq!(script.effects.is_empty(), script.nothing.is_some(), "{label}");
                assert!(!script.sha256.is_empty(), "{label}");
                for hex in script.sha256 {
                    let digest = Digest::from_hex(&hex).unwrap_or_else(|error| panic!("{label}: {error}"));
                    assert_eq!(seen.insert(digest, label.clone()), None, "{label}");
                }
            }
        }
        assert!(seen.len() >= 50, "only {} scripts", seen.len());
    }

    #[test]
    fn names_the_programs_of_an_unknown_script() {
        let text = "#!/bin/sh\n# ldconfig\nset -e\nchown -R x /y && update-alternatives --install a b c 1\n";
        assert_eq!(verbs_of(text), ["chown", "update-alternatives"]);
        assert_eq!(verbs_of("exit 0"), ["nothing that changes files"]);
    }
}
