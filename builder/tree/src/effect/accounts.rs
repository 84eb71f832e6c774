//! Users, groups and passwords.

use std::fmt::Write as _;

use bundles_release::lock::{AccountName, Version};

use super::{EffectError, Image};
use crate::{Owner, Package, TreePath};

/// The first version of adduser that writes the comment only.
const WITHOUT_FIELDS: &str = "3.135";
const SECONDS_OF_A_DAY: i64 = 86_400;

impl Image<'_> {
    /// `adduser --system`, with a group of its own name unless it goes into an existing one: the ids are those of the
    /// lock.
    pub(super) fn user(
        &mut self,
        name: &AccountName,
        home: &TreePath,
        shell: &TreePath,
        group: Option<&str>,
        comment: &str,
    ) -> Result<(), EffectError> {
        let missing = || EffectError::Account { kind: "user", name: name.to_string() };
        let user = self.accounts.user(name.as_str()).ok_or_else(missing)?.clone();
        let primary = if let Some(group) = group {
            self.names.group(group).unwrap_or(user.group)
        } else {
            self.group(name)?;
            user.group
        };
        let password = self.password(name);
        self.append(
            "etc/passwd",
            &format!("{name}:{password}:{}:{primary}:{comment}:{home}:{shell}\n", user.id),
            name,
        )
    }

    /// The comment of an account as adduser writes it: its older versions leave room for three more fields.
    pub(super) fn comment(&self, comment: &str) -> String {
        let is_older = |package: &Package| {
            WITHOUT_FIELDS.parse::<Version>().is_ok_and(|version| package.version < version)
        };
        let has_fields = !comment.is_empty() && self.package("adduser").is_some_and(is_older);
        if has_fields { format!("{comment},,,") } else { comment.to_owned() }
    }

    /// `addgroup --system`.
    pub(super) fn group(&mut self, name: &AccountName) -> Result<(), EffectError> {
        let missing = || EffectError::Account { kind: "group", name: name.to_string() };
        let group = self.accounts.group(name.as_str()).ok_or_else(missing)?.clone();
        let password = self.password(name);
        self.append("etc/group", &format!("{name}:{password}:{}:\n", group.id), name)
    }

    /// `x` sends the reader to files that only the package passwd makes, and systemd-sysusers for its own accounts.
    fn password(&self, name: &AccountName) -> &'static str {
        if self.has("passwd") || self.pending.locked.contains(name.as_str()) { "x" } else { "*" }
    }

    /// The last field of an account that has expired is the day.
    fn expiry(&self, name: &str) -> &'static str {
        if self.pending.expired.contains(name) { "1" } else { "" }
    }

    /// Where passwords have not moved, systemd-sysusers makes files for those of its own accounts, which nobody may read.
    pub(super) fn write_locked(&mut self) -> Result<(), EffectError> {
        let days = self.options.epoch / SECONDS_OF_A_DAY;
        for (from, to) in [("etc/passwd", "etc/shadow"), ("etc/group", "etc/gshadow")] {
            let from = TreePath::known(from);
            if self.pending.locked.is_empty() || !self.is_file(&from) {
                continue;
            }
            let mut text = String::new();
            for name in self.text(&from)?.lines().filter_map(|line| line.split(':').next()) {
                if self.pending.locked.contains(name) {
                    let expiry = self.expiry(name);
                    let _infallible = match to {
                        "etc/gshadow" => writeln!(text, "{name}:!*::"),
                        _ => writeln!(text, "{name}:!*:{days}:::::{expiry}:"),
                    };
                }
            }
            if !text.is_empty() {
                let by = Owner::Generated("systemd-sysusers".into());
                self.write(&by, &TreePath::known(to), text.into_bytes(), 0)?;
            }
        }
        Ok(())
    }

    /// `adduser USER GROUP`. Nothing happens without the group.
    pub(super) fn member(&mut self, user: &str, group: &str) -> Result<(), EffectError> {
        let path = TreePath::known("etc/group");
        if !self.is_file(&path) {
            return Ok(());
        }
        let mut text = String::new();
        for line in self.text(&path)?.lines() {
            text.push_str(line);
            let fields: Vec<&str> = line.split(':').collect();
            if let [name, _, _, members] = fields[..]
                && name == group
                && !members.split(',').any(|member| member == user)
            {
                text.push_str(if members.is_empty() { "" } else { "," });
                text.push_str(user);
            }
            text.push('\n');
        }
        self.write(&Owner::Generated("accounts".into()), &path, text.into_bytes(), 0o644)
    }

    /// Whether a list of accounts has a name.
    pub(super) fn is_listed(&self, path: &str, name: &AccountName) -> Result<bool, EffectError> {
        let path = TreePath::known(path);
        let text = if self.is_file(&path) { self.text(&path)? } else { String::new() };
        Ok(text.lines().any(|line| line.split(':').next() == Some(name.as_str())))
    }

    /// Adds a line unless the name has one.
    fn append(&mut self, path: &str, line: &str, name: &AccountName) -> Result<(), EffectError> {
        let path = TreePath::known(path);
        let mut text = if self.is_file(&path) { self.text(&path)? } else { String::new() };
        if self.is_listed(path.as_str(), name)? {
            return Ok(());
        }
        text.push_str(line);
        self.write(&Owner::Generated("accounts".into()), &path, text.into_bytes(), 0o644)
    }

    /// `shadowconfig on`: nobody has a password, and the place for one is in files that only root reads.
    pub(super) fn write_shadow(&mut self) -> Result<(), EffectError> {
        let owner = Owner::Generated("shadowconfig".into());
        let days = self.options.epoch / SECONDS_OF_A_DAY;
        for (from, to) in [("etc/passwd", "etc/shadow"), ("etc/group", "etc/gshadow")] {
            let (from, to) = (TreePath::known(from), TreePath::known(to));
            let text = self.text(&from)?;
            let (mut open, mut hidden) = (String::new(), String::new());
            for line in text.lines() {
                let mut fields: Vec<&str> = line.split(':').collect();
                let [name, password, ..] = fields[..] else { continue };
                // `!` marks accounts that were made after passwords had moved.
                let is_base = password == "*";
                let locked = match (is_base, self.pending.locked.contains(name)) {
                    (true, _) => "*",
                    (false, true) => "!*",
                    (false, false) => "!",
                };
                let _infallible = if to.name() == "gshadow" {
                    writeln!(hidden, "{name}:{locked}::{}", fields.get(3).copied().unwrap_or_default())
                } else if is_base {
                    writeln!(hidden, "{name}:{locked}:{days}:0:99999:7:::")
                } else {
                    writeln!(hidden, "{name}:{locked}:{days}:::::{}:", self.expiry(name))
                };
                fields[1] = "x";
                open.push_str(&fields.join(":"));
                open.push('\n');
            }
            self.write(&owner, &from, open.into_bytes(), 0o644)?;
            self.write(&owner, &to, hidden.into_bytes(), 0o640)?;
            self.permissions(&to, 0o640, Some("root:shadow"))?;
        }
        Ok(())
    }
}
