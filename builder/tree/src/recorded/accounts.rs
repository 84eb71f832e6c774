//! Accounts that a script made. Their numbers are the lock's, so they are recorded as verbs and not as changed files.

use std::{collections::BTreeMap, fmt};

use builder_inputs::DYNAMIC_IDS;
use bundles_release::lock::AccountName;

use crate::effect::Verb;

/// The lists of accounts, as texts. One that is not there is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountFiles {
    /// `/etc/passwd`
    pub passwd: String,
    /// `/etc/group`
    pub group: String,
    /// `/etc/shadow`
    pub shadow: String,
    /// `/etc/gshadow`
    pub gshadow: String,
}

/// What was done to accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountEffects {
    verbs: Vec<Verb>,
}

/// What an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountType {
    /// A user.
    User,
    /// A group.
    Group,
}

impl fmt::Display for AccountType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::User => "user",
            Self::Group => "group",
        })
    }
}

/// A change of accounts that cannot be recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountsError {
    /// An account that was there is another one now, or gone.
    #[error("it changes the {kind} {name} in {file}, which was there before")]
    Changed {
        /// What it is.
        kind: AccountType,
        /// Its name.
        name: String,
        /// The list.
        file: &'static str,
    },
    /// Somebody is no member any more.
    #[error("it takes {user} out of the group {group} in {file}")]
    MemberGone {
        /// The member.
        user: String,
        /// Of what.
        group: String,
        /// The list.
        file: &'static str,
    },
    /// A new account that nobody enters could be entered.
    #[error("it gives the {kind} {name} a password, or dates for one, in {file}; new accounts have none")]
    Password {
        /// What it is.
        kind: AccountType,
        /// Its name.
        name: String,
        /// The list.
        file: &'static str,
    },
    /// A number that the lock would not give.
    #[error(
        "it gives the {kind} {name} the id {id} in {file}; the lock gives ids from {} to {}",
        DYNAMIC_IDS.start(),
        DYNAMIC_IDS.end()
    )]
    FixedId {
        /// What it is.
        kind: AccountType,
        /// Its name.
        name: String,
        /// As it is written.
        id: String,
        /// The list.
        file: &'static str,
    },
    /// Two lists of members are not one.
    #[error("it lists other members of the group {group} in {GSHADOW} than in {GROUP}")]
    Members {
        /// The group.
        group: String,
    },
    /// A line that names no account.
    #[error("it writes a {kind} that is none: `{line}`")]
    Form {
        /// What it would be.
        kind: AccountType,
        /// The line.
        line: String,
    },
}

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
const SHADOW: &str = "/etc/shadow";
const GSHADOW: &str = "/etc/gshadow";
/// How the open lists say that there is no password, or that it stands elsewhere.
const NO_PASSWORD: [&str; 3] = ["x", "*", "!"];

