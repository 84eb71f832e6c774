//! The common PAM configuration (pam-auth-update(8)): profiles that are on by default fill the templates.

use std::fmt::Write as _;

use super::{EffectError, Image};
use crate::{Kind, Owner, TreePath};

/// Configuration file, keyword of the module type, name of the type in profiles.
const FILES: [(&str, &str, &str); 5] = [
    ("auth", "auth", "Auth"),
    ("account", "account", "Account"),
    ("password", "password", "Password"),
    ("session", "session", "Session"),
    ("session-noninteractive", "session", "Session"),
];

/// Lines of the templates between which the blocks stand.
const PRIMARY: &str = "# here are the per-package modules (the \"Primary\" block)";
const FALLBACK: &str = "# here's the fallback if no module succeeds";
const ADDITIONAL: &str = "# and here are more per-package modules (the \"Additional\" block)";
const END: &str = "# end of pam-auth-update config";

struct Profile {
    name: String,
    priority: i64,
    is_default: bool,
    fields: Vec<(String, String)>,
}

impl Profile {
    fn parse(name: &str, text: &str) -> Self {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            match (line.starts_with([' ', '\t']), line.split_once(':')) {
                (true, _) => {
                    if let Some((_, value)) = fields.last_mut() {
                        if !value.is_empty() {
                            value.push('\n');
                        }
                        value.push_str(line.trim_start());
                    }
                }
                (false, Some((key, value))) => fields.push((key.to_owned(), value.trim_start().to_owned())),
                (false, None) => {}
            }
        }
        let mut profile = Self { name: name.to_owned(), priority: 0, is_default: false, fields };
        profile.priority = profile.field("Priority").and_then(|value| value.parse().ok()).unwrap_or_default();
        profile.is_default = profile.field("Default") == Some("yes");
        profile
    }

    fn field(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == key).map(|(_, value)| value.as_str())
    }

    fn lines(&self, kind: &str, is_first: bool) -> Option<&str> {
        let initial = self.field(&format!("{kind}-Initial")).filter(|_| is_first);
        initial.or_else(|| self.field(kind))
    }
}

impl Image<'_> {
    pub(super) fn write_pam(&mut self) -> Result<(), EffectError> {
        let owner = Owner::Generated("pam-auth-update".into());
        let folder = TreePath::known("usr/share/pam-configs");
        let paths: Vec<TreePath> = self
            .tree
            .below(&folder)
            .filter(|(_, entry)| matches!(entry.kind, Kind::File { .. }))
            .map(|(path, _)| path.clone())
            .collect();
        let mut profiles = Vec::new();
        for path in &paths {
            profiles.push(Profile::parse(path.name(), &self.text(path)?));
        }
        profiles.sort_by(|left, right| {
            right.priority.cmp(&left.priority).then_with(|| right.name.cmp(&left.name))
        });
        for (file, keyword, kind) in FILES {
            let is_on = |profile: &&Profile| {
                let interactive_only = file == "session-noninteractive"
                    && profile.field("Session-Interactive-Only") == Some("yes");
                profile.is_default && !interactive_only
            };
            let of_type = |wanted: &str| -> Vec<&Profile> {
                let key = format!("{kind}-Type");
                profiles.iter().filter(is_on).filter(|profile| profile.field(&key) == Some(wanted)).collect()
            };
            let (primary, additional) = (of_type("Primary"), of_type("Additional"));
            let template = TreePath::known(&format!("usr/share/pam/common-{file}"));
            let mut text = String::new();
            let mut skips_to = None;
            for line in self.text(&template)?.lines() {
                if skips_to.is_some_and(|end| !line.starts_with(end)) {
                    continue;
                }
                skips_to = None;
                let _infallible = writeln!(text, "{line}");
                if line.starts_with(PRIMARY) {
                    text.push_str(&block(keyword, kind, &primary, true));
                    skips_to = Some(FALLBACK);
                } else if line.starts_with(ADDITIONAL) {
                    text.push_str(&block(keyword, kind, &additional, false));
                    skips_to = Some(END);
                }
            }
            self.write(
                &owner,
                &TreePath::known(&format!("etc/pam.d/common-{file}")),
                text.into_bytes(),
                0o644,
            )?;
            let mut notes = String::new();
            if primary.is_empty() {
                notes.push_str("Module: null\n[default=1]\t\t\tpam_permit.so\n");
            }
            let mut is_first = true;
            for profile in &primary {
                let lines = profile.lines(kind, is_first).unwrap_or_default();
                let _infallible = writeln!(notes, "Module: {}\n{lines}", profile.name);
                is_first = false;
            }
            let mut is_first = true;
            for profile in &additional {
                let lines = profile.lines(kind, is_first).unwrap_or_default();
                let _infallible = writeln!(notes, "Module: {}\n{lines}", profile.name);
                is_first = false;
            }
            self.write(&owner, &TreePath::known(&format!("var/lib/pam/{file}")), notes.into_bytes(), 0o644)?;
        }
        let mut seen: String =
            profiles.iter().map(|profile| profile.name.as_str()).collect::<Vec<_>>().join("\n");
        seen.push('\n');
        self.write(&owner, &TreePath::known("var/lib/pam/seen"), seen.into_bytes(), 0o644)
    }
}

/// The lines of one block. `end` in a primary module means: jump over all that follow in the block.
fn block(keyword: &str, kind: &str, profiles: &[&Profile], is_primary: bool) -> String {
    if profiles.is_empty() && is_primary {
        return format!("{keyword}\t[default=1]\t\t\tpam_permit.so\n");
    }
    let lines: Vec<&str> = profiles
        .iter()
        .enumerate()
        .flat_map(|(at, profile)| profile.lines(kind, at == 0).unwrap_or_default().lines())
        .collect();
    let count = if is_primary { lines.len() } else { lines.len().saturating_sub(1) };
    lines.iter().enumerate().fold(String::new(), |mut text, (at, line)| {
        let line = line.replace("=end", &format!("={}", count.saturating_sub(at)));
        let (module, options) = line.split_at(line.find(".so").map_or(line.len(), |at| at + ".so".len()));
        let _infallible = writeln!(text, "{keyword}\t{module} {}", options.trim_start());
        text
    })
}
