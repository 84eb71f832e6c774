//! Users and groups by name.

use std::collections::BTreeMap;

use bundles_release::lock::Accounts;

/// The ids that Debian gives to names for good (base-passwd).
const GROUPS: [(&str, u32); 38] = [
    ("root", 0),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("adm", 4),
    ("tty", 5),
    ("disk", 6),
    ("lp", 7),
    ("mail", 8),
    ("news", 9),
    ("uucp", 10),
    ("man", 12),
    ("proxy", 13),
    ("kmem", 15),
    ("dialout", 20),
    ("fax", 21),
    ("voice", 22),
    ("cdrom", 24),
    ("floppy", 25),
    ("tape", 26),
    ("sudo", 27),
    ("audio", 29),
    ("dip", 30),
    ("www-data", 33),
    ("backup", 34),
    ("operator", 37),
    ("list", 38),
    ("irc", 39),
    ("src", 40),
    ("shadow", 42),
    ("utmp", 43),
    ("video", 44),
    ("sasl", 45),
    ("plugdev", 46),
    ("staff", 50),
    ("games", 60),
    ("users", 100),
    ("nogroup", 65534),
];
/// Name, id, and id of the group.
const USERS: [(&str, u32, u32); 18] = [
    ("root", 0, 0),
    ("daemon", 1, 1),
    ("bin", 2, 2),
    ("sys", 3, 3),
    ("sync", 4, 65534),
    ("games", 5, 60),
    ("man", 6, 12),
    ("lp", 7, 7),
    ("mail", 8, 8),
    ("news", 9, 9),
    ("uucp", 10, 10),
    ("proxy", 13, 13),
    ("www-data", 33, 33),
    ("backup", 34, 34),
    ("list", 38, 38),
    ("irc", 39, 39),
    ("_apt", 42, 65534),
    ("nobody", 65534, 65534),
];

/// The ids of a user that every Debian system has, and of its group.
pub fn fixed_user(name: &str) -> Option<(u32, u32)> {
    USERS.iter().find(|(user, ..)| *user == name).map(|(_, user, group)| (*user, *group))
}

/// Users and groups of an image by name.
#[derive(Clone)]
pub(crate) struct Names {
    users: BTreeMap<String, u32>,
    groups: BTreeMap<String, u32>,
}

impl Names {
    /// Those that every Debian system has.
    pub(crate) fn fixed() -> Self {
        Self::new(&Accounts::default())
    }

    pub(crate) fn new(accounts: &Accounts) -> Self {
        let mut users: BTreeMap<_, _> = USERS.iter().map(|(name, id, _)| ((*name).to_owned(), *id)).collect();
        let mut groups: BTreeMap<_, _> = GROUPS.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect();
        users.extend(accounts.users.iter().map(|user| (user.name.as_str().to_owned(), user.id)));
        groups.extend(accounts.groups.iter().map(|group| (group.name.as_str().to_owned(), group.id)));
        Self { users, groups }
    }

    pub(crate) fn user(&self, name: &str) -> Option<u32> {
        self.users.get(name).copied()
    }

    pub(crate) fn group(&self, name: &str) -> Option<u32> {
        self.groups.get(name).copied()
    }

    /// Names win over numbers, as dpkg has it, since numbers are those of the machine that built the package.
    pub(crate) fn owner_of(&self, user: &str, uid: u32, group: &str, gid: u32) -> (u32, u32) {
        (self.user(user).unwrap_or(uid), self.group(group).unwrap_or(gid))
    }
}
