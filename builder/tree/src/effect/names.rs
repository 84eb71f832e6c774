//! Users and groups by name.

use std::collections::BTreeMap;

use bundles_release::lock::Accounts;

/// The ids that Debian gives to names for good (base-passwd), as far as packages use them.
const GROUPS: [(&str, u32); 16] = [
    ("root", 0),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("adm", 4),
    ("tty", 5),
    ("disk", 6),
    ("lp", 7),
    ("mail", 8),
    ("man", 12),
    ("www-data", 33),
    ("shadow", 42),
    ("utmp", 43),
    ("staff", 50),
    ("games", 60),
    ("nogroup", 65534),
];
const USERS: [(&str, u32); 9] = [
    ("root", 0),
    ("daemon", 1),
    ("bin", 2),
    ("sys", 3),
    ("games", 5),
    ("man", 6),
    ("mail", 8),
    ("www-data", 33),
    ("nobody", 65534),
];

/// Users and groups of an image by name.
pub(crate) struct Names {
    users: BTreeMap<String, u32>,
    groups: BTreeMap<String, u32>,
}

impl Names {
    pub(crate) fn new(accounts: &Accounts) -> Self {
        let fixed = |table: &[(&str, u32)]| -> BTreeMap<String, u32> {
            table.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect()
        };
        let (mut users, mut groups) = (fixed(&USERS), fixed(&GROUPS));
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
