//! Directories below /usr/local (`dh_usrlocal(1)`).

use serde::{Deserialize, Serialize};

use super::{EffectError, Image};
use crate::{Owner, TreePath};

/// The list that `dh_usrlocal` writes into a script: for each directory its path, then `default`, or mode, user and group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct LocalDirectories(Vec<(TreePath, u32, Option<String>)>);

/// A list of another form.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no list of directories")]
pub(crate) struct LocalDirectoriesError(String);

impl TryFrom<String> for LocalDirectories {
    type Error = LocalDirectoriesError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut list = Vec::new();
        let mut words = text.split(' ');
        let wrong = || LocalDirectoriesError(text.clone());
        while let Some(path) = words.next() {
            let path = path.parse().map_err(|_| wrong())?;
            match words.next().ok_or_else(wrong)? {
                // Group staff and mode 02775 are for systems that ask for them in /etc, which no image does.
                "default" => list.push((path, 0o755, None)),
                mode => {
                    let mode = u32::from_str_radix(mode, 8).map_err(|_| wrong())?;
                    let (user, group) = (words.next().ok_or_else(wrong)?, words.next().ok_or_else(wrong)?);
                    list.push((path, mode, Some(format!("{user}:{group}"))));
                }
            }
        }
        Ok(Self(list))
    }
}

impl From<LocalDirectories> for String {
    fn from(list: LocalDirectories) -> Self {
        let lines = list.0.iter().map(|(path, mode, owner)| match owner {
            None => format!("{path} default"),
            Some(owner) => format!("{path} {mode:04o} {}", owner.replace(':', " ")),
        });
        lines.collect::<Vec<_>>().join(" ")
    }
}

impl Image<'_> {
    pub(super) fn local_directories(
        &mut self,
        by: &Owner,
        list: &LocalDirectories,
    ) -> Result<(), EffectError> {
        list.0.iter().try_for_each(|(path, mode, owner)| self.directory(by, path, *mode, owner.as_deref()))
    }
}