impl AccountEffects {
    /// Those that make `after` of `before`.
    pub fn between(before: &AccountFiles, after: &AccountFiles) -> Result<Self, AccountsError> {
        let (old_groups, new_groups) = (lines(&before.group), lines(&after.group));
        let (old_users, new_users) = (lines(&before.passwd), lines(&after.passwd));
        let (old_secrets, new_secrets) = (lines(&before.shadow), lines(&after.shadow));
        let (old_group_secrets, new_group_secrets) = (lines(&before.gshadow), lines(&after.gshadow));
        let kept = [
            (AccountType::User, PASSWD, &old_users, &new_users, None),
            (AccountType::Group, GROUP, &old_groups, &new_groups, Some(3)),
            (AccountType::User, SHADOW, &old_secrets, &new_secrets, None),
            (AccountType::Group, GSHADOW, &old_group_secrets, &new_group_secrets, Some(3)),
        ];
        for (kind, file, old, new, members) in kept {
            check_kept(kind, file, old, new, members)?;
        }
        // A hidden line of an account that was there, but had none.
        for (kind, file, hidden, old, accounts) in [
            (AccountType::User, SHADOW, &new_secrets, &old_secrets, &old_users),
            (AccountType::Group, GSHADOW, &new_group_secrets, &old_group_secrets, &old_groups),
        ] {
            let added = hidden.iter().find(|(name, _)| has(accounts, name) && !has(old, name));
            if let Some((name, _)) = added {
                return Err(AccountsError::Changed { kind, name: name.clone(), file });
            }
        }
        let group_names: BTreeMap<&str, &str> = new_groups
            .iter()
            .rev()
            .filter_map(|(name, fields)| Some((fields.get(2)?.as_str(), name.as_str())))
            .collect();
        let mut verbs = Vec::new();
        let mut own_groups = Vec::new();
        let mut users = Vec::new();
        for (name, fields) in new_users.iter().filter(|(name, _)| !has(&old_users, name)) {
            let hidden = Hidden::of(AccountType::User, name, fields, &new_secrets, !old_secrets.is_empty())?;
            let user = user(name, fields, &group_names, &hidden)
                .ok_or_else(|| AccountsError::Form { kind: AccountType::User, line: fields.join(":") })?;
            check_id(AccountType::User, name, fields, PASSWD)?;
            if let Verb::User { group: None, .. } = user {
                own_groups.push(name.clone());
            }
            users.push(user);
        }
        for (name, fields) in new_groups.iter().filter(|(name, _)| !has(&old_groups, name)) {
            let hidden = Hidden::of(
                AccountType::Group,
                name,
                fields,
                &new_group_secrets,
                !old_group_secrets.is_empty(),
            )?;
            let form = || AccountsError::Form { kind: AccountType::Group, line: fields.join(":") };
            let group = name.parse().map_err(|_| form())?;
            check_id(AccountType::Group, name, fields, GROUP)?;
            if !own_groups.contains(name) {
                verbs.push(Verb::Group { name: group, locked: hidden.locked });
            }
        }
        verbs.extend(users);
        for (name, fields) in &new_groups {
            let old = old_groups.iter().find(|(known, _)| known == name);
            let before = old.map(|(_, fields)| members(fields)).unwrap_or_default();
            let now = members(fields);
            let hidden =
                new_group_secrets.iter().find(|(known, _)| known == name).map(|(_, fields)| members(fields));
            if now != before && hidden.is_some_and(|hidden| hidden != now) {
                return Err(AccountsError::Members { group: name.clone() });
            }
            let added = now.into_iter().filter(|member| !before.contains(member));
            verbs.extend(added.map(|user| Verb::Member { user: user.to_owned(), group: name.clone() }));
        }
        Ok(Self { verbs })
    }

    /// Of what a file says.
    pub(super) fn of_verbs(verbs: Vec<Verb>) -> Self {
        Self { verbs }
    }

    pub(crate) fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.verbs.is_empty()
    }

    /// A line for each, for people.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.verbs.iter().map(Verb::line)
    }
}

/// Names and all fields.
fn lines(text: &str) -> Vec<(String, Vec<String>)> {
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let fields: Vec<String> = line.split(':').map(str::to_owned).collect();
            (fields.first().cloned().unwrap_or_default(), fields)
        })
        .collect()
}

fn members(fields: &[String]) -> Vec<&str> {
    let list = fields.get(3).map_or("", String::as_str);
    list.split(',').filter(|member| !member.is_empty()).collect()
}

fn has(lines: &[(String, Vec<String>)], name: &str) -> bool {
    lines.iter().any(|(known, _)| known == name)
}

/// What was there is still there, each line once and in full; only the members of a group may become more.
fn check_kept(
    kind: AccountType,
    file: &'static str,
    old: &[(String, Vec<String>)],
    new: &[(String, Vec<String>)],
    with_members: Option<usize>,
) -> Result<(), AccountsError> {
    for (name, fields) in old {
        let changed = || AccountsError::Changed { kind, name: name.clone(), file };
        let of_name = |lines: &[(String, Vec<String>)]| -> Vec<Vec<String>> {
            lines.iter().filter(|(known, _)| known == name).map(|(_, fields)| fields.clone()).collect()
        };
        let (before, after) = (of_name(old), of_name(new));
        let fixed =
            |fields: &Vec<String>| fields[..with_members.unwrap_or(fields.len()).min(fields.len())].to_vec();
        if before.iter().map(fixed).ne(after.iter().map(fixed)) {
            return Err(changed());
        }
        if with_members.is_some() {
            let now = after.first().map(|fields| members(fields)).unwrap_or_default();
            if let Some(gone) = members(fields).into_iter().find(|member| !now.contains(member)) {
                return Err(AccountsError::MemberGone { user: gone.to_owned(), group: name.clone(), file });
            }
        }
    }
    Ok(())
}

