//! Ids of users and groups that Debian's maintainer scripts would allocate.

use std::ops::RangeInclusive;

use bundles_release::lock::{AccountName, Accounts, LockedGroup, LockedUser};

/// Ids that are allocated when a package is installed (Debian policy, section 9.2.2).
pub const DYNAMIC_IDS: RangeInclusive<u32> = 100..=999;
/// The group `users`, which base-passwd has at the first id of that range.
const USERS_GROUP: u32 = 100;

/// A user or group that an image needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRequest {
    /// Its name.
    pub name: AccountName,
    /// What it is.
    pub kind: AccountKind,
}

/// What an account is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountKind {
    /// A user with a group of its own name, of the same id where that is free.
    UserWithGroup,
    /// A user whose primary group has a fixed id, such as 65534.
    User {
        /// The id of its primary group.
        group: u32,
    },
    /// A user whose primary group is another one that is needed.
    UserIn {
        /// Its name.
        group: AccountName,
    },
    /// A group.
    Group,
}

/// Why an account gets no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// All ids are in use.
    #[error("no id from {} to {} is left for {name}", DYNAMIC_IDS.start(), DYNAMIC_IDS.end())]
    Full {
        /// The account.
        name: AccountName,
    },
}

/// Gives an id to each account that has none: the lowest free one from 100 upward, in the order of `needed`, as
/// `adduser --system` would. What `existing` holds stays as it is, needed or not, as data volumes outlive packages.
pub fn allocate_accounts(existing: &Accounts, needed: &[AccountRequest]) -> Result<Accounts, AccountError> {
    let mut accounts = existing.clone();
    for AccountRequest { name, kind } in needed {
        let full = || AccountError::Full { name: name.clone() };
        let group = match kind {
            AccountKind::User { group } => *group,
            AccountKind::UserIn { group } => group_of(&mut accounts, group, false).ok_or_else(full)?,
            AccountKind::UserWithGroup | AccountKind::Group => {
                group_of(&mut accounts, name, *kind == AccountKind::UserWithGroup).ok_or_else(full)?
            }
        };
        if *kind != AccountKind::Group && accounts.user(name.as_str()).is_none() {
            let with_group = *kind == AccountKind::UserWithGroup && is_free(&accounts, group, true, false);
            let id = if with_group { Some(group) } else { free(&accounts, true, false) };
            accounts.users.push(LockedUser { name: name.clone(), id: id.ok_or_else(full)?, group });
        }
    }
    accounts.users.sort_by(|left, right| (left.id, &left.name).cmp(&(right.id, &right.name)));
    accounts.groups.sort_by(|left, right| (left.id, &left.name).cmp(&(right.id, &right.name)));
    Ok(accounts)
}

/// The id of a group, allocated if there is none: beside a user of its name it gets the same id if it can.
fn group_of(accounts: &mut Accounts, name: &AccountName, with_user: bool) -> Option<u32> {
    if let Some(group) = accounts.group(name.as_str()) {
        return Some(group.id);
    }
    let of_user =
        accounts.user(name.as_str()).map(|user| user.id).filter(|id| is_free(accounts, *id, false, true));
    let id = of_user.or_else(|| free(accounts, with_user, true))?;
    accounts.groups.push(LockedGroup { name: name.clone(), id });
    Some(id)
}

fn is_free(accounts: &Accounts, id: u32, as_user: bool, as_group: bool) -> bool {
    !(as_user && accounts.users.iter().any(|user| user.id == id)
        || as_group && (id == USERS_GROUP || accounts.groups.iter().any(|group| group.id == id)))
}

fn free(accounts: &Accounts, as_user: bool, as_group: bool) -> Option<u32> {
    DYNAMIC_IDS.into_iter().find(|id| is_free(accounts, *id, as_user, as_group))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(name: &str, kind: AccountKind) -> AccountRequest {
        AccountRequest { name: name.parse().unwrap(), kind }
    }

    type Ids<'a> = (Vec<(&'a str, u32, u32)>, Vec<(&'a str, u32)>);

    fn ids(accounts: &Accounts) -> Ids<'_> {
        let users = accounts.users.iter().map(|user| (user.name.as_str(), user.id, user.group)).collect();
        (users, accounts.groups.iter().map(|group| (group.name.as_str(), group.id)).collect())
    }

    #[test]
    fn allocates_upward_and_keeps_what_is_there() {
        let first = allocate_accounts(
            &Accounts::default(),
            &[
                request("redis", AccountKind::UserWithGroup),
                request("ssl-cert", AccountKind::Group),
                request("sshd", AccountKind::User { group: 65534 }),
            ],
        )
        .unwrap();
        assert_eq!(
            ids(&first),
            (vec![("sshd", 100, 65534), ("redis", 101, 101)], vec![("redis", 101), ("ssl-cert", 102)])
        );
        let second = allocate_accounts(
            &first,
            &[
                request("postgres", AccountKind::UserWithGroup),
                request("redis", AccountKind::UserWithGroup),
                request("ssl-cert", AccountKind::UserWithGroup),
                request("reader", AccountKind::UserIn { group: "ssl-cert".parse().unwrap() }),
            ],
        )
        .unwrap();
        assert_eq!(
            ids(&second),
            (
                vec![
                    ("sshd", 100, 65534),
                    ("redis", 101, 101),
                    ("ssl-cert", 102, 102),
                    ("postgres", 103, 103),
                    ("reader", 104, 102)
                ],
                vec![("redis", 101), ("ssl-cert", 102), ("postgres", 103)]
            )
        );
    }

    #[test]
    fn says_when_there_is_no_id_left() {
        let many: Vec<AccountRequest> =
            (0..900).map(|number| request(&format!("u{number}"), AccountKind::UserWithGroup)).collect();
        assert!(allocate_accounts(&Accounts::default(), &many[..899]).is_ok());
        let error = allocate_accounts(&Accounts::default(), &many).unwrap_err();
        assert_eq!(error.to_string(), "no id from 100 to 999 is left for u899");
    }

    proptest! {
        #[test]
        fn never_changes_or_shares_an_id(
            first in prop::collection::vec(("[a-d]", 0..3_u8), 0..6),
            second in prop::collection::vec(("[a-f]", 0..3_u8), 0..6),
        ) {
            let requests = |list: Vec<(String, u8)>| list.into_iter().map(|(name, kind)| request(&name, match kind {
                0 => AccountKind::UserWithGroup,
                1 => AccountKind::User { group: 65534 },
                _ => AccountKind::Group,
            })).collect::<Vec<_>>();
            let before = allocate_accounts(&Accounts::default(), &requests(first)).unwrap();
            let after = allocate_accounts(&before, &requests(second)).unwrap();
            prop_assert!(before.users.iter().all(|user| after.users.contains(user)));
            prop_assert!(before.groups.iter().all(|group| after.groups.contains(group)));
            let mut users: Vec<u32> = after.users.iter().map(|user| user.id).collect();
            users.dedup();
            prop_assert_eq!(users.len(), after.users.len());
            let mut groups: Vec<u32> = after.groups.iter().map(|group| group.id).collect();
            groups.dedup();
            prop_assert_eq!(groups.len(), after.groups.len());
        }
    }
}
