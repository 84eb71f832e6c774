//! What a run leaves that is no effect of the script: locks, copies of what was there before, caches that programs make by
//! themselves, and records that the builder makes anew for each image.

use builder_tree::TreePath;

/// Folders of which nothing counts.
const FOLDERS: [&str; 9] = [
    "dev",
    "proc",
    "sys",
    "tmp",
    "var/cache/debconf",
    "var/cache/fontconfig",
    "var/cache/ldconfig",
    "var/cache/man",
    "var/lib/dpkg/updates",
];

/// Files that do not count.
const FILES: [&str; 16] = [
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/ld.so.cache",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "run/adduser",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/triggers/Lock",
    "var/log/alternatives.log",
];

/// The lists of accounts: what changes in them becomes verbs.
pub(crate) const ACCOUNTS: [&str; 4] = ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"];

/// Where dpkg notes triggers that wait.
pub(crate) const WAITING_TRIGGERS: &str = "var/lib/dpkg/triggers/Unincorp";

/// Where dpkg lists the modes and owners that it was told: what a script adds is recorded as such.
pub(crate) const STAT_OVERRIDES: &str = "var/lib/dpkg/statoverride";

/// Byte code, which Python makes when it needs it.
const BYTE_CODE: &str = "__pycache__";

/// Whether a path does not count.
pub(crate) fn is_left_over(path: &TreePath) -> bool {
    let text = path.as_str();
    let is_in =
        |folder: &str| text.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    FILES.contains(&text)
        || FOLDERS.into_iter().any(is_in)
        || path.components().any(|component| component == BYTE_CODE)
}

/// Whether a path is dpkg's own record, which a recording cannot change.
pub(crate) fn is_dpkgs(path: &TreePath) -> bool {
    path.as_str()
        .strip_prefix("var/lib/dpkg/")
        .is_some_and(|rest| rest != "alternatives" && !rest.starts_with("alternatives/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts() {
        for (text, is_left, is_of_dpkg) in [
            ("/etc/passwd-", true, false),
            ("/etc/passwd", false, false),
            ("/tmp", true, false),
            ("/tmpfiles", false, false),
            ("/usr/lib/python3/a/__pycache__/x.pyc", true, false),
            ("/var/cache/debconf/config.dat", true, false),
            ("/var/lib/dpkg/status", false, true),
            ("/var/lib/dpkg/diversions", false, true),
            ("/var/lib/dpkg/alternatives/awk", false, false),
            ("/usr/share/mime/mime.cache", false, false),
        ] {
            let path: TreePath = text.parse().unwrap();
            assert_eq!((is_left_over(&path), is_dpkgs(&path)), (is_left, is_of_dpkg), "{text}");
        }
    }
}
