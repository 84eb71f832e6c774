//! Users and groups by their configuration (sysusers.d(5)), which systemd-sysusers(8) would make.

use super::{EffectError, Image, names::Names, verb::Verb};
use crate::TreePath;

const PROGRAM: &str = "usr/bin/systemd-sysusers";

/// Where a package brings its configuration.
pub(crate) fn configuration(name: &str) -> TreePath {
    TreePath::known(&format!("usr/lib/sysusers.d/{name}"))
}

/// What a configuration asks for, as verbs of single accounts. Names that every Debian system has are left out.
pub(crate) fn accounts(text: &str) -> Result<Vec<Verb>, String> {
    let fixed = Names::fixed();
    let mut verbs = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let wrong = || format!("this line is not understood: {line}");
        let fields = fields(line).ok_or_else(wrong)?;
        let field = |at: usize| fields.get(at).map(String::as_str).filter(|field| *field != "-");
        let name = field(1).ok_or_else(wrong)?;
        match fields[0].as_str() {
            "u" | "u!" if fixed.user(name).is_none() => {
                let group = field(2).and_then(|id| id.split_once(':')).map(|(_, group)| group.to_owned());
                let path =
                    |at: usize, default: &str| field(at).unwrap_or(default).parse().map_err(|_| wrong());
                verbs.push(Verb::User {
                    name: name.parse().map_err(|_| wrong())?,
                    home: path(4, "/")?,
                    shell: path(5, "/usr/sbin/nologin")?,
                    group,
                    comment: field(3).unwrap_or_default().to_owned(),
                    plain: true,
                    locked: true,
                    expired: fields[0] == "u!",
                });
            }
            "g" if fixed.group(name).is_none() => {
                verbs.push(Verb::Group { name: name.parse().map_err(|_| wrong())?, locked: true });
            }
            "m" => {
                let group = field(2).ok_or_else(wrong)?;
                verbs.push(Verb::Member { user: name.to_owned(), group: group.to_owned() });
            }
            // A range of ids for the others.
            "u" | "u!" | "g" | "r" => {}
            _ => return Err(wrong()),
        }
    }
    Ok(verbs)
}

/// The words of a line; quotes keep words together.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        fields.push(field.to_owned());
        rest = after.trim_start();
    }
    (fields.len() >= 2).then_some(fields)
}

impl Image<'_> {
    /// Whether systemd-sysusers is in the image.
    pub(super) fn has_sysusers(&self) -> bool {
        self.is_file(&TreePath::known(PROGRAM))
    }

    /// `systemd-sysusers NAME`, by the verbs that it comes to.
    pub(super) fn system_users(&self, name: &str) -> Result<Vec<Verb>, EffectError> {
        let path = configuration(name.rsplit('/').next().unwrap_or(name));
        let text = self.text(&path)?;
        accounts(&text).map_err(|reason| EffectError::Form { path, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_verbs() {
        let text = "# a\ng adm 4 -\ng input -\nu! one - \"One, the first\"\nu two -:one - /run/two /bin/sh\nm two adm\n";
        let verbs = accounts(text).unwrap();
        assert_eq!(verbs.len(), 4);
        let Verb::User { home, comment, group: None, .. } = &verbs[1] else { panic!("{verbs:?}") };
        assert_eq!((home.to_string(), comment.as_str()), ("/".to_owned(), "One, the first"));
        assert!(matches!(&verbs[2], Verb::User { group: Some(group), .. } if group == "one"));
        for wrong in ["u", "x one", "m one", "u a/b -"] {
            assert!(accounts(wrong).is_err(), "{wrong}");
        }
    }
}
