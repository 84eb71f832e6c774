//! What dpkg is told about the mode and owner of a path.

use std::{fmt, str::FromStr};

use bundles_release::lock::AccountName;

use crate::TreePath;

/// The mode and owner that dpkg gives a path whenever it unpacks it: a line of its list (`dpkg-statoverride(1)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatOverride {
    /// `USER:GROUP`, each a name or `#` and a number.
    pub(crate) owner: String,
    pub(crate) mode: u32,
    pub(crate) path: TreePath,
}

/// A line that is none of dpkg's list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{line}` is not USER GROUP MODE PATH")]
pub struct StatOverrideError {
    line: String,
}

impl fmt::Display for StatOverride {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, mode, path } = self;
        write!(formatter, "{} {mode:o} {path}", owner.replacen(':', " ", 1))
    }
}

impl FromStr for StatOverride {
    type Err = StatOverrideError;

    fn from_str(line: &str) -> Result<Self, StatOverrideError> {
        let wrong = || StatOverrideError { line: line.to_owned() };
        let mut fields = line.splitn(4, ' ');
        let is_owner = |name: &&str| {
            let number = name.strip_prefix('#').map(|number| number.parse::<u32>().is_ok());
            number.unwrap_or_else(|| name.parse::<AccountName>().is_ok())
        };
        let (user, group) = (fields.next().filter(is_owner), fields.next().filter(is_owner));
        let (Some(user), Some(group), Some(mode)) = (user, group, fields.next()) else { return Err(wrong()) };
        let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(wrong)?;
        let path = fields.next().and_then(|path| path.parse().ok()).ok_or_else(wrong)?;
        Ok(Self { owner: format!("{user}:{group}"), mode, path })
    }
}

registry_wire::serde_as_text!(StatOverride);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_written() {
        for line in ["root mail 2755 /usr/bin/mail", "#7 root 0 /a b", "sasl sasl 710 /var/run/saslauthd"] {
            assert_eq!(line.parse::<StatOverride>().unwrap().to_string(), line);
        }
        let wrong = [
            "",
            "root",
            "root root 644",
            "root root 8 /a",
            "root root 17777 /a",
            "root  644 /a",
            "a:b c 644 /a",
            "a\nb b 644 /a",
            "#x b 644 /a",
            "a b 644 a\n",
        ];
        for line in wrong {
            assert!(line.parse::<StatOverride>().is_err(), "{line}");
        }
    }
}
