//! User and group ids that Debian allocates when a package is installed, allocated once in the lock.

use serde::{Deserialize, Serialize};

use super::name::AccountName;

/// All allocated users and groups of a platform, each list sorted by id. An entry is never removed: data volumes
/// outlive the package that made them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Accounts {
    /// Users.
    #[serde(default, rename = "user")]
    pub users: Vec<LockedUser>,
    /// Groups.
    #[serde(default, rename = "group")]
    pub groups: Vec<LockedGroup>,
}

/// A user with its allocated id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedUser {
    /// Its name, such as `redis`.
    pub name: AccountName,
    /// Its numeric id.
    pub id: u32,
    /// Numeric id of its primary group.
    pub group: u32,
}

/// A group with its allocated id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedGroup {
    /// Its name, such as `redis`.
    pub name: AccountName,
    /// Its numeric id.
    pub id: u32,
}

impl Accounts {
    /// The user of that name.
    pub fn user(&self, name: &str) -> Option<&LockedUser> {
        self.users.iter().find(|user| user.name.as_str() == name)
    }

    /// The group of that name.
    pub fn group(&self, name: &str) -> Option<&LockedGroup> {
        self.groups.iter().find(|group| group.name.as_str() == name)
    }
}
