//! Accounts that a script made. Their numbers are the lock's, so they are recorded as verbs and not as changed files.

use std::collections::BTreeMap;

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
}

/// What was done to accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountEffects {
    verbs: Vec<Verb>,
}

/// A change of accounts that cannot be recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountsError {
    /// An account that was there is another one now, or gone.
    #[error("it changes the {kind} {name}, which was there before")]
    Changed {
        /// `user` or `group`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A line that names no account.
    #[error("it writes a {kind} that is none: `{line}`")]
    Form {
        /// `user` or `group`.
        kind: &'static str,
        /// The line.
        line: String,
    },
}

impl AccountEffects {
    /// Those that make `after` of `before`.
    pub fn between(before: &AccountFiles, after: &AccountFiles) -> Result<Self, AccountsError> {
        let mut verbs = Vec::new();
        let (old_groups, new_groups) = (lines(&before.group), lines(&after.group));
        let (old_users, new_users) = (lines(&before.passwd), lines(&after.passwd));
        for (kind, old, new) in [("group", &old_groups, &new_groups), ("user", &old_users, &new_users)] {
            // The members of a group come last in its line; they may become more.
            let fixed = |fields: &[String]| {
                if kind == "group" { fields[..3.min(fields.len())].to_vec() } else { fields.to_vec() }
            };
            for (name, fields) in old {
                let is_same = new.iter().any(|(other, now)| other == name && fixed(now) == fixed(fields));
                if !is_same {
                    return Err(AccountsError::Changed { kind, name: name.clone() });
                }
            }
        }
        let is_new = |old: &[(String, Vec<String>)], name: &str| !old.iter().any(|(known, _)| known == name);
        let group_names: BTreeMap<&str, &str> = new_groups
            .iter()
            .filter_map(|(name, fields)| Some((fields.get(2)?.as_str(), name.as_str())))
            .collect();
        let mut own_groups = Vec::new();
        let mut users = Vec::new();
        for (name, fields) in new_users.iter().filter(|(name, _)| is_new(&old_users, name)) {
            let user = user(name, fields, &group_names, &after.shadow)
                .ok_or_else(|| AccountsError::Form { kind: "user", line: fields.join(":") })?;
            if let Verb::User { group: None, .. } = user {
                own_groups.push(name.clone());
            }
            users.push(user);
        }
        for (name, fields) in new_groups.iter().filter(|(name, _)| is_new(&old_groups, name)) {
            if !own_groups.contains(name) {
                let name = name
                    .parse()
                    .map_err(|_| AccountsError::Form { kind: "group", line: fields.join(":") })?;
                verbs.push(Verb::Group { name, locked: false });
            }
        }
        verbs.extend(users);
        for (name, fields) in &new_groups {
            let old = old_groups.iter().find(|(known, _)| known == name);
            let before = old.map(|(_, fields)| members(fields)).unwrap_or_default();
            let added = members(fields).into_iter().filter(|member| !before.contains(member));
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

fn user(name: &str, fields: &[String], groups: &BTreeMap<&str, &str>, shadow: &str) -> Option<Verb> {
    let [_, _, _, group, comment, home, shell] = fields else { return None };
    let group = *groups.get(group.as_str())?;
    let name: AccountName = name.parse().ok()?;
    let hidden = shadow.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let hidden = hidden.into_iter().find(|fields| fields.first() == Some(&name.as_str()));
    let field = |place: usize| hidden.as_ref().and_then(|fields| fields.get(place).copied());
    Some(Verb::User {
        group: (group != name.as_str()).then(|| group.to_owned()),
        home: home.parse().ok()?,
        shell: shell.parse().ok()?,
        comment: comment.clone(),
        plain: true,
        locked: field(1) == Some("!*"),
        expired: field(7) == Some("1"),
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
            shadow: "mail:!:1::::::\n".to_owned(),
        }
    }

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n";
    const GROUP: &str = "root:x:0:\ntty:x:5:\n";

    #[test]
    fn new_accounts_become_verbs() {
        let passwd = format!(
            "{PASSWD}mail:x:101:102:Mail,,,:/var/mail:/usr/sbin/nologin\nsee:x:102:5::/nonexistent:/bin/false\n"
        );
        let group = "root:x:0:\ntty:x:5:mail\nmail:x:102:\nspool:x:103:mail\n";
        let effects = AccountEffects::between(&files(PASSWD, GROUP), &files(&passwd, group)).unwrap();
        let lines: Vec<String> = effects.lines().collect();
        assert_eq!(
            lines,
            [
                "group locked=false name=spool",
                "user comment=Mail,,, expired=false home=/var/mail locked=false name=mail plain=true shell=/usr/sbin/nologin",
                "user comment= expired=false group=tty home=/nonexistent locked=false name=see plain=true shell=/bin/false",
                "member group=tty user=mail",
                "member group=spool user=mail",
            ]
        );
    }

    #[test]
    fn what_was_there_stays() {
        for (passwd, group, kind) in [
            ("root:x:0:0:root:/root:/bin/sh\n", GROUP, "user"),
            ("", GROUP, "user"),
            (PASSWD, "root:x:0:\n", "group"),
            (PASSWD, "root:x:0:\ntty:x:6:\n", "group"),
        ] {
            let error = AccountEffects::between(&files(PASSWD, GROUP), &files(passwd, group)).unwrap_err();
            assert!(matches!(error, AccountsError::Changed { kind: found, .. } if found == kind), "{error}");
        }
        let broken = format!("{PASSWD}x:y\n");
        let error = AccountEffects::between(&files(PASSWD, GROUP), &files(&broken, GROUP)).unwrap_err();
        assert!(matches!(error, AccountsError::Form { kind: "user", .. }), "{error}");
    }
}