/// Only ids that the lock allocates are given anew; others would be lost.
fn check_id(
    kind: AccountType,
    name: &str,
    fields: &[String],
    file: &'static str,
) -> Result<(), AccountsError> {
    let id = fields.get(2).map_or("", String::as_str);
    match id.parse::<u32>() {
        Ok(number) if DYNAMIC_IDS.contains(&number) => Ok(()),
        Ok(_) => Err(AccountsError::FixedId { kind, name: name.to_owned(), id: id.to_owned(), file }),
        Err(_) => Err(AccountsError::Form { kind, line: fields.join(":") }),
    }
}

/// What the lists that only root reads say of a new account.
struct Hidden {
    /// As systemd-sysusers writes it.
    locked: bool,
    expired: bool,
}

impl Hidden {
    /// Anything that the builder would not write is an error. `are_hidden` says whether there was a hidden list before.
    fn of(
        kind: AccountType,
        name: &str,
        open: &[String],
        hidden: &[(String, Vec<String>)],
        are_hidden: bool,
    ) -> Result<Self, AccountsError> {
        let (open_file, hidden_file) = match kind {
            AccountType::User => (PASSWD, SHADOW),
            AccountType::Group => (GROUP, GSHADOW),
        };
        let password = |file| AccountsError::Password { kind, name: name.to_owned(), file };
        if !open.get(1).is_some_and(|open| NO_PASSWORD.contains(&open.as_str())) {
            return Err(password(open_file));
        }
        let mut of_name = hidden.iter().filter(|(known, _)| known == name).map(|(_, fields)| fields);
        let Some(fields) = of_name.next() else { return Ok(Self { locked: false, expired: false }) };
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let (locked, expired) = match (kind, fields.as_slice()) {
            // The third field is the day.
            (AccountType::User, [_, word @ ("!" | "!*"), _, "", "", "", "", day @ ("" | "1"), ""]) => {
                (*word == "!*", *day == "1")
            }
            (AccountType::Group, [_, word @ ("!" | "!*"), "", _]) => (*word == "!*", false),
            _ => return Err(password(hidden_file)),
        };
        // Where there is no such list, the builder makes one for locked accounts alone.
        if of_name.next().is_some() || !(locked || are_hidden) {
            return Err(password(hidden_file));
        }
        Ok(Self { locked, expired })
    }
}

fn user(name: &str, fields: &[String], groups: &BTreeMap<&str, &str>, hidden: &Hidden) -> Option<Verb> {
    let [_, _, _, group, comment, home, shell] = fields else { return None };
    let group = *groups.get(group.as_str())?;
    let name: AccountName = name.parse().ok()?;
    Some(Verb::User {
        group: (group != name.as_str()).then(|| group.to_owned()),
        home: home.parse().ok()?,
        shell: shell.parse().ok()?,
        comment: comment.clone(),
        plain: true,
        locked: hidden.locked,
        expired: hidden.expired,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(passwd: &str, group: &str) -> AccountFiles {
        AccountFiles {
            passwd: passwd.to_owned(),
            group: group.to_owned(),
            shadow: "root:*:1:0:99999:7:::\n".to_owned(),
            gshadow: "root:*::\ntty:*::bin\n".to_owned(),
        }
    }

    const USERS: &str = "root:x:0:0:root:/root:/bin/bash\n";
    const GROUPS: &str = "root:x:0:\ntty:x:5:bin\n";
    const MAIL: &str = "mail:x:101:102:Mail,,,:/var/mail:/usr/sbin/nologin\n";

    fn before() -> AccountFiles {
        files(USERS, GROUPS)
    }

    #[test]
    fn new_accounts_become_verbs() {
        let users = format!("{USERS}{MAIL}see:x:102:5::/nonexistent:/bin/false\n");
        let groups = "root:x:0:\ntty:x:5:bin,mail\nmail:x:102:\nspool:x:103:mail\n";
        let mut after = files(&users, groups);
        after.shadow.push_str("mail:!:19000::::::\nsee:!*:19000:::::1:\n");
        after.gshadow = "root:*::\ntty:*::bin,mail\nmail:!::\nspool:!*::mail\n".to_owned();
        let effects = AccountEffects::between(&before(), &after).unwrap();
        let lines: Vec<String> = effects.lines().collect();
        assert_eq!(
            lines,
            [
                "group locked=true name=spool",
                "user comment=Mail,,, expired=false home=/var/mail locked=false name=mail plain=true shell=/usr/sbin/nologin",
                "user comment= expired=true group=tty home=/nonexistent locked=true name=see plain=true shell=/bin/false",
                "member group=tty user=mail",
                "member group=spool user=mail",
            ]
        );
    }

    #[test]
    fn what_cannot_be_done_again_is_refused() {
        // In which list, what of it, what instead, and what is said.
        for (file, from, to, expected) in [
            (PASSWD, "/bin/bash", "/bin/sh", "changes the user root in /etc/passwd"),
            (PASSWD, "root:x:0:0:root:/root:/bin/bash\n", "", "changes the user root in /etc/passwd"),
            (
                PASSWD,
                "mail:x:101",
                "root:x:1:1::/:/bin/sh\nmail:x:101",
                "changes the user root in /etc/passwd",
            ),
            (GROUP, "tty:x:5:bin\n", "", "changes the group tty in /etc/group"),
            (GROUP, "tty:x:5", "tty:x:6", "changes the group tty in /etc/group"),
            (GROUP, "tty:x:5:bin", "tty:x:5:", "takes bin out of the group tty in /etc/group"),
            (GSHADOW, "tty:*::bin", "tty:*::", "takes bin out of the group tty in /etc/gshadow"),
            (GSHADOW, "tty:*:", "tty:$y$:", "changes the group tty in /etc/gshadow"),
            (SHADOW, "root:*", "root:$y$j9T", "changes the user root in /etc/shadow"),
            (SHADOW, "99999", "99998", "changes the user root in /etc/shadow"),
            (
                SHADOW,
                "mail:!",
                "mail:$y$j9T",
                "gives the user mail a password, or dates for one, in /etc/shadow",
            ),
            (SHADOW, "mail:!:19000:", "mail:!:19000:0", "gives the user mail a password, or dates"),
            (PASSWD, "mail:x", "mail:", "gives the user mail a password, or dates for one, in /etc/passwd"),
            (
                GSHADOW,
                "mail:!",
                "mail:",
                "gives the group mail a password, or dates for one, in /etc/gshadow",
            ),
            (
                PASSWD,
                "mail:x:101:",
                "mail:x:1001:",
                "gives the user mail the id 1001 in /etc/passwd; the lock",
            ),
            (PASSWD, "mail:x:101:", "mail:x:0:", "gives the user mail the id 0 in /etc/passwd"),
            (GROUP, "mail:x:102:", "mail:x:102:root", "other members of the group mail in /etc/gshadow"),
            (
                PASSWD,
                "mail:x:101:102:",
                "mail:x:101:107:",
                "writes a user that is none: `mail:x:101:107:Mail",
            ),
            (PASSWD, "mail:x:101", "x:y\nmail:x:101", "gives the user x a password"),
        ] {
            let mut after = files(&format!("{USERS}{MAIL}"), &format!("{GROUPS}mail:x:102:\n"));
            after.shadow.push_str("mail:!:19000::::::\n");
            after.gshadow.push_str("mail:!::\n");
            AccountEffects::between(&before(), &after).unwrap();
            let list = match file {
                PASSWD => &mut after.passwd,
                GROUP => &mut after.group,
                SHADOW => &mut after.shadow,
                _ => &mut after.gshadow,
            };
            assert!(list.contains(from), "{from}");
            *list = list.replacen(from, to, 1);
            let error = AccountEffects::between(&before(), &after).expect_err(expected).to_string();
            assert!(error.contains(expected), "{from}: {error}");
        }
        // A group with an id of its own.
        let after = files(USERS, &format!("{GROUPS}mail:x:8:\n"));
        let error = AccountEffects::between(&before(), &after).unwrap_err().to_string();
        assert!(error.contains("gives the group mail the id 8 in /etc/group"), "{error}");
    }
}
